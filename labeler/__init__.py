"""Turn a growing store of face photos into one label table, offline, on a CPU."""

import os

__version__ = "0.1.0"

# From version 1.29 on onnxruntime sends what it is used for to its maker, unless it is told not to before it is loaded.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
