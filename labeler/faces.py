"""From a picture to the crop a pack wants: find the face, turn it upright, lay it into the pack's framing."""

from __future__ import annotations

import cmath
import functools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from labeler.aligner import MARGIN, WINDOW, Aligner, Pose
from labeler.decode import Pixels, to_gray
from labeler.detector import THRESHOLD, Detector, Faces
from labeler.pack import Manifest
from labeler.verifier import Verifier

PREPROCESSING_VERSION = "10"
"""Changes whenever the same file would give another crop; kept in the label table."""

MIN_FACE = 1 / 8
"""Share of the picture's shorter side that a face fills at least, for the first look."""

FACE_PIXELS = 16
"""Side, in the picture of the first look, of the smallest face sought."""

TEMPLATE = ((0.29, 0.318), (0.71, 0.318), (0.5, 0.556), (0.317, 0.75), (0.683, 0.75))
"""The framing of our own packs: eyes 0.42 of the width apart, so that the frame stays inside FairFace's pictures. The
shape is the median of the landmarks on FairFace's training pictures, made symmetric."""

_SECOND_ZOOM = 4
_LARGEST_ZOOM = 2.0
_ENLARGED_TO = 192
_LONGEST_SIDE = 2048
_PYRAMID_FROM = 320
_CANDIDATES = 3
"""Faces of a look that are looked at closer: the largest of those that the detector sees well, then those that it sees
best of the others."""

_PANORAMA = 2

_SURE = 0.85
_LEAST_SEEN = 0.3
_ODDS = 8.0
"""Log-odds, either way, beyond which the verifier's word counts no more."""

_FAR = 0.2
"""Distances of the eyes from where the detector sees a face beyond which the aligner's word is questioned."""

_RATHER = 2.0
"""How much larger the log-odds must be where the detector sees it."""

_TURNED = math.cos(math.radians(40))
"""Cosine of the turn from where the detector sees a face beyond which a place without it is tried too."""

_PERHAPS = 0.5
"""Score of a face whose place in the detector's eyes is worth a look."""

_ASTRAY = 0.6
"""Evidence that is taken off a face that is not sure and lies where the detector, not the aligner, sees it."""

_HALVED_FROM = 1.8
_CLOSE = 96
_CLOSE_TARGET = tuple((_CLOSE * (0.5 + (x - 0.5) * 0.7), _CLOSE * (0.52 + (y - 0.535) * 0.7)) for x, y in TEMPLATE)
Points = npt.NDArray[np.float64]
Plane = npt.NDArray[np.complex128]


@dataclass(frozen=True)
class Similarity:
    """Turn, scale and shift in the plane, in complex numbers: a place z comes to ``factor * z + shift``."""

    factor: complex
    shift: complex

    @property
    def matrix(self) -> Points:
        """The same as an affine matrix, shape (2, 3)."""
        (a, b), (x, y) = (self.factor.real, self.factor.imag), (self.shift.real, self.shift.imag)
        return np.array([[a, -b, x], [b, a, y]])

    @property
    def opencv_matrix(self) -> Points:
        """The same as OpenCV takes it, which counts from the middle of the first pixel."""
        return Similarity(self.factor, self.shift + _MIDDLE * (self.factor - 1)).matrix

    def after(self, first: Similarity) -> Similarity:
        """Return what does another similarity first and then this one."""
        return Similarity(self.factor * first.factor, self.factor * first.shift + self.shift)

    def back(self, places: Plane) -> Plane:
        """Return the places, shape (n,), that come to the given ones."""
        return (places - self.shift) / self.factor


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
        return -math.degrees(cmath.phase(fit(self.landmarks, TEMPLATE)[0].factor))


@dataclass(frozen=True)
class Networks:
    """What finds a face, says exactly where it lies, and whether it is one; for several threads at once."""

    detector: Detector
    aligner: Aligner
    verifier: Verifier

    @classmethod
    def load(cls) -> Networks:
        """Load the networks that come with the package.

        Raises
        ------
        PackError
            If one is missing or damaged.
        """
        return cls(Detector.load(), Aligner.load(), Verifier.load())

    @property
    def version(self) -> str:
        """The beginnings of the networks' checksums."""
        named = (("yunet", self.detector), ("aligner", self.aligner), ("verifier", self.verifier))
        return "+".join(f"{name}-{network.digest[:12]}" for name, network in named)


@dataclass(frozen=True)
class Finding:
    """What a search found: the number of faces, and the largest one."""

    count: int
    face: Face | None


_NOTHING = (Finding(0, None), -math.inf)
"""What a look finds where nothing holds, and how much speaks for it."""


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
        if self.networks is None:
            return None, self.whole(pixels)
        return self.search(pixels, self.glance(pixels))

    def whole(self, pixels: Pixels) -> Pixels:
        """Return the whole picture as the crop."""
        return whole_crop(pixels, self.manifest.width, self.manifest.height, self.manifest.colour)

    def glance(self, pixels: Pixels) -> Glimpse:
        """Take the first look at a picture, perhaps a reduced one, where faces are to be found."""
        assert self.networks is not None
        return glance(pixels, self.networks.detector, self.min_face)

    def search(self, pixels: Pixels, glimpse: Glimpse) -> tuple[Finding, Pixels | None]:
        """Return what is found after a first look, and the crop, if there is a face.

        Parameters
        ----------
        pixels : numpy.ndarray
            As in `find`; the picture of the first look, or a finer one of the same.
        glimpse : Glimpse
            The first look, in the pixels of this picture.
        """
        assert self.networks is not None
        finding = _search(pixels, glimpse, self.networks, self.min_face)
        return finding, None if finding.face is None else self.cut(pixels, finding.face.landmarks)

    def cut(self, pixels: Pixels, landmarks: npt.ArrayLike) -> Pixels:
        """Return the crop of a face whose landmarks are known."""
        manifest = self.manifest
        return align(pixels, landmarks, manifest.framing.points, manifest.width, manifest.height, manifest.colour)

    def fineness(self, landmarks: npt.ArrayLike) -> float:
        """Return how many pixels of its picture a face has for a pixel of the crop, along each side."""
        manifest = self.manifest
        target = np.array(manifest.framing.points) * (manifest.width, manifest.height)
        return 1 / abs(fit(landmarks, target)[0].factor)


@dataclass(frozen=True)
class Glimpse:
    """The first look at a picture.

    Parameters
    ----------
    small : numpy.ndarray
        The picture as it was looked at, RGB.
    scale : float
        Its size over that of the picture.
    faces : Faces
        What was seen in it, in its own pixels.
    sure : Face or None
        The largest face, in pixels of the picture, where its score leaves no doubt.
    """

    small: Pixels
    scale: float
    faces: Faces
    sure: Face | None

    @classmethod
    def of(cls, small: Pixels, scale: float, faces: Faces) -> Glimpse:
        """Return a look at which some faces were seen."""
        sure = None
        if len(faces):
            largest = int(np.argmax(faces.boxes[:, 2] * faces.boxes[:, 3]))
            if faces.scores[largest] >= _SURE:
                sure = _seen(faces, largest, scale)
        return cls(small, scale, faces, sure)

    def enlarged(self, factor: int) -> Glimpse:
        """Return the same look at a picture that is so many times as large."""
        return Glimpse.of(self.small, self.scale / factor, self.faces)


def glance(pixels: Pixels, detector: Detector, min_face: float = MIN_FACE) -> Glimpse:
    """Look at a picture, reduced until the smallest face sought has 16 pixels.

    Parameters
    ----------
    pixels, min_face
        As in `find`.
    detector : Detector
        The detector.
    """
    scale = min(1.0, _scale(pixels, min_face))
    small = _resized(pixels, scale)
    return Glimpse.of(small, scale, _detect(small, detector))


def find(pixels: Pixels, networks: Networks, min_face: float = MIN_FACE) -> Finding:
    """Find the faces of a picture and the largest one's landmarks.

    The picture is reduced until the smallest face sought has 16 pixels. Where that shows no clear face, the quarter
    turns are tried (photos that lie on their side without saying so), then four times the resolution, at last with the
    turns by 45 degrees between; of several looks at one face the best counts. The aligner says where exactly the
    largest face lies and which way is up, for the detector's landmarks always claim to be upright. A face that is not
    sure must look like one to the verifier where the aligner lays it, and must show to the detector again in a window
    that is turned and scaled to it.

    Parameters
    ----------
    pixels : numpy.ndarray
        RGB, shape (height, width, 3), uint8.
    networks : Networks
        The detector, the aligner and the verifier.
    min_face : float
        Smallest face sought first, as a share of the picture's shorter side, above 0 and up to 1.
    """
    return _search(pixels, glance(pixels, networks.detector, min_face), networks, min_face)


def search(pixels: Pixels, detector: Detector, min_face: float = MIN_FACE) -> Faces:
    """Return every face that the first look of `find` sees, in pixels of the picture, best first."""
    seen = glance(pixels, detector, min_face)
    return seen.faces.scaled(1 / seen.scale)


def _search(pixels: Pixels, glimpse: Glimpse, networks: Networks, min_face: float) -> Finding:
    """Find what `find` finds, after its first look."""
    if glimpse.sure is not None:
        views = _Views(pixels, glimpse.small, glimpse.scale)
        return Finding(len(glimpse.faces), _aligned(views, glimpse.sure, networks))
    finding, most = _NOTHING
    for needed, (other, evidence) in _looks(pixels, glimpse, networks, min_face):
        if evidence > most and _instead(other.face, finding.face):
            finding, most = other, evidence
        if most >= needed.clear:
            break
    return finding


def _instead(face: Face | None, earlier: Face | None) -> bool:
    """Return whether a face that shows better than an earlier one is the same face or a larger one."""
    if face is None or earlier is None:
        return True
    (left, top, width, height), (x, y, across, down) = face.box, earlier.box
    shared = [
        max(0.0, min(start + size, other + length) - max(start, other))
        for start, size, other, length in ((left, width, x, across), (top, height, y, down))
    ]
    smaller = min(width * height, across * down)
    return smaller < width * height or shared[0] * shared[1] >= _SAME_FACE * smaller


def _looks(
    pixels: Pixels, glimpse: Glimpse, networks: Networks, min_face: float
) -> Iterator[tuple[_Needed, tuple[Finding, float]]]:
    """Yield what each look asks for, what it finds, and how much speaks for it, from the cheapest to the dearest."""
    views = _Views(pixels, glimpse.small, glimpse.scale)
    yield _FIRST, _largest(views, glimpse.faces, networks, _FIRST)
    yield _FIRST_QUARTER, _best_turn(views, _QUARTERS, networks, _FIRST_QUARTER)
    # Enlarging small pictures further would find half of the faces still missed, for ten times the time where none is.
    largest = min(_LARGEST_ZOOM, max(1.0, _ENLARGED_TO / min(pixels.shape[:2])))
    second = min(largest, _scale(pixels, min_face / _SECOND_ZOOM))
    if second <= glimpse.scale:
        return
    views = _Views(pixels, _resized(pixels, second), second)
    faces = _detect(views.small, networks.detector, _SECOND.threshold)
    yield _SECOND, _largest(views, faces, networks, _SECOND)
    yield _SECOND_QUARTER, _best_turn(views, _QUARTERS, networks, _SECOND_QUARTER)
    # Turned by 45 degrees, the picture of a panorama would be nearly empty and very large. At half of this resolution
    # 0.7 % of the faces, turned and scaled and pasted elsewhere, would be missed.
    if max(pixels.shape[:2]) <= _PANORAMA * min(pixels.shape[:2]):
        yield _DIAGONAL, _best_turn(views, _DIAGONALS, networks, _DIAGONAL)


def _best_turn(views: _Views, turns: Sequence[complex], networks: Networks, needed: _Needed) -> tuple[Finding, float]:
    """Return what most speaks for in a picture that is turned by each of some complex numbers, and how much does."""
    seen = (_detect_turned(views.small, turn, networks.detector, needed.threshold) for turn in turns)
    return max((_largest(views, faces, networks, needed) for faces in seen), key=lambda item: item[1])


def _detect_turned(pixels: Pixels, turn: complex, detector: Detector, threshold: float) -> Faces:
    """Return the faces, in pixels of the picture, that are seen in it turned; boxes stay along the picture's sides."""
    size = complex(*reversed(pixels.shape[:2]))
    width, height = (
        math.ceil(abs(turn.real * along) + abs(turn.imag * across) - 1e-6)
        for along, across in ((size.real, size.imag), (size.imag, size.real))
    )
    way = Similarity(turn, (complex(width, height) - turn * size) / 2)
    turned = sample(pixels, way.matrix, width, height, border=cv2.BORDER_CONSTANT, finest=1)
    faces = _detect(turned, detector, threshold)
    landmarks = np.array([_points(way.back(_plane(points))) for points in faces.landmarks]).reshape(-1, 5, 2)
    sizes = faces.boxes[:, 2:] if abs(turn.imag) < abs(turn.real) + 1e-6 else faces.boxes[:, :1:-1]
    middles = _points(way.back(_plane(faces.boxes[:, :2] + faces.boxes[:, 2:] / 2)))
    return Faces(np.concatenate([middles - sizes / 2, sizes], 1), landmarks, faces.scores)


@dataclass(frozen=True)
class _Needed:
    """What a look asks for.

    Parameters
    ----------
    threshold : float
        Score of a face to be looked at closer.
    evidence : float
        There, as `_evidence` weighs it.
    sure : float
        Score of a face that holds whatever the evidence, which only tells which of several looks is right.
    clear : float
        Evidence of a face for which no further look is taken; it holds with less, if none shows it better.
    """

    threshold: float
    evidence: float
    sure: float
    clear: float


_FIRST = _Needed(THRESHOLD, 4.8, _SURE, 5.8)
_FIRST_QUARTER = _Needed(0.3, 5.8, 0.88, 7.5)
_SECOND = _Needed(0.1, 5.3, _SURE, 6.5)
_SECOND_QUARTER = _Needed(0.1, 5.8, 0.88, 6.5)
_DIAGONAL = _Needed(0.2, 5.8, math.inf, 7.5)

_SAME_FACE = 0.3
"""Share of the smaller box that two boxes of one face have in common at least."""

_QUARTERS = (1j, -1j, -1 + 0j)
_DIAGONALS = tuple(cmath.rect(1, math.radians(angle)) for angle in (45, -45, 135, -135))


@dataclass(frozen=True)
class _Views:
    """A picture at its own size and resized by a scale."""

    large: Pixels
    small: Pixels
    scale: float

    def sample(self, way: Similarity, side: int) -> Pixels:
        """Return a square view in colour; black outside."""
        source, way = (self.small, self._reduced(way)) if self._fine_enough(way) else (self.large, way)
        return sample(source, way.matrix, side, side, border=cv2.BORDER_CONSTANT, finest=1)

    def gray(self, way: Similarity, side: int) -> Pixels:
        """Return a square view in gray; outside as `align`."""
        if not self._fine_enough(way):
            return sample(self.large, way.matrix, side, side, finest=1, gray=True)
        # Several views of one face follow each other: what they share is made once.
        halved = self.scale / abs(way.factor) >= _HALVED_FROM
        way = self._reduced(way)
        if halved:
            way = Similarity(2 * way.factor, way.shift)
        matrix = way.opencv_matrix
        source = self._half_gray if halved else self._small_gray
        view = cv2.warpAffine(source, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
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

    def _fine_enough(self, way: Similarity) -> bool:
        """Return whether the smaller picture has a pixel for each of a view's."""
        return self.scale <= 1 <= self.scale / abs(way.factor)

    def _reduced(self, way: Similarity) -> Similarity:
        """Return the way from the picture to a view as one from the smaller picture."""
        return Similarity(way.factor / self.scale, way.shift)


def _scale(pixels: Pixels, min_face: float) -> float:
    """Return the scale of a look; where it reduces, by a whole number, for such averaging is six times as fast."""
    rows, columns = pixels.shape[:2]
    scale = min(FACE_PIXELS / min_face / min(rows, columns), _LONGEST_SIDE / max(rows, columns))
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


def _largest(views: _Views, faces: Faces, networks: Networks, needed: _Needed) -> tuple[Finding, float]:
    """Return the largest face that holds when looked at closer, how many are seen with it, and the evidence for it."""
    areas = faces.boxes[:, 2] * faces.boxes[:, 3]
    candidates = np.lexsort((-areas, -np.minimum(faces.scores, THRESHOLD)))[:_CANDIDATES]
    others = faces.scores >= THRESHOLD
    for k in candidates[np.argsort(-areas[candidates], kind="stable")].tolist():
        seen = _seen(faces, k, views.scale)
        others[k], sure = False, seen.score >= needed.sure
        if sure:
            face = _aligned(views, seen, networks)
            evidence = _weighed(views, face, networks)[1]
        else:
            face, evidence = _look_closer(views, seen, networks, needed.evidence)
        if sure or evidence >= needed.evidence:
            # The detector often claims one face several times; the best of its boxes is the face's.
            same = faces.holding(*(face.landmarks.mean(0) * views.scale).tolist())
            best = int(np.argmax(np.where(same, faces.scores, -1))) if same.any() else k
            box = _seen(faces, best, views.scale).box
            return Finding(1 + int((others & ~same).sum()), replace(face, box=box)), evidence
    return _NOTHING


def _seen(faces: Faces, k: int, scale: float) -> Face:
    """Return one of the faces seen in a picture that was resized by a scale."""
    left, top, width, height = (faces.boxes[k] / scale).tolist()
    points = faces.landmarks[k].astype(np.float64) / scale
    return Face((left, top, width, height), points, float(faces.scores[k]), frontality(points))


def _look_closer(views: _Views, face: Face, networks: Networks, least: float = -math.inf) -> tuple[Face, float]:
    """Return a face exactly where it lies, with the score that it has there, and the evidence for it.

    Where it is laid the face is weighed, then the aligner looks again from several windows, and the verifier where
    these lead. That is spared where the evidence cannot reach the least that is asked for any more; it then is the
    most that was possible. Where the aligner goes astray it is not asked again, and the evidence counts for less.
    """
    places, astray, odds = _laid(views, face, networks)
    seen, most = _weighed(views, replace(face, landmarks=_points(places)), networks, least, odds)
    if astray:
        return seen, most - _ASTRAY
    if most < least:
        return seen, most
    landmarks = _steadied(views, places, networks.aligner)
    odds = _odds(views, landmarks, networks.verifier)
    return replace(seen, landmarks=landmarks), min(most, _evidence(face.score, seen.score, odds))


def _weighed(
    views: _Views, face: Face, networks: Networks, least: float = -math.inf, odds: float | None = None
) -> tuple[Face, float]:
    """Return a face, laid where it is seen, with the score that it has there, and the evidence for it.

    The verifier looks there, unless its odds are known, then the detector in a window that is turned, scaled and
    shifted to the face; this is spared, and the score 0, where the evidence could not reach the least that is asked
    for.
    """
    if odds is None:
        odds = _odds(views, face.landmarks, networks.verifier)
    most = _evidence(face.score, 1.0, odds)
    if most < least:
        return replace(face, score=0.0), most
    window = views.sample(fit(face.landmarks, _CLOSE_TARGET)[0], _CLOSE)
    score = _central(networks.detector.detect(window, _LEAST_SEEN))
    return replace(face, score=score), _evidence(face.score, score, odds)


def _odds(views: _Views, landmarks: Points, verifier: Verifier) -> float:
    return verifier.odds(views.gray(fit(landmarks, _ALIGNER_TARGET)[0], WINDOW))


def _evidence(score: float, again: float, odds: float) -> float:
    """Return how much speaks for a face.

    A weighted sum of what was seen at faces and beside them in FairFace's training pictures, turned, scaled and pasted
    on backgrounds, and in pictures where nobody is; ``benchmarks/evidence.py`` fits others such.

    Parameters
    ----------
    score, again : float
        The detector's score of the face in the picture and in a window around it, 0 to 1.
    odds : float
        The verifier's, as `labeler.verifier.Verifier.odds` gives them; the least of several windows.
    """
    return 1.0 * score + 6.0 * again + 0.6 * min(max(odds, -_ODDS), _ODDS)


def _aligned(views: _Views, face: Face, networks: Networks) -> Face:
    """Return a face that the detector is sure of exactly where it lies."""
    return replace(face, landmarks=_points(_laid(views, face, networks, upright=True)[0]))


def _laid(views: _Views, face: Face, networks: Networks, *, upright: bool = False) -> tuple[Plane, bool, float | None]:
    """Return a face's places where the aligner sees them, or else where the detector does, and whether it is so.

    The aligner may take the nose or the ear of a profile for a small face, or lay a profile upside down. Where it ends
    far from the detector's landmarks, the verifier chooses between the two, and where it has turned the face far also
    the place to which its fine network alone comes; its odds, if it was asked, are returned too.
    """
    start = fit(face.landmarks, _ALIGNER_TARGET)[0]
    end, own = _settled(views, start, networks.aligner, upright=upright), start.back(_ALIGNER_PLACES)
    if face.score < _PERHAPS or np.abs(end - own).mean() <= _FAR * abs(own[1] - own[0]):
        return end, False, None
    before, after = (_odds(views, _points(places), networks.verifier) for places in (own, end))
    if ((end[1] - end[0]) / (own[1] - own[0])).real < _TURNED:
        straight = _settled(views, start, networks.aligner, turned=False)
        odds = _odds(views, _points(straight), networks.verifier)
        if odds > after:
            end, after = straight, odds
    return (own, True, before) if before > after + _RATHER else (end, False, after)


def _settled(
    views: _Views, start: Similarity, aligner: Aligner, *, upright: bool = False, turned: bool = True
) -> Plane:
    """Return the landmarks' places, shape (5,), as `TEMPLATE` lies where the aligner sees the face, given a window."""

    def view(way: Similarity) -> Pixels:
        return views.gray(way, WINDOW)

    way = aligner.settle(start, view, _followed, upright=upright, turned=turned)
    return way.back(_ALIGNER_PLACES)


def _steadied(views: _Views, first: Plane, aligner: Aligner) -> Points:
    """Return a face's landmarks, shape (5, 2): the median of where the aligner ends, thrown off where it came to."""
    way = fit(_points(first), _ALIGNER_TARGET)[0]
    places = np.array([first, *(_settled(views, thrown.after(way), aligner) for thrown in _THROWN)])
    return _points(np.median(places.real, 0) + 1j * np.median(places.imag, 0))


def _followed(way: Similarity, pose: Pose) -> Similarity:
    """Return the way from the picture to the window to which a pose leads, given that to its own window."""
    factor = 1 / pose.factor
    return Similarity(factor, WINDOW * (_MIDDLE - factor * (_MIDDLE + pose.shift))).after(way)


def _central(faces: Faces) -> float:
    """Return the best score of a face whose box holds the middle of the window; 0 where none does."""
    return float(faces.scores[faces.holding(_CLOSE / 2, _CLOSE / 2)].max(initial=0))


def similarity(source: npt.ArrayLike, target: npt.ArrayLike) -> tuple[Points, float]:
    """Return what `fit` returns, the similarity as a matrix, shape (2, 3)."""
    way, residual = fit(source, target)
    return way.matrix, residual


def fit(source: npt.ArrayLike, target: npt.ArrayLike) -> tuple[Similarity, float]:
    """Return the turn, scale and shift that best lay points on others, and how badly they then fit.

    Least squares without reflection (Umeyama 1991, "Least-squares estimation of transformation parameters"), in complex
    numbers: with both sets centred, the factor is sum(target x conj(source)) / sum(|source|^2).

    Parameters
    ----------
    source, target : array of shape (n, 2)
        Corresponding points.

    Returns
    -------
    way : Similarity
        From source to target coordinates.
    residual : float
        Root of the residual's share of the target's own sum of squares, 0 (exact) to 1.
    """
    start, end = _plane(source), _plane(target)
    middle, goal = complex(start.sum()) / len(start), complex(end.sum()) / len(end)
    z, w = start - middle, end - goal
    common, spread, size = complex(np.vdot(z, w)), float(np.vdot(z, z).real), float(np.vdot(w, w).real)
    factor = common / spread if spread > 0 else 1 + 0j
    # What is left of the target's sum of squares is what the best fit does not explain.
    explained = abs(common) ** 2 / spread if spread > 0 else 0.0
    residual = math.sqrt(max(size - explained, 0.0) / max(size, 1e-12))
    return Similarity(factor, goal - factor * middle), residual


def frontality(landmarks: npt.ArrayLike) -> float:
    """Return how well landmarks, shape (5, 2), fit a frontal face, 0 to 1: one minus the residual of `fit`."""
    return 1.0 - fit(landmarks, TEMPLATE)[1]


def _plane(points: npt.ArrayLike) -> Plane:
    """Return points, shape (n, 2), as complex numbers, shape (n,)."""
    return np.ascontiguousarray(points, np.float64).view(np.complex128).ravel()


_MIDDLE = 0.5 + 0.5j
_THROWN = tuple(
    Similarity(factor, WINDOW * (_MIDDLE - factor * _MIDDLE + shift))
    for factor, shift in (
        (cmath.rect(0.9, 0.35), 0.06),
        (cmath.rect(1.1, -0.35), -0.06),
        (cmath.rect(1.15, 0.26), 0.08j),
        (cmath.rect(0.85, -0.26), -0.08j),
    )
)
"""Turns, sizes and shifts of the windows from which a face that is not sure is looked at anew."""

_ALIGNER_PLACES = WINDOW * (_MIDDLE + (_plane(TEMPLATE) - _MIDDLE) / MARGIN)
"""Where the landmarks lie in a window that is where it should be, in its pixels."""


def _points(plane: Plane) -> Points:
    """Return complex numbers, shape (n,), as points, shape (n, 2)."""
    return plane.view(np.float64).reshape(-1, 2)


_ALIGNER_TARGET = _points(_ALIGNER_PLACES)


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
    way, _ = fit(landmarks, np.array(framing) * (width, height))
    return _coloured(sample(pixels, way.matrix, width, height, gray=colour == "gray"), colour)


def sample(
    pixels: Pixels,
    matrix: npt.ArrayLike,
    width: int,
    height: int,
    *,
    border: int = cv2.BORDER_REPLICATE,
    finest: int = 2,
    gray: bool = False,
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
    gray : bool
        Whether the view is wanted in gray: what it shows is turned to gray first, which costs least.
    """
    forward = np.asarray(matrix, np.float64)
    (a, b, x), (c, d, y) = forward.tolist()
    reduction = 1 / math.sqrt(abs(a * d - b * c))
    fine = min(max(math.ceil(reduction), 1), finest)
    left, top, right, bottom = _shown(forward, width, height, (pixels.shape[1], pixels.shape[0]), reduction)
    across = down = float(max(1, int(reduction / fine)))
    region = pixels[top:bottom, left:right]
    if gray:
        region = to_gray(region)
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
