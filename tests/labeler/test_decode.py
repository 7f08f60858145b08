"""Claims about decoding: every format, depth and orientation gives one picture, every damage a named error."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from labeler import header
from labeler.decode import Limits, Pixels, check, decode, decode_checked, quiet_decoders, reduction_to, to_gray, upright
from labeler.errors import DecodeError
from labeler.header import Header
from labeler.table import STATUSES
from tests.labeler.pictures import (
    HEIGHT,
    UNDO,
    WIDTH,
    WRITERS,
    bmp32,
    gray_of,
    over_white,
    ramp,
    save,
    scene,
    tiff,
    with_orientation,
)

EXACT: dict[str, dict[str, Any]] = {"PNG": {}, "WEBP": {"lossless": True, "exact": True}, "TIFF": {}, "BMP": {}}
LOSSY: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 95, "subsampling": 0},
    "AVIF": {"quality": 100, "subsampling": "4:4:4"},
}
ALL = EXACT | LOSSY


@pytest.fixture(autouse=True, scope="module")
def _quiet() -> None:
    quiet_decoders()


def deep(values: Pixels) -> npt.NDArray[np.uint16]:
    """Return 8-bit values as the 16-bit values of the same brightness."""
    return values.astype(np.uint16) * np.uint16(257)


def png16(values: npt.NDArray[np.uint16]) -> bytes:
    """Return 16-bit values, RGB or RGBA or gray, as a PNG."""
    order = {2: None, 3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}
    code = order[values.ndim if values.ndim == 2 else values.shape[2]]
    return bytes(cv2.imencode(".png", values if code is None else cv2.cvtColor(values, code))[1].tobytes())


def assert_shows(content: bytes, expected: npt.NDArray[np.generic], mean: float = 0, most: float = 0) -> None:
    """Check that a file decodes to a picture, up to a mean and a largest difference in levels."""
    pixels = decode(content).pixels
    wanted = np.repeat(expected[..., None], 3, 2) if expected.ndim == 2 else expected
    assert pixels.shape == wanted.shape
    assert pixels.dtype == np.uint8
    difference = np.abs(pixels.astype(np.float64) - wanted.astype(np.float64))
    assert difference.mean() <= mean
    assert difference.max() <= most


def refusal(content: bytes, limits: Limits | None = None) -> DecodeError:
    """Return the error that decoding raises, after a look at its form."""
    with pytest.raises(DecodeError) as caught:
        decode(content, limits)
    assert caught.value.status in STATUSES
    assert "\n" not in str(caught.value)
    assert str(caught.value)
    return caught.value


@pytest.mark.parametrize("kind", EXACT)
def test_a_lossless_format_gives_the_very_pixels(kind: str) -> None:
    assert_shows(save(scene(), kind, **EXACT[kind]), scene())
    assert_shows(save(gray_of(scene()), kind, **EXACT[kind]), gray_of(scene()))


@pytest.mark.parametrize("kind", LOSSY)
def test_a_lossy_format_gives_nearly_the_pixels(kind: str) -> None:
    assert_shows(save(scene(), kind, **LOSSY[kind]), scene(), mean=2, most=16)
    assert_shows(save(gray_of(scene()), kind, **LOSSY[kind]), gray_of(scene()), mean=1, most=4)


def test_a_picture_tells_its_size_and_format() -> None:
    picture = decode(save(scene(), "PNG"))
    assert (picture.width, picture.height, picture.format) == (WIDTH, HEIGHT, "png")
    assert picture.pixels.flags.c_contiguous


@pytest.mark.parametrize("kind", sorted(set(ALL) - {"BMP"}))
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_shown_upright(kind: str, orientation: int) -> None:
    lossy = kind in LOSSY
    assert_shows(with_orientation(scene(), kind, orientation, **ALL[kind]), scene(), mean=2 * lossy, most=16 * lossy)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_deep_tiff_is_shown_upright(orientation: int) -> None:
    stored = deep(upright(scene(), UNDO[orientation]))
    content = tiff(stored, photometric="rgb", extratags=[(274, 3, 1, orientation, True)])
    assert_shows(content, scene())


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_orientation_and_its_undoing_change_nothing(orientation: int) -> None:
    assert np.array_equal(upright(upright(scene(), UNDO[orientation]), orientation), scene())


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_alpha_is_laid_over_white(kind: str) -> None:
    content = save(np.dstack([scene(), ramp()]), kind, **EXACT[kind])
    assert_shows(content, over_white(scene(), ramp()), mean=0.01, most=1)


def test_alpha_of_an_avif_is_laid_over_white() -> None:
    content = save(np.dstack([scene(), ramp()]), "AVIF", quality=100)
    assert_shows(content, over_white(scene(), ramp()), mean=2, most=16)


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_alpha_of_a_gray_picture_is_laid_over_white(kind: str) -> None:
    picture = Image.fromarray(gray_of(scene())).convert("LA")
    picture.putalpha(Image.fromarray(ramp()))
    assert_shows(save(picture, kind, **EXACT[kind]), over_white(gray_of(scene()), ramp()), mean=0.01, most=1)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("alpha", ["assocalpha", "unassalpha", "unspecified"])
def test_a_tiff_says_what_its_fourth_channel_means(bits: int, alpha: str) -> None:
    colours = np.rint(scene() * (ramp()[..., None] / 255)).astype(np.uint8) if alpha == "assocalpha" else scene()
    stored = np.dstack([colours, ramp()])
    content = tiff(stored if bits == 8 else deep(stored), photometric="rgb", extrasamples=[alpha])
    expected = scene() if alpha == "unspecified" else over_white(scene(), ramp())
    assert_shows(content, expected, mean=0.3, most=1)


@pytest.mark.parametrize("transparent", ["palette", "gray", "rgb"])
def test_a_png_colour_that_is_transparent_becomes_white(transparent: str) -> None:
    rgb = Image.fromarray(scene())
    picture = {"palette": rgb.quantize(16), "gray": rgb.convert("L"), "rgb": rgb}[transparent]
    first = picture.getpixel((0, 0))
    content = save(picture, "PNG", transparency=first)
    wanted = np.asarray(picture.convert("RGB")).copy()
    stored = np.asarray(picture)
    clear = stored == first if stored.ndim == 2 else (stored == np.array(first)).all(axis=2)
    wanted[clear] = 255
    assert_shows(content, wanted)


def test_a_deep_gray_value_that_is_transparent_becomes_white() -> None:
    content = save(Image.fromarray(deep(gray_of(scene()))), "PNG", transparency=int(deep(gray_of(scene()))[0, 0]))
    gray = gray_of(scene())
    assert_shows(content, np.where(gray == gray[0, 0], 255, gray))


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP"])
@pytest.mark.parametrize("colours", [2, 16, 256])
def test_a_palette_becomes_its_colours(kind: str, colours: int) -> None:
    picture = Image.fromarray(scene()).quantize(colours)
    assert_shows(save(picture, kind), np.asarray(picture.convert("RGB")))


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP"])
def test_one_bit_becomes_black_and_white(kind: str) -> None:
    picture = Image.fromarray(scene()).convert("1")
    assert_shows(save(picture, kind), np.asarray(picture.convert("L")))


@pytest.mark.parametrize(
    "values", [scene(), gray_of(scene()), np.dstack([scene(), ramp()])], ids=["rgb", "gray", "rgba"]
)
def test_a_16_bit_png_shows_the_picture_of_the_8_bit_one(values: Pixels) -> None:
    expected = over_white(values[..., :3], values[..., 3]) if values.shape[2:] == (4,) else values
    assert_shows(png16(deep(values)), expected, mean=0.01, most=1)


def test_16_bits_are_rounded_to_the_nearest_level() -> None:
    stored = np.array([[0, 128, 129, 65_535, 257 * 100 + 128, 257 * 100 + 129]], np.uint16)
    assert decode(png16(stored)).pixels[0, :, 0].tolist() == [0, 0, 1, 255, 100, 101]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("packing", [None, "zlib"])
@pytest.mark.parametrize("tile", [None, (32, 32)])
def test_a_tiff_may_be_of_either_byte_order_packed_and_tiled(
    order: str, packing: str | None, tile: tuple[int, int] | None
) -> None:
    options: dict[str, Any] = {"byteorder": order, "compression": packing, "tile": tile}
    assert_shows(tiff(scene(), photometric="rgb", **options), scene())
    assert_shows(tiff(deep(scene()), photometric="rgb", **options), scene())
    assert_shows(tiff(deep(gray_of(scene())), photometric="minisblack", **options), gray_of(scene()))


def test_a_tiff_in_which_0_is_white_is_not_shown_as_a_negative() -> None:
    gray = gray_of(scene())
    assert_shows(tiff(255 - gray, photometric="miniswhite"), gray)
    assert_shows(tiff(65_535 - deep(gray), photometric="miniswhite"), gray)


@pytest.mark.parametrize(
    ("what", "content"),
    [
        ("float32", tiff(gray_of(scene()).astype(np.float32), photometric="minisblack")),
        ("int16", tiff(gray_of(scene()).astype(np.int16), photometric="minisblack")),
        ("uint32", tiff(gray_of(scene()).astype(np.uint32), photometric="minisblack")),
        ("second channel", save(Image.fromarray(gray_of(scene())).convert("LA"), "TIFF")),
        ("separate planes", tiff(deep(np.moveaxis(scene(), 2, 0)), photometric="rgb", planarconfig="separate")),
        ("CMYK", tiff(np.zeros((8, 8, 4), np.uint16), photometric="separated")),
        ("5 channels", tiff(np.zeros((8, 8, 5), np.uint8), photometric="rgb", extrasamples=["unspecified"] * 2)),
    ],
)
def test_a_layout_that_would_come_out_wrong_is_refused_by_name(what: str, content: bytes) -> None:
    error = refusal(content)
    assert error.status == "unsupported"
    assert what in str(error)


def test_planes_of_8_bits_are_read() -> None:
    assert_shows(tiff(np.moveaxis(scene(), 2, 0), photometric="rgb", planarconfig="separate"), scene())


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_becomes_rgb(kind: str) -> None:
    options = LOSSY.get(kind, {})
    assert_shows(save(Image.fromarray(scene()).convert("CMYK"), kind, **options), scene(), mean=1, most=6)


def without_adobe_marker(content: bytes) -> bytes:
    """Return a JPEG without its APP14 segment."""
    start = content.index(b"\xff\xee")
    (length,) = struct.unpack_from(">H", content, start + 2)
    return content[:start] + content[start + 2 + length :]


@pytest.mark.parametrize("comment", [b"", b"made with Adobe something"])
def test_ink_runs_the_other_way_only_where_adobes_marker_says_so(comment: bytes) -> None:
    cmyk = Image.fromarray(scene()).convert("CMYK")
    plain = without_adobe_marker(save(cmyk, "JPEG", quality=95, subsampling=0))
    segment = b"\xff\xfe" + struct.pack(">H", 2 + len(comment)) + comment if comment else b""
    # Pillow writes full ink as 0, so that without the marker every ink is what was left white.
    ink = 255 - np.asarray(cmyk, np.float64)
    expected = np.rint((255 - ink[..., :3]) * (255 - ink[..., 3:]) / 255)
    assert_shows(plain[:2] + segment + plain[2:], expected, mean=2, most=8)


def test_ycck_becomes_rgb() -> None:
    content = bytearray(save(Image.fromarray(scene()).convert("CMYK"), "JPEG", quality=95, subsampling=0))
    content[content.index(b"Adobe") + 11] = 2
    decoded = decode(bytes(content))
    assert decoded.pixels.shape == scene().shape


@pytest.mark.parametrize("top_down", [False, True])
def test_the_unused_byte_of_a_32_bit_bmp_is_no_alpha(top_down: bool) -> None:
    assert_shows(bmp32(scene(), top_down=top_down), scene())


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "AVIF"])
def test_of_several_frames_the_first_is_shown(kind: str) -> None:
    sink = io.BytesIO()
    options: dict[str, Any] = {"lossless": True} if kind == "WEBP" else {"quality": 95} if kind == "AVIF" else {}
    first = Image.fromarray(scene())
    first.save(sink, kind, save_all=True, append_images=[Image.fromarray(255 - scene())], **options)
    assert_shows(sink.getvalue(), scene(), mean=4 if kind == "AVIF" else 0, most=30 if kind == "AVIF" else 0)


@pytest.mark.parametrize("size", [(1, 1), (2, 1), (1, 10_000), (10_000, 1)])
@pytest.mark.parametrize("kind", ALL)
def test_the_smallest_and_the_thinnest_pictures_are_read(kind: str, size: tuple[int, int]) -> None:
    picture = decode(save(Image.new("RGB", size, (200, 100, 50)), kind))
    assert (picture.width, picture.height) == size
    assert abs(int(picture.pixels[0, 0, 0]) - 200) <= 4


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_that_breaks_off_is_never_a_picture(name: str) -> None:
    content = WRITERS[name](scene(120, 100))
    for length in sorted({*range(0, len(content), max(1, len(content) // 60)), len(content) - 3}):
        assert refusal(content[:length]).status in ("corrupt", "unsupported"), length


@pytest.mark.parametrize("name", WRITERS)
def test_changed_bytes_raise_nothing_but_a_decode_error(name: str) -> None:
    content = WRITERS[name](scene(120, 100))
    for seed in range(60):
        rng = np.random.default_rng(seed)
        changed = bytearray(content)
        for _ in range(int(rng.integers(1, 6))):
            changed[int(rng.integers(0, len(changed) if seed % 2 else min(len(changed), 200)))] = int(rng.integers(256))
        try:
            picture = decode(bytes(changed), Limits(pixels=10_000_000))
        except DecodeError as error:
            assert error.status in ("corrupt", "unsupported", "too_large"), seed
        else:
            assert picture.pixels.shape == (picture.height, picture.width, 3), seed


@pytest.mark.parametrize("name", sorted(set(WRITERS) - {"webp"}))  # any bytes are a picture to lossy WebP
def test_one_format_inside_another_one_is_an_error(name: str) -> None:
    other = WRITERS["png" if not name.startswith("png") else "jpeg"](scene())
    head = WRITERS[name](scene())[:64]
    assert refusal(head + other[64:]).status in ("corrupt", "unsupported")


def png_with(width: int, height: int, rows: bytes) -> bytes:
    """Return a gray PNG whose checksums are right, whatever its header claims."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    about = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", about) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_a_png_with_too_few_rows_is_corrupt_though_its_checksums_are_right() -> None:
    row = b"\x00" + bytes(range(100, 132))
    assert decode(png_with(32, 16, row * 16)).pixels.shape == (16, 32, 3)
    assert refusal(png_with(32, 16, row * 8)).status == "corrupt"


def test_a_png_whose_checksum_is_off_is_corrupt() -> None:
    content = bytearray(save(scene(), "PNG"))
    content[content.index(b"IDAT") + 40] ^= 1
    assert "checksum" in str(refusal(bytes(content)))


def claims(width: int, height: int) -> dict[str, bytes]:
    """Return small files of several formats whose headers claim a size."""
    jpeg = bytearray(save(scene(), "JPEG"))
    where = jpeg.index(b"\xff\xc0") + 5
    jpeg[where : where + 4] = struct.pack(">HH", height, width)
    bmp = bytearray(save(scene(), "BMP"))
    bmp[18:26] = struct.pack("<ii", width, height)
    tagged = tiff(scene(), photometric="rgb")
    for old, new in ((WIDTH, width), (HEIGHT, height)):
        # An entry is tag, kind, count, value: 256 is the width and 257 the height.
        tag = struct.pack("<H", 256 if old == WIDTH else 257)
        at = next(k for k in range(8, len(tagged)) if tagged[k : k + 2] == tag and tagged[k + 8] == old)
        tagged = tagged[: at + 2] + struct.pack("<HII", 4, 1, new) + tagged[at + 12 :]
    return {"jpeg": bytes(jpeg), "png": png_with(width, height, b""), "bmp": bytes(bmp), "tiff": tagged}


@pytest.mark.parametrize("kind", ["jpeg", "png", "bmp", "tiff"])
def test_a_picture_that_claims_to_be_huge_is_refused_without_its_memory(kind: str) -> None:
    content = claims(50_000, 50_000)[kind]
    tracemalloc.start()
    error = refusal(content)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert error.status == "too_large"
    assert "50000 x 50000" in str(error)
    assert peak < 1_000_000


@pytest.mark.parametrize("kind", ["jpeg", "png", "bmp", "tiff"])
def test_a_picture_that_claims_a_little_more_than_it_holds_is_corrupt(kind: str) -> None:
    assert refusal(claims(WIDTH + 40, HEIGHT + 70)[kind]).status == "corrupt"


def test_the_limits_are_the_largest_that_is_allowed() -> None:
    content = save(scene(), "PNG")
    assert decode(content, Limits(pixels=WIDTH * HEIGHT, file_bytes=len(content))).width == WIDTH
    assert refusal(content, Limits(pixels=WIDTH * HEIGHT - 1)).status == "too_large"
    assert refusal(content, Limits(file_bytes=len(content) - 1)).status == "too_large"


def test_a_second_size_that_only_the_decoder_sees_does_not_get_past_the_limit() -> None:
    content = save(scene(), "JPEG")
    # FF 00 is skipped by the decoder's marker search; read as a segment, it would hide the true size behind it.
    decoy = b"\xff\xc0" + struct.pack(">HBHHB", 17, 8, 8, 8, 3) + bytes(9)
    hidden = content[:2] + b"\xff\x00" + struct.pack(">H", 2) + decoy + content[2:]
    assert refusal(hidden).status in ("corrupt", "unsupported")


def test_gray_is_the_luma_of_bt_601() -> None:
    rgb = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]]], np.uint8)
    assert to_gray(rgb).tolist() == [[76, 150, 29, 255]]
    assert to_gray(to_gray(rgb)).tolist() == [[76, 150, 29, 255]]


def test_a_photo_decodes_as_pillow_decodes_it(shared_data: Path) -> None:
    for path in sorted((shared_data / "fairface" / "val").iterdir())[:20]:
        expected = np.asarray(Image.open(path).convert("RGB"), np.float64)
        assert np.abs(decode(path.read_bytes()).pixels - expected).mean() < 0.5, path.name


def test_heic_is_decoded_with_its_extra() -> None:
    heif = pytest.importorskip("pillow_heif")
    rgb = scene(64, 48)
    sink = io.BytesIO()
    heif.from_bytes("RGB", (64, 48), rgb.tobytes()).save(sink, quality=95)
    picture = decode(sink.getvalue())
    assert (picture.width, picture.height, picture.format) == (64, 48, "heic")
    assert np.abs(picture.pixels.astype(int) - rgb).mean() < 8
    for cut in range(60, len(sink.getvalue()), 200):
        with pytest.raises(DecodeError):
            decode(sink.getvalue()[:cut])


def test_heic_without_its_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(header, "heic_supported", lambda: False)
    with pytest.raises(DecodeError, match=r"efrs-labeler\[heic\]") as caught:
        decode(b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic")
    assert caught.value.status == "unsupported"


@pytest.mark.parametrize("reduction", [1, 2, 4, 8])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_jpeg_is_decoded_at_a_reduced_size(reduction: int, orientation: int) -> None:
    rgb = scene(256, 176)
    data = with_orientation(rgb, "JPEG", orientation, quality=95)
    picture = decode_checked(data, check(data, Limits()), reduction)
    assert (picture.width, picture.height, picture.reduction) == (256, 176, reduction)
    assert picture.pixels.shape == (176 // reduction, 256 // reduction, 3)
    expected = cv2.resize(rgb, (256 // reduction, 176 // reduction), interpolation=cv2.INTER_AREA)
    assert np.abs(picture.pixels.astype(int) - expected).mean() < 4


@pytest.mark.parametrize(
    ("size", "least", "reduction"),
    [((4000, 3000), 512, 4), ((4096, 4096), 512, 8), ((1023, 2000), 512, 1), ((1024, 2000), 512, 2), ((9, 9), 0, 1)],
)
def test_a_reduction_leaves_as_many_pixels_as_are_asked_for(size: tuple[int, int], least: int, reduction: int) -> None:
    assert reduction_to(Header("jpeg", *size), least) == reduction
    assert reduction_to(Header("png", *size), least) == 1


@pytest.mark.parametrize("tile", [(16, 16), (48, 48), (80, 80)])
def test_a_tiff_whose_tiles_the_decoder_refuses_is_unsupported(tile: tuple[int, int]) -> None:
    values = np.random.default_rng(0).integers(0, 255, (100, 120, 3), np.uint8)
    with pytest.raises(DecodeError, match="tiles of") as caught:
        decode(tiff(values, photometric="rgb", tile=tile))
    assert caught.value.status == "unsupported"
    assert np.array_equal(decode(tiff(values, photometric="rgb", tile=(32, 32))).pixels, values)


def test_a_picture_that_claims_a_vast_size_is_refused_from_its_header() -> None:
    png = bytearray(save(scene(), "PNG"))
    png[16:24] = (50_000).to_bytes(4, "big") * 2
    with pytest.raises(DecodeError, match="50000 x 50000 pixels are more than the limit") as caught:
        decode(bytes(png))
    assert caught.value.status == "too_large"


@pytest.mark.parametrize("depth", [10, 12])
def test_an_avif_of_more_than_8_bits_is_as_bright_as_it_is(depth: int) -> None:
    deeper = (scene().astype(np.uint32) * (2**depth - 1) // 255).astype(np.uint16)
    options = [cv2.IMWRITE_AVIF_DEPTH, depth, cv2.IMWRITE_AVIF_QUALITY, 95]
    written, content = cv2.imencode(".avif", cv2.cvtColor(deeper, cv2.COLOR_RGB2BGR), options)
    assert written
    assert_shows(content.tobytes(), scene(), mean=3, most=40)


def test_a_bmp_whose_fourth_byte_no_mask_declares_is_not_transparent() -> None:
    rows = np.dstack([scene()[::-1, :, ::-1], np.zeros((HEIGHT, WIDTH), np.uint8)]).tobytes()
    masks = struct.pack("<III", 0xFF0000, 0xFF00, 0xFF)
    about = struct.pack("<IiiHHIIiiII", 40, WIDTH, HEIGHT, 1, 32, 3, 0, 0, 0, 0, 0)
    start = 14 + len(about) + len(masks)
    assert_shows(b"BM" + struct.pack("<IHHI", start + len(rows), 0, 0, start) + about + masks + rows, scene())


def test_a_tiff_in_planes_that_breaks_off_is_corrupt() -> None:
    content = tiff(np.moveaxis(scene(), 2, 0), photometric="rgb", planarconfig="separate")
    for share in (0.4, 0.7, 0.95):
        assert refusal(content[: int(share * len(content))]).status == "corrupt"


def test_a_tiff_whose_compressed_part_is_damaged_is_corrupt() -> None:
    content = save(scene(256, 256), "TIFF", compression="tiff_adobe_deflate")
    assert decode(content).pixels.shape == (256, 256, 3)
    for share in (0.2, 0.4, 0.6):
        place = int(share * len(content))
        assert refusal(content[:place] + bytes(64) + content[place + 64 :]).status == "corrupt"


def test_too_little_memory_is_no_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    def out_of_memory(*_: object) -> None:
        error = cv2.error("Insufficient memory")
        error.code = cv2.Error.StsNoMem
        raise error

    monkeypatch.setattr(cv2, "imdecode", out_of_memory)
    assert refusal(save(scene(), "PNG")).status == "too_large"
