"""Where answers are kept: an SQLite file to which is only added, so that every answer has its history."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from audit.review.errors import RefusedError, ReviewError
from audit.text import shown
from labeler.taxonomy import ATTRIBUTES

APPLICATION = 0x45465253
VERSION = 1
KINDS = ("answer", "skip", "undo")
SCHEMA = f"""
BEGIN IMMEDIATE;
PRAGMA application_id = {APPLICATION};
PRAGMA user_version = {VERSION};
CREATE TABLE about (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE purposes (text TEXT NOT NULL, since TEXT NOT NULL);
CREATE TABLE images (number INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE);
CREATE TABLE annotators (name TEXT PRIMARY KEY COLLATE NOCASE, since TEXT NOT NULL);
CREATE TABLE sessions (digest TEXT PRIMARY KEY, annotator TEXT, expires REAL NOT NULL);
CREATE TABLE answers (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, annotator TEXT NOT NULL, by TEXT NOT NULL,
    image INTEGER NOT NULL REFERENCES images (number), kind TEXT NOT NULL CHECK (kind IN ('answer', 'skip', 'undo')),
    {", ".join(f"{name} TEXT" for name in ATTRIBUTES)}, note TEXT NOT NULL, made TEXT NOT NULL, stored TEXT NOT NULL
);
CREATE INDEX answers_of ON answers (annotator, image, sequence);
CREATE TABLE revealed (image INTEGER PRIMARY KEY REFERENCES images (number), since TEXT NOT NULL);
INSERT INTO about VALUES ('id', lower(hex(randomblob(4))));
COMMIT;
"""

_COLUMNS = ("id", "annotator", "by", "image", "kind", *ATTRIBUTES, "note", "made", "stored")
_INSERT = (
    f"INSERT INTO answers ({', '.join(_COLUMNS)}) VALUES ({', '.join(f':{name}' for name in _COLUMNS)}) "
    "ON CONFLICT (id) DO NOTHING"
)


@dataclass(frozen=True)
class Event:
    """One thing that somebody said of an image.

    Parameters
    ----------
    id : str
        Chosen by the page; the same id is stored once, however often it arrives.
    annotator : str
        Whose answer it is; ``adjudicated`` where differing answers were settled.
    by : str
        Who gave it.
    image : int
        The image's number.
    kind : str
        ``answer``, ``skip``, or ``undo``, which takes the answer before it back.
    labels : mapping of str to str or None
        For each attribute the class given.
    note : str
    made, stored : str
        When, by the page's clock and by the server's, in UTC.
    sequence : int
        Place in the history; 0 before it is stored.
    """

    id: str
    annotator: str
    by: str
    image: int
    kind: str
    labels: Mapping[str, str | None]
    note: str = ""
    made: str = ""
    stored: str = ""
    sequence: int = 0


def now() -> str:
    """Return the time in UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


class Store:
    """The SQLite file of a review; may be used by several threads.

    Parameters
    ----------
    path : Path
        Made where there is none, readable by its owner alone.

    Raises
    ------
    ReviewError
        If it is another program's file, or of a newer version.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._latest: dict[str, dict[int, Event]] = {}
        self._read = 0
        try:
            path.touch(mode=0o600, exist_ok=True)
            self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
            self._connection.row_factory = sqlite3.Row
            self._prepare()
        except (sqlite3.Error, OSError) as error:
            raise ReviewError(
                f"{shown(str(path))}: cannot be used as the file of answers ({error}); name another with --answers"
            ) from error

    def _prepare(self) -> None:
        connection = self._connection
        application, version, tables = (
            connection.execute(question).fetchone()[0]
            for question in ("PRAGMA application_id", "PRAGMA user_version", "SELECT count(*) FROM sqlite_master")
        )
        if tables and application != APPLICATION:
            raise ReviewError(f"{shown(str(self.path))}: is not a file of answers; name another with --answers")
        if version > VERSION:
            raise ReviewError(f"{shown(str(self.path))}: was written by a newer version; update efrs-labeler")
        # A commit is on the disk before the call returns, even if the machine loses power right after.
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        if not tables:
            connection.executescript(SCHEMA)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def _all(self, question: str, values: tuple[Any, ...] = ()) -> list[sqlite3.Row]:
        with self._lock:
            return self._connection.execute(question, values).fetchall()

    def get(self, key: str) -> str | None:
        """Return something that the review keeps about itself."""
        found = self._all("SELECT value FROM about WHERE key = ?", (key,))
        return str(found[0]["value"]) if found else None

    def set(self, key: str, value: str) -> None:
        """Keep something about the review."""
        with self._writing() as connection:
            connection.execute("INSERT OR REPLACE INTO about VALUES (?, ?)", (key, value))

    @property
    def purposes(self) -> list[tuple[str, str]]:
        """What the review is for and since when, the present purpose last."""
        return [(str(row["text"]), str(row["since"])) for row in self._all("SELECT * FROM purposes ORDER BY rowid")]

    def add_purpose(self, text: str) -> None:
        """Keep what the review is for; an earlier purpose stays in the history."""
        if not self.purposes or self.purposes[-1][0] != text:
            with self._writing() as connection:
                connection.execute("INSERT INTO purposes VALUES (?, ?)", (text, now()))

    def add_images(self, paths: Iterable[str]) -> dict[str, int]:
        """Give each path a number that it keeps for ever, and return the numbers of all of them."""
        wanted = list(paths)
        with self._writing() as connection:
            connection.executemany("INSERT OR IGNORE INTO images (path) VALUES (?)", [(path,) for path in wanted])
        numbers = {str(row["path"]): int(row["number"]) for row in self._all("SELECT * FROM images")}
        return {path: numbers[path] for path in wanted}

    def paths(self) -> dict[int, str]:
        """Return the path of each number."""
        return {int(row["number"]): str(row["path"]) for row in self._all("SELECT * FROM images")}

    def add_annotator(self, name: str) -> str:
        """Keep an annotator; one who is known but for upper and lower case is returned as first written."""
        with self._writing() as connection:
            connection.execute("INSERT OR IGNORE INTO annotators VALUES (?, ?)", (name, now()))
        return str(self._all("SELECT name FROM annotators WHERE name = ?", (name,))[0]["name"])

    def annotators(self) -> list[str]:
        """Return the annotators, the first to come first."""
        return [str(row["name"]) for row in self._all("SELECT name FROM annotators ORDER BY rowid")]

    def add_session(self, digest: str, expires: float) -> None:
        """Keep a browser's session, and forget those that are over."""
        with self._writing() as connection:
            connection.execute("DELETE FROM sessions WHERE expires < ?", (time.time(),))
            connection.execute("INSERT INTO sessions VALUES (?, NULL, ?)", (digest, expires))

    def session(self, digest: str) -> tuple[bool, str | None]:
        """Return whether there is such a session, and who its annotator is."""
        found = self._all("SELECT annotator FROM sessions WHERE digest = ? AND expires >= ?", (digest, time.time()))
        return (True, found[0]["annotator"]) if found else (False, None)

    def name_session(self, digest: str, annotator: str | None) -> None:
        """Say who answers in a session from now on."""
        with self._writing() as connection:
            connection.execute("UPDATE sessions SET annotator = ? WHERE digest = ?", (annotator, digest))

    def record(self, event: Event, check: Callable[[Event], None]) -> bool:
        """Store an event; once this returns it is on the disk.

        Parameters
        ----------
        event : Event
            To be stored.
        check : callable
            Raises what speaks against it; asked only where it is new.

        Returns
        -------
        bool
            False where this very event was stored before, in which case nothing changes.

        Raises
        ------
        RefusedError
            If the id was used for something else, or the image's labels by the model have been shown.
        """
        values = _values(event)
        known = self._all("SELECT * FROM answers WHERE id = ?", (event.id,))
        if not known:
            check(event)
            with self._writing() as connection:
                if connection.execute("SELECT 1 FROM revealed WHERE image = ?", (event.image,)).fetchone():
                    raise RefusedError("The model's labels of this image have been shown; its answers stay.", 409)
                if connection.execute(_INSERT, values).rowcount == 1:
                    return True
            known = self._all("SELECT * FROM answers WHERE id = ?", (event.id,))
        if any(known[0][name] != value for name, value in values.items() if name not in ("by", "stored")):
            raise RefusedError("This answer's number was used for another answer.", 409)
        return False

    def record_all(self, events: Iterable[Event]) -> None:
        """Store events at once, all or none; those that were stored before change nothing."""
        with self._writing() as connection:
            connection.executemany(_INSERT, [_values(event) for event in events])

    def reveal(self, images: Iterable[int]) -> None:
        """Keep that the model's labels of images were shown, from when on their answers cannot change."""
        with self._writing() as connection:
            rows = [(image, now()) for image in images]
            connection.executemany("INSERT OR IGNORE INTO revealed VALUES (?, ?)", rows)

    def latest(self) -> dict[str, dict[int, Event]]:
        """Return the last event of each annotator on each image, in the order of the history."""
        with self._lock:
            # Only what is new is read, since nothing that was stored ever changes.
            question = "SELECT * FROM answers WHERE sequence > ? ORDER BY sequence"
            for row in self._connection.execute(question, (self._read,)):
                event = _event(row)
                events = self._latest.setdefault(event.annotator, {})
                events.pop(event.image, None)
                events[event.image] = event
                self._read = event.sequence
            return {name: dict(events) for name, events in self._latest.items()}

    def answers(self) -> dict[str, dict[int, Event]]:
        """Return the answers that stand, by annotator and image."""
        return {
            name: {image: event for image, event in events.items() if event.kind == "answer"}
            for name, events in self.latest().items()
        }

    def history(self) -> list[Event]:
        """Return every event, the first stored first."""
        return [_event(row) for row in self._all("SELECT * FROM answers ORDER BY sequence")]


def _values(event: Event) -> dict[str, Any]:
    values = asdict(event)
    labels = values.pop("labels")
    del values["sequence"]
    return {**values, **{name: labels.get(name) for name in ATTRIBUTES}, "stored": event.stored or now()}


def _event(row: sqlite3.Row) -> Event:
    plain = {name: row[name] for name in row.keys() if name not in ATTRIBUTES}  # noqa: SIM118
    return Event(**plain, labels={name: row[name] for name in ATTRIBUTES})
