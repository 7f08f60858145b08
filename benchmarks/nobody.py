"""Pictures in which nobody is, for ``benchmarks/faces.py --nobody``: of what Debian ships for desktops and children.

The photos of gnome-backgrounds, mate-backgrounds, plasma-workspace-wallpapers, ukui-wallpapers, lomiri-wallpapers (also
-16.04 and -20.04) and sway-backgrounds, each whole and in sections, and the stamps of animals, plants, food, vehicles
and things of tuxpaint-stamps-default, each with its mirror image. Folders whose pictures show people, or faces of them
on coins, monuments and clothes, are left out.

Example: apt-get download gnome-backgrounds tuxpaint-stamps-default
Example: for package in *.deb; do dpkg-deb -x $package unpacked; done
Example: python -m benchmarks.nobody unpacked nobody
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import cv2
import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]

STAMPS = ("animals", "plants", "food", "vehicles", "household", "space", "hobbies", "sports", "town")
WITHOUT = ("monuments", "people", "flags")
SECTIONS = (2, 4)
"""A photo is cut into so many rows and columns."""
LONGEST = 1024


def stamps(folder: Path) -> Iterator[tuple[str, Pixels]]:
    """Yield each stamp on white, and its mirror image, with a name."""
    for kind in STAMPS:
        for path in sorted((folder / kind).rglob("*.png")):
            if not any(part in WITHOUT for part in path.parts):
                picture = on_white(path)
                name = "-".join(path.relative_to(folder).with_suffix("").parts)
                yield name, picture
                yield f"{name}-mirrored", np.ascontiguousarray(picture[:, ::-1])


def on_white(path: Path) -> Pixels:
    """Read a picture, BGR, with white where it is transparent."""
    pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert pixels is not None
    if pixels.ndim == 2:
        return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_GRAY2BGR), np.uint8)
    if pixels.shape[2] == 3:
        return np.asarray(pixels, np.uint8)
    opaque = pixels[..., 3:] / 255
    return np.asarray((pixels[..., :3] * opaque + 255 * (1 - opaque)).round(), np.uint8)


def photos(folder: Path) -> Iterator[tuple[str, Pixels]]:
    """Yield each photo below a folder and its sections, no side longer than `LONGEST`, each picture once."""
    seen = set()
    for path in sorted(folder.rglob("*")):
        pixels = cv2.imread(str(path)) if path.suffix in {".jpg", ".jpeg", ".png", ".webp"} else None
        if pixels is None or min(pixels.shape[:2]) < LONGEST:
            continue
        small = cv2.resize(pixels, (32, 32), interpolation=cv2.INTER_AREA)
        if small.tobytes() in seen:
            continue
        seen.add(small.tobytes())
        name = "-".join(path.relative_to(folder).with_suffix("").parts)
        yield name, reduced(np.asarray(pixels, np.uint8))
        for count in SECTIONS:
            for row, band in enumerate(np.array_split(pixels, count, axis=0)):
                for column, section in enumerate(np.array_split(band, count, axis=1)):
                    yield f"{name}-{count}-{row}-{column}", reduced(np.asarray(section, np.uint8))


def reduced(pixels: Pixels) -> Pixels:
    """Return a picture no side of which is longer than `LONGEST`."""
    scale = LONGEST / max(pixels.shape[:2])
    if scale >= 1:
        return pixels
    return np.asarray(cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)


@click.command()
@click.argument("unpacked", type=click.Path(path_type=Path, exists=True))
@click.argument("out", type=click.Path(path_type=Path))
def main(unpacked: Path, out: Path) -> None:
    """Write into OUT the pictures found in UNPACKED, the packages' content."""
    out.mkdir(parents=True, exist_ok=True)
    share = unpacked / "usr" / "share"
    count = 0
    for name, pixels in (
        *stamps(share / "tuxpaint" / "stamps"),
        *photos(share / "backgrounds"),
        *photos(share / "wallpapers"),
    ):
        cv2.imwrite(str(out / f"{name}.png"), pixels)
        count += 1
    click.echo(f"{out}: {count} pictures")


if __name__ == "__main__":
    main()
