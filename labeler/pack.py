"""A model pack: its manifest, its checksums, its ONNX sessions, and crops into probabilities."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from labeler.errors import PackError
from labeler.taxonomy import ATTRIBUTES

MANIFEST = "pack.json"
FORMAT_VERSION = 1
BATCH = 32
"""Most images a session sees at once."""

_STEP = 8
"""It sees a multiple of so many, the last ones zeros, so that a probability does not depend on its neighbours."""

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Framing:
    """Where a face lies in the crop.

    Parameters
    ----------
    kind : str
        ``whole`` (the picture is the crop) or ``landmarks``.
    points : tuple of (x, y)
        For ``landmarks``: where the right eye, left eye, nose, right and left corner of the mouth (the
        person's own right) must land, as fractions of the crop's width and height.
    """

    kind: str
    points: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True)
class Output:
    """One attribute's output of a pack.

    Parameters
    ----------
    file, name : str
        The ONNX file and the output in it: logits, one a class, shape (n, classes).
    classes : tuple of str
        In the order of the logits.
    temperature : float
        Divides the logits before the softmax (Guo et al. 2017, "On calibration of modern neural networks").
    years : tuple of float
        For age: the years each class stands for. Empty for the others.
    years_name : str
        For age: an output of shape (n,) with the expected age in years, where the network has a better one
        than the mean of `years`; empty otherwise.
    """

    file: str
    name: str
    classes: tuple[str, ...]
    temperature: float
    years: tuple[float, ...] = ()
    years_name: str = ""


@dataclass(frozen=True)
class Manifest:
    """What ``pack.json`` says, checked.

    Parameters
    ----------
    width, height : int
        Size of the crop in pixels.
    colour : str
        ``gray`` (one channel) or ``rgb`` (three).
    low, high : float
        The values that pixel values 0 and 255 become.
    digest : str
        SHA-256 of the manifest, which holds those of every other file: one name for the whole pack.
    document : mapping
        The manifest as read, with what only people read (data, licences, notes).
    """

    folder: Path
    name: str
    version: str
    licence: str
    taxonomy: str
    width: int
    height: int
    colour: str
    low: float
    high: float
    framing: Framing
    outputs: Mapping[str, Output]
    digest: str
    document: Mapping[str, Any]

    @property
    def classes(self) -> dict[str, tuple[str, ...]]:
        """The classes of each attribute, in order."""
        return {name: output.classes for name, output in self.outputs.items()}

    @property
    def channels(self) -> int:
        """Channels of the crop: 1 for gray, 3 for RGB."""
        return 1 if self.colour == "gray" else 3

    @property
    def notice(self) -> str:
        """What whoever uses the pack must be told each time, such as that it is for research only; mostly empty."""
        return str(self.document.get("notice") or "")


def models_folder() -> Path:
    """Return the folder of the model packs that came with this package.

    In a wheel it lies inside the package; in a checkout and an editable install it is ``models/`` beside it.
    """
    return resource_folder("models")


def resource_folder(name: str) -> Path:
    """Return ``models`` or ``templates`` as shipped: inside the installed package, or at a checkout's top level."""
    inside = Path(__file__).parent / "_resources" / name
    return inside if inside.is_dir() else Path(__file__).parent.parent / name


def read_manifest(folder: str | os.PathLike[str]) -> Manifest:
    """Read and check a pack's manifest; the files it names are looked at by `Pack.load`.

    Raises
    ------
    PackError
        If the folder or its ``pack.json`` is missing, is not JSON, or says something that this version cannot use.
    """
    path = Path(folder) / MANIFEST
    try:
        content = path.read_bytes()
    except OSError as error:
        raise PackError(
            f"{path}: no model pack here ({error.strerror}); give --models a folder with a {MANIFEST}"
        ) from error
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise PackError(f"{path}: not JSON ({error}); copy the pack anew") from error
    version = document.get("format") if isinstance(document, dict) else None
    if version != FORMAT_VERSION:
        raise PackError(f"{path}: format {version!r}, but this version reads {FORMAT_VERSION}; update efrs-labeler")
    try:
        return _manifest(path.parent, document, hashlib.sha256(content).hexdigest())
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise PackError(f"{path}: {_reason(error)}; mend the manifest or copy the pack anew") from error


def _reason(error: Exception) -> str:
    return f"the entry {error} is missing" if isinstance(error, KeyError) else str(error)


def _manifest(folder: Path, document: Mapping[str, Any], digest: str) -> Manifest:
    shape = document["input"]
    width, height = int(shape["width"]), int(shape["height"])
    low, high = (float(value) for value in shape["range"])
    colour = str(shape["colour"])
    if not (0 < width <= 4096 and 0 < height <= 4096):
        raise ValueError(f"input size {width} x {height} is out of range")
    if colour not in ("gray", "rgb"):
        raise ValueError(f"input colour {colour!r} is neither gray nor rgb")
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError(f"input range {low} to {high} does not go up")
    for name, entry in document["files"].items():
        _check_file_entry(name, entry)
    return Manifest(
        folder=folder,
        name=str(document["name"]),
        version=str(document["version"]),
        licence=str(document["licence"]),
        taxonomy=str(document["taxonomy"]),
        width=width,
        height=height,
        colour=colour,
        low=low,
        high=high,
        framing=_framing(shape["framing"]),
        outputs={name: _output(name, document["attributes"][name], document["files"]) for name in ATTRIBUTES},
        digest=digest,
        document=document,
    )


def _check_file_entry(name: str, entry: object) -> None:
    if Path(name).name != name:
        raise ValueError(f"file {name!r} does not lie in the pack's own folder")
    if not isinstance(entry, Mapping) or not isinstance(entry.get("sha256"), str):
        raise ValueError(f"file {name!r} has no sha256")


def _framing(entry: Mapping[str, Any]) -> Framing:
    points = tuple((float(x), float(y)) for x, y in entry.get("points", ()))
    kind = str(entry["kind"])
    if (kind, len(points)) not in (("whole", 0), ("landmarks", 5)):
        raise ValueError(f"framing {kind!r} with {len(points)} points is neither whole nor five landmarks")
    if not all(math.isfinite(value) for point in points for value in point):
        raise ValueError("a landmark of the framing is not a finite number")
    return Framing(kind, points)


def _output(attribute: str, entry: Mapping[str, Any], files: Mapping[str, Any]) -> Output:
    if not isinstance(entry["classes"], list) or not all(isinstance(name, str) and name for name in entry["classes"]):
        raise ValueError(f"{attribute}: classes are not a list of names")
    classes = tuple(entry["classes"])
    years = tuple(float(value) for value in entry.get("years") or ())
    temperature = float(entry["temperature"])
    if len(classes) < 2 or len(set(classes)) != len(classes):
        raise ValueError(f"{attribute}: {len(classes)} classes, of which {len(set(classes))} differ")
    if not 0 < temperature < math.inf:
        raise ValueError(f"{attribute}: temperature {temperature} is not a number above 0")
    if attribute == "age" and len(years) != len(classes):
        raise ValueError(f"age: {len(years)} years for {len(classes)} classes")
    if not all(0 <= value < math.inf for value in years):
        raise ValueError(f"{attribute}: years below 0 or not finite")
    if entry["file"] not in files:
        raise ValueError(f"{attribute}: file {entry['file']!r} has no checksum under files")
    if not str(entry["file"]).endswith(".onnx"):
        raise ValueError(f"{attribute}: file {entry['file']!r} is no .onnx file")
    return Output(
        str(entry["file"]), str(entry["output"]), classes, temperature, years, str(entry.get("years_output") or "")
    )


@dataclass(frozen=True)
class Prediction:
    """What a pack says of n crops.

    Parameters
    ----------
    probabilities : mapping of str to numpy.ndarray
        For each attribute shape (n, classes), float32, each row adds to 1.
    years : numpy.ndarray
        Expected age, shape (n,), float32.
    """

    probabilities: Mapping[str, FloatArray]
    years: FloatArray


class Pack:
    """A loaded pack: checked files and one session for each ONNX file.

    A session may be used from several threads at once.
    """

    def __init__(self, manifest: Manifest, sessions: Mapping[str, onnxruntime.InferenceSession]) -> None:
        self.manifest = manifest
        self._sessions = dict(sessions)

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Pack:
        """Load a pack, each session with one thread that does not spin: the callers bring the threads.

        Raises
        ------
        PackError
            As `read_manifest`, and for a file that is missing, whose checksum is off, that onnxruntime refuses, or that
            does not do what the manifest says when it is tried on one black crop.
        """
        manifest = read_manifest(folder)
        sessions = {
            name: session(_checked(manifest.folder / name, entry), manifest.folder / name)
            for name, entry in manifest.document["files"].items()
            if name.endswith(".onnx")
        }
        for attribute, output in manifest.outputs.items():
            names = [item.name for item in sessions[output.file].get_outputs()]
            for name in filter(None, (output.name, output.years_name)):
                if name not in names:
                    raise PackError(
                        f"{manifest.folder / output.file}: no output {name!r} for {attribute}; copy the pack anew"
                    )
        pack = cls(manifest, sessions)
        pack._try_out()
        return pack

    def _try_out(self) -> None:
        manifest = self.manifest
        path = manifest.folder / MANIFEST
        colours = () if manifest.colour == "gray" else (3,)
        try:
            prediction = self._predict_batch(np.zeros((1, manifest.height, manifest.width, *colours), np.uint8))
        except Exception as error:
            reason = " ".join(str(error).split())[:160]
            raise PackError(f"{path}: its network does not take the input it states ({reason})") from error
        for attribute, output in manifest.outputs.items():
            width = prediction.probabilities[attribute].shape[-1]
            if prediction.probabilities[attribute].shape != (1, len(output.classes)):
                raise PackError(f"{path}: {attribute} has {len(output.classes)} classes, but its network gives {width}")
            if not np.isfinite(prediction.probabilities[attribute]).all():
                raise PackError(f"{path}: the network's {attribute} is not a number for a black crop")
        if prediction.years.shape != (1,) or not np.isfinite(prediction.years).all():
            raise PackError(f"{path}: the network's years are not one finite number a crop")

    def predict(self, crops: npt.NDArray[np.uint8]) -> Prediction:
        """Classify crops.

        Parameters
        ----------
        crops : numpy.ndarray
            uint8, shape (n, height, width) for a gray pack, (n, height, width, 3) for an RGB one.

        Returns
        -------
        Prediction
            In the order of the crops. A crop's result does not depend on the others.
        """
        parts = [self._predict_batch(crops[start : start + BATCH]) for start in range(0, len(crops), BATCH)]
        outputs = self.manifest.outputs
        empty = {name: np.zeros((0, len(output.classes)), np.float32) for name, output in outputs.items()}
        probabilities = {
            name: np.concatenate([empty[name], *(part.probabilities[name] for part in parts)]) for name in outputs
        }
        return Prediction(probabilities, np.concatenate([np.zeros(0, np.float32), *(part.years for part in parts)]))

    def _predict_batch(self, crops: npt.NDArray[np.uint8]) -> Prediction:
        manifest = self.manifest
        count = len(crops)
        # Some crops more of nothing, so that one crop alone goes the way that many go and gives the same bits.
        batch = np.zeros((-(-count // _STEP) * _STEP, manifest.channels, manifest.height, manifest.width), np.float32)
        planes = crops[:, None] if manifest.colour == "gray" else crops.transpose(0, 3, 1, 2)
        np.multiply(planes, np.float32((manifest.high - manifest.low) / 255), out=batch[:count])
        batch[:count] += np.float32(manifest.low)
        results: dict[tuple[str, str], FloatArray] = {}
        for name, runner in self._sessions.items():
            outputs = [item.name for item in runner.get_outputs()]
            values = runner.run(outputs, {runner.get_inputs()[0].name: batch})
            results.update({(name, output): value[:count] for output, value in zip(outputs, values, strict=True)})
        probabilities = {
            attribute: softmax(results[output.file, output.name] / np.float32(output.temperature))
            for attribute, output in manifest.outputs.items()
        }
        age = manifest.outputs["age"]
        if age.years_name:
            years = results[age.file, age.years_name].reshape(count)
        else:
            # A matrix product would add in an order that depends on how many crops there are.
            years = (probabilities["age"].astype(np.float64) * age.years).sum(axis=-1)
        return Prediction(probabilities, years.astype(np.float32))


def softmax(logits: FloatArray) -> FloatArray:
    """Return the softmax over the last axis, computed from differences to the largest logit."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True), np.float32)


def session(content: bytes, path: Path) -> onnxruntime.InferenceSession:
    """Start an onnxruntime session on the CPU with one thread that does not spin.

    Raises
    ------
    PackError
        If onnxruntime refuses the content.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise PackError(f"{path}: onnxruntime refuses it ({' '.join(str(error).split())[:120]})") from error


def described_session(place: Path, description: str, name: str) -> tuple[onnxruntime.InferenceSession, str]:
    """Start a session on a network whose folder describes it in a JSON file: ``file`` and ``sha256`` in ``files``.

    Returns
    -------
    (onnxruntime.InferenceSession, str)
        The session, and the network's SHA-256.

    Raises
    ------
    PackError
        If a file is missing, is not what its checksum says, or onnxruntime refuses it.
    """
    try:
        entry = json.loads((place / description).read_bytes())["files"][name]
        path = place / entry["file"]
        content = path.read_bytes()
        expected = entry["sha256"]
    except OSError as error:
        raise PackError(f"{error.filename}: cannot be read ({error.strerror}); copy {place} anew") from error
    except (ValueError, KeyError, TypeError) as error:
        raise PackError(f"{place / description}: damaged ({error}); copy {place} anew") from error
    digest = hashlib.sha256(content).hexdigest()
    if digest != expected:
        raise PackError(f"{path}: its SHA-256 is not the one that {description} states; copy {place} anew")
    return session(content, path), digest


def _checked(path: Path, entry: Mapping[str, Any]) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise PackError(f"{path}: cannot be read ({error.strerror}); copy the pack anew") from error
    if hashlib.sha256(content).hexdigest() != entry["sha256"]:
        raise PackError(f"{path}: its SHA-256 is not the one that {MANIFEST} states; copy the pack anew")
    return content
