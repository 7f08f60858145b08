"""One file into one row, all but its labels: read, decode no larger than needed, find the face, crop."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from labeler.crew import Budget, Clock
from labeler.decode import (
    NO_MEMORY,
    Limits,
    Picture,
    Pixels,
    check,
    decode_checked,
    decoded_bytes,
    reduction_to,
    reductions,
)
from labeler.errors import DecodeError
from labeler.faces import FACE_PIXELS, Cropper, Face, Finding
from labeler.header import Header
from labeler.phash import perceptual_hash
from labeler.store import Entry, read

_BOTH_LOOKS = 64
"""Pixels, over the smallest face's share of the shorter side, that both looks of `labeler.faces.find` get to see."""

_FINER = 2
"""How much finer than its crop a picture that is the crop itself should be decoded, along each side."""

_FACE_FINER = 1.6
"""The same for a face in a picture: as fine as the faces were that the default pack and the aligner learned from."""

_SMALL = 1 << 20
"""Bytes that a file may hold without asking for them."""


Result = TypeVar("Result")
Steps = Generator[None, None, Result]
"""Work that pauses between its steps and then returns what it came to."""


def last(steps: Steps[Result]) -> Result:
    """Take all steps and return what they came to."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: Result = end.value
            return result


@dataclass
class Row:
    """One file on its way through the pipeline."""

    entry: Entry
    status: str = "ok"
    error: str | None = None
    content_hash: int | None = None
    picture_size: tuple[int, int] | None = None
    phash: int | None = None
    faces: int | None = None
    face: Face | None = None
    crop: Pixels | None = None
    sharpness: float | None = None
    contrast: float | None = None
    kept: bool = False

    def fail(self, status: str, error: str) -> None:
        """Say why the file has no labels."""
        self.status, self.error, self.crop = status, error, None


def content_hash(data: bytes) -> int:
    """Return the first 64 bits of the SHA-256 of a file's content.

    Examples
    --------
    >>> hex(content_hash(b""))
    '0xe3b0c44298fc1c14'
    """
    return int.from_bytes(hashlib.sha256(data).digest()[:8], "big")


@dataclass(frozen=True)
class Preparer:
    """What every worker needs to turn files into rows; nothing in it changes.

    Parameters
    ----------
    root : path
        The store.
    cropper : Cropper
        Finds the face and crops it.
    limits : Limits
        What a file may ask for before it is refused.
    budget : Budget
        The bytes that all workers together may have in hand.
    """

    root: Path
    cropper: Cropper
    limits: Limits
    budget: Budget = field(default_factory=lambda: Budget(1 << 40))

    def prepare(self, entry: Entry, clock: Clock, known_hash: int | None = None) -> Row:
        """Read, decode and crop one file; whatever happens becomes the row's status.

        Parameters
        ----------
        entry : Entry
            The file.
        clock : Clock
            Runs while this file is worked on, not while it waits for others.
        known_hash : int, optional
            Where the content still has this hash, nothing is decoded and the row is marked as kept.
        """
        return last(self.steps(entry, clock, known_hash))

    def steps(self, entry: Entry, clock: Clock, known_hash: int | None = None) -> Steps[Row]:
        """Do the same in steps: of several files the same step one after the other costs about a quarter less.

        Each step works on other code and data, which the processor's caches then hold. Between two steps a file holds
        no more than `_SMALL` bytes; a larger one does all in one step.
        """
        row = Row(entry)
        try:
            data = self._read(entry, clock)
            row.content_hash = content_hash(data)
            row.kept = row.content_hash == known_hash
            if not row.kept:
                yield from self._look(row, data, clock)
        except DecodeError as error:
            row.fail(error.status, one_line(error))
        except MemoryError:
            row.fail("too_large", NO_MEMORY)
        except Exception as error:
            row.fail("crashed", f"{type(error).__name__}: {one_line(error)}")
        return row

    def _read(self, entry: Entry, clock: Clock) -> bytes:
        clock.stop()
        with self.budget.hold(min(entry.size_bytes or 0, self.limits.file_bytes)):
            clock.start()
            return read(self.root, entry, self.limits.file_bytes)

    def _look(self, row: Row, data: bytes, clock: Clock) -> Steps[None]:
        header = check(data, self.limits)

        def needed(reduction: int) -> int:
            return len(data) + decoded_bytes(header, reduction)

        @contextmanager
        def decoded(reduction: int) -> Iterator[Picture]:
            if needed(reduction) <= _SMALL:
                yield decode_checked(data, header, reduction)
                return
            clock.stop()
            with self.budget.hold(needed(reduction)):
                clock.start()
                yield decode_checked(data, header, reduction)

        steps = look_in_steps(header, self.cropper, decoded)
        if needed(first_reduction(header, self.cropper)) <= _SMALL:
            seen = yield from steps
        else:
            seen = last(steps)
        row.picture_size, row.phash, row.crop = seen.size, seen.phash, seen.crop
        if seen.finding is not None:
            row.faces, row.face = seen.finding.count, seen.finding.face
        if row.crop is None:
            row.fail("no_face", "no face was found")


@dataclass(frozen=True)
class Seen:
    """What a picture's file holds.

    Parameters
    ----------
    size : (int, int)
        Width and height of the upright picture.
    phash : int
        As `labeler.phash.perceptual_hash` gives it, of the picture as it was decoded first.
    finding : Finding or None
        The faces, in pixels of the whole picture; None where the picture is the crop itself.
    crop : numpy.ndarray or None
        The crop, if there is a face.
    """

    size: tuple[int, int]
    phash: int
    finding: Finding | None
    crop: Pixels | None


def look(header: Header, cropper: Cropper, decoded: Callable[[int], AbstractContextManager[Picture]]) -> Seen:
    """Find the face in a file and crop it, decoding no more than that takes.

    The picture is decoded as small as the first look needs it, once more in between where that leaves doubts, and finer
    where the face has too few pixels there for its crop.

    Parameters
    ----------
    header : Header
        Of the file, as `labeler.decode.check` gave it.
    cropper : Cropper
        Finds the face and crops it.
    decoded : callable
        Gives the picture at a reduction for as long as it is used.

    Raises
    ------
    DecodeError
        As `labeler.decode.decode_checked`.
    ArithmeticError
        If a network gives no finite numbers.
    """
    return last(look_in_steps(header, cropper, decoded))


def look_in_steps(
    header: Header, cropper: Cropper, decoded: Callable[[int], AbstractContextManager[Picture]]
) -> Steps[Seen]:
    """Do what `look` does in steps: decode, detect, and what follows; the picture as decoded first is kept between."""
    reduction = first_reduction(header, cropper)
    with decoded(reduction) as picture:
        size, phash = (picture.width, picture.height), perceptual_hash(picture.pixels)
        if cropper.networks is None:
            return Seen(size, phash, None, cropper.whole(picture.pixels))
        yield
        glimpse = cropper.glance(picture.pixels)
        yield
        wanted = min(reduction, reduction_to(header, math.ceil(_BOTH_LOOKS / cropper.min_face)))
        if glimpse.sure is not None:
            wanted = _reduction_for(glimpse.sure, cropper, reduction)
        if wanted == reduction:
            finding, crop = cropper.search(picture.pixels, glimpse)
    if wanted < reduction:
        with decoded(wanted) as picture:
            again = glimpse.enlarged(reduction // wanted) if glimpse.sure else cropper.glance(picture.pixels)
            finding, crop = cropper.search(picture.pixels, again)
    face = finding.face
    if face is None:
        return Seen(size, phash, finding, None)
    if not (np.isfinite(face.landmarks).all() and np.isfinite([*face.box, face.score]).all()):
        raise ArithmeticError("the face detector gives no finite numbers for it")
    if glimpse.sure is None and (finest := _reduction_for(face, cropper, wanted)) < wanted:
        with decoded(finest) as picture:
            crop = cropper.cut(picture.pixels, face.landmarks * (wanted / finest))
    return Seen(size, phash, replace(finding, face=_enlarged(face, wanted)), crop)


def first_reduction(header: Header, cropper: Cropper) -> int:
    """Return the reduction at which a picture is decoded first: as small as its first look needs it."""
    if cropper.networks is None:
        return reduction_to(header, _FINER * max(cropper.manifest.width, cropper.manifest.height))
    allowed = round(min(header.width, header.height) * cropper.min_face / FACE_PIXELS)
    return next((r for r in reductions(header) if r <= allowed), 1)


def _reduction_for(face: Face, cropper: Cropper, reduction: int) -> int:
    """Return the strongest reduction, up to the one that a face was seen at, that leaves its crop all its pixels."""
    pixels = cropper.fineness(face.landmarks) * reduction
    return next((r for r in (8, 4, 2) if r <= reduction and pixels >= r * _FACE_FINER), 1)


def _enlarged(face: Face, factor: int) -> Face:
    """Return a face of a reduced picture in the pixels of the whole one."""
    left, top, width, height = (value * factor for value in face.box)
    return replace(face, box=(left, top, width, height), landmarks=face.landmarks * factor)


def one_line(error: BaseException) -> str:
    """Return an error's message on one line of at most 300 characters."""
    return " ".join(str(error).split())[:300]
