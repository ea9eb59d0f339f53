"""The report of a real run as a reader meets it: in Chromium, on a desk and on a phone."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page

NAMES = ("chromium", "chromium-browser", "google-chrome")
SIZES = {"desk": (1280, 900), "phone": (390, 844)}
OPEN_ALL = "document.querySelectorAll('details').forEach(one => { one.open = true })"
SMALLEST_TEXT = """
Math.min(...[...document.querySelectorAll('svg text')]
  .filter(text => text.getClientRects().length)
  .map(text => {
    const svg = text.closest('svg')
    return parseFloat(getComputedStyle(text).fontSize) * svg.clientWidth / svg.viewBox.baseVal.width
  }))
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The system's own Chromium: none is downloaded."""
    from playwright.sync_api import sync_playwright

    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip("there is no Chromium here; install it to see the page as a reader does")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def report(local_root: Path) -> str:
    return (local_root / "runs" / "one" / "report.html").as_uri()


@pytest.fixture(params=SIZES)
def page(request: pytest.FixtureRequest, browser: Browser, report: str) -> Iterator[Page]:
    """The page with everything unfolded; its own rules against scripts do not bind the test."""
    width, height = SIZES[request.param]
    context = browser.new_context(viewport={"width": width, "height": height}, bypass_csp=True)
    opened = context.new_page()
    opened.goto(report)
    opened.evaluate(OPEN_ALL)
    yield opened
    context.close()


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_the_page_opens_without_a_complaint_and_asks_for_nothing(
    size: tuple[int, int], browser: Browser, report: str
) -> None:
    context = browser.new_context(viewport={"width": size[0], "height": size[1]}, offline=True)
    opened = context.new_page()
    said: list[str] = []
    asked: list[str] = []
    opened.on("console", lambda message: said.append(message.text))
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.on("request", lambda request: asked.append(request.url))
    opened.goto(report)
    opened.wait_for_load_state("networkidle")
    context.close()
    assert said == []
    assert asked == [report]


def test_nothing_reaches_beyond_the_side_of_the_screen(page: Page) -> None:
    wide, there = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert wide <= there


def test_the_letters_of_plots_can_be_read(page: Page) -> None:
    assert page.evaluate(SMALLEST_TEXT) >= 9


def test_axe_finds_no_violation(page: Page) -> None:
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


def test_every_link_leads_to_a_chapter(page: Page) -> None:
    links = page.locator("a[href]").all()
    assert len(links) >= 6
    for link in links:
        target = str(link.get_attribute("href"))
        link.click()
        assert page.url.endswith(target)
        heading = page.locator(f"{target} h2")
        assert heading.text_content() == link.text_content()
        top = page.evaluate("target => document.querySelector(target).getBoundingClientRect().top",
                            target)  # fmt: skip
        assert top < page.viewport_size["height"]  # type: ignore[index]


def test_the_keyboard_reaches_the_contents_first(page: Page) -> None:
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('nav') !== null")


def test_the_page_has_the_verdict_the_intervals_and_the_map(page: Page) -> None:
    assert "published" in page.locator(".verdict .headline").text_content().lower()  # type: ignore[union-attr]
    for key in ("models-validation", "ndcg-at-k", "precision-recall", "learning-sgd", "items"):
        assert page.locator(f"#figure-{key} svg:visible").count() == 1, key
