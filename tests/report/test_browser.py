"""The page in a real browser: accessible, alone on the network, whole without scripts, at every width."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from tests import axe
from tests.report.conftest import Page

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

pytest.importorskip("selenium", reason="selenium is not installed")


def look(browser: Chrome, page: Page, *, scheme: str = "light", width: int = 1280, scripts: bool = True) -> None:
    """Open a page; the test's own scripts need the content-security policy out of their way."""
    command = browser.execute_cdp_cmd
    command("Page.setBypassCSP", {"enabled": scripts})
    command("Emulation.setScriptExecutionDisabled", {"value": not scripts})
    command("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
    command(
        "Emulation.setDeviceMetricsOverride", {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    )
    browser.get(page.path.as_uri())


AXE = """
const [rules, done] = [arguments[0], arguments[1]];
const only = rules ? {runOnly: {type: "rule", values: rules}} : {};
axe.run(document, {resultTypes: ["violations"], selectors: false, ...only}).then(done);
"""


@pytest.mark.parametrize(
    ("name", "scheme", "width", "opened", "rules"),
    [
        ("checked", "light", 1280, False, None),
        ("full", "dark", 360, False, None),
        ("small", "light", 360, True, None),
        ("small", "dark", 1280, True, ["color-contrast"]),
        ("one image", "dark", 1280, True, ["color-contrast"]),
        ("all failed", "light", 360, True, None),
        ("no files", "dark", 1280, True, None),
        ("one class", "light", 1280, False, None),
    ],
)
def test_axe_finds_nothing(
    browser: Chrome,
    make_page: Callable[[str], Page],
    name: str,
    scheme: str,
    width: int,
    opened: bool,
    rules: list[str] | None,
) -> None:
    look(browser, make_page(name), scheme=scheme, width=width)
    if opened:
        browser.execute_script("document.querySelectorAll('details').forEach(part => part.open = true)")
    browser.execute_script(axe.script())
    found = browser.execute_async_script(AXE, rules)
    assert axe.violations(found, least=1 if rules else 20) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_graphics_stand_out_by_three_to_one_and_words_by_four_and_a_half(
    browser: Chrome, make_page: Callable[[str], Page], scheme: str
) -> None:
    look(browser, make_page("no files"), scheme=scheme)
    graphics = [(name, "paper") for name in ("bar", "short", "mark", "accent", "edge", "target")]
    graphics += [("mark", "bar"), ("mark", "short")]
    words = [(name, ground) for name in ("ink", "soft", "accent", "target") for ground in ("paper", "card")]
    words += [("ink", f"heat{shade}") for shade in range(1, 7)]
    for pairs, least in ((graphics, 3.0), (words, 4.5)):
        ratios = {pair: contrast(*(colour(browser, f"--{name}") for name in pair)) for pair in pairs}
        assert min(ratios.values()) >= least, ratios


def test_no_request_leaves_the_page(browser: Chrome, page: Page) -> None:
    browser.get_log("performance")  # type: ignore[no-untyped-call]
    look(browser, page)
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]  # type: ignore[no-untyped-call]
    asked = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    assert [url for url in asked if url != page.path.as_uri()] == []


def test_the_page_reads_in_full_with_scripts_off_and_under_its_own_policy(browser: Chrome, page: Page) -> None:
    look(browser, page)
    with_scripts = text(browser)
    look(browser, page, scripts=False)
    assert text(browser) == with_scripts
    assert len(with_scripts) > 2000


def test_the_policy_lets_the_style_through_and_nothing_else(browser: Chrome, page: Page) -> None:
    look(browser, page)
    browser.execute_cdp_cmd("Page.setBypassCSP", {"enabled": False})
    browser.get(page.path.as_uri())
    margin = browser.execute_script("return getComputedStyle(document.body).marginTop")
    blocked = browser.execute_script(
        "let s = document.createElement('script'); s.textContent = 'window.ran = 1';"
        "document.body.append(s); return window.ran === undefined"
    )
    assert (margin, blocked) == ("0px", True)


@pytest.mark.parametrize("name", ["checked", "small", "no files"])
@pytest.mark.parametrize("width", [360, 768, 1440, 3840])
def test_nothing_is_wider_than_the_window(
    browser: Chrome, make_page: Callable[[str], Page], name: str, width: int
) -> None:
    look(browser, make_page(name), width=width)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    browser.execute_script("document.querySelectorAll('details').forEach(part => part.open = true)")
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("width", [360, 1280, 3840])
def test_the_words_of_a_chart_do_not_run_into_its_bars(
    browser: Chrome, make_page: Callable[[str], Page], width: int
) -> None:
    look(browser, make_page("checked"), width=width)
    reach = browser.execute_script(
        "return [...document.querySelectorAll('figure > svg')].map(svg => {"
        "const axis = svg.querySelector(':scope > svg > .grid'); if (!axis) return [];"
        "const box = axis.getBoundingClientRect();"
        "return [...svg.querySelectorAll(':scope > text[x=\"0\"]')].map("
        "t => t.getBoundingClientRect().right - box.left)}).flat()"
    )
    assert len(reach) > 10
    assert all(distance <= 0 for distance in reach)


def test_the_first_screen_of_a_laptop_holds_verdict_shortage_certainty_and_next_step(
    browser: Chrome, make_page: Callable[[str], Page]
) -> None:
    look(browser, make_page("checked"))
    bottoms = browser.execute_script(
        "return ['.result', '.headline', '.short-groups li:last-child', '.act p:last-child'].map("
        "name => document.querySelector(name).getBoundingClientRect().bottom)"
    )
    assert max(bottoms) <= 900


def test_the_figures_of_a_group_stay_in_the_card_in_a_wide_font(
    browser: Chrome, make_page: Callable[[str], Page]
) -> None:
    look(browser, make_page("checked"))
    beyond = browser.execute_script(
        "document.body.style.fontFamily = 'DejaVu Sans, Verdana, sans-serif';"
        "document.body.style.letterSpacing = '.03em';"
        "const edge = document.querySelector('.card').getBoundingClientRect().right;"
        "return [...document.querySelectorAll('.groups .by')].map(by => by.getBoundingClientRect().right"
        " + by.scrollWidth - by.clientWidth - edge)"
    )
    assert len(beyond) > 5
    assert max(beyond) <= 0


def text(browser: Chrome) -> str:
    """Return what a reader sees, through the driver: the page itself may run nothing."""
    from selenium.webdriver.common.by import By

    return browser.find_element(By.TAG_NAME, "body").text


def colour(browser: Chrome, name: str) -> tuple[int, int, int]:
    """Return a colour of the style sheet as red, green and blue."""
    written: Any = browser.execute_script(
        "return getComputedStyle(document.documentElement).getPropertyValue(arguments[0]).trim()", name
    )
    return int(written[1:3], 16), int(written[3:5], 16), int(written[5:7], 16)


def contrast(first: tuple[int, int, int], second: tuple[int, int, int]) -> float:
    """Return the contrast ratio of WCAG 2.2."""

    def luminance(colour: tuple[int, int, int]) -> float:
        parts = [c / 255 / 12.92 if c / 255 <= 0.04045 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in colour]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    bright, dark = sorted((luminance(first), luminance(second)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)
