"""One file in a process of its own: for what a run or a worker had in hand, or was to classify, when it died."""

from __future__ import annotations

import base64
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from labeler.crew import Clock
from labeler.decode import Limits, quiet_decoders
from labeler.faces import Cropper, Face
from labeler.hands import end_with_parent
from labeler.pack import Pack
from labeler.prepare import Preparer, Row
from labeler.store import Entry

_CHILD = (
    "import json, sys; request = json.load(sys.stdin); sys.path[:] = request['import_path']; "
    "from labeler.alone import answer; answer(request)"
)
_START_SECONDS = 60
_LONGEST_ALARM = 2**31 - 1


def prepare_alone(preparer: Preparer, entry: Entry) -> Row:
    """Prepare a file as `Preparer.prepare` does, in a child process that also tries to classify its crop.

    Whatever brings the child down becomes the row's status: ``crashed``, or ``too_large`` where it takes too long.
    """
    cropper, limits = preparer.cropper, preparer.limits
    row = Row(entry)
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "row.json"
        request = {
            "import_path": sys.path,
            "store": os.fspath(preparer.root.resolve()),
            "models": os.fspath(cropper.manifest.folder.resolve()),
            "face": "auto" if cropper.networks else "whole",
            "min_face": cropper.min_face,
            "limits": [limits.pixels, limits.file_bytes, limits.seconds],
            "entry": list(entry),
            "result": os.fspath(result),
        }
        try:
            child = subprocess.run(
                [sys.executable, "-P", "-c", _CHILD],
                input=json.dumps(request).encode(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=_START_SECONDS + limits.seconds,
                check=False,
                # An interrupt from the terminal is for the run alone: the child would seem to have died of its file.
                start_new_session=True,
            )
            if child.returncode == 0:
                return _read_row(row, json.loads(result.read_bytes()))
            row.fail("crashed", f"the process died on it twice ({_cause(child.returncode)})")
        except subprocess.TimeoutExpired:
            row.fail("too_large", f"took more than {limits.seconds:g} seconds")
    return row


def _cause(code: int) -> str:
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"exit code {code}"


def answer(request: dict[str, Any]) -> None:
    """Prepare the file that a request names, and write the row to the file that it names; run in the child."""
    _end_first(request["limits"][-1])
    quiet_decoders()
    pack = Pack.load(request["models"])
    cropper = Cropper.of(pack.manifest, request["face"], request["min_face"])
    preparer = Preparer(Path(request["store"]), cropper, Limits(*request["limits"]))
    row = preparer.prepare(Entry(*request["entry"]), Clock())
    if row.crop is not None:
        pack.predict(row.crop[None])
    document = {
        "status": row.status,
        "error": row.error,
        "content_hash": row.content_hash,
        "picture_size": row.picture_size,
        "phash": row.phash,
        "faces": row.faces,
        "face": row.face and [row.face.box, row.face.landmarks.tolist(), row.face.score, row.face.quality],
        "crop": None if row.crop is None else [row.crop.shape, base64.b64encode(row.crop.tobytes()).decode()],
    }
    Path(request["result"]).write_text(json.dumps(document), encoding="utf-8")


def _end_first(seconds: float) -> None:
    """See to it that this process ends even if nobody waits for it, and before any other where memory runs out."""
    # A worker process ignores these two, and so would its child.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    end_with_parent()
    signal.alarm(min(math.ceil(_START_SECONDS + seconds), _LONGEST_ALARM))
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")


def _read_row(row: Row, document: dict[str, Any]) -> Row:
    for name in ("status", "error", "content_hash", "phash", "faces"):
        setattr(row, name, document[name])
    if document["picture_size"]:
        width, height = document["picture_size"]
        row.picture_size = (width, height)
    if document["face"]:
        (left, top, width, height), landmarks, score, quality = document["face"]
        row.face = Face((left, top, width, height), np.array(landmarks, np.float64), score, quality)
    if document["crop"]:
        shape, pixels = document["crop"]
        row.crop = np.frombuffer(base64.b64decode(pixels), np.uint8).reshape(shape)
    return row
