"""Walk a store of image files in sorted order, and read one file without trusting it."""

from __future__ import annotations

import os
import re
import stat
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from labeler.errors import DecodeError, StoreError
from labeler.header import SNIFF_BYTES, sniff

IMAGE_SUFFIXES = frozenset(
    ".jpg .jpeg .jpe .jfif .png .webp .tif .tiff .bmp .dib .avif .heic .heif .gif .jp2 .j2k .jxl .psd".split()
)
"""A file with one of these endings is an image file whatever it holds; any other is one if its first bytes say so."""

_APPLE_DOUBLE = "._"
_USUAL_ENDINGS = (".jpg", *sorted(IMAGE_SUFFIXES - {".jpg"}), *sorted(suffix.upper() for suffix in IMAGE_SUFFIXES))
_BLOCK = 4096
_AT_ONCE = 64
_PIECE = 1 << 24
_EARLIEST, _LATEST = -(1 << 63), (1 << 63) - 1
_Identity = tuple[int, int]
_ESCAPE = re.compile(rb"\\(?:\\|x([0-9a-f]{2}))")


class Entry(NamedTuple):
    """One image file of a store.

    Parameters
    ----------
    path : str
        Relative to the store, ``/`` as separator, see `encode_path`.
    size_bytes, mtime_ns : int or None
        As the file system states them; None where it does not.
    problem : str
        Why the file cannot be opened; empty where it can be tried.
    """

    path: str
    size_bytes: int | None
    mtime_ns: int | None
    problem: str = ""


@dataclass(frozen=True)
class Block:
    """Image files of one folder that follow each other in a walk; a million such are cheaper than a million entries.

    Parameters
    ----------
    paths : sequence of str
        As in `Entry`, sorted.
    sizes, times : sequence of int
        Bytes, and the time of modification in nanoseconds, of each.
    """

    paths: Sequence[str]
    sizes: Sequence[int]
    times: Sequence[int]

    def __len__(self) -> int:
        """Return the number of files."""
        return len(self.paths)

    def entry(self, at: int) -> Entry:
        """Return one of the files."""
        return Entry(self.paths[at], self.sizes[at], self.times[at])


@dataclass(frozen=True)
class Gap:
    """A part of a store that could not be looked into.

    Parameters
    ----------
    path : str
        The folder, with ``/`` at its end, or empty for the store itself; its files cannot be known to be gone.
    reason : str
        Why.
    known : bool
        Whether its files are seen by another path, so that by this one they are gone.
    """

    path: str
    reason: str
    known: bool = False


def encode_path(name: str) -> str:
    r"""Return a file name as text that Parquet can hold and `decode_path` can turn back.

    Bytes that are not UTF-8 become ``\xNN`` and a backslash becomes two.

    Examples
    --------
    >>> print(encode_path("caf\udce9.jpg"))
    caf\xe9.jpg
    """
    raw = os.fsencode(name)
    return raw.replace(b"\\", b"\\\\").decode("utf-8", "backslashreplace")


def decode_path(path: str) -> str:
    r"""Return the file name that `encode_path` was given, as `os` functions take it.

    Examples
    --------
    >>> decode_path(encode_path("a\\b\udce9")) == "a\\b\udce9"
    True
    """
    raw = path.encode()
    return os.fsdecode(_ESCAPE.sub(lambda match: bytes.fromhex(match[1].decode()) if match[1] else b"\\", raw))


def check_store(root: str | os.PathLike[str]) -> Path:
    """Return the store's folder, or say why it is none.

    Raises
    ------
    StoreError
        If there is no such folder, or it is a file, or it cannot be listed.
    """
    folder = Path(root)
    try:
        found = folder.exists()
    except OSError as error:
        raise StoreError(f"{folder}: cannot be looked at ({error.strerror}); name another folder") from error
    if not found:
        raise StoreError(f"{folder}: no such folder; name the folder that holds the images")
    if not folder.is_dir():
        raise StoreError(f"{folder}: is a file, not a folder; name the folder that holds it")
    if not os.access(folder, os.R_OK | os.X_OK):
        raise StoreError(f"{folder}: cannot be listed; ask for the right to read it")
    return folder


def scan(root: str | os.PathLike[str]) -> Iterator[Entry | Gap]:
    """Yield what `scan_blocks` does, file by file."""
    for found in scan_blocks(root):
        if isinstance(found, Block):
            yield from map(found.entry, range(len(found)))
        else:
            yield found


def scan_blocks(root: str | os.PathLike[str]) -> Iterator[Block | Entry | Gap]:
    """Yield every image file below a folder, sorted by path as UTF-8 bytes, and what could not be looked into.

    Files come in blocks where there is nothing special about them. Links to files and folders are followed, each folder
    through one link only: a link to a folder above it, or to one that another link has led to, is a `Gap`. Memory grows
    with the largest folder and the number of links, not with the store. macOS's companion files (``._name``) are no
    images.

    Parameters
    ----------
    root : path
        The store.

    Raises
    ------
    StoreError
        As `check_store`.
    """
    folder = check_store(root)
    linked: set[_Identity] = set()
    levels = [_level(_Folder(os.fspath(folder), "", (_identity(os.stat(folder)),)), linked)]
    while levels:
        found = next(levels[-1], None)
        if found is None:
            levels.pop()
        elif isinstance(found, _Folder):
            levels.append(_level(found, linked))
        else:
            yield found


def walk(root: str | os.PathLike[str]) -> Iterator[Entry]:
    """Yield the image files of `scan` alone."""
    return (found for found in scan(root) if isinstance(found, Entry))


def _identity(status: os.stat_result) -> _Identity:
    return status.st_dev, status.st_ino


@dataclass(frozen=True)
class _Folder:
    """A folder to go down into: its name as `os` takes it, its path with ``/`` at the end, itself and those above."""

    name: str
    prefix: str
    above: tuple[_Identity, ...]


def _level(folder: _Folder, linked: set[_Identity]) -> Iterator[Block | Entry | Gap | _Folder]:
    """Yield the image files of one folder and, in their place among them, the folders to go down into."""
    try:
        names, others = _listing(folder.name)
    except OSError as error:
        yield Gap(folder.prefix, f"cannot be listed ({error.strerror})")
        return
    start = 0
    # Code points sort as their UTF-8 bytes do.
    for name in sorted(others):
        stop = bisect_left(names, name, start)
        yield from _files(folder, names, start, stop)
        start = stop
        item = others.pop(name)
        if name.endswith("/"):
            yield _below(folder, item, folder.prefix + name, linked)
        elif (entry := _entry(item.path, item.name, folder.prefix + name)) is not None:
            yield entry
    yield from _files(folder, names, start, len(names))


def _listing(folder: str) -> tuple[list[str], dict[str, os.DirEntry[str]]]:
    """Return the plain image files of a folder, sorted, and all else by name; names as `encode_path` gives them."""
    names: list[str] = []
    others: dict[str, os.DirEntry[str]] = {}
    with os.scandir(folder) as listing:
        for item in listing:
            name = item.name
            if name.endswith(_USUAL_ENDINGS) and name[0] != "." and _is_plain_file(item):
                names.append(name)
            else:
                others[_plain(name) + "/" * _is_folder(item)] = item
    for start in range(0, len(names), _BLOCK):
        joined = "".join(names[start : start + _BLOCK])
        if not joined.isascii() or "\\" in joined:
            names[start : start + _BLOCK] = map(encode_path, names[start : start + _BLOCK])
    names.sort()
    return names, others


def _is_plain_file(item: os.DirEntry[str]) -> bool:
    try:
        return item.is_file(follow_symlinks=False)
    except OSError:
        return False


def _files(folder: _Folder, names: Sequence[str], start: int, stop: int) -> Iterator[Block | Entry]:
    """Yield some plain image files of a folder in blocks, or one by one where the system does not tell of all."""
    for first in range(start, stop, _BLOCK):
        chunk = names[first : min(first + _BLOCK, stop)]
        plain = [decode_path(name) if "\\" in name else name for name in chunk]
        try:
            sizes, times = _sizes_and_times(folder.name, plain)
        except OSError:
            for name, real in zip(chunk, plain, strict=True):
                if (entry := _entry(os.path.join(folder.name, real), real, folder.prefix + name)) is not None:
                    yield entry
        else:
            prefix = folder.prefix
            yield Block([prefix + name for name in chunk], sizes, times)


def _sizes_and_times(folder: str, names: Sequence[str]) -> tuple[list[int], list[int]]:
    """Return bytes and time of modification of some files of a folder; by few at a time the caches hold them."""
    sizes: list[int] = []
    times: list[int] = []
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for start in range(0, len(names), _AT_ONCE):
            found = [os.stat(name, dir_fd=descriptor) for name in names[start : start + _AT_ONCE]]
            sizes += [status.st_size for status in found]
            times += [status.st_mtime_ns for status in found]
    finally:
        os.close(descriptor)
    return sizes, times if min(times) >= _EARLIEST and max(times) <= _LATEST else [_storable(time) for time in times]


def _storable(time_ns: int) -> int:
    """Return a time as 64 bits can hold it: from 1677 to 2262, though a file system may say 2446."""
    return min(max(time_ns, _EARLIEST), _LATEST)


def _below(folder: _Folder, item: os.DirEntry[str], prefix: str, linked: set[_Identity]) -> _Folder | Gap:
    """Return a folder to go down into, or why not."""
    try:
        identity = _identity(item.stat())
    except OSError as error:
        return Gap(prefix, f"cannot be looked at ({error.strerror})")
    if identity in folder.above:
        return Gap(prefix, "is a link to a folder above it", known=True)
    if item.is_symlink():
        if identity in linked:
            return Gap(prefix, "is a link to a folder that another link has led to", known=True)
        linked.add(identity)
    return _Folder(item.path, prefix, (*folder.above, identity))


def _plain(name: str) -> str:
    """Return `encode_path` of a name, at once where nothing in it needs an escape."""
    return name if name.isascii() and "\\" not in name else encode_path(name)


def _is_folder(item: os.DirEntry[str]) -> bool:
    """Tell whether to go down; a link that cannot be followed and names no image may have led to a folder before."""
    try:
        if item.is_dir():
            return True
        return item.is_symlink() and not _named_image(item.name) and not os.path.exists(item.path)
    except OSError:
        return not _named_image(item.name)


def _named_image(name: str) -> bool:
    stem, _, ending = name.rpartition(".")
    return stem != "" and "." + ending.lower() in IMAGE_SUFFIXES


def _entry(location: str, name: str, path: str) -> Entry | None:
    if name.startswith(_APPLE_DOUBLE):
        return None
    named = _named_image(name)
    try:
        status = os.stat(location)
    except OSError as error:
        return Entry(path, None, None, f"cannot be opened ({error.strerror})") if named else None
    if not stat.S_ISREG(status.st_mode):
        return Entry(path, None, None, "is not a regular file") if named else None
    if not named and not _looks_like_image(location):
        return None
    return Entry(path, status.st_size, _storable(status.st_mtime_ns))


def _looks_like_image(name: str) -> bool:
    try:
        descriptor, _ = _open_regular(name)
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            return sniff(file.read(SNIFF_BYTES) or b"") is not None
    except (OSError, DecodeError):
        return False


def read(root: str | os.PathLike[str], entry: Entry, limit_bytes: int) -> bytes:
    """Return a file's content.

    Parameters
    ----------
    root : path
        The store.
    entry : Entry
        As `walk` gave it.
    limit_bytes : int
        Refuse a longer file without reading it.

    Raises
    ------
    DecodeError
        ``unreadable`` where the file cannot be opened or read or is not a regular file, ``too_large`` above the limit.
    """
    if entry.problem:
        raise DecodeError("unreadable", entry.problem)
    try:
        descriptor, size = _open_regular(os.path.join(root, decode_path(entry.path)))
        try:
            if size > limit_bytes:
                raise DecodeError("too_large", f"{size} bytes are more than the limit of {limit_bytes}")
            content = os.read(descriptor, size + 1)
            if len(content) == size:
                return content
            # It changes while it is read, or is more than the system hands out at once.
            parts = [content]
            while part := os.read(descriptor, _PIECE):
                parts.append(part)
                if sum(map(len, parts)) > limit_bytes:
                    raise DecodeError("too_large", f"it grows beyond the limit of {limit_bytes} bytes")
            return b"".join(parts)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise DecodeError("unreadable", f"cannot be read ({error.strerror})") from error


def _open_regular(name: str) -> tuple[int, int]:
    """Open a regular file and nothing else, since a pipe or device may have taken its place; return also its size."""
    descriptor = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise DecodeError("unreadable", "is not a regular file")
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor, status.st_size
