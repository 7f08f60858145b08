"""The pictures of a review: read inside the store and nowhere else, turned upright, cut, and encoded anew."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

import cv2
import numpy as np
import simplejpeg

from audit.review.errors import RefusedError
from labeler.decode import Limits, Pixels, check, decode_checked
from labeler.errors import DecodeError
from labeler.store import decode_path

FACE_PIXELS = 640
"""Longest side of a face as it is served; a smaller one is served as it is."""
WHOLE_PIXELS = 1600
"""Longest side of a whole photo as it is served."""
ROOM = 1.7
"""Side of the square around a face, as a multiple of the longer side of its box."""
QUALITY = 88
AT_ONCE = 2
"""Pictures decoded at the same time, so that memory stays bounded."""


@dataclass(frozen=True)
class Box:
    """Where the labelled face is, in pixels of the upright picture.

    Parameters
    ----------
    x, y, width, height : float
        Left, top and size; may reach past the picture.
    roll : float
        Degrees clockwise by which the face is turned in the picture.
    """

    x: float
    y: float
    width: float
    height: float
    roll: float = 0.0


def parts_of(path: str) -> tuple[str, ...]:
    r"""Return the names of the folders and the file that a sheet's path leads through.

    Parameters
    ----------
    path : str
        Relative to the store, as a label table writes it; its escapes are undone before it is judged.

    Raises
    ------
    RefusedError
        If it is empty or absolute, or if a part of it leads up, is empty or holds a zero byte.

    Examples
    --------
    >>> parts_of("a/b.jpg")
    ('a', 'b.jpg')
    """
    parts = tuple(decode_path(path).split("/"))
    if any(part in ("", ".", "..") or "\0" in part for part in parts) or os.path.isabs(decode_path(path)):
        raise RefusedError(f"{path!r} is no path inside the store", 404)
    return parts


def inside(root: str, path: str) -> tuple[str, ...]:
    """Return the names that lead from the store to a file, its links followed; the file may be missing.

    Parameters
    ----------
    root : str
        The store's real path.
    path : str
        As `parts_of` takes it.

    Raises
    ------
    RefusedError
        As `parts_of`, and where a link leads out of the store.
    """
    real = os.path.realpath(os.path.join(root, *parts_of(path)))
    if os.path.commonpath([root, real]) != root:
        raise RefusedError(f"{path!r} is a link that leads out of the store; put the file itself in its place", 404)
    return tuple(os.path.relpath(real, root).split(os.sep))


def read_inside(root: str, path: str, limit_bytes: int) -> bytes:
    """Return the content of a file of the store.

    Every step is taken from the folder before it and follows no link, so that no exchange of a folder or file between
    the check and the reading leads out of the store.

    Raises
    ------
    RefusedError
        As `inside`; and if it cannot be opened or read, is not a regular file, or is longer than the limit.
    """
    *folders, name = inside(root, path)
    try:
        at = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for folder in folders:
                flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
                below = os.open(folder, flags, dir_fd=at)
                os.close(at)
                at = below
            # Without waiting: a pipe that took the file's place must not block.
            found = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=at)
        finally:
            os.close(at)
        with os.fdopen(found, "rb", buffering=0) as stream:
            about = os.fstat(found)
            if not stat.S_ISREG(about.st_mode) or about.st_size > limit_bytes:
                raise RefusedError("The file is not a regular file, or too long to be shown.", 422)
            return stream.readall()
    except OSError as error:
        raise RefusedError(f"The file cannot be read ({error.strerror}).", 422) from error


@dataclass(frozen=True)
class Pictures:
    """The pictures of a sheet, by number.

    Parameters
    ----------
    root : str
        The store's real path.
    paths : mapping of int to str
        Each number's path, as the sheet writes it.
    boxes : mapping of int to Box
        The face in each; a picture without one is shown whole.
    limits : Limits
        What a file may ask for before it is refused.
    """

    root: str
    paths: Mapping[int, str]
    boxes: Mapping[int, Box]
    limits: Limits = field(default_factory=Limits)
    _places: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(AT_ONCE))

    def face(self, number: int) -> bytes:
        """Return the face with some room around it, as a JPEG file without metadata; see `whole`."""
        box = self.boxes.get(number)
        return self.whole(number) if box is None else self._jpeg(number, box)

    def whole(self, number: int) -> bytes:
        """Return the whole picture, upright, as a JPEG file without metadata.

        Raises
        ------
        RefusedError
            If the sheet has no such number, or the file cannot be read or decoded.
        """
        return self._jpeg(number, None)

    def _jpeg(self, number: int, box: Box | None) -> bytes:
        path = self.paths.get(number)
        if path is None:
            raise RefusedError("The sheet has no image with this number.", 404)
        with self._places:
            data = read_inside(self.root, path, self.limits.file_bytes)
            try:
                pixels = _upright(data, self.limits, box)
            except DecodeError as error:
                raise RefusedError(f"The file cannot be shown ({error}).", 422) from error
        return bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), quality=QUALITY, colorspace="RGB"))


def _upright(data: bytes, limits: Limits, box: Box | None) -> Pixels:
    header = check(data, limits)
    longest = max(header.width, header.height) if box is None else ROOM * max(box.width, box.height)
    wanted = WHOLE_PIXELS if box is None else FACE_PIXELS
    reduction = next((r for r in (8, 4, 2) if header.format == "jpeg" and longest >= r * wanted), 1)
    pixels = decode_checked(data, header, reduction).pixels
    if box is not None:
        pixels = np.rot90(around(pixels, box, 1 / reduction), round(box.roll / 90))
    factor = wanted / max(pixels.shape[:2])
    if factor >= 1:
        return pixels
    size = max(1, round(pixels.shape[1] * factor)), max(1, round(pixels.shape[0] * factor))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)


def around(pixels: Pixels, box: Box, scale: float = 1.0) -> Pixels:
    """Return the square around a face, as far as the picture reaches; all of it where the box lies outside.

    Parameters
    ----------
    pixels : numpy.ndarray
        Shape (rows, columns, 3).
    box : Box
        In pixels of the full size.
    scale : float
        Size of `pixels` as a share of the full size.

    Examples
    --------
    >>> around(np.zeros((100, 200, 3), np.uint8), Box(90, 40, 20, 20)).shape
    (34, 34, 3)
    """
    half = ROOM * max(box.width, box.height) / 2
    x, y = box.x + box.width / 2, box.y + box.height / 2
    rows, columns = pixels.shape[:2]
    left, right = (round(min(max(edge * scale, 0), columns)) for edge in (x - half, x + half))
    top, bottom = (round(min(max(edge * scale, 0), rows)) for edge in (y - half, y + half))
    return pixels[top:bottom, left:right] if right > left and bottom > top else pixels
