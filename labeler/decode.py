"""Bytes into upright pixels: every format, orientation and depth, and a named error for every bad input."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
import simplejpeg

from labeler.damage import UNITS, brightness_jumps
from labeler.errors import DecodeError
from labeler.header import Header, png_chunks, read_header, tiff_is_deflated, tiff_parts

Pixels = npt.NDArray[np.uint8]


DECODE_VERSION = "4"
"""Changes whenever the same file would give other pixels; kept in the label table."""


NO_MEMORY = "not enough memory to decode it"
UNPACKED_AT_ONCE = 1 << 20
"""Bytes of a compressed part of a TIFF file that are unpacked at a time, to see whether it is whole."""


@dataclass(frozen=True)
class Limits:
    """What a file may ask for before it is refused as ``too_large``.

    Parameters
    ----------
    pixels : int
        Most pixels a picture may have, as its header states them.
    file_bytes : int
        Most bytes a file may have.
    seconds : float
        Longest time that a step of the work on a file may take: to read and decode it, to look for faces, to crop.
    """

    pixels: int = 200_000_000
    file_bytes: int = 500_000_000
    seconds: float = 60.0


@dataclass(frozen=True)
class Picture:
    """An upright picture.

    Parameters
    ----------
    pixels : numpy.ndarray
        RGB, shape (rows, columns, 3), uint8; reduced to one in `reduction` pixels along each side.
    width, height : int
        Size of the upright picture as stored.
    format : str
        As in `labeler.header.Header`.
    reduction : int
        1, 2, 4 or 8.
    """

    pixels: Pixels
    width: int
    height: int
    format: str
    reduction: int = 1


def decode(data: bytes, limits: Limits | None = None) -> Picture:
    """Decode an image file to upright RGB at its full size; see `decode_checked`.

    Parameters
    ----------
    data : bytes
        The whole file.
    limits : Limits, optional
        Compared with the header before anything is allocated.

    Raises
    ------
    DecodeError
        With the status ``corrupt``, ``unsupported`` or ``too_large``.
    """
    return decode_checked(data, check(data, limits or Limits()))


def check(data: bytes, limits: Limits) -> Header:
    """Read a file's header and compare it with the limits, before anything is allocated.

    Raises
    ------
    DecodeError
        As `labeler.header.read_header`, and ``too_large`` above a limit.
    """
    if len(data) > limits.file_bytes:
        raise DecodeError("too_large", f"{len(data)} bytes are more than the limit of {limits.file_bytes}")
    header = read_header(data)
    if header.width * header.height > limits.pixels:
        raise DecodeError(
            "too_large", f"{header.width} x {header.height} pixels are more than the limit of {limits.pixels}"
        )
    return header


def reductions(header: Header) -> tuple[int, ...]:
    """Return the reductions at which a file can be decoded besides 1, the strongest first: only a JPEG has some.

    A reduced side is rounded up, so that its last pixel may show less than the others. Where the picture is then
    mirrored or turned, that pixel comes first and all others lie off their places: the sides must be multiples there.
    """
    if header.format != "jpeg":
        return ()
    whole = header.orientation == 1
    return tuple(r for r in (8, 4, 2) if whole or header.width % r == header.height % r == 0)


def reduction_to(header: Header, least: int) -> int:
    """Return the strongest reduction that leaves the shorter side at least so many pixels; 1 for a `least` of 0."""
    shorter = min(header.width, header.height)
    return next((reduction for reduction in reductions(header) if shorter >= reduction * least > 0), 1)


def decoded_bytes(header: Header, reduction: int) -> int:
    """Return about how much memory a picture takes while it is decoded and turned upright."""
    return 6 * header.width * header.height // reduction**2


def decode_checked(data: bytes, header: Header, reduction: int = 1) -> Picture:
    """Decode an image file, given its header, to upright RGB.

    EXIF orientation (JPEG, PNG, WebP, TIFF) and AVIF's turn and mirror are applied; transparent pixels are laid over
    white; values of more than 8 bits are scaled to 8; gray, palette and CMYK become RGB. Of several pages or frames the
    first counts. Colour profiles are ignored.

    Parameters
    ----------
    data : bytes
        The whole file.
    header : Header
        As `check` gave it.
    reduction : int
        As `reduction_to` gave it: the decoder skips what a smaller picture does not need.

    Raises
    ------
    DecodeError
        With the status ``corrupt`` or ``unsupported``.
    """
    if header.format == "heic":
        pixels = _decode_heic(data, header)
        return Picture(pixels, pixels.shape[1], pixels.shape[0], header.format)
    stored = _decode_jpeg(data, header, reduction) if header.format == "jpeg" else _decode_other(data, header)
    pixels = upright(stored, header.orientation)
    width, height = (header.width, header.height)[:: -1 if header.orientation >= 5 else 1]
    return Picture(pixels, width, height, header.format, reduction)


def quiet_decoders() -> None:
    """Stop OpenCV from printing what `decode` already says in its errors, and from starting threads of its own.

    Both are settings of the whole process, so a command makes them, not an import.
    """
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    cv2.setNumThreads(0)


def to_gray(pixels: Pixels) -> Pixels:
    """Return the luma of RGB pixels (ITU-R BT.601), shape (height, width), uint8; gray pixels as they are."""
    return pixels if pixels.ndim == 2 else np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), np.uint8)


def upright(pixels: Pixels, orientation: int) -> Pixels:
    """Turn and mirror stored pixels as their EXIF orientation asks.

    Parameters
    ----------
    pixels : numpy.ndarray
        Shape (height, width) or (height, width, channels).
    orientation : int
        1 to 8, as EXIF counts.
    """
    if orientation in (5, 6, 7, 8):
        pixels = np.swapaxes(pixels, 0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def _decode_jpeg(data: bytes, header: Header, reduction: int) -> Pixels:
    try:
        height, width, space, subsampling = simplejpeg.decode_jpeg_header(data)[:4]
        if (height, width) != (header.height, header.width):
            raise DecodeError(
                "corrupt", f"jpeg: {header.width} x {header.height} in one header, {width} x {height} in another"
            )
        least = {} if reduction == 1 else {"min_height": -(-height // reduction), "min_width": -(-width // reduction)}
        if space in ("CMYK", "YCCK"):
            return _cmyk_to_rgb(simplejpeg.decode_jpeg(data, "CMYK", **least), inverted=header.inverted)
        pixels = np.asarray(simplejpeg.decode_jpeg(data, "RGB", **least), np.uint8)
    except ValueError as error:
        reason = " ".join(str(error).split())
        status = "unsupported" if "nsupported" in reason else "corrupt"
        raise DecodeError(status, f"jpeg: {reason}") from error
    jumps = subsampling in UNITS and brightness_jumps(pixels, subsampling, reduction)
    if jumps and reduction > 1:
        # Reduced, an edge of the scene may look like damage; at full size both can be told apart.
        jumps = brightness_jumps(np.asarray(simplejpeg.decode_jpeg(data, "RGB"), np.uint8), subsampling)
    if jumps:
        raise DecodeError("corrupt", "jpeg: its brightness jumps within a row of blocks, as damaged bytes make it")
    return pixels


def _cmyk_to_rgb(cmyk: Pixels, *, inverted: bool) -> Pixels:
    ink = cmyk if inverted else 255 - cmyk
    rgb = ink[..., :3].astype(np.uint16) * ink[..., 3:] + 127
    return (rgb // 255).astype(np.uint8)


def _decode_heic(data: bytes, header: Header) -> Pixels:
    import pillow_heif

    try:
        picture = pillow_heif.open_heif(data, bgr_mode=True)
        if picture.size[0] * picture.size[1] > header.width * header.height:
            raise DecodeError(
                "corrupt", f"heic: holds {picture.size[0]} x {picture.size[1]} pixels, not what it states"
            )
        return _to_rgb(np.asarray(picture, np.uint8), header.alpha)
    except (ValueError, RuntimeError, EOFError, OSError, SyntaxError) as error:
        raise DecodeError("corrupt", f"heic: {' '.join(str(error).split())[:200]}") from error


def _decode_other(data: bytes, header: Header) -> Pixels:
    _check_whole(data, header.format)
    try:
        stored = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except MemoryError as error:
        raise DecodeError("too_large", NO_MEMORY) from error
    except cv2.error as error:
        if error.code == cv2.Error.StsNoMem:
            raise DecodeError("too_large", NO_MEMORY) from error
        raise DecodeError("corrupt", f"{header.format}: {' '.join(str(error).split())[:200]}") from error
    if stored is None:
        raise DecodeError("corrupt", f"{header.format}: the decoder refused the content")
    if stored.shape[:2] != (header.height, header.width):
        raise DecodeError(
            "corrupt",
            f"{header.format}: decodes to {stored.shape[1]} x {stored.shape[0]}, "
            f"its header says {header.width} x {header.height}",
        )
    clear = header.format == "png" and stored.ndim == 2
    pixels = _to_8_bit(_clear_to_white(stored, data) if clear else stored, header)
    return _to_rgb(255 - pixels if header.inverted else pixels, header.alpha)


def _check_whole(data: bytes, kind: str) -> None:
    """Refuse what OpenCV would fill up in silence: a file that breaks off, and PNG chunks with a wrong checksum."""
    if kind == "png":
        name = b""
        for name, start, length in png_chunks(data):
            end = start + length
            if end + 4 > len(data):
                raise DecodeError("corrupt", "png: the file breaks off")
            if zlib.crc32(data[start - 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
                raise DecodeError("corrupt", f"png: the checksum of a chunk {name.decode('latin-1')!r} is off")
            if name == b"IEND":
                return
        raise DecodeError("corrupt", "png: the file breaks off")
    if kind == "webp" and int.from_bytes(data[4:8], "little") + 8 > len(data):
        raise DecodeError("corrupt", "webp: the file breaks off")
    if kind == "tiff":
        _check_tiff(data)
    if kind == "bmp" and int.from_bytes(data[2:6], "little") > len(data):
        raise DecodeError("corrupt", "bmp: the file breaks off")


def _check_tiff(data: bytes) -> None:
    """Refuse a TIFF file whose strips or tiles break off, or that zlib does not unpack to the end."""
    try:
        parts = list(tiff_parts(data))
    except struct.error as error:
        raise DecodeError("corrupt", "tiff: a part of its header is missing") from error
    if any(start + length > len(data) for start, length in parts):
        raise DecodeError("corrupt", "tiff: the file breaks off")
    for start, length in parts if tiff_is_deflated(data) else ():
        unpacking, rest = zlib.decompressobj(), data[start : start + length]
        try:
            while rest and not unpacking.eof:
                unpacking.decompress(rest, UNPACKED_AT_ONCE)
                rest = unpacking.unconsumed_tail
        except zlib.error as error:
            raise DecodeError("corrupt", f"tiff: {error}") from error
        if not unpacking.eof:
            raise DecodeError("corrupt", "tiff: a compressed part breaks off")


def _clear_to_white(stored: npt.NDArray[np.generic], data: bytes) -> npt.NDArray[np.generic]:
    """Make the one gray value that a PNG without an alpha channel declares transparent white; OpenCV shows it."""
    for name, start, length in png_chunks(data):
        if name == b"tRNS" and length == 2:
            depth = data[24]
            clear = int.from_bytes(data[start : start + 2], "big") * (255 // (2**depth - 1) if depth < 8 else 1)
            return np.where(stored == clear, np.array(65_535 if depth == 16 else 255, stored.dtype), stored)
    return stored


def _to_8_bit(stored: npt.NDArray[np.generic], header: Header) -> Pixels:
    if stored.dtype == np.uint8:
        return stored.astype(np.uint8, copy=False)
    if stored.dtype == np.uint16:
        top = 2**header.depth - 1
        return np.asarray((stored.astype(np.uint32) * 255 + top // 2) // top, np.uint8)
    raise DecodeError("unsupported", f"{header.format}: pixels of type {stored.dtype} have no defined brightness")


def _to_rgb(stored: Pixels, alpha_kind: str) -> Pixels:
    """Return RGB from what OpenCV gives: gray, BGR, or BGRA whose fourth channel means `Header.alpha`."""
    if stored.ndim == 2 or stored.shape[2] == 1:
        return np.asarray(cv2.cvtColor(stored, cv2.COLOR_GRAY2RGB), np.uint8)
    if stored.shape[2] == 3 or (stored.shape[2] == 4 and alpha_kind == "none"):
        stored = np.ascontiguousarray(stored[..., :3])
        return np.asarray(cv2.cvtColor(stored, cv2.COLOR_BGR2RGB), np.uint8)
    if stored.shape[2] == 4:
        rgba = np.asarray(cv2.cvtColor(stored, cv2.COLOR_BGRA2RGBA), np.uint16)
        alpha = rgba[..., 3:]
        ink = 255 * np.minimum(rgba[..., :3], alpha) if alpha_kind == "premultiplied" else rgba[..., :3] * alpha
        over_white: Pixels = ((ink + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)
        return over_white
    raise DecodeError("unsupported", f"pictures of {stored.shape[2]} channels are not supported")
