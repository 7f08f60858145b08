"""Train, evaluate and export the classifiers of a model pack, on the pixels that labelling sees."""
