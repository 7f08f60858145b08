"""What an image file says of itself before it is decoded: format, size and orientation."""

from __future__ import annotations

import importlib.util
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from labeler.errors import DecodeError

SNIFF_BYTES = 32
"""So many first bytes are enough to tell the format."""

HEIC_MISSING = "heic images are not supported without the extra; install efrs-labeler[heic]"
"""The error of a HEIC file where the extra is not installed."""

_TIFF_MAGIC = {b"II*\x00": "<", b"MM\x00*": ">"}
_BMP_HEADERS = {12, 16, 40, 52, 56, 64, 108, 124}
_AVIF_BRANDS = {b"avif", b"avis"}
_HEIC_BRANDS = {b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"}
_WIDTH_TAG, _HEIGHT_TAG, _BITS_TAG, _PHOTOMETRIC_TAG = 256, 257, 258, 262
_ORIENTATION_TAG, _SAMPLES_TAG, _PLANAR_TAG, _EXTRA_SAMPLES_TAG = 274, 277, 284, 338
_TILE_WIDTH_TAG, _TILE_HEIGHT_TAG = 322, 323
_COMPRESSION_TAG, _DEFLATE = 259, (8, 32946)
_PARTS = ((273, 279), (324, 325))
"""Tags of where the strips or the tiles of a TIFF file begin, and of how long they are."""
_BMP_WITH_ALPHA = 56
"""Length of the shortest header of a BMP file that has a mask for alpha."""
_HIGH_BIT_DEPTH, _TWELVE_BIT = 0x40, 0x20
"""Flags in the third byte of an AV1 configuration."""
_TIFF_TAGS = (
    _WIDTH_TAG,
    _HEIGHT_TAG,
    _BITS_TAG,
    _PHOTOMETRIC_TAG,
    _ORIENTATION_TAG,
    _SAMPLES_TAG,
    _PLANAR_TAG,
    _EXTRA_SAMPLES_TAG,
    _TILE_WIDTH_TAG,
    _TILE_HEIGHT_TAG,
)
_WHITE_IS_ZERO, _SEPARATED = 0, 5
_ASSOCIATED_ALPHA, _UNASSOCIATED_ALPHA = 1, 2
_AVIF_TURNS = {0: 1, 1: 8, 2: 3, 3: 6}
_MIRRORED_UPSIDE_DOWN = {1: 4, 8: 5, 3: 2, 6: 7}
_MIRRORED_LEFT_RIGHT = {1: 2, 8: 7, 3: 4, 6: 5}


@dataclass(frozen=True)
class Header:
    """Format, size and orientation of an image file.

    Parameters
    ----------
    format : str
        ``jpeg``, ``png``, ``webp``, ``tiff``, ``bmp``, ``avif`` or, with the extra ``[heic]``, ``heic``.
    width, height : int
        Pixels as the decoder gives them, before `orientation` is applied.
    orientation : int
        What is left to do after decoding, as EXIF counts it: 1 upright, 3 upside down, 6 and 8 quarter turns, 2, 4,
        5, 7 mirrored. TIFF is always 1, since its decoder turns the picture itself.
    alpha : str
        What the decoder's fourth channel means: ``straight``, ``premultiplied`` (the colours are already times alpha)
        or ``none`` (it says nothing of transparency).
    inverted : bool
        Whether the stored values run the other way: 0 for white (16-bit TIFF), 0 for full ink (CMYK JPEG by Adobe).
    depth : int
        Bits of a value where the decoder gives it 16.
    """

    format: str
    width: int
    height: int
    orientation: int = 1
    alpha: str = "straight"
    inverted: bool = False
    depth: int = 16


def sniff(data: bytes) -> str | None:
    r"""Return the format that the first bytes show, or None where they show no image.

    Also names formats that `read_header` refuses (``gif``, ``jpeg2000``, ``jxl``, ``psd``, ``bigtiff``), so
    that the refusal can say what the file is.

    Examples
    --------
    >>> sniff(b"\xff\xd8\xff\xe0" + bytes(28))
    'jpeg'
    """
    if data[:3] == b"\xff\xd8\xff":
        return "jpeg"
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return "png"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    if data[:4] in _TIFF_MAGIC:
        return "tiff"
    if data[:2] == b"BM" and int.from_bytes(data[14:18], "little") in _BMP_HEADERS:
        return "bmp"
    if data[4:8] == b"ftyp":
        brands = {data[8:12], *(data[k : k + 4] for k in range(16, min(len(data), 32) - 3, 4))}
        return "avif" if brands & _AVIF_BRANDS else "heic" if brands & _HEIC_BRANDS else None
    others = {
        b"GIF87a": "gif",
        b"GIF89a": "gif",
        b"\x00\x00\x00\x0cjP  ": "jpeg2000",
        b"\x00\x00\x00\x0cJXL ": "jxl",
        b"\xff\x0a": "jxl",
        b"8BPS": "psd",
        b"II+\x00": "bigtiff",
        b"MM\x00+": "bigtiff",
    }
    return next((name for magic, name in others.items() if data.startswith(magic)), None)


def read_header(data: bytes) -> Header:
    """Read format, size and orientation without decoding a pixel.

    Raises
    ------
    DecodeError
        ``corrupt`` for an empty file or a header that breaks off or contradicts itself, ``unsupported`` for content
        of another format.
    """
    if not data:
        raise DecodeError("corrupt", "the file is empty")
    kind = sniff(data[:SNIFF_BYTES])
    readers = {"jpeg": _jpeg, "png": _png, "webp": _webp, "tiff": _tiff, "bmp": _bmp, "avif": _avif, "heic": _heic}
    if kind is None:
        raise DecodeError("unsupported", "the content is not of a known image format")
    if kind == "heic" and not heic_supported():
        raise DecodeError("unsupported", HEIC_MISSING)
    if kind not in readers:
        raise DecodeError("unsupported", f"{kind} images are not supported")
    try:
        header = readers[kind](data)
    except (struct.error, IndexError) as error:
        raise DecodeError("corrupt", f"the {kind} header breaks off") from error
    if header.width <= 0 or header.height <= 0:
        raise DecodeError("corrupt", f"the {kind} header gives a size of {header.width} x {header.height}")
    return header


def _jpeg(data: bytes) -> Header:
    orientation = 1
    inverted = False
    position = 2
    while True:
        while data[position] == 0xFF and data[position + 1] == 0xFF:
            position += 1
        if data[position] != 0xFF:
            raise DecodeError("corrupt", "the jpeg header holds no image size")
        marker = data[position + 1]
        if marker == 0x01 or 0xD0 <= marker <= 0xD8:
            position += 2
            continue
        (length,) = struct.unpack_from(">H", data, position + 2)
        body = position + 4
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", data, body + 1)
            return Header("jpeg", width, height, orientation, inverted=inverted)
        if marker in (0xD9, 0xDA):
            raise DecodeError("corrupt", "the jpeg header holds no image size")
        if marker == 0xE1 and data[body : body + 6] == b"Exif\x00\x00":
            orientation = _exif_orientation(data[body + 6 : position + 2 + length])
        if marker == 0xEE and data[body : body + 5] == b"Adobe":
            inverted = True
        position += 2 + length


def _png(data: bytes) -> Header:
    width, height = struct.unpack_from(">II", data, 16)
    orientation = 1
    for name, start, length in png_chunks(data):
        if name == b"eXIf":
            orientation = _exif_orientation(data[start : start + length])
    return Header("png", width, height, orientation)


def png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield the name, first byte and length of each PNG chunk, as far as the file goes."""
    position = 8
    while position + 8 <= len(data):
        (length,) = struct.unpack_from(">I", data, position)
        yield data[position + 4 : position + 8], position + 8, length
        position += 12 + length


def _webp(data: bytes) -> Header:
    orientation = 1
    size: tuple[int, int] | None = None
    position = 12
    while position + 8 <= len(data):
        name = data[position : position + 4]
        (length,) = struct.unpack_from("<I", data, position + 4)
        body = position + 8
        if size is None:
            size = _webp_size(name, data, body)
        if name == b"EXIF":
            start = body + 6 if data[body : body + 6] == b"Exif\x00\x00" else body
            orientation = _exif_orientation(data[start : body + length])
        position = body + length + (length & 1)
    if size is None:
        raise DecodeError("corrupt", "the webp header holds no image size")
    return Header("webp", *size, orientation)


def _webp_size(name: bytes, data: bytes, body: int) -> tuple[int, int] | None:
    if name == b"VP8X":
        packed = data[body + 4 : body + 10].ljust(6, b"\x00")
        return 1 + int.from_bytes(packed[:3], "little"), 1 + int.from_bytes(packed[3:], "little")
    if name == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, body + 6)
        return width & 0x3FFF, height & 0x3FFF
    if name == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, body + 1)
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    return None


def _tiff(data: bytes) -> Header:
    tags = _tiff_tags(data, _TIFF_TAGS)
    if _WIDTH_TAG not in tags or _HEIGHT_TAG not in tags:
        raise DecodeError("corrupt", "the tiff header holds no image size")
    _refuse_tiff_layout(tags)
    width, height = tags[_WIDTH_TAG], tags[_HEIGHT_TAG]
    if _valid(tags.get(_ORIENTATION_TAG, 1)) >= 5:
        width, height = height, width
    deep = tags.get(_BITS_TAG, 1) > 8
    extra = tags.get(_EXTRA_SAMPLES_TAG)
    # The decoder multiplies the colours of 8-bit TIFF by alpha, and leaves those of deeper ones as they are stored.
    premultiplied = extra == _ASSOCIATED_ALPHA or (extra == _UNASSOCIATED_ALPHA and not deep)
    alpha = "premultiplied" if premultiplied else "straight" if extra == _UNASSOCIATED_ALPHA else "none"
    return Header("tiff", width, height, 1, alpha, inverted=deep and tags.get(_PHOTOMETRIC_TAG) == _WHITE_IS_ZERO)


def _refuse_tiff_layout(tags: dict[int, int]) -> None:
    """Refuse the layouts that OpenCV decodes to a wrong picture without an error, or cannot decode at all."""
    deep, samples = tags.get(_BITS_TAG, 1) > 8, tags.get(_SAMPLES_TAG, 1)
    if samples == 2:
        raise DecodeError("unsupported", "tiff: gray with a second channel is not supported")
    if samples > 4:
        raise DecodeError("unsupported", f"tiff: pictures of {samples} channels are not supported")
    if deep and samples > 1 and tags.get(_PLANAR_TAG, 1) != 1:
        raise DecodeError("unsupported", "tiff: 16-bit channels in separate planes are not supported")
    tile = tags.get(_TILE_WIDTH_TAG, 0), tags.get(_TILE_HEIGHT_TAG, 0)
    if not deep and tile[0] * tile[1] % 1024:
        raise DecodeError("unsupported", f"tiff: tiles of {tile[0]} x {tile[1]} pixels are not supported")
    if deep and tags.get(_PHOTOMETRIC_TAG) == _SEPARATED:
        raise DecodeError("unsupported", "tiff: 16-bit CMYK is not supported")


def _bmp(data: bytes) -> Header:
    (length,) = struct.unpack_from("<I", data, 14)
    if length == 12:
        width, height = struct.unpack_from("<HH", data, 18)
    else:
        width, height = struct.unpack_from("<ii", data, 18)
    # Without a mask of its own the fourth byte of a pixel means nothing, and is mostly 0.
    declared = length >= _BMP_WITH_ALPHA and data[66:70] != bytes(4)
    return Header("bmp", width, abs(height), alpha="straight" if declared else "none")


def heic_supported() -> bool:
    """Tell whether the extra that decodes HEIC is installed."""
    return importlib.util.find_spec("pillow_heif") is not None


def _heic(data: bytes) -> Header:
    # The size may be larger than the picture, which the decoder crops and turns itself.
    header = _avif(data)
    return Header("heic", header.width, header.height)


def _avif(data: bytes) -> Header:
    size: tuple[int, int] | None = None
    orientation = 1
    mirror: int | None = None
    depth = 8
    for name, body, end in _avif_properties(data):
        if name == b"ispe":
            found = struct.unpack_from(">II", data, body + 4)
            size = found if size is None or found[0] * found[1] > size[0] * size[1] else size
        elif name == b"irot" and end > body:
            orientation = _AVIF_TURNS[data[body] & 3]
        elif name == b"imir" and end > body:
            mirror = data[body] & 1
        elif name == b"av1C" and end > body + 2 and data[body + 2] & _HIGH_BIT_DEPTH:
            depth = 12 if data[body + 2] & _TWELVE_BIT else 10
    if size is None:
        raise DecodeError("corrupt", "the header holds no image size")
    if mirror is not None:
        orientation = (_MIRRORED_LEFT_RIGHT if mirror else _MIRRORED_UPSIDE_DOWN)[orientation]
    return Header("avif", *size, orientation, depth=depth)


def _avif_properties(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield the boxes of meta/iprp/ipco, where an AVIF file keeps size, turn and mirror."""
    start, end = 0, len(data)
    for wanted, skipped in ((b"meta", 4), (b"iprp", 0), (b"ipco", 0)):
        found = next((box for box in _boxes(data, start, end) if box[0] == wanted), None)
        if found is None:
            return
        start, end = found[1] + skipped, found[2]
    yield from _boxes(data, start, end)


def _boxes(data: bytes, position: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    while position + 8 <= end:
        length, name = struct.unpack_from(">I4s", data, position)
        body = position + 8
        if length == 1:
            (length,) = struct.unpack_from(">Q", data, body)
            body += 8
        stop = end if length == 0 else position + length
        if stop < body or stop > end:
            return
        yield name, body, stop
        position = stop


def _exif_orientation(data: bytes) -> int:
    if data[:4] not in _TIFF_MAGIC:
        return 1
    try:
        return _valid(_tiff_tags(data, (_ORIENTATION_TAG,)).get(_ORIENTATION_TAG, 1))
    except (struct.error, DecodeError):
        return 1


def _valid(orientation: int) -> int:
    return orientation if 1 <= orientation <= 8 else 1


def tiff_parts(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield first byte and length of each strip or tile of a TIFF file's first folder."""
    order = _TIFF_MAGIC[data[:4]]
    found = {
        tag: struct.unpack_from(f"{order}{count}{letter}", data, start)
        for tag, letter, count, start in _tiff_entries(data, sum(_PARTS, ()))
    }
    for begin, length in _PARTS:
        yield from zip(found.get(begin, ()), found.get(length, ()), strict=False)


def tiff_is_deflated(data: bytes) -> bool:
    """Tell whether each strip or tile of a TIFF file is a zlib stream."""
    return _tiff_tags(data, (_COMPRESSION_TAG,)).get(_COMPRESSION_TAG) in _DEFLATE


def _tiff_tags(data: bytes, wanted: tuple[int, ...]) -> dict[int, int]:
    """Return the first value of some SHORT or LONG tags of a TIFF file's first folder."""
    order = _TIFF_MAGIC[data[:4]]
    return {
        tag: struct.unpack_from(order + letter, data, start)[0] for tag, letter, _, start in _tiff_entries(data, wanted)
    }


def _tiff_entries(data: bytes, wanted: tuple[int, ...]) -> Iterator[tuple[int, str, int, int]]:
    """Yield some SHORT or LONG tags of a TIFF file's first folder: struct's letter, how many values, and where."""
    order = _TIFF_MAGIC[data[:4]]
    (position,) = struct.unpack_from(order + "I", data, 4)
    (entries,) = struct.unpack_from(order + "H", data, position)
    for k in range(entries):
        tag, kind, count = struct.unpack_from(order + "HHI", data, position + 2 + 12 * k)
        if tag in wanted and kind in (3, 4):
            start = position + 10 + 12 * k
            if count * (2 if kind == 3 else 4) > 4:
                (start,) = struct.unpack_from(order + "I", data, start)
            yield tag, "H" if kind == 3 else "I", count, start
