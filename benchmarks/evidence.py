"""How the evidence for a face tells faces whose place is known from others, and the weights that fit them best."""

from __future__ import annotations

import cmath
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import cv2
import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression

from benchmarks.framing import background, compressed
from labeler.decode import Pixels, decode, quiet_decoders
from labeler.faces import (
    _CANDIDATES,
    _DIAGONAL,
    _FIRST,
    _ODDS,
    _QUARTERS,
    _SECOND,
    _SECOND_QUARTER,
    _SECOND_ZOOM,
    MIN_FACE,
    Networks,
    Points,
    Similarity,
    _detect_turned,
    _look_closer,
    _odds,
    _resized,
    _scale,
    _seen,
    _Views,
    find,
)

RIGHT, WRONG = 0.2, 0.5
"""Distances of the eyes that the landmarks of a face are off at most, and of what is none at least."""


@dataclass(frozen=True)
class Candidate:
    """What was seen at a place: the detector's score, that of a closer look, and the verifier's odds."""

    score: float
    again: float
    odds: float
    evidence: float
    landmarks: Points

    @property
    def cues(self) -> tuple[float, float, float]:
        """What the regression sees."""
        return self.score, self.again, min(max(self.odds, -_ODDS), _ODDS)


def disturbed(picture: Pixels, rng: np.random.Generator) -> tuple[Pixels, Points]:
    """Return a picture turned, scaled, laid on a background and compressed, and the affine matrix of its way."""
    side = max(picture.shape[:2])
    factor = cmath.rect(2 ** rng.uniform(-1, 1), math.radians(rng.uniform(-30, 30) + 90 * int(rng.integers(4))))
    canvas = round(side * abs(factor) * rng.uniform(2, 6))
    reach = side * abs(factor) * math.sqrt(0.5)
    middle = rng.uniform(reach, canvas - reach, 2)
    way = Similarity(factor, complex(*middle) - factor * complex(*reversed(picture.shape[:2])) / 2)
    lying = cv2.warpAffine(
        picture,
        way.opencv_matrix,
        (canvas, canvas),
        dst=background(canvas, canvas, rng),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_TRANSPARENT,
    )
    return compressed(np.asarray(lying, np.uint8), rng), way.matrix


def candidates(pixels: Pixels, networks: Networks) -> Iterator[Candidate]:
    """Yield what both looks of a search see in a picture and in its quarter turns."""
    for scale in sorted({min(1.0, _scale(pixels, share)) for share in (MIN_FACE, MIN_FACE / _SECOND_ZOOM)}):
        views = _Views(pixels, _resized(pixels, scale), scale)
        for turn in (1 + 0j, *_QUARTERS):
            faces = _detect_turned(views.small, turn, networks.detector, _SECOND_QUARTER.threshold)
            for k in range(min(len(faces), _CANDIDATES)):
                seen = _seen(faces, k, scale)
                face, evidence = _look_closer(views, seen, networks)
                odds = _odds(views, face.landmarks, networks.verifier)
                yield Candidate(seen.score, face.score, odds, evidence, face.landmarks)


def fitted(cues: npt.ArrayLike, right: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return the weights of the three cues of `Candidate` and the constant, for right and wrong candidates."""
    model = LogisticRegression(C=10, max_iter=5000).fit(np.asarray(cues), np.asarray(right))
    return np.array([*model.coef_[0], model.intercept_[0]])


@click.command()
@click.argument("faces", type=click.Path(path_type=Path))
@click.argument("nobody", type=click.Path(path_type=Path))
@click.option("--images", default=1000, show_default=True, help="Pictures of each folder, drawn at random.")
@click.option("--seed", default=1, show_default=True, help="Of the draw and of the disturbances.")
def main(faces: Path, nobody: Path, images: int, seed: int) -> None:
    """Fit the evidence on FACES, a folder of pictures of one face each, and NOBODY, one of pictures without people."""
    quiet_decoders()
    networks, rng = Networks.load(), np.random.default_rng(seed)
    found: list[tuple[Candidate, bool]] = []
    for folder, peopled in ((faces, True), (nobody, False)):
        paths = sorted(folder.iterdir())
        for k in rng.choice(len(paths), min(images, len(paths)), replace=False):
            picture = decode(paths[k].read_bytes()).pixels
            if not peopled:
                found += [(candidate, False) for candidate in candidates(picture, networks)]
                continue
            face = find(picture, networks).face
            if face is None:
                continue
            lying, matrix = disturbed(picture, rng)
            truth = face.landmarks @ matrix[:, :2].T + matrix[:, 2]
            eyes = float(np.linalg.norm(truth[1] - truth[0]))
            for candidate in candidates(lying, networks):
                off = float(np.linalg.norm(candidate.landmarks - truth, axis=1).mean()) / eyes
                if not RIGHT <= off < WRONG:
                    found.append((candidate, off < RIGHT))
    right = np.array([good for _, good in found])
    score, again, odds, constant = fitted([candidate.cues for candidate, _ in found], right)
    evidence = np.array([candidate.evidence for candidate, _ in found])
    click.echo(f"{right.sum()} candidates at faces, {(~right).sum()} at none")
    click.echo(f"fitted: {score:.2f} score + {again:.2f} again {odds:+.2f} odds {constant:+.1f}")
    for least in sorted({needed.evidence for needed in (_FIRST, _SECOND, _SECOND_QUARTER, _DIAGONAL)}):
        kept = evidence >= least
        click.echo(
            f"evidence as shipped >= {least}: {kept[right].mean():.4f} of faces, {kept[~right].mean():.4f} of others"
        )


if __name__ == "__main__":
    main()
