"""Turn a growing store of face photos into one label table, offline, on a CPU."""

__version__ = "0.1.0"
