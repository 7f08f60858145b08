"""What a run leaves on the disk while it works: its lock, the rows it has, and the files it has in hand."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import shutil
import socket
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pyarrow as pa

from labeler.errors import TableError
from labeler.table import Rows, TableInfo, sync_folder, write

_JOURNAL, _FLIGHT, _SUSPECTS = "journal.json", "flight", "suspects.json"
_PART = re.compile(r"part-(\d{6})-(\d{6})\.parquet")
_SLOT = 1 << 18
_SEPARATOR = "\0"


@contextmanager
def locked(target: Path) -> Iterator[int]:
    """Hold the lock of a label table; the system lets go of it however the process ends.

    Yields
    ------
    int
        The descriptor that holds it, which no process that is forked meanwhile may keep open.

    Raises
    ------
    TableError
        If another run holds it; the message names that run.
    """
    path = _beside(target, "lock")
    descriptor = _take(path, target)
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()} {socket.gethostname()}".encode(), 0)
        yield descriptor
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def _take(path: Path, target: Path) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The run that held the lock may have removed the file between the two calls.
            if os.path.exists(path) and os.path.samestat(os.fstat(descriptor), os.stat(path)):
                return descriptor
        except OSError as error:
            holder = os.pread(descriptor, 300, 0).decode("utf-8", "replace").split()
            os.close(descriptor)
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise
            pid, host = holder if len(holder) == 2 else ("unknown", "unknown")
            raise TableError(
                f"--out {target}: the run with process id {pid} on {host} is writing it; wait for it or end it"
            ) from error
        os.close(descriptor)


def _beside(target: Path, kind: str) -> Path:
    return target.parent / f".{target.name}.{kind}"


def _whole(path: Path) -> bool:
    """Tell whether a part can be read to its end; if the disk damaged it, its files are labelled again."""
    try:
        rows = Rows([path])
        return sum(batch.num_rows for batch in rows.take(0, rows.count)) == rows.count
    except TableError:
        return False


class Journal:
    """The rows that runs have labelled but not yet committed, and the files that they had in hand.

    Parameters
    ----------
    target : path
        The label table; the journal lies in a folder beside it.
    key : str
        Names the pack, the preprocessing and the options; rows of another key are of no use and are removed.
    """

    def __init__(self, target: Path, key: str) -> None:
        self.folder = _beside(target, "state")
        self._target = target
        self._key = key
        self._run = self._part = 0
        self._slots = -1
        self._guard = threading.Lock()

    def sources(self) -> list[Rows]:
        """Return the rows that each interrupted run has left, without a change to the disk."""
        if self._stated_key() != self._key:
            return []
        runs: dict[int, list[Path]] = {}
        for name in sorted(os.listdir(self.folder)):
            if match := _PART.fullmatch(name):
                runs.setdefault(int(match[1]), []).append(self.folder / name)
        return [Rows([path for path in files if _whole(path)]) for files in runs.values()]

    def open(self) -> set[str]:
        """Start a run: clear what is of no use, and return the paths that a run which did not end had in hand."""
        start = f".{self._target.name}."
        for name in os.listdir(self._target.parent):
            # A dot more, and it is of a table whose name begins as this one's does.
            if name.startswith(start) and name.endswith(".tmp") and "." not in name[len(start) : -len(".tmp")]:
                (self._target.parent / name).unlink(missing_ok=True)
        if self._stated_key() != self._key:
            shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(exist_ok=True)
        names = os.listdir(self.folder)
        for name in names:
            if name.endswith(".tmp"):
                (self.folder / name).unlink()
        self._run = 1 + max((int(match[1]) for name in names if (match := _PART.fullmatch(name))), default=0)
        suspects = self._suspects()
        self._put(_SUSPECTS, sorted(suspects))
        self._put(_JOURNAL, self._key)
        self._slots = os.open(self.folder / _FLIGHT, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
        return suspects

    def _stated_key(self) -> str | None:
        try:
            key: str = json.loads((self.folder / _JOURNAL).read_bytes())
        except (OSError, ValueError):
            return None
        return key

    def _put(self, name: str, value: object) -> None:
        temporary = self.folder / f"{name}.tmp"
        with temporary.open("w", encoding="utf-8") as file:
            json.dump(value, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.folder / name)
        sync_folder(self.folder)

    def _suspects(self) -> set[str]:
        found: set[str] = set()
        with suppress(OSError, ValueError):
            found.update(json.loads((self.folder / _SUSPECTS).read_bytes()))
        with suppress(OSError):
            content = (self.folder / _FLIGHT).read_bytes()
            for start in range(0, len(content), _SLOT):
                length = int.from_bytes(content[start : start + 4], "little")
                with suppress(UnicodeDecodeError):
                    found.update(content[start + 4 : start + 4 + length].decode().split(_SEPARATOR))
        return found - {""}

    def enter(self, slot: int, *paths: str) -> None:
        """Note the files that a worker has in hand: one to decode, several to classify at once, or none."""
        names = _SEPARATOR.join(paths).encode()[: _SLOT - 4]
        with self._guard:
            if self._slots >= 0:
                os.pwrite(self._slots, len(names).to_bytes(4, "little") + names, slot * _SLOT)

    def add(self, batches: Iterable[pa.RecordBatch], info: TableInfo) -> None:
        """Keep some labelled rows, sorted by path and behind those kept before, so that no crash can take them."""
        write(self.folder / f"part-{self._run:06}-{self._part:06}.parquet", batches, info)
        self._part += 1

    def close(self, *, remove: bool) -> None:
        """End the run; where the table holds all rows, the journal is removed."""
        with self._guard:
            if self._slots >= 0:
                os.ftruncate(self._slots, 0)
                os.close(self._slots)
                self._slots = -1
        if remove:
            shutil.rmtree(self.folder, ignore_errors=True)
