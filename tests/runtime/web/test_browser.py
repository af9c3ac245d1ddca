"""A real browser opens the page, without a window: it sees pictures change, and presses buttons."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch  # noqa: F401 - a snapshot imports it, which would pass for a slow button

from tests.debian import needs_debian
from tests.runtime.web.watched import Watched, eventually, watched

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

pytestmark = pytest.mark.debian
TOKEN = "0123456789abcdef"
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1280,1000",
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    needs_debian("chromium", "chromedriver")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('browser')}"):
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    try:
        yield driver
    finally:
        driver.quit()


@pytest.fixture
def run(browser: Chrome, tmp_path: Path) -> Iterator[Watched]:
    with watched(tmp_path) as run:
        browser.get(run.address.url)
        eventually(lambda: text(browser, "phase") == "running", "a running page")
        browser.get_log("browser")
        yield run
        assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []
        browser.get("about:blank")


def text(browser: Chrome, name: str) -> str:
    return str(browser.find_element("id", name).text)


def pixel(browser: Chrome) -> list[int]:
    """The middle of the picture as it is shown."""
    found: list[int] = browser.execute_script(
        """const picture = document.getElementById("picture"), canvas = document.createElement("canvas");
        canvas.width = picture.naturalWidth; canvas.height = picture.naturalHeight;
        if (!canvas.width) return [];
        const pen = canvas.getContext("2d"); pen.drawImage(picture, 0, 0);
        return [...pen.getImageData(canvas.width >> 1, canvas.height >> 1, 1, 1).data];"""
    )
    return found


def press(browser: Chrome, action: str, *, confirmed: bool = False) -> None:
    button = browser.find_element("css selector", f"[data-action={action}]")
    eventually(lambda: button.get_attribute("aria-disabled") == "false", f"a button {action}")
    button.click()
    if confirmed:
        browser.switch_to.alert.accept()


def test_the_picture_changes_and_its_answer_stands_beside_it(browser: Chrome, run: Watched) -> None:
    eventually(lambda: pixel(browser), "a picture")
    first = pixel(browser)
    eventually(lambda: pixel(browser) not in ([], first), "another picture")
    assert browser.find_element("css selector", "#adapted .label").text in ("car", "person", "bottle")
    assert browser.find_element("css selector", "#frozen .label").text == "car"
    assert browser.find_element("css selector", "#frozen .sure").text == "78.7 %"
    eventually(lambda: "feature" in text(browser, "t-drift") and "0.5" in text(browser, "t-drift"), "a chart")


def test_hold_and_roll_back_are_pressed_and_happen(browser: Chrome, run: Watched) -> None:
    press(browser, "snapshot")
    eventually(lambda: text(browser, "done") == "wrote snapshot-000001.safetensors", "a snapshot")
    learned = run.method.learned
    eventually(lambda: run.method.learned > learned + 5, "more learning")
    press(browser, "hold")
    eventually(lambda: text(browser, "done").startswith("holding"), "hold")
    assert run.method.held
    eventually(lambda: text(browser, "learning").startswith("On hold"), "the page's word for it")
    before = run.method.learned
    press(browser, "rollback", confirmed=True)
    eventually(lambda: text(browser, "done").startswith("back to snapshot-000001"), "roll back")
    assert run.method.learned < before
    press(browser, "resume")
    eventually(lambda: not run.method.held, "resume")


def test_every_button_is_reached_with_the_keyboard_in_order_and_pressed(browser: Chrome, run: Watched) -> None:
    from selenium.webdriver.common.keys import Keys

    reached: list[str] = []
    for _ in range(9):
        browser.switch_to.active_element.send_keys(Keys.TAB)
        there = browser.switch_to.active_element
        reached.append(there.get_attribute("data-action") or there.get_attribute("id") or there.text)
    assert reached[:7] == ["Skip to the buttons", "hold", "resume", "snapshot", "rollback", "reset", "snapshot"]
    outline = "return getComputedStyle(document.activeElement).outlineStyle"
    browser.find_element("css selector", "[data-action=hold]").send_keys(Keys.ENTER)
    assert browser.execute_script(outline) == "solid"
    eventually(lambda: run.method.held, "hold")


def test_a_lost_source_and_the_end_of_the_run_are_told(browser: Chrome, run: Watched) -> None:
    run.source.trouble = "source lost 3 s ago, tried again in 1 s"
    eventually(lambda: "source lost" in text(browser, "alert"), "the trouble")
    assert browser.find_element("id", "alert").get_attribute("role") == "alert"
    run.source.trouble = None
    eventually(lambda: text(browser, "alert") == "", "the end of the trouble")
    run.end()
    eventually(lambda: "The run has ended" in text(browser, "alert"), "the end")
    assert browser.find_element("css selector", "[data-action=hold]").get_attribute("title") == "the run has ended"


def test_the_page_fits_a_phone(browser: Chrome, run: Watched) -> None:
    size = {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        eventually(lambda: pixel(browser), "a picture")
        assert browser.execute_script("return document.documentElement.scrollWidth") == 360
        heights = (
            "return [...document.querySelectorAll('button')].map((one) => one.getBoundingClientRect().height)"
        )
        assert min(browser.execute_script(heights)) >= 44
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_a_browser_logs_in_with_the_token_and_the_api_page_needs_nothing_from_elsewhere(
    browser: Chrome, tmp_path: Path
) -> None:
    with watched(tmp_path, state=False, token=TOKEN) as run:
        browser.get(run.address.url)
        assert browser.current_url.endswith("/login")
        browser.find_element("id", "token").send_keys("a wrong guess\n")
        eventually(lambda: "not the token" in browser.page_source, "a refusal")
        browser.find_element("id", "token").send_keys(f"{TOKEN}\n")
        eventually(lambda: text(browser, "phase") == "running", "a running page")
        press(browser, "hold")
        eventually(lambda: run.method.held, "hold")
        browser.get(f"{run.address.url}docs")
        eventually(lambda: "POST /api/v1/controls/{action}" in text(browser, "api"), "the API page")
        names = browser.execute_script("return performance.getEntriesByType('resource').map((one) => one.name)")
        assert names
        assert all(name.startswith(run.address.url) for name in names)
        browser.get("about:blank")
