"""What the tests of a review share: a small store, a server that can be killed, and a hand that presses keys."""

from __future__ import annotations

import http.client
import json
import multiprocessing
import os
import re
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import simplejpeg

from audit import sheet
from audit.review import run
from labeler.pack import models_folder, read_manifest
from labeler.taxonomy import ATTRIBUTES, COLUMNS
from tests.audit.tables import Made, make

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page

CONTEXT = multiprocessing.get_context("forkserver")
PURPOSE = "testing the page"
HTML = {"Accept": "text/html"}
Truth = Mapping[str, Mapping[str, str]]
Labels = Mapping[str, str | None]


@dataclass(frozen=True)
class Desk:
    """A store with its label table, a sheet drawn from it, and what is true of its images."""

    folder: Path
    made: Made
    store: Path
    sheet: Path

    @property
    def truth(self) -> Truth:
        """Return the true class of each attribute, by path."""
        return {
            f"part {i % 7}/{i:06d}.jpg": {
                name: self.made.classes[name][int(self.made.true[name][i])] for name in ATTRIBUTES
            }
            for i in range(len(self.made.true["gender"]))
        }

    @property
    def answers(self) -> Path:
        """Return the file of answers."""
        return run.answers_beside(self.sheet)

    def rows(self, question: str) -> list[tuple[Any, ...]]:
        """Ask the file of answers."""
        with closing(sqlite3.connect(self.answers)) as connection:
            return connection.execute(question).fetchall()


def furnish(folder: Path, n: int = 40, checked: int = 20, *, missed: Sequence[str] = ()) -> Desk:
    """Make a store of small pictures, its label table, and a sheet."""
    made = make(folder, n, failures=missed)
    store = folder / "store"
    rng = np.random.default_rng(0)
    for i in range(n):
        path = store / f"part {i % 7}" / f"{i:06d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.full((32, 32, 3), rng.integers(0, 256, 3), np.uint8)
        path.write_bytes(simplejpeg.encode_jpeg(pixels, colorspace="RGB"))
    drawn = folder / "sheet.csv"
    drawn.write_text(sheet.draw(made.labels, checked).text, encoding="utf-8")
    return Desk(folder, made, store, drawn)


def _serve(said: Connection, files: Sequence[Path], store: Path, port: int, options: Mapping[str, Any]) -> None:
    try:
        run.serve(files, store, port=port, purpose=PURPOSE, browser=False, say=said.send, **options)
    except Exception as error:
        said.send(error)


@dataclass
class Server:
    """The server in a process of its own.

    Parameters
    ----------
    files, store, options
        As `audit.review.run.serve` takes them.
    """

    files: Sequence[Path]
    store: Path
    options: Mapping[str, Any] = field(default_factory=dict)
    port: int = 0
    link: str = ""
    process: ForkServerProcess | None = None

    def start(self) -> Server:
        """Start it; after a first start, on the same port again."""
        CONTEXT.set_forkserver_preload(["audit.review.run", "audit.review.app", "tests.review.desk", "uvicorn"])
        here, there = CONTEXT.Pipe(duplex=False)
        self.process = CONTEXT.Process(
            target=_serve, args=(there, self.files, self.store, self.port, dict(self.options)), daemon=True
        )
        self.process.start()
        there.close()
        with here:
            while not (found := re.search(r"http://\S+:(\d+)/open/\S+", self._line(here))):
                pass
        self.link, self.port = found[0], int(found[1])
        return self

    def _line(self, said: Connection) -> str:
        line = said.recv()
        if isinstance(line, Exception):
            raise line
        return str(line)

    def kill(self) -> None:
        """Kill it at once, as ``kill -9`` does."""
        if self.process is not None:
            self.process.kill()
            self.process.join()

    def __enter__(self) -> Server:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def host(self) -> str:
        """Return what the header Host says."""
        return f"127.0.0.1:{self.port}"

    def ask(
        self, path: str, body: Any = None, headers: Mapping[str, str] | None = None, method: str = ""
    ) -> tuple[int, dict[str, str], bytes]:
        """Send a request as it is written, nothing tidied up; return status, headers and content."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        content = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = {"Host": self.host, **({"Content-Type": "application/json"} if body is not None else {})}
        with closing(connection):
            connection.request(
                method or ("GET" if body is None else "POST"), path, content, {**sent, **(headers or {})}
            )
            reply = connection.getresponse()
            return reply.status, {name.lower(): value for name, value in reply.getheaders()}, reply.read()

    def enter(self) -> dict[str, str]:
        """Open the address once, as a browser does, and return the headers of a page that may write."""
        status, headers, _ = self.ask(self.link[self.link.index("/open/") :], headers=HTML)
        assert status == 200, status
        return {"Cookie": headers["set-cookie"].split(";")[0], "Origin": f"http://{self.host}"}


@dataclass
class Person:
    """Somebody who talks to the server without a browser."""

    server: Server
    name: str
    headers: dict[str, str] = field(default_factory=dict)
    count: int = 0

    def sit_down(self) -> Any:
        """Enter, say the name, and return the state."""
        self.headers = self.server.enter()
        return self.post("/api/name", {"name": self.name})

    def get(self, path: str, expected: int = 200) -> Any:
        status, _, content = self.server.ask(path, headers=self.headers)
        assert status == expected, (status, content)
        return json.loads(content)

    def post(self, path: str, body: Any, expected: int = 200) -> Any:
        status, _, content = self.server.ask(path, body, self.headers)
        assert status == expected, (status, content)
        return json.loads(content)

    def message(self, image: int, labels: Labels, kind: str = "answer", **other: Any) -> dict[str, Any]:
        """Return an answer as the page sends it."""
        return {
            "id": os.urandom(16).hex(),
            "annotator": self.name,
            "image": image,
            "kind": kind,
            "labels": dict(labels),
            "note": "",
            "made": "2026-01-01T00:00:00Z",
            **other,
        }

    def answer(self, image: int, labels: Labels, **other: Any) -> Any:
        return self.post("/api/answers", self.message(image, labels, **other))

    def answer_all(self, labels: Labels, odd: Mapping[int, Labels] | None = None) -> Any:
        """Answer everything there is to answer the same, but for some images."""
        state = self.get("/api/state")
        while state["next"]:
            image = state["next"][0]["image"]
            state = self.answer(image, (odd or {}).get(image, labels))
        return state


class Hand:
    """Somebody in front of the page who presses keys and reads what it shows.

    Parameters
    ----------
    context : BrowserContext
        A browser of its own, with its own cookies.
    server : Server
        What to open.
    """

    def __init__(self, context: BrowserContext, server: Server) -> None:
        self.context, self.server = context, server
        self.page: Page = context.new_page()
        self.errors: list[str] = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))

    def enter(self, name: str) -> None:
        """Open the address that the server printed and say a name, all by keyboard."""
        self.page.goto(self.server.link)
        self.page.wait_for_selector("#name:focus")
        self.page.keyboard.type(name)
        self.page.keyboard.press("Enter")
        self.page.wait_for_selector("body[data-image] #work:not([hidden])")

    @property
    def image(self) -> int:
        """Return the number of the image shown, 0 where none is."""
        return int(self.page.locator("body").get_attribute("data-image") or 0)

    def press(self, keys: str) -> None:
        """Press keys one after another."""
        self.page.keyboard.type(keys)

    def moved_on(self, before: int) -> None:
        """Wait until another image is shown, or none is left."""
        self.page.wait_for_selector(f'body:not([data-image="{before}"])')

    def give(self, keys: str) -> int:
        """Answer the image shown and wait for the next; return which it was."""
        before = self.image
        self.press(keys)
        self.moved_on(before)
        return before

    def keys_of(self, labels: Mapping[str, str]) -> str:
        """Return the keys that give these labels, as the page shows them."""
        return "".join(self.shown_keys[name][value] for name, value in labels.items())

    @property
    def shown_keys(self) -> dict[str, dict[str, str]]:
        """Return the key of each class of each attribute, as the page has them."""
        found: dict[str, dict[str, str]] = self.page.evaluate(
            "() => Object.fromEntries([...document.querySelectorAll('fieldset')].map(set => [set.dataset.attribute,"
            " Object.fromEntries([...set.querySelectorAll('button')].map(b => [b.dataset.value, b.dataset.key]))]))"
        )
        return found

    def answer_all(self, path_of: Mapping[int, str], truth: Truth) -> int:
        """Answer every image with what is true, by keyboard; return how many there were."""
        keys = self.shown_keys
        count = 0
        while image := self.image:
            labels = truth[path_of[image]]
            self.give("".join(keys[name][labels[name]] for name in ATTRIBUTES))
            count += 1
        return count


def fairface_digest() -> str:
    """Return the digest of a pack that is installed."""
    return read_manifest(models_folder() / "fairface").digest


def paths_of(answers: Path) -> dict[int, str]:
    """Return the path of each number, from the file of answers."""
    with closing(sqlite3.connect(answers)) as connection:
        return dict(connection.execute("SELECT number, path FROM images").fetchall())


def truth_of(path: Path) -> dict[str, dict[str, str]]:
    """Return a truth file's classes by path."""
    rows = pd.read_csv(path, dtype=str, keep_default_na=False).set_index("path")
    return {str(name): {a: str(row[COLUMNS[a]]) for a in ATTRIBUTES} for name, row in rows.iterrows()}
