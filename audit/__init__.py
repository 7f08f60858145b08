"""From a label table to numbers with intervals, as audit.json and as one page."""
