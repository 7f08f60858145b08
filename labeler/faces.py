"""From a picture to the crop a pack wants: find the face, turn it upright, lay it into the pack's framing."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from labeler.aligner import MARGIN, WINDOW, Aligner, Pose
from labeler.decode import Pixels, to_gray
from labeler.detector import THRESHOLD, Detector, Faces
from labeler.pack import Manifest

PREPROCESSING_VERSION = "4"
"""Changes whenever the same file would give another crop; kept in the label table."""

MIN_FACE = 1 / 8
"""Share of the picture's shorter side that a face fills at least, for the first look."""

TEMPLATE = ((0.29, 0.318), (0.71, 0.318), (0.5, 0.556), (0.317, 0.75), (0.683, 0.75))
"""The framing of our own packs: eyes 0.42 of the width apart, so that the frame stays inside FairFace's pictures. The
shape is the median of the landmarks on FairFace's training pictures, made symmetric."""

_FACE_PIXELS = 16
_SECOND_ZOOM = 4
_LARGEST_ZOOM = 2.0
_LONGEST_SIDE = 2048
_PYRAMID_FROM = 320
_CANDIDATES = 3

_SURE = 0.85
_HALVED_FROM = 1.8
_CLOSE = 96
_CLOSE_TARGET = tuple((_CLOSE * (0.5 + (x - 0.5) * 0.7), _CLOSE * (0.52 + (y - 0.535) * 0.7)) for x, y in TEMPLATE)
Points = npt.NDArray[np.float64]
Plane = npt.NDArray[np.complex128]


@dataclass(frozen=True)
class Face:
    """One face in a picture.

    Parameters
    ----------
    box : tuple of float
        Left, top, width, height in pixels of the upright picture; may reach past its edges.
    landmarks : numpy.ndarray
        Shape (5, 2), as in `labeler.detector.Faces`, in pixels of the upright picture.
    score : float
        The detector's score, 0 to 1, of the last look at the face.
    quality : float
        How well the detector's own landmarks fit a frontal face, 0 to 1, as `frontality` tells it.
    """

    box: tuple[float, float, float, float]
    landmarks: Points
    score: float
    quality: float

    @property
    def roll(self) -> float:
        """How far the face is turned in the picture's plane, in degrees clockwise, -180 to 180."""
        matrix = similarity(self.landmarks, np.array(TEMPLATE))[0]
        return -math.degrees(math.atan2(matrix[1, 0], matrix[0, 0]))


@dataclass(frozen=True)
class Networks:
    """What finds a face and what says exactly where it lies; both may be used from several threads at once."""

    detector: Detector
    aligner: Aligner

    @classmethod
    def load(cls) -> Networks:
        """Load the networks that come with the package.

        Raises
        ------
        PackError
            If one is missing or damaged.
        """
        return cls(Detector.load(), Aligner.load())

    @property
    def version(self) -> str:
        """The beginnings of both networks' checksums."""
        return f"yunet-{self.detector.digest[:12]}+aligner-{self.aligner.digest[:12]}"


@dataclass(frozen=True)
class Finding:
    """What a search found: the number of faces, and the largest one."""

    count: int
    face: Face | None


@dataclass(frozen=True)
class Cropper:
    """How a picture becomes the crop of a pack, the same in labelling, evaluation and training.

    Parameters
    ----------
    manifest : Manifest
        The pack: size, colour and framing of the crop.
    networks : Networks or None
        Find the face; None takes the whole picture as the crop.
    min_face : float
        As in `find`.
    """

    manifest: Manifest
    networks: Networks | None
    min_face: float = MIN_FACE

    @classmethod
    def of(cls, manifest: Manifest, face: str = "auto", min_face: float = MIN_FACE) -> Cropper:
        """Return the cropper of a pack, with the networks that come with the package where they are needed.

        Parameters
        ----------
        manifest : Manifest
            The pack.
        face : str
            ``auto`` to find the face, where the pack's framing says where its landmarks belong; ``whole`` for pictures
            that are crops of faces already.
        min_face : float
            As in `find`.

        Raises
        ------
        PackError
            If one of them is missing or damaged.
        """
        wanted = face == "auto" and manifest.framing.kind == "landmarks"
        return cls(manifest, Networks.load() if wanted else None, min_face)

    @property
    def version(self) -> str:
        """What besides the pack decides the crop: the version of this code and of the networks, if they are used."""
        return PREPROCESSING_VERSION + (f"+{self.networks.version}" if self.networks else "")

    def crop(self, pixels: Pixels) -> tuple[Finding | None, Pixels | None]:
        """Return what the search found (None for whole pictures) and the crop (None without a face)."""
        width, height, colour = self.manifest.width, self.manifest.height, self.manifest.colour
        if self.networks is None:
            return None, whole_crop(pixels, width, height, colour)
        finding = find(pixels, self.networks, self.min_face)
        if finding.face is None:
            return finding, None
        return finding, align(pixels, finding.face.landmarks, self.manifest.framing.points, width, height, colour)


def find(pixels: Pixels, networks: Networks, min_face: float = MIN_FACE) -> Finding:
    """Find the faces of a picture and the largest one's landmarks.

    The picture is reduced until the smallest face sought has 16 pixels. Where that shows no face, the quarter turns
    are tried (photos that lie on their side without saying so), then four times the resolution. The aligner says where
    exactly the largest face lies and which way is up, for the detector's landmarks always claim to be upright. A face
    that is not sure must show again in a window that is turned and scaled to it.

    Parameters
    ----------
    pixels : numpy.ndarray
        RGB, shape (height, width, 3), uint8.
    networks : Networks
        The detector and the aligner.
    min_face : float
        Smallest face sought first, as a share of the picture's shorter side, above 0 and up to 1.
    """
    first = min(1.0, _scale(pixels, min_face))
    second = min(_LARGEST_ZOOM, _scale(pixels, min_face / _SECOND_ZOOM))
    finding = _look(pixels, first, networks, _FIRST, _FIRST_TURNED)
    if finding.face is None and second > first:
        finding = _look(pixels, second, networks, _SECOND, _SECOND_TURNED)
    return finding


def _look(pixels: Pixels, scale: float, networks: Networks, upright: _Needed, turned: _Needed) -> Finding:
    """Look at a picture at one scale: upright, and where that shows no sure face, in its turns, the best first."""
    small = _resized(pixels, scale)
    best = _largest(
        _Views(pixels, small, scale), _detect(small, networks.detector, upright.threshold), networks, upright
    )
    if best.face is not None and best.face.score >= _SURE:
        return best
    others = [(turn, _detect(np.rot90(small, turn), networks.detector, turned.threshold)) for turn in (1, 3, 2)]
    for turn, faces in sorted(others, key=lambda item: -item[1].scores.max(initial=0)):
        views = _Views(np.rot90(pixels, turn), np.rot90(small, turn), scale)
        finding = _largest(views, faces, networks, turned)
        if finding.face is None or (best.face is not None and finding.face.score <= best.face.score):
            continue
        height, width = pixels.shape[:2]
        best = Finding(finding.count, _turned_back(finding.face, turn, width, height))
        if finding.face.score >= _SURE:
            break
    return best


@dataclass(frozen=True)
class _Needed:
    """Scores that a look asks for.

    Parameters
    ----------
    threshold : float
        Of a face to be looked at closer.
    confirmed : float
        There, of the face seen again.
    trusted : float
        Of a face that need not show again.
    """

    threshold: float
    confirmed: float
    trusted: float


_FIRST = _Needed(THRESHOLD, 0.5, 0.75)
_FIRST_TURNED = _Needed(0.5, 0.8, 1.0)
_SECOND = _Needed(0.4, 0.8, 0.83)
_SECOND_TURNED = _Needed(0.4, 0.85, 1.0)


@dataclass(frozen=True)
class _Views:
    """A picture at its own size and resized by a scale."""

    large: Pixels
    small: Pixels
    scale: float

    def sample(self, matrix: Points, side: int) -> Pixels:
        """Return a square view in colour; black outside."""
        if self._fine_enough(matrix):
            return sample(self.small, self._reduced(matrix), side, side, border=cv2.BORDER_CONSTANT, finest=1)
        return sample(self.large, matrix, side, side, border=cv2.BORDER_CONSTANT, finest=1)

    def gray(self, matrix: Points, side: int) -> Pixels:
        """Return a square view in gray; outside as `align`."""
        if not self._fine_enough(matrix):
            return to_gray(sample(self.large, matrix, side, side, finest=1))
        # Several views of one face follow each other: what they share is made once.
        halved = self.scale / abs(_factor(matrix)) >= _HALVED_FROM
        source = self._half_gray if halved else self._small_gray
        forward = self._reduced(matrix) * ((2, 2, 1) if halved else (1, 1, 1))
        forward[:, 2] += 0.5 * (forward[:, 0] + forward[:, 1]) - 0.5
        view = cv2.warpAffine(source, forward, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(view, np.uint8)

    @functools.cached_property
    def _half_gray(self) -> Pixels:
        # Even sides, so that a pixel is the mean of four.
        bottom, right = (side % 2 for side in self._small_gray.shape)
        even = cv2.copyMakeBorder(self._small_gray, 0, bottom, 0, right, cv2.BORDER_REPLICATE)
        size = even.shape[1] // 2, even.shape[0] // 2
        return np.asarray(cv2.resize(even, size, interpolation=cv2.INTER_AREA), np.uint8)

    @functools.cached_property
    def _small_gray(self) -> Pixels:
        return to_gray(self.small)

    def _fine_enough(self, matrix: Points) -> bool:
        """Return whether the smaller picture has a pixel for each of a view's."""
        return self.scale <= 1 <= self.scale / abs(_factor(matrix))

    def _reduced(self, matrix: Points) -> Points:
        """Return a view's matrix from the picture as one from the smaller picture."""
        return matrix / (self.scale, self.scale, 1)


def search(pixels: Pixels, detector: Detector, min_face: float = MIN_FACE) -> Faces:
    """Return every face that the first look of `find` sees, in pixels of the picture, best first."""
    scale = min(1.0, _scale(pixels, min_face))
    return _detect(_resized(pixels, scale), detector).scaled(1 / scale)


def _scale(pixels: Pixels, min_face: float) -> float:
    """Return the scale of a look; where it reduces, by a whole number, for such averaging is six times as fast."""
    rows, columns = pixels.shape[:2]
    scale = min(_FACE_PIXELS / min_face / min(rows, columns), _LONGEST_SIDE / max(rows, columns))
    return float(scale) if scale >= 1 else 1.0 / round(1 / scale)


def _resized(pixels: Pixels, scale: float) -> Pixels:
    if scale == 1:
        return pixels
    rows, columns = pixels.shape[:2]
    size = (max(1, round(columns * scale)), max(1, round(rows * scale)))
    return np.asarray(cv2.resize(pixels, size, interpolation=_method(scale)), np.uint8)


def _method(scale: float) -> int:
    return cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR


def _detect(pixels: Pixels, detector: Detector, threshold: float = THRESHOLD) -> Faces:
    large = max(pixels.shape[:2]) > _PYRAMID_FROM
    return detector.detect_pyramid(pixels, threshold) if large else detector.detect(pixels, threshold)


def _largest(views: _Views, faces: Faces, networks: Networks, needed: _Needed) -> Finding:
    """Return the largest face that holds when looked at closer, and how many faces are left with it."""
    largest_first = np.argsort(-faces.boxes[:, 2] * faces.boxes[:, 3], kind="stable")
    for rejected, k in enumerate(largest_first[:_CANDIDATES]):
        coarse = _face(faces.boxes[k] / views.scale, faces.landmarks[k] / views.scale, float(faces.scores[k]))
        face = _look_closer(views, coarse, networks, needed)
        if face is not None:
            return Finding(len(faces) - rejected, face)
    return Finding(0, None)


def _face(box: npt.NDArray[np.floating], landmarks: npt.NDArray[np.floating], score: float) -> Face:
    """Return a detection as a face."""
    left, top, width, height = box.tolist()
    points = landmarks.astype(np.float64)
    return Face((left, top, width, height), points, score, frontality(points))


def _look_closer(views: _Views, face: Face, networks: Networks, needed: _Needed) -> Face | None:
    """Return a face exactly where it lies, or None where one that is not trusted does not show again.

    What is not sure must show in a window that is turned, scaled and shifted to it, and has its score from there. A
    trusted face that does not was led astray by the aligner and stays as it was seen.
    """
    landmarks = _aligned(views, face.landmarks, networks.aligner)
    if face.score >= _SURE:
        return replace(face, landmarks=landmarks)
    matrix, _ = similarity(landmarks, _CLOSE_TARGET)
    score = _central(networks.detector.detect(views.sample(matrix, _CLOSE), needed.confirmed))
    if score is not None:
        return replace(face, landmarks=landmarks, score=score)
    return face if face.score >= needed.trusted else None


def _aligned(views: _Views, landmarks: Points, aligner: Aligner) -> Points:
    """Return a face's landmarks, shape (5, 2), as `TEMPLATE` lies where the aligner sees the face."""

    def view(matrix: Points) -> Pixels:
        return views.gray(matrix, WINDOW)

    matrix = aligner.settle(similarity(landmarks, _ALIGNER_TARGET)[0], view, _followed)
    return _from_window(_ALIGNER_SHAPE, matrix)


def _followed(matrix: Points, pose: Pose) -> Points:
    """Return the matrix from the picture to the window to which a pose leads, given that to its own window."""
    factor = 1 / pose.factor
    turn = np.array([[factor.real, -factor.imag], [factor.imag, factor.real]])
    shift = complex(matrix[0, 2], matrix[1, 2]) - WINDOW * (_MIDDLE + pose.shift)
    shift = factor * shift + WINDOW * _MIDDLE
    return np.column_stack([turn @ matrix[:, :2], (shift.real, shift.imag)])


def _from_window(shape: Plane, matrix: Points) -> Points:
    """Return the points of a shape about a window's middle, in windows, in the picture."""
    seen = WINDOW * (_MIDDLE + shape)
    return _points((seen - complex(matrix[0, 2], matrix[1, 2])) / _factor(matrix))


def _central(faces: Faces) -> float | None:
    """Return the best score of a face whose box holds the middle of the window, if one does."""
    holds = faces.holding(_CLOSE / 2, _CLOSE / 2)
    return float(faces.scores[holds].max()) if holds.any() else None


def _turned_back(face: Face, turn: int, width: int, height: int) -> Face:
    """Return a face found in `np.rot90(picture, turn)` in the coordinates of the picture, of this width and height."""
    if turn == 0:
        return face
    left, top, across, down = face.box
    corners = _turn_back(np.array([[left, top], [left + across, top + down]]), turn, width, height)
    (x0, y0), (x1, y1) = corners.min(0), corners.max(0)
    landmarks = _turn_back(face.landmarks, turn, width, height)
    box = (float(x0), float(y0), float(x1 - x0), float(y1 - y0))
    return replace(face, box=box, landmarks=landmarks)


def _turn_back(points: Points, turn: int, width: int, height: int) -> Points:
    x, y = points[:, 0], points[:, 1]
    return np.stack({1: (width - y, x), 2: (width - x, height - y), 3: (y, height - x)}[turn], 1)


def similarity(source: npt.ArrayLike, target: npt.ArrayLike) -> tuple[Points, float]:
    """Return the turn, scale and shift that best lay points on others, and how badly they then fit.

    Least squares without reflection (Umeyama 1991, "Least-squares estimation of transformation parameters"), in complex
    numbers: with both sets centred, the factor is sum(target x conj(source)) / sum(|source|^2).

    Parameters
    ----------
    source, target : array of shape (n, 2)
        Corresponding points.

    Returns
    -------
    matrix : numpy.ndarray
        Shape (2, 3), from source to target coordinates.
    residual : float
        Root of the residual's share of the target's own sum of squares, 0 (exact) to 1.
    """
    start, end = _plane(source), _plane(target)
    middle, goal = complex(start.sum()) / len(start), complex(end.sum()) / len(end)
    z, w = start - middle, end - goal
    spread = float(np.vdot(z, z).real)
    factor = complex(np.vdot(z, w)) / spread if spread > 0 else 1 + 0j
    shift, rest = goal - factor * middle, w - factor * z
    residual = math.sqrt(float(np.vdot(rest, rest).real) / max(float(np.vdot(w, w).real), 1e-12))
    matrix = np.array([[factor.real, -factor.imag, shift.real], [factor.imag, factor.real, shift.imag]])
    return matrix, min(residual, 1.0)


def frontality(landmarks: npt.ArrayLike) -> float:
    """Return how well landmarks, shape (5, 2), fit a frontal face, 0 to 1: one minus the residual of `similarity`."""
    return 1.0 - similarity(landmarks, TEMPLATE)[1]


def _plane(points: npt.ArrayLike) -> Plane:
    """Return points, shape (n, 2), as complex numbers, shape (n,)."""
    return np.ascontiguousarray(points, np.float64).view(np.complex128).ravel()


_MIDDLE = 0.5 + 0.5j
_ALIGNER_SHAPE = (_plane(TEMPLATE) - _MIDDLE) / MARGIN


def _points(plane: Plane) -> Points:
    """Return complex numbers, shape (n,), as points, shape (n, 2)."""
    return plane.view(np.float64).reshape(-1, 2)


_ALIGNER_TARGET = _points(WINDOW * (_MIDDLE + _ALIGNER_SHAPE))


def _factor(matrix: Points) -> complex:
    """Return turn and scale of a similarity's matrix as one complex number."""
    return complex(matrix[0, 0], matrix[1, 0])


def align(
    pixels: Pixels,
    landmarks: npt.ArrayLike,
    framing: Sequence[tuple[float, float]],
    width: int,
    height: int,
    colour: str,
) -> Pixels:
    """Return the crop in which a face's landmarks lie where the framing wants them.

    Parameters
    ----------
    pixels : numpy.ndarray
        RGB (rows, columns, 3) or gray (rows, columns), uint8.
    landmarks : array of shape (5, 2)
        In pixels of the picture.
    framing : sequence of (x, y)
        The landmarks' places, as fractions of the crop's width and height.
    width, height : int
        Size of the crop.
    colour : str
        ``gray`` or ``rgb``.
    """
    matrix, _ = similarity(landmarks, np.array(framing) * (width, height))
    return _coloured(sample(pixels, matrix, width, height), colour)


def sample(
    pixels: Pixels,
    matrix: npt.ArrayLike,
    width: int,
    height: int,
    *,
    border: int = cv2.BORDER_REPLICATE,
    finest: int = 2,
) -> Pixels:
    """Return an affine view of a picture, area-averaged so that nothing aliases.

    Parameters
    ----------
    pixels : numpy.ndarray
        uint8, shape (rows, columns) or (rows, columns, 3).
    matrix : array of shape (2, 3)
        From the picture's coordinates to the view's, both in pixels with (0, 0) at the top left corner of the top
        left pixel.
    width, height : int
        Size of the view.
    border : int
        What lies outside the picture, as OpenCV's border types: by default its border pixels, repeated.
    finest : int
        Most samples along each side of a pixel of the view; what exceeds them is averaged beforehand.
    """
    forward = np.asarray(matrix, np.float64)
    (a, b, x), (c, d, y) = forward.tolist()
    reduction = 1 / math.sqrt(abs(a * d - b * c))
    fine = min(max(math.ceil(reduction), 1), finest)
    left, top, right, bottom = _shown(forward, width, height, (pixels.shape[1], pixels.shape[0]), reduction)
    across = down = float(max(1, int(reduction / fine)))
    region = pixels[top:bottom, left:right]
    if across > 1:
        size = math.ceil((right - left) / across), math.ceil((bottom - top) / down)
        across, down = (right - left) / size[0], (bottom - top) / size[1]
        region = np.asarray(cv2.resize(region, size, interpolation=cv2.INTER_AREA), np.uint8)
    x, y = fine * (x + a * left + b * top), fine * (y + c * left + d * top)
    a, b, c, d = fine * a * across, fine * b * down, fine * c * across, fine * d * down
    inner = np.array([[a, b, x + (a + b - 1) / 2], [c, d, y + (c + d - 1) / 2]])
    size = width * fine, height * fine
    view = cv2.warpAffine(np.ascontiguousarray(region), inner, size, flags=cv2.INTER_LINEAR, borderMode=border)
    if fine > 1:
        view = cv2.resize(view, (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(view, np.uint8)


def _shown(
    forward: Points, width: int, height: int, size: tuple[int, int], reduction: float
) -> tuple[int, int, int, int]:
    """Return left, top, right and bottom of the part of a picture that a view shows, with a margin, at least a pixel.

    The sides are multiples of the whole-number reduction where the picture allows it, for then averaging is fast.
    """
    (a, b, x), (c, d, y) = forward.tolist()
    determinant = a * d - b * c
    corners = [(u - x, v - y) for u in (0, width) for v in (0, height)]
    step, margin = max(1, int(reduction)), 2 * max(1.0, reduction)
    bounds = []
    for values, limit in (
        ([(d * u - b * v) / determinant for u, v in corners], size[0]),
        ([(a * v - c * u) / determinant for u, v in corners], size[1]),
    ):
        start = min(max(math.floor((min(values) - margin) / step) * step, 0), limit - 1)
        bounds.append((start, max(start + 1, min(math.ceil((max(values) + margin) / step) * step, limit))))
    (left, right), (top, bottom) = bounds
    return left, top, right, bottom


def whole_crop(pixels: Pixels, width: int, height: int, colour: str) -> Pixels:
    """Return the whole picture as a crop.

    Nothing is stretched: a picture of another aspect ratio is completed with its own border pixels. Reduction averages
    areas, so that nothing aliases.

    Parameters
    ----------
    pixels : numpy.ndarray
        RGB (height, width, 3) or gray (height, width), uint8.
    width, height : int
        Size of the crop.
    colour : str
        ``gray`` or ``rgb``.

    Returns
    -------
    numpy.ndarray
        uint8, shape (height, width) for gray and (height, width, 3) for RGB.
    """
    rows, columns = pixels.shape[:2]
    scale = min(width / columns, height / rows)
    fitted = (max(1, round(columns * scale)), max(1, round(rows * scale)))
    reduced = cv2.resize(pixels, fitted, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    left, top = (width - fitted[0]) // 2, (height - fitted[1]) // 2
    crop = np.asarray(
        cv2.copyMakeBorder(
            reduced,
            top,
            height - fitted[1] - top,
            left,
            width - fitted[0] - left,
            cv2.BORDER_REPLICATE,
        ),
        np.uint8,
    )
    return _coloured(crop, colour)


def _coloured(crop: Pixels, colour: str) -> Pixels:
    if colour == "gray":
        return to_gray(crop)
    return crop if crop.ndim == 3 else np.asarray(cv2.cvtColor(crop, cv2.COLOR_GRAY2RGB), np.uint8)
