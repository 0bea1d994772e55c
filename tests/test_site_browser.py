"""Pages in the system's Chromium: sorted, drawn, gone back to, accessible; nothing is asked off the disk."""

from __future__ import annotations

import importlib.util
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from robustbench_ms.records.profile import slug, write_profile
from tests.sites import HOSTILE, results
from tests.test_profile_records import DEVICE, profile, row

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.xdist_group("browser"),  # one a session
    pytest.mark.skipif(
        CHROMIUM is None, reason="there is no Chromium (apt-get install chromium fonts-liberation)"
    ),
    pytest.mark.skipif(importlib.util.find_spec("playwright") is None, reason="playwright is not installed"),
]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    from robustbench_ms.site import build

    folder = tmp_path_factory.mktemp("pages")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "examples", lambda names, progress: {})
        made = results(folder / "results")
        busy = replace(row(8, 0.04), facts={"others": 0.9})
        write_profile(profile(row(), busy), made / "profiles" / slug(DEVICE) / "net.json")
        write_profile(profile(row(1, 0.02), name=HOSTILE), made / "profiles" / slug(DEVICE) / "other.json")
        build.build_site([made], folder / "site")
    return folder / "site"


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        found = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def opened(site, browser):
    """A function that opens a page; what it logs, raises and asks for is held to nothing at the end."""
    pages, bad = [], []

    def open_page(name="suite-made.html", **more):
        page = browser.new_page(**{"viewport": {"width": 1280, "height": 900}, **more})
        page.on("console", lambda m: bad.append(m.text) if m.type in {"error", "warning"} else None)
        page.on("pageerror", lambda error: bad.append(str(error)))
        page.on(
            "request", lambda r: None if r.url.startswith(("file:", "data:", "blob:")) else bad.append(r.url)
        )
        path, _, view = name.partition("#")
        page.goto(f"{(site / path).as_uri()}#{view}")
        pages.append(page)
        return page

    yield open_page
    for page in pages:
        page.close()
    assert bad == []


def names(page):
    return page.locator("tbody tr:not([hidden]) th").all_inner_texts()


def test_sorted_filtered_and_gone_back_to(opened):
    page = opened()
    first = names(page)
    assert len(first) == 12
    head = page.get_by_role("button", name="clean")
    head.click()
    assert page.locator("th[aria-sort=descending]").count() == 1
    head.click()
    up = names(page)
    cells = page.locator("tbody td[data-key=clean_accuracy]")
    values = cells.evaluate_all("all => all.map((one) => Number(one.dataset.v))")
    assert values == sorted(values)
    page.get_by_role("searchbox").fill("MIT net-1")
    some = names(page)
    assert some == [name for name in up if name.startswith("net-1")]
    page.reload()
    assert names(page) == some
    page.go_back()
    assert page.locator("th[aria-sort=descending]").count() == 1
    page.go_back()
    assert names(page) == first


def test_columns_and_complete_rows(opened):
    page = opened()
    page.get_by_text("Filters and columns").click()
    page.get_by_label("complete on the shown columns").check()
    assert len(names(page)) == 11  # the last lacks a cell that a shown column needs
    assert not page.locator("th[data-key=licence]").is_visible()
    page.get_by_label("licence", exact=True).check()
    assert page.locator("th[data-key=licence]").is_visible()
    page.reload()
    assert page.locator("th[data-key=licence]").is_visible()
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.locator(".copy").first.click()
    page.get_by_text("copied").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == "rbms run made -m net:made --name net-0"
    page.get_by_text("Filters and columns").click()
    page.get_by_role("button", name="Back to the first view").click()
    assert len(names(page)) == 12
    assert page.evaluate("location.hash") == ""


def test_hostile_names_are_text(opened):
    page = opened("suite-made.html#columns0=licence")
    assert page.evaluate("typeof hit") == "undefined"
    assert page.locator("table img, table b").count() == 0
    shown = page.locator("td[data-key=licence]").first.inner_text()
    assert shown.startswith("<img src=x")
    assert "\u202e" not in shown
    assert opened("card-net-0.html").locator("main img, main b").count() == 0
    assert HOSTILE not in page.content()


def test_pictures_are_drawn_when_they_come_into_view(opened):
    page = opened(viewport={"width": 1280, "height": 240})  # so low that no picture is in view at first
    page.wait_for_timeout(500)
    assert page.evaluate("typeof Plotly") == "undefined"
    for at in ("shift-0", "heat-0"):
        page.locator(f"#{at}").scroll_into_view_if_needed()
        page.wait_for_selector(f"#{at}[data-drawn] .main-svg", timeout=60_000)
    assert page.locator("#shift-0 .scatterlayer .trace").count() == 2  # eleven ranked models and their line
    assert "over 11 models: slope" in page.locator("figure", has=page.locator("#shift-0")).inner_text()


def test_effective_robustness_is_drawn_with_its_intervals(opened):
    page = opened()
    page.locator("#effective-0").scroll_into_view_if_needed()
    page.wait_for_selector("#effective-0[data-drawn] .main-svg", timeout=60_000)
    drawn = page.evaluate("document.getElementById('effective-0').data[0]")
    cells = page.locator("tbody td[data-key=effective][data-v]")
    shown = cells.evaluate_all("all => all.map((one) => [100 * one.dataset.v, one.textContent])")
    assert sorted(drawn["x"], reverse=True) == pytest.approx(sorted((v for v, _ in shown), reverse=True))
    ends = {
        f"{at:+.1f} ({at - less:+.1f} to {at + more:+.1f})"
        for at, less, more in zip(
            drawn["x"], drawn["error_x"]["arrayminus"], drawn["error_x"]["array"], strict=True
        )
    }
    assert ends == {text for _, text in shown}


def test_profiles_are_drawn_a_choice_at_a_time(opened):
    page = opened("profiles.html")
    page.wait_for_selector("#latency-0[data-drawn] .main-svg", timeout=60_000)
    traces = "document.getElementById('latency-0').data[0]"
    assert len(page.evaluate(f"{traces}.x")) == 2
    assert page.evaluate(f"{traces}.marker.symbol") == ["circle", "circle"]
    assert "<img" in page.locator("#latency-0").inner_text()  # as text
    page.get_by_label("Input and batch").select_option(label="batch 8, input 3 x 32 x 32")
    page.wait_for_function(f"{traces}.x.length === 1")
    assert page.evaluate(f"{traces}.marker.symbol") == ["circle-open"]  # the machine was busy
    assert page.locator(".canvas img").count() == 0


@pytest.mark.parametrize("name", ["index.html", "suite-made.html", "card-net-0.html", "profiles.html"])
def test_accessible(name, opened):
    import axe_playwright_python

    page = opened(name, viewport={"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    page.evaluate((Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text())
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        asked = "{preload: false, runOnly: ['wcag2a', 'wcag2aa', 'best-practice']}"  # preload would fetch
        wrong = page.evaluate(f"axe.run(document, {asked})")["violations"]
        assert [(one["id"], [node["target"] for node in one["nodes"]]) for one in wrong] == []


def test_by_keyboard_alone(opened):
    page = opened()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("Boolean(document.activeElement.closest('thead th[data-key=clean_accuracy]'))"):
            break
    page.keyboard.press("Enter")
    assert page.locator("th[aria-sort]").get_attribute("data-key") == "clean_accuracy"


def test_long_names_are_whole_on_a_narrow_page(opened):
    page = opened(viewport={"width": 390, "height": 800})
    name = page.locator("tbody th").first
    name.locator("a").evaluate("(a) => { a.textContent = 'resnet20-fast-with-a-long-name@0'; }")
    assert name.evaluate("(th) => th.scrollWidth <= th.clientWidth")
