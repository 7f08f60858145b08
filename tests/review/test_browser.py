"""The page in a real browser: by keyboard alone, killed, offline, in two tabs, on a phone, in the dark, read aloud."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests import axe
from tests.review.desk import Desk, Hand, Person, Server

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

pytest.importorskip("playwright", reason="playwright is not installed")

WHITE_MAN = "411"
LABELS = ("20-29", "male", "White")
LOADED = 'body[data-image]:not([data-image=""])'
DONE = "#rest:not([hidden])"
STANDING = "SELECT age, gender, ethnicity FROM answers WHERE kind = 'answer'"


@pytest.fixture
def hand(context: BrowserContext, server: Server) -> Hand:
    """Return somebody who has entered as Anna and sees the first image."""
    made = Hand(context, server)
    made.enter("Anna")
    return made


def test_what_is_pressed_is_what_is_stored(desk: Desk, hand: Hand) -> None:
    first = hand.give("411")
    second = hand.give("001")
    third = hand.give("x")
    assert len({first, second, third}) == 3
    found = {row[0]: row[1:] for row in desk.rows("SELECT image, age, gender, ethnicity, annotator FROM answers")}
    assert found == {
        first: (*LABELS, "Anna"),
        second: ("can't tell", "can't tell", "White", "Anna"),
        third: ("no face", "no face", "no face", "Anna"),
    }
    assert hand.errors == []


def test_one_question_back_one_image_back_skip_and_note(desk: Desk, hand: Hand) -> None:
    page = hand.page
    hand.press("92")
    page.keyboard.press("Backspace")
    page.keyboard.press("Backspace")
    first = hand.give("411")
    second = hand.image
    hand.press("u")
    page.wait_for_selector(f'body[data-image="{first}"]')
    hand.press("n")
    page.keyboard.type("5 u s x: hard to see")
    page.keyboard.press("Escape")
    hand.give("412")
    assert hand.image == second
    assert hand.give("s") == second
    assert desk.rows("SELECT image, kind, ethnicity, note FROM answers ORDER BY sequence") == [
        (first, "answer", "White", ""),
        (first, "undo", None, ""),
        (first, "answer", "Black", "5 u s x: hard to see"),
        (second, "skip", None, ""),
    ]


def test_the_whole_photo_comes_on_demand(hand: Hand) -> None:
    asked: list[str] = []
    hand.page.on("request", lambda request: asked.append(request.url))
    hand.press("w")
    hand.page.wait_for_selector('img[alt="The whole photo"]')
    hand.press("w")
    hand.page.wait_for_selector('img[alt="The face to be described"]')
    assert [url.split("/")[-1] for url in asked] == ["whole"]


def test_what_was_half_answered_is_there_after_a_reload(desk: Desk, hand: Hand) -> None:
    image = hand.image
    hand.press("41")
    hand.page.reload()
    hand.page.wait_for_selector(f'body[data-image="{image}"] fieldset.current[data-attribute="ethnicity"]')
    hand.give("1")
    assert desk.rows(STANDING) == [LABELS]


def test_a_file_that_cannot_be_shown_says_so_and_is_answered(
    desk: Desk, server: Server, context: BrowserContext
) -> None:
    for path in desk.store.rglob("*.jpg"):
        path.write_bytes(b"no picture")
    hand = Hand(context, server)
    hand.enter("Anna")
    assert "cannot be shown" in hand.page.inner_text("#frame")
    hand.give("x")
    assert desk.rows("SELECT gender FROM answers") == [("no face",)]


def test_no_request_goes_elsewhere_and_nothing_is_cached(context: BrowserContext, server: Server) -> None:
    hand = Hand(context, server)
    asked: list[str] = []
    hand.page.on("request", lambda request: asked.append(request.url))
    refused: list[str] = []
    hand.page.on("console", lambda message: refused.append(message.text))
    hand.enter("Anna")
    hand.give(WHITE_MAN)
    assert {url.split("/")[2] for url in asked} == {server.host}
    assert refused == []
    assert hand.page.evaluate("() => caches.keys()") == []
    assert hand.page.evaluate("() => document.cookie") == ""


TRY = """async address => {
    const image = new Image();
    const loaded = new Promise(done => { image.onload = () => done(true); image.onerror = () => done(false) });
    image.src = address + '/images/1/face';
    const name = {method: 'POST', mode: 'no-cors', credentials: 'include', body: JSON.stringify({name: 'Eve'})};
    await fetch(address + '/api/name', name).catch(() => null);
    const read = await fetch(address + '/api/state', {credentials: 'include'}).then(() => true, () => false);
    return [await loaded, read]
}"""


def test_another_site_s_page_reaches_nothing(context: BrowserContext, server: Server, hand: Hand) -> None:
    other = context.new_page()
    other.route("http://evil.example/", lambda route: route.fulfill(body="evil", content_type="text/html"))
    other.goto("http://evil.example/")
    assert other.evaluate(TRY, f"http://{server.host}") == [False, False]
    hand.give(WHITE_MAN)
    assert [person["name"] for person in _progress(hand.page)] == ["Anna"]


def _progress(page: Page) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = page.evaluate("() => fetch('/api/progress').then(reply => reply.json())")["people"]
    return found


def test_two_tabs_store_each_answer_once_and_do_not_ask_the_same_twice(desk: Desk, hand: Hand) -> None:
    first = hand.page
    second = hand.context.new_page()
    second.goto(f"http://{hand.server.host}/")
    second.wait_for_selector(f'body[data-image="{hand.image}"]')
    seen = set()
    for turn in range(8):
        page = (first, second)[turn % 2]
        page.bring_to_front()
        image = page.locator("body").get_attribute("data-image")
        seen.add(image)
        page.keyboard.type(WHITE_MAN)
        for tab in (first, second):
            tab.wait_for_selector(f'body:not([data-image="{image}"])')
    assert len(seen) == 8
    assert desk.rows("SELECT count(*), count(DISTINCT image) FROM answers") == [(8, 8)]


def test_a_dropped_connection_holds_nobody_up_and_loses_nothing(desk: Desk, hand: Hand) -> None:
    page = hand.page
    hand.give(WHITE_MAN)
    with _offline(hand):
        given = [hand.give(WHITE_MAN) for _ in range(3)]
        assert "kept in this browser" in page.inner_text("#trouble")
        assert page.inner_text("#kept") == "3 waiting to be sent."
        hand.press("u")
        page.wait_for_selector(f'body[data-image="{given[-1]}"]')
        hand.give("422")
    page.wait_for_selector("#trouble:empty", state="attached")
    page.get_by_text("All answers are kept.").wait_for()
    rows = dict(desk.rows("SELECT image, gender FROM answers WHERE kind = 'answer' ORDER BY sequence"))
    assert [rows[image] for image in given] == ["male", "male", "female"]
    assert desk.rows("SELECT count(*) FROM answers") == [(6,)]


def test_a_closed_browser_sends_later_what_it_kept(desk: Desk, hand: Hand) -> None:
    with _offline(hand):
        hand.give(WHITE_MAN)
        hand.give(WHITE_MAN)
        hand.page.close()
    again = hand.context.new_page()
    again.goto(f"http://{hand.server.host}/")
    again.get_by_role("heading", name="Image 3 of 20").wait_for()
    assert desk.rows(STANDING) == [LABELS, LABELS]


@contextmanager
def _offline(hand: Hand) -> Iterator[None]:
    hand.page.wait_for_load_state("networkidle")
    hand.context.set_offline(True)
    yield
    hand.context.set_offline(False)


def test_a_server_killed_at_any_moment_loses_no_acknowledged_answer_and_stores_none_twice(
    desk: Desk, hand: Hand
) -> None:
    acknowledged: list[str] = []
    given: list[int] = []
    page, server, rng = hand.page, hand.server, random.Random(8)

    def confirmed(reply: Any) -> None:
        if reply.url.endswith("/api/answers") and reply.status == 200:
            acknowledged.append(reply.request.post_data_json["id"])

    page.on("response", confirmed)
    for _ in range(20):
        given.append(hand.image)
        death = threading.Timer(rng.uniform(0, 0.1), server.kill)
        death.start()
        hand.press(WHITE_MAN)
        death.join()
        server.start()
        hand.moved_on(given[-1])
        if hand.image == 0 or rng.random() < 0.5:
            page.get_by_text("All answers are kept.").wait_for(state="attached")
            page.wait_for_selector(DONE if len(given) == 20 else LOADED)
    page.get_by_role("heading", name="All your images are answered").wait_for()
    ids = [row[0] for row in desk.rows("SELECT id FROM answers WHERE kind = 'answer'")]
    assert len(acknowledged) >= 10
    assert set(acknowledged) <= set(ids)
    assert desk.rows("SELECT count(*), count(DISTINCT image), count(DISTINCT id) FROM answers") == [(20, 20, 20)]
    assert len(set(given)) == 20
    assert desk.rows("PRAGMA integrity_check") == [("ok",)]


def test_two_people_settle_their_differences_on_the_page(desk: Desk, server: Server, context: BrowserContext) -> None:
    ben = Person(server, "Ben")
    ben.sit_down()
    male = dict(zip(("age", "gender", "ethnicity"), LABELS, strict=True))
    ben.answer_all(male, {1: {**male, "gender": "female"}})
    server.link = ben.post("/api/invitation", {})["address"]
    hand = Hand(context, server)
    hand.enter("Anna")
    page = hand.page
    while hand.image:
        hand.give(WHITE_MAN)
    page.get_by_role("button", name="Settle the differences").press("Enter")
    page.get_by_text("Ben: female · Anna: male").wait_for()
    assert page.locator("fieldset:visible").count() == 1
    assert "model" not in page.inner_text("#work")
    hand.press("2")
    page.get_by_role("heading", name="All differences are settled").wait_for()
    page.locator("#progress > summary").press("Enter")
    page.get_by_text("Anna: gender").or_(page.get_by_text("Ben and Anna: gender")).first.wait_for()
    page.locator("#model").press("Enter")
    page.get_by_role("heading", name="People and the model differ on").wait_for()
    assert _violations(page) == []
    assert desk.rows("SELECT gender, by FROM answers WHERE annotator = 'adjudicated'") == [("female", "Anna")]


def _violations(page: Page) -> list[tuple[str, list[str]]]:
    found = page.evaluate("source => { (0, eval)(source); return axe.run(document) }", axe.script())
    return axe.violations(found, least=10)


@pytest.mark.parametrize(("scheme", "width", "height"), [("light", 1280, 800), ("dark", 360, 740)])
def test_axe_finds_nothing(chromium: Browser, server: Server, scheme: Any, width: int, height: int) -> None:
    context = chromium.new_context(
        viewport={"width": width, "height": height}, color_scheme=scheme, bypass_csp=True, reduced_motion="reduce"
    )
    hand = Hand(context, server)
    page = hand.page
    page.goto(server.link)
    page.wait_for_selector("#name:focus")
    assert _violations(page) == []
    page.keyboard.type("Anna")
    page.keyboard.press("Enter")
    page.wait_for_selector("body[data-image] #work:not([hidden])")
    hand.press("4")
    page.evaluate("() => document.querySelectorAll('details').forEach(details => { details.open = true })")
    page.get_by_role("region", name="Images answered").wait_for()
    assert _violations(page) == []
    first = hand.image
    hand.press("11")
    hand.moved_on(first)
    while hand.image:
        hand.give("x")
    page.get_by_role("heading", name="All your images are answered").wait_for()
    assert _violations(page) == []
    page.goto(server.link)
    page.get_by_text("was used before").wait_for()
    assert _violations(page) == []
    context.close()


@pytest.mark.parametrize(("width", "height"), [(320, 568), (360, 640), (640, 400), (768, 1024), (1280, 800)])
def test_nothing_is_wider_than_the_window(chromium: Browser, server: Server, width: int, height: int) -> None:
    context = chromium.new_context(viewport={"width": width, "height": height})
    hand = Hand(context, server)
    hand.enter("Anna")
    for keys in ("", "4", "1"):
        hand.press(keys)
        assert hand.page.evaluate("() => document.documentElement.scrollWidth") <= width
    hand.page.evaluate("() => document.querySelectorAll('details').forEach(details => { details.open = true })")
    assert hand.page.evaluate("() => document.documentElement.scrollWidth") <= width
    context.close()


def test_on_a_phone_face_and_question_are_seen_together_and_a_tap_answers(chromium: Browser, server: Server) -> None:
    context = chromium.new_context(viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    hand = Hand(context, server)
    hand.enter("Anna")
    page = hand.page
    first = hand.image
    for label in LABELS:
        button = page.locator("fieldset.current button", has_text=label).first
        box = button.bounding_box()
        assert box is not None
        assert box["y"] + box["height"] <= 740
        assert box["height"] >= 44
        assert page.evaluate("() => scrollY") == 0
        button.tap()
    hand.moved_on(first)
    context.close()


def test_everything_can_be_done_with_tab_and_enter_where_single_keys_are_off(desk: Desk, hand: Hand) -> None:
    page = hand.page
    page.locator("summary", has_text="Keys").press("Enter")
    page.locator("#keys").press("Space")
    image = hand.image
    page.locator("body").press("4")
    page.locator('fieldset[data-attribute="age"]').focus()
    for steps in (4, 1, 1):
        for _ in range(steps):
            page.keyboard.press("Tab")
        page.keyboard.press("Enter")
    hand.moved_on(image)
    assert desk.rows(STANDING) == [LABELS]


def test_a_screen_reader_hears_what_is_asked_and_what_was_chosen(hand: Hand) -> None:
    page = hand.page
    assert page.locator("#status").get_attribute("role") == "status"
    assert page.inner_text("#status") == "Image 1 of 20. Perceived age?"
    hand.press("4")
    page.get_by_text("20-29. Perceived gender?").wait_for(state="attached")
    assert page.get_by_role("button", name="20-29", pressed=True).count() == 1
    assert page.get_by_role("group", name="Perceived ethnicity").count() == 1
    hand.give("11")
    page.get_by_text("Image 2 of 20. Perceived age?").wait_for(state="attached")


def test_what_is_chosen_is_told_by_a_sign_and_not_by_colour_alone(hand: Hand) -> None:
    hand.press("4")
    chosen = "() => getComputedStyle(document.querySelector('[aria-pressed=true] span'), '::after').content"
    asked = "() => getComputedStyle(document.querySelector('fieldset.current legend'), '::before').content"
    assert "✓" in hand.page.evaluate(chosen)
    assert "→" in hand.page.evaluate(asked)
