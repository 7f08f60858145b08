"""Training pictures in memory, and crops cut from them through an affine map, so that every framing takes one path."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from labeler.decode import Limits, check, decode, decode_checked, quiet_decoders
from labeler.errors import DecodeError, LabelerError
from labeler.faces import Cropper, Networks, find, similarity, whole_crop
from labeler.looks import face_size
from labeler.pack import Manifest
from labeler.prepare import Seen, look
from training.consensus import LARGEST_ROLL

Pixels = npt.NDArray[np.uint8]
Matrix = npt.NDArray[np.float64]
Locate = Callable[[Pixels], Matrix | None]
"""From a picture in RGB to the landmarks of the face in it, shape (5, 2), or None."""

OVERSAMPLING = 2
"""A crop is sampled this many times finer along each side and then averaged, so that nothing aliases."""


@dataclass(frozen=True)
class Pictures:
    """Pictures of one size in memory, and where the crop lies in each.

    Parameters
    ----------
    pixels : numpy.ndarray
        Shape (n, side, side) for gray or (n, side, side, 3) for RGB, uint8.
    frames : numpy.ndarray
        Shape (n, 2, 3), float64. The affine map from a place in the crop, as fractions (x, y) of its width and
        height, to a place in the picture in pixels, measured from the outer edge of the first pixel.
    """

    pixels: Pixels
    frames: Matrix

    def __len__(self) -> int:
        return len(self.pixels)

    def widened(self, margin: float) -> Pictures:
        """Return the same pictures with every crop grown about its centre by a factor."""
        frames = self.frames.copy()
        frames[:, :, 2] += 0.5 * (1 - margin) * (frames[:, :, 0] + frames[:, :, 1])
        frames[:, :, :2] *= margin
        return Pictures(self.pixels, frames)


def whole_frame(width: int, height: int) -> Matrix:
    """Return the frame, shape (2, 3), whose crop is the whole picture.

    Examples
    --------
    >>> whole_frame(96, 96) @ [0.5, 0.5, 1.0]
    array([48., 48.])
    """
    return np.array([[width, 0.0, 0.0], [0.0, height, 0.0]], np.float64)


def whole_pictures(pixels: Pixels) -> Pictures:
    """Return pictures, shape (n, height, width[, 3]), each of which is its own crop."""
    frame = whole_frame(pixels.shape[2], pixels.shape[1])
    return Pictures(pixels, np.repeat(frame[None], len(pixels), axis=0))


def read_picture(path: str | os.PathLike[str], width: int, height: int, colour: str) -> Pixels:
    """Read an image file as labelling would, reduced to a size.

    Raises
    ------
    LabelerError
        If the file cannot be read or decoded.
    """
    return whole_crop(decoded_picture(Path(path)), width, height, colour)


def read_pictures(
    paths: Sequence[Path], width: int, height: int, colour: str, *, threads: int = 2, progress: bool = False
) -> Pixels:
    """Read image files, each as its whole, reduced to a size.

    Parameters
    ----------
    paths : sequence of Path
        The files.
    width, height : int
        Size in pixels.
    colour : str
        ``gray`` or ``rgb``.
    threads : int
        Files decoded at once.
    progress : bool
        Show a progress bar on stderr.

    Returns
    -------
    numpy.ndarray
        Shape (n, height, width) or (n, height, width, 3), uint8, in the order of the paths.
    """
    depth = () if colour == "gray" else (3,)
    pixels = np.empty((len(paths), height, width, *depth), np.uint8)
    with ThreadPoolExecutor(threads) as pool:
        found = pool.map(lambda path: read_picture(path, width, height, colour), paths)
        for index, picture in enumerate(tqdm(found, "pictures", len(paths), disable=not progress, unit="img")):
            pixels[index] = picture
    return pixels


def upright_face() -> Locate:
    """Return what finds a face as labelling does, in pictures that are known to be upright."""
    networks = Networks.load()

    def locate(pixels: Pixels) -> Matrix | None:
        face = find(pixels, networks).face
        return None if face is None or abs(face.roll) > LARGEST_ROLL else face.landmarks

    return locate


def landmark_frame(landmarks: npt.ArrayLike, framing: Sequence[tuple[float, float]]) -> Matrix:
    """Return the frame, shape (2, 3), in which landmarks lie where a framing wants them.

    Parameters
    ----------
    landmarks : array of shape (5, 2)
        In pixels of the picture.
    framing : sequence of (x, y)
        The landmarks' places as fractions of the crop, as in `labeler.pack.Framing`.

    Examples
    --------
    >>> framing = [(0.2, 0.3), (0.8, 0.3), (0.5, 0.5), (0.3, 0.7), (0.7, 0.7)]
    >>> landmark_frame([(10 * x, 10 * y) for x, y in framing], framing).round(6) @ [0.5, 0.5, 1.0]
    array([5., 5.])
    """
    forward, _ = similarity(landmarks, framing)
    inverse = np.linalg.inv(forward[:, :2])
    return np.column_stack([inverse, -inverse @ forward[:, 2]])


def read_aligned_pictures(
    paths: Sequence[Path],
    side: int,
    colour: str,
    framing: Sequence[tuple[float, float]],
    locate: Locate,
    *,
    threads: int = 2,
    progress: bool = False,
) -> tuple[Pictures, npt.NDArray[np.bool_]]:
    """Read image files and find in each the face, so that the crop can be cut in a framing.

    Parameters
    ----------
    paths : sequence of Path
        The files.
    side : int
        Width and height in pixels to which they are reduced, completed to a square.
    colour : str
        ``gray`` or ``rgb``.
    framing : sequence of (x, y)
        The landmarks' places as fractions of the crop, as in `labeler.pack.Framing`.
    locate : callable
        See `Locate`; `upright_face` does as labelling does.
    threads : int
        Files decoded at once.
    progress : bool
        Show a progress bar on stderr.

    Returns
    -------
    (Pictures, numpy.ndarray)
        The pictures in which a face was found, in the order of the paths; and which of the paths these are, shape (n,).
    """
    quiet_decoders()

    def read_one(path: Path) -> tuple[Pixels, Matrix] | None:
        pixels = decoded_picture(path)
        landmarks = locate(pixels)
        if landmarks is None:
            return None
        rows, columns = pixels.shape[:2]
        scale = side / max(rows, columns)
        margin = (side - np.array([columns, rows]) * scale) // 2
        stored = whole_crop(pixels, side, side, colour)
        return stored, landmark_frame(landmarks * scale + margin, framing)

    with ThreadPoolExecutor(threads) as pool:
        bar = tqdm(pool.map(read_one, paths), "faces", len(paths), disable=not progress, unit="img")
        found = list(bar)
    kept = [item for item in found if item is not None]
    pictures = Pictures(np.stack([pixels for pixels, _ in kept]), np.stack([frame for _, frame in kept]))
    return pictures, np.array([item is not None for item in found])


def read_crops(
    paths: Sequence[Path], manifest: Manifest, *, face: str = "auto", threads: int = 2, progress: bool = False
) -> tuple[Pixels, npt.NDArray[np.bool_], npt.NDArray[np.float32]]:
    """Read of each image file the crop that labelling would hand to a pack.

    Parameters
    ----------
    paths : sequence of Path
        The files.
    manifest : Manifest
        Of the pack.
    face : str
        ``auto`` or ``whole``, as `labeler.faces.Cropper.of` takes it.
    threads : int
        Files decoded at once.
    progress : bool
        Show a progress bar on stderr.

    Returns
    -------
    (numpy.ndarray, numpy.ndarray, numpy.ndarray)
        Crops (n, height, width) or (n, height, width, 3), uint8, of the pictures in which a face was found, in the
        order of the paths; which of the paths these are; and how large each of these faces is against the crop
        (`labeler.looks.face_size`). Where whole pictures are the crops these are all, and the sizes are NaN.

    Raises
    ------
    LabelerError
        If a file cannot be read or no face is found in any.
    """
    cropper = Cropper.of(manifest, face)
    quiet_decoders()

    def read_one(path: Path) -> Seen:
        with _named(path):
            data = path.read_bytes()
            header = check(data, Limits())
            return look(header, cropper, lambda reduction: nullcontext(decode_checked(data, header, reduction)))

    with ThreadPoolExecutor(threads) as pool:
        every = list(tqdm(pool.map(read_one, paths), "crops", len(paths), disable=not progress, unit="img"))
    kept = [(seen.finding, seen.crop) for seen in every if seen.crop is not None]
    if not kept:
        raise LabelerError(f"{paths[0].parent}: no face was found in any of {len(paths)} pictures; check the folder")
    sizes = [
        np.nan if finding is None or finding.face is None else face_size(finding.face.box, *crop.shape[1::-1])
        for finding, crop in kept
    ]
    crops = np.stack([crop for _, crop in kept])
    return crops, np.array([seen.crop is not None for seen in every]), np.array(sizes, np.float32)


def decoded_picture(path: Path) -> Pixels:
    """Return an image file's pixels, RGB and upright.

    Raises
    ------
    LabelerError
        If the file cannot be read or decoded.
    """
    with _named(path):
        return decode(path.read_bytes()).pixels


@contextmanager
def _named(path: Path) -> Iterator[None]:
    try:
        yield
    except (DecodeError, OSError) as error:
        raise LabelerError(f"{path}: cannot be used for training or evaluation: {error}") from error


def cut(picture: Pixels, frame: Matrix, width: int, height: int, surroundings: Pixels | None = None) -> Pixels:
    """Cut a crop out of a picture.

    Parameters
    ----------
    picture : numpy.ndarray
        Gray or RGB, uint8.
    frame : numpy.ndarray
        As in `Pictures.frames`, shape (2, 3).
    width, height : int
        Size of the crop in pixels.
    surroundings : numpy.ndarray, optional
        A picture of the same kind that fills what lies outside; otherwise the border is replicated.

    Returns
    -------
    numpy.ndarray
        The crop, uint8, averaged over `OVERSAMPLING` samples a side.

    Examples
    --------
    >>> picture = np.arange(16, dtype=np.uint8).reshape(4, 4)
    >>> cut(picture, whole_frame(4, 4), 2, 2)
    array([[ 3,  5],
           [11, 13]], dtype=uint8)
    """
    fine = (width * OVERSAMPLING, height * OVERSAMPLING)
    matrix = frame.copy()
    matrix[:, 0] /= fine[0]
    matrix[:, 1] /= fine[1]
    matrix[:, 2] += 0.5 * (matrix[:, 0] + matrix[:, 1]) - 0.5
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    if surroundings is None:
        sampled = cv2.warpAffine(picture, matrix, fine, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    else:
        filled = cv2.resize(surroundings, fine, interpolation=cv2.INTER_LINEAR)
        sampled = cv2.warpAffine(picture, matrix, fine, dst=filled, flags=flags, borderMode=cv2.BORDER_TRANSPARENT)
    return np.asarray(cv2.resize(sampled, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def draw_surroundings(pictures: Pictures, others: float, shades: float, rng: np.random.Generator) -> Pixels | None:
    """Return what lies around a picture, for `cut`.

    Parameters
    ----------
    pictures : Pictures
        Square and gray.
    others : float
        Share of draws that give another of them, turned by one to three quarters so that no upright face is in it.
    shades : float
        Share of draws that give shades, one, four or sixteen a side, that run into each other.
    rng : numpy.random.Generator
        What draws.

    Returns
    -------
    numpy.ndarray or None
        Gray, square, uint8; None, for the repeated border, in the draws that remain.
    """
    chance = rng.random()
    if chance < others:
        other = pictures.pixels[int(rng.integers(len(pictures)))]
        return np.ascontiguousarray(np.rot90(other, int(rng.integers(1, 4))))
    if chance < others + shades:
        count = int(rng.choice([1, 4, 16]))
        return rng.integers(0, 256, (count, count)).astype(np.uint8)
    return None
