"""Closed: one browser an address, this page alone, images by number, nothing left behind."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.review.desk import HTML, Desk, Person, Server, fairface_digest, furnish

Headers = dict[str, str]
PATHS = [
    "/",
    "/static/review.js",
    "/images/1/face",
    "/images/1/whole",
    "/api/state",
    "/api/progress",
    "/api/adjudication",
]
WRITES = ["/api/name", "/api/answers", "/api/model", "/api/invitation"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Desk, Server, Headers]]:
    """Return a desk with a file beside its store, its running server, and a browser's headers."""
    folder: Path = tmp_path_factory.mktemp("desk")
    desk = furnish(folder, 20, 8)
    (folder / "secret.jpg").write_bytes((desk.store / "part 0" / "000000.jpg").read_bytes())
    with Server([desk.sheet], desk.store) as running:
        yield desk, running, running.enter()


@pytest.fixture
def server(place: tuple[Desk, Server, Headers]) -> Server:
    return place[1]


@pytest.fixture
def headers(place: tuple[Desk, Server, Headers]) -> Headers:
    return place[2]


@pytest.mark.parametrize("path", [*PATHS, *WRITES])
@pytest.mark.parametrize("cookie", ["", "review-00000000=x", "NAME=wrong", "NAME=", "garbage;;;=\x7f"])
def test_nothing_is_shown_without_the_cookie(server: Server, headers: Headers, path: str, cookie: str) -> None:
    name = headers["Cookie"].split("=")[0]
    sent = {"Origin": headers["Origin"], "Cookie": cookie.replace("NAME", name)}
    status, _, content = server.ask(path, {} if path in WRITES else None, sent)
    assert status == 401
    assert b"audit-labels review" in content


def test_the_address_opens_once(server: Server) -> None:
    with Server(server.files, server.store) as fresh:
        path = fresh.link[fresh.link.index("/open/") :]
        first, second = fresh.ask(path, headers=HTML), fresh.ask(path, headers=HTML)
    assert (first[0], second[0]) == (200, 403)
    assert "set-cookie" not in second[1]
    assert b"was used before" in second[2]


@pytest.mark.parametrize("token", ["", "x", "../api/state", "%00", "é", "a" * 5000])
def test_a_wrong_token_opens_nothing(server: Server, token: str) -> None:
    status, headers, _ = server.ask("/open/" + token.replace("é", "%C3%A9"), headers=HTML)
    assert status in (400, 403, 404)
    assert "set-cookie" not in headers


def test_whoever_is_in_can_let_others_in_once_each(server: Server, headers: Headers) -> None:
    status, _, content = server.ask("/api/invitation", {}, headers)
    address = json.loads(content)["address"]
    assert status == 200
    assert address.startswith(f"http://{server.host}/open/")
    path = address[address.index("/open/") :]
    assert [server.ask(path, headers=HTML)[0] for _ in range(2)] == [200, 403]


def test_a_preview_of_the_address_does_not_use_it_up(server: Server, headers: Headers) -> None:
    address = json.loads(server.ask("/api/invitation", {}, headers)[2])["address"]
    path = address[address.index("/open/") :]
    assert server.ask(path, headers={"Accept": "*/*"})[0] == 406
    assert server.ask(path, method="HEAD", headers=HTML)[0] == 406
    assert server.ask(path, headers=HTML)[0] == 200


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(server: Server, headers: Headers) -> None:
    address = json.loads(server.ask("/api/invitation", {}, headers)[2])["address"]
    cookie = server.ask(address[address.index("/open/") :], headers=HTML)[1]["set-cookie"].lower()
    assert all(word in cookie for word in ("httponly", "samesite=strict", "path=/"))
    assert "domain" not in cookie


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:PORT", "127.0.0.1", "127.0.0.1:1", "127.0.0.1:PORT.evil", ""]
)
@pytest.mark.parametrize("path", ["/", "/api/state", "/images/1/face", "/open/x", "/favicon.ico"])
def test_another_name_for_this_address_is_refused(server: Server, headers: Headers, host: str, path: str) -> None:
    status, _, content = server.ask(path, headers={**headers, "Host": host.replace("PORT", str(server.port))})
    assert (status, b"face" in content) in ((421, False), (400, False))


@pytest.mark.parametrize(
    "source",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "https://HOST"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://HOST", "Sec-Fetch-Site": "cross-site"},
    ],
)
@pytest.mark.parametrize("path", ["/api/name", "/api/answers", "/api/state", "/images/1/face"])
def test_a_request_that_another_page_made_is_refused(
    server: Server, headers: Headers, source: Headers, path: str
) -> None:
    sent = {"Cookie": headers["Cookie"], **{name: value.replace("HOST", server.host) for name, value in source.items()}}
    status, _, content = server.ask(path, {"name": "Eve"} if path in WRITES else None, sent)
    assert (status, b"Another page" in content) == (403, True)


@pytest.mark.parametrize("path", WRITES)
def test_a_write_must_say_where_it_comes_from_and_be_json(server: Server, headers: Headers, path: str) -> None:
    assert server.ask(path, {"name": "Eve"}, {"Cookie": headers["Cookie"]})[0] == 403
    assert server.ask(path, {"name": "Eve"}, {"Cookie": headers["Cookie"], "Sec-Fetch-Site": "none"})[0] == 403
    for kind in ("application/x-www-form-urlencoded", "text/plain", "multipart/form-data", ""):
        assert server.ask(path, b'{"name": "Eve"}', {**headers, "Content-Type": kind})[0] == 415


@pytest.mark.parametrize("path", PATHS + WRITES)
def test_no_other_method_and_no_permission_for_other_origins(server: Server, headers: Headers, path: str) -> None:
    for method in ("OPTIONS", "PUT", "DELETE", "POST" if path in PATHS else "GET"):
        status, got, _ = server.ask(path, headers={**headers, "Origin": "http://evil.example"}, method=method)
        assert status == 405
        assert not [name for name in got if name.startswith("access-control")]


@pytest.mark.parametrize(
    "path",
    [
        "/images/../../secret.jpg",
        "/images/..%2f..%2fsecret.jpg/face",
        "/images/secret.jpg",
        "/images/1/../../../secret.jpg",
        "/images/0/face",
        "/images/-1/face",
        "/images/9/face",
        "/images/999999999999999999999999/face",
        "/images/1/face/x",
        "/images/1/%2e%2e",
        "/images/part%200/000000.jpg/face",
        "/static/../review.html.j2",
        "/static/review.html.j2",
        "/static/..%2f..%2freport.css",
        "/static/%2e%2e%2freport.css",
        "//etc/passwd",
        "/../../../etc/passwd",
        "/sheet.answers.sqlite",
    ],
)
def test_nothing_is_served_by_a_path(server: Server, headers: Headers, path: str) -> None:
    status, got, content = server.ask(path, headers=headers)
    assert status in (400, 404, 422)
    assert got.get("content-type", "") != "image/jpeg"
    assert b"JFIF" not in content


@pytest.mark.parametrize("path", [*PATHS, "/open/wrong", "/nowhere", "/images/1/other"])
def test_every_reply_forbids_storing_framing_and_loading_from_elsewhere(
    server: Server, headers: Headers, path: str
) -> None:
    for sent in (headers, {}, {**headers, "Host": "evil.example"}):
        got = server.ask(path, headers=sent)[1]
        assert got["cache-control"] == "no-store"
        policy = got["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert not {"unsafe-inline", "unsafe-eval", "http:", "https:", "*", "data:"} & set(
            policy.replace("'", "").split()
        )
        assert got["x-content-type-options"] == "nosniff"
        assert got["referrer-policy"] == "no-referrer"
        assert got["cross-origin-resource-policy"] == "same-origin"
        assert "server" not in got
        assert "access-control-allow-origin" not in got


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"1", b"{", b"[" * 60_000, b"\xff", b'{"name": 3}', b'{"name": ""}', b'{"name": "a\\u0000b"}',
     b'{"name": "\\ud800"}', b'{"name": "adjudicated"}', b'{"name": "' + b"x" * 61 + b'"}'],
)  # fmt: skip
def test_a_damaged_message_is_refused(server: Server, headers: Headers, body: bytes) -> None:
    assert server.ask("/api/name", body, headers)[0] == 400


def test_a_long_message_is_refused(server: Server, headers: Headers) -> None:
    assert server.ask("/api/name", b" " * 100_000, headers)[0] == 413


@pytest.mark.parametrize(
    "change",
    [
        {"id": "x"},
        {"id": None},
        {"image": 0},
        {"image": "1"},
        {"image": 1.5},
        {"image": 10**30},
        {"kind": "drop"},
        {"labels": []},
        {"labels": {}},
        {"labels": {"age": "20-29", "gender": "male", "ethnicity": "'; DROP TABLE answers; --"}},
        {"labels": {"age": ["20-29"], "gender": {}, "ethnicity": 1}},
        {"note": "x" * 9000},
        {"note": "\ud800"},
        {"annotator": "adjudicated"},
        {"annotator": "nobody"},
    ],
)
def test_a_wrong_answer_is_refused_and_nothing_of_it_stored(
    place: tuple[Desk, Server, Headers], change: dict[str, Any]
) -> None:
    desk, server, headers = place
    person = Person(server, "Anna", headers)
    person.post("/api/name", {"name": "Anna"})
    labels = {"age": "20-29", "gender": "male", "ethnicity": "White"}
    status, _, content = server.ask("/api/answers", {**person.message(1, labels), **change}, headers)
    assert 400 <= status < 500, content
    assert desk.rows("SELECT count(*) FROM answers") == [(0,)]


def test_it_listens_on_this_machine_alone(server: Server) -> None:
    with socket.socket() as other:
        other.settimeout(5)
        assert other.connect_ex(("127.0.0.2", server.port)) != 0


def test_a_session_outlives_the_server_and_a_token_does_not(desk: Desk) -> None:
    with Server([desk.sheet], desk.store) as running:
        cookie = running.enter()
        unused = json.loads(running.ask("/api/invitation", {}, cookie)[2])["address"]
        running.kill()
        running.start()
        assert running.ask("/api/state", headers=cookie)[0] == 200
        assert running.ask(unused[unused.index("/open/") :], headers=HTML)[0] == 403


def test_hostile_file_names_are_served_by_number_and_never_leave_the_server(tmp_path: Path) -> None:
    desk = furnish(tmp_path, 12, 12)
    rows = pd.read_csv(desk.sheet, dtype=str, keep_default_na=False)
    hostile = ['"><script>alert(1)<!--.jpg', "line\nbreak.jpg", "%2e%2e%2fx.jpg", "{{ 7 * 7 }}.jpg", "\u202egpj.exe"]
    for place, name in enumerate(hostile):
        (desk.store / str(rows.loc[place, "path"])).rename(desk.store / name)
        rows.loc[place, "path"] = name
    rows["pack_digest"] = fairface_digest()
    rows.to_csv(desk.sheet, index=False)
    desk.made.labels.rename(tmp_path / "unused.parquet")
    with Server([desk.sheet], desk.store) as running:
        person = Person(running, "Anna")
        person.sit_down()
        for number in range(1, 13):
            status, got, _ = running.ask(f"/images/{number}/face", headers=person.headers)
            assert (status, got["content-type"]) == (200, "image/jpeg")
        said = [running.ask(path, headers=person.headers)[2].decode() for path in ("/", "/api/state", "/api/progress")]
    assert not [text for text in said if "alert(1)" in text or ".jpg" in text or "gpj" in text]
