"""One file into one row, all but its labels: read, decode no larger than needed, find the face, crop."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from labeler.crew import Budget, Clock
from labeler.decode import Limits, Picture, Pixels, check, decode_checked, decoded_bytes, reduction_to
from labeler.errors import DecodeError
from labeler.faces import Cropper, Face, similarity
from labeler.phash import perceptual_hash
from labeler.store import Entry, read

_FIRST_LOOK = 64
"""Pixels, over the smallest face's share of the shorter side, that both looks of `labeler.faces.find` get to see."""

_FINER = 2
"""How much finer than its crop a face should be decoded, along each side."""


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
    """What every thread needs to turn files into rows; nothing in it changes.

    Parameters
    ----------
    root : path
        The store.
    cropper : Cropper
        Finds the face and crops it.
    limits : Limits
        What a file may ask for before it is refused.
    budget : Budget
        The bytes that all threads together may have in hand.
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
        row = Row(entry)
        try:
            data = self._read(entry, clock)
            row.content_hash = content_hash(data)
            row.kept = row.content_hash == known_hash
            if not row.kept:
                self._look(row, data, clock)
        except DecodeError as error:
            row.fail(error.status, one_line(error))
        except MemoryError:
            row.fail("too_large", "not enough memory to decode it")
        except Exception as error:
            row.fail("crashed", f"{type(error).__name__}: {one_line(error)}")
        return row

    def _read(self, entry: Entry, clock: Clock) -> bytes:
        clock.stop()
        with self.budget.hold(min(entry.size_bytes or 0, self.limits.file_bytes)):
            clock.start()
            return read(self.root, entry, self.limits.file_bytes)

    def _look(self, row: Row, data: bytes, clock: Clock) -> None:
        header = check(data, self.limits)
        reduction = reduction_to(header, self.least)
        clock.stop()
        with self.budget.hold(len(data) + decoded_bytes(header, reduction)):
            clock.start()
            picture = decode_checked(data, header, reduction)
            row.picture_size = (picture.width, picture.height)
            row.phash = perceptual_hash(picture.pixels)
            finer = self._crop(row, picture)
        if finer < reduction:
            clock.stop()
            with self.budget.hold(len(data) + decoded_bytes(header, finer)):
                clock.start()
                self._crop(row, decode_checked(data, header, finer))
        if row.crop is None:
            row.fail("no_face", "no face was found")

    @property
    def least(self) -> int:
        """The pixels that the shorter side needs, so that a reduced picture serves as well as a whole one."""
        if self.cropper.networks is None:
            return _FINER * max(self.cropper.manifest.width, self.cropper.manifest.height)
        return math.ceil(_FIRST_LOOK / self.cropper.min_face)

    def _crop(self, row: Row, picture: Picture) -> int:
        """Find the face and put its crop into the row; return the reduction at which it has all its pixels."""
        finding, row.crop = self.cropper.crop(picture.pixels)
        if finding is None:
            return picture.reduction
        row.faces, row.face = finding.count, None
        if finding.face is None:
            return picture.reduction
        face, manifest = finding.face, self.cropper.manifest
        if not (np.isfinite(face.landmarks).all() and np.isfinite([*face.box, face.score]).all()):
            raise ArithmeticError("the face detector gives no finite numbers for it")
        row.face = _enlarged(face, picture.reduction)
        matrix, _ = similarity(face.landmarks, np.array(manifest.framing.points) * (manifest.width, manifest.height))
        share = math.sqrt(abs(float(np.linalg.det(matrix[:, :2])))) * _FINER
        wanted = picture.reduction
        while wanted > 1 and wanted * share > picture.reduction:
            wanted //= 2
        return wanted


def _enlarged(face: Face, factor: int) -> Face:
    """Return a face of a reduced picture in the pixels of the whole one."""
    left, top, width, height = (value * factor for value in face.box)
    return replace(face, box=(left, top, width, height), landmarks=face.landmarks * factor)


def one_line(error: BaseException) -> str:
    """Return an error's message on one line of at most 300 characters."""
    return " ".join(str(error).split())[:300]
