"""The web application: addresses and what answers at each, with every request checked at the gate."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from types import MappingProxyType
from typing import Any

import jinja2
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from audit.review.errors import RefusedError
from audit.review.images import Pictures
from audit.review.session import HEADERS, LIFETIME, Gate, Visitor
from audit.review.sheets import LONGEST_NAME
from audit.review.work import LONGEST_NOTE, Review
from audit.wording import CANT_TELL, NO_FACE
from labeler.errors import LabelerError
from labeler.pack import resource_folder
from labeler.taxonomy import ATTRIBUTES

LONGEST_BODY = 65_536
KEYS = "123456789abcdefghijklmopqrtyz"
"""The keys of the classes, in order; letters that command something are left out."""
STATIC: Mapping[str, str] = MappingProxyType({"review.js": "text/javascript", "review.css": "text/css"})


@dataclass(frozen=True)
class Asked:
    """What a request asks.

    Parameters
    ----------
    visitor : Visitor
        Whose it is.
    parts : mapping of str to Any
        Of its address.
    body : mapping of str to Any
        The JSON object sent; empty for a reading request.
    """

    visitor: Visitor
    parts: Mapping[str, Any]
    body: Mapping[str, Any]


Answer = Callable[[Asked], Response]


class Guarded:
    """Puts `HEADERS` on every reply, and refuses what was sent to another name before anything else sees it."""

    def __init__(self, app: ASGIApp, gate: Gate) -> None:
        self.app, self.gate = app, gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; see ASGI."""

        async def sealed(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                message = {**message, "headers": [*message.get("headers", ()), *own]}
            await send(message)

        if scope["type"] != "http":
            return
        try:
            self.gate.check_host(Request(scope).headers)
        except RefusedError as error:
            await _refusal(error)(scope, receive, sealed)
            return
        await self.app(scope, receive, sealed)


def _refusal(error: RefusedError) -> Response:
    return JSONResponse({"error": str(error)}, error.status)


class Pages:
    """What answers at each address.

    Parameters
    ----------
    review : Review
        The work.
    pictures : Pictures
        Its pictures.
    gate : Gate
        Who may ask.
    address : str
        Of the server, such as ``http://127.0.0.1:8321``.
    """

    def __init__(self, review: Review, pictures: Pictures, gate: Gate, address: str) -> None:
        self.review, self.pictures, self.gate, self.address = review, pictures, gate, address
        self.folder = resource_folder("templates") / "review"
        environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(self.folder),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.template = environment.get_template("review.html.j2")

    def link(self) -> str:
        """Return an address that opens the page once."""
        return f"{self.address}/open/{self.gate.token()}"

    def application(self) -> ASGIApp:
        """Return the application, its requests checked."""
        review = self.review
        reads: dict[str, Answer] = {
            "/": lambda _: self.page(),
            "/static/{name}": self.static,
            "/images/{number:int}/{view}": self.image,
            "/api/state": self.state,
            "/api/progress": lambda _: JSONResponse(review.progress()),
            "/api/adjudication": lambda _: JSONResponse(review.adjudication()),
        }
        writes: dict[str, Answer] = {
            "/api/name": self.name,
            "/api/answers": lambda asked: JSONResponse(review.record(asked.body, asked.visitor.name())),
            "/api/model": lambda _: JSONResponse({"differences": review.reveal()}),
            "/api/invitation": lambda _: JSONResponse({"address": self.link()}),
        }
        routes = [
            Route("/open/{token}", self.open, methods=["GET"]),
            Route("/favicon.ico", lambda _: Response(status_code=204), methods=["GET"]),
            *(Route(path, self._checked(answer), methods=["GET"]) for path, answer in reads.items()),
            *(Route(path, self._checked(answer), methods=["POST"]) for path, answer in writes.items()),
        ]
        return Guarded(Starlette(routes=routes, exception_handlers={LabelerError: self._error}), self.gate)

    def _checked(self, answer: Answer) -> Callable[[Request], Awaitable[Response]]:
        async def checked(request: Request) -> Response:
            writes = request.method == "POST"
            self.gate.check_source(request.headers, writes=writes)
            body = await _body(request) if writes else {}
            return await run_in_threadpool(
                lambda: answer(Asked(self.gate.visitor(request.headers), request.path_params, body))
            )

        return checked

    async def _error(self, request: Request, error: Exception) -> Response:
        if not isinstance(error, RefusedError):
            return JSONResponse({"error": str(error)}, 500)
        if error.status in (401, 403) and "text/html" in request.headers.get("accept", ""):
            page = self.template.environment.get_template("closed.html.j2").render(reason=str(error))
            return HTMLResponse(page, error.status)
        return _refusal(error)

    async def open(self, request: Request) -> Response:
        """Turn an address that opens once into a cookie.

        The reply is a page that leads on, not a redirection: where the address stood on another site's page, the
        browser would not send the cookie along with one.
        """
        # What only previews an address, as a chat program does, must not use it up.
        if request.method != "GET" or "text/html" not in request.headers.get("accept", ""):
            raise RefusedError("Open this address in a browser.", 406)
        secret = await run_in_threadpool(self.gate.exchange, request.path_params["token"])
        reply = HTMLResponse(self.template.environment.get_template("opened.html.j2").render())
        reply.set_cookie(self.gate.cookie, secret, max_age=LIFETIME, path="/", httponly=True, samesite="strict")
        return reply

    def page(self) -> Response:
        """Return the page; it is the same for every image and everybody."""
        store, classes = self.review.store, self.review.sheets.classes
        questions = {
            name: [*zip_longest(KEYS[: len(classes[name])], classes[name]), ("0", CANT_TELL)] for name in ATTRIBUTES
        }
        purposes = store.purposes
        return HTMLResponse(
            self.template.render(
                review=store.get("id"),
                purpose=purposes[-1][0] if purposes else "",
                questions=questions,
                no_face=NO_FACE,
                names=store.annotators(),
                longest_name=LONGEST_NAME,
                longest_note=LONGEST_NOTE,
            )
        )

    def static(self, asked: Asked) -> Response:
        """Return the page's script or style."""
        name = asked.parts["name"]
        if name not in STATIC:
            raise RefusedError("There is no such file.", 404)
        return Response((self.folder / name).read_bytes(), media_type=STATIC[name])

    def image(self, asked: Asked) -> Response:
        """Return a picture by its number."""
        view = {"face": self.pictures.face, "whole": self.pictures.whole}.get(asked.parts["view"])
        if view is None:
            raise RefusedError("There is no such view.", 404)
        return Response(view(asked.parts["number"]), media_type="image/jpeg")

    def state(self, asked: Asked) -> Response:
        """Return what comes next for whoever is here."""
        name = asked.visitor.annotator
        return JSONResponse({"annotator": None} if name is None else self.review.state(name))

    def name(self, asked: Asked) -> Response:
        """Say who answers in this browser from now on; null for nobody."""
        name = asked.body.get("name")
        if not (name is None or isinstance(name, str)):
            raise RefusedError("This name is damaged.")
        annotator = None if name is None else self.review.enter(name)
        self.review.store.name_session(asked.visitor.digest, annotator)
        return self.state(Asked(Visitor(asked.visitor.digest, annotator), {}, {}))


async def _body(request: Request) -> dict[str, Any]:
    """Return a JSON object that was sent, and refuse one that is too long or none."""
    content = b""
    async for part in request.stream():
        content += part
        if len(content) > LONGEST_BODY:
            raise RefusedError("This is too long.", 413)
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise RefusedError("This is no JSON.") from error
    if not isinstance(found, dict):
        raise RefusedError("This is no JSON object.")
    return found
