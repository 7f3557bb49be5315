"""The report in a real browser."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest
from report_samples import EVIL, NASTY, NOW, sample

from gssl_poison.report import write_report

if TYPE_CHECKING:
    from selenium.webdriver import Chrome
    from selenium.webdriver.remote.webelement import WebElement

# --- in a browser


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Write one report with a hostile class and give its address."""
    table, dataset = sample(n=300, d=4, classes=(EVIL, "b", "10", "9"), gamma=3.0)
    dataset = dataclasses.replace(dataset, image_shape=(2, 2), name=EVIL, source=NASTY[2])
    path = tmp_path_factory.mktemp("report") / "report.html"
    return write_report(path, table, dataset, now=NOW, command=EVIL).as_uri()


def column(browser: Chrome, name: str) -> list[str]:
    """Read the values of a column from the rows that are shown."""
    values: list[str] = browser.execute_script(
        """const table = document.getElementById('table');
        const at = [...table.tHead.rows[0].cells]
            .findIndex(cell => cell.textContent.trim() === arguments[0]);
        return [...table.tBodies[0].rows].filter(row => !row.hidden)
            .map(row => row.cells[at].dataset.value)""",
        name,
    )
    return values


def header(browser: Chrome, name: str) -> tuple[WebElement, WebElement]:
    """Find a header cell and its button."""
    for cell in browser.find_elements("css selector", "#table thead th"):
        if cell.text.strip() == name:
            return cell, cell.find_element("tag name", "button")
    raise AssertionError(f"no header {name}")


@pytest.mark.browser
def test_loads_quietly_and_alone(browser: Chrome, page: str) -> None:
    browser.get_log("browser")  # type: ignore[no-untyped-call]
    browser.get(page)
    assert browser.get_log("browser") == []  # type: ignore[no-untyped-call]
    loaded = "return performance.getEntriesByType('resource').map(e => e.name)"
    assert browser.execute_script(loaded) == []
    # The style applied and the script ran: the policy's hashes are right.
    assert browser.find_element("id", "filter").is_displayed()
    margin = "return getComputedStyle(document.body).marginTop"
    assert browser.execute_script(margin) == "0px"


@pytest.mark.browser
def test_hostile_class_stays_text(browser: Chrome, page: str) -> None:
    from selenium.common.exceptions import NoAlertPresentException

    browser.get(page)
    with pytest.raises(NoAlertPresentException):
        _ = browser.switch_to.alert.text
    assert EVIL in browser.title
    assert len(browser.find_elements("tag name", "script")) == 1
    chips = [chip.text for chip in browser.find_elements("css selector", "#table .chip")]
    assert EVIL in chips


@pytest.mark.browser
def test_header_sorts(browser: Chrome, page: str) -> None:
    browser.get(page)
    start = column(browser, "Rank")
    assert start == [str(k) for k in range(1, 101)]
    cell, button = header(browser, "Row")
    button.click()
    assert cell.get_attribute("aria-sort") == "ascending"
    rows = [int(value) for value in column(browser, "Row")]
    assert rows == sorted(rows)
    assert rows != sorted(rows, key=str)  # as numbers, not as text
    button.send_keys("\n")  # from the keyboard
    assert cell.get_attribute("aria-sort") == "descending"
    assert [int(value) for value in column(browser, "Row")] == rows[::-1]
    cell, button = header(browser, "Total")
    button.click()
    assert cell.get_attribute("aria-sort") == "descending"
    totals = [float(value) for value in column(browser, "Total")]
    assert totals == sorted(totals, reverse=True)
    assert len(browser.find_elements("css selector", "#table th[aria-sort]")) == 1
    header(browser, "Class")[1].click()
    classes = column(browser, "Class")
    assert classes.index("9") < classes.index("10") < classes.index("b")
    header(browser, "Rank")[1].click()
    assert column(browser, "Rank") == start


@pytest.mark.browser
def test_filter_narrows(browser: Chrome, page: str) -> None:
    browser.get(page)
    box = browser.find_element("id", "filter")
    box.send_keys("ALERT(1)")
    kept = column(browser, "Class")
    assert set(kept) == {EVIL}
    assert browser.find_element("id", "shown").text == f"{len(kept)} of 100"
    box.clear()
    box.send_keys("no such thing")
    assert column(browser, "Class") == []
    browser.execute_script("location.hash = '#rank-50'")
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(browser, 5).until(lambda _: len(column(browser, "Class")) == 100)


@pytest.mark.browser
def test_hover_tells_and_puts_the_title_back(browser: Chrome, page: str) -> None:
    from selenium.webdriver import ActionChains
    from selenium.webdriver.support.ui import WebDriverWait

    browser.get(page)
    label = browser.find_element("css selector", ".rings a[data-rank='1'] text")
    browser.execute_script(
        "arguments[0].scrollIntoView({behavior: 'instant', block: 'center'})", label
    )
    tip, elsewhere = (browser.find_element("id", name) for name in ("tip", "map"))

    def hover(_: Chrome) -> bool:
        # A pointer that is there already does not move: come from elsewhere, until it is seen.
        ActionChains(browser).move_to_element(elsewhere).move_to_element(label).perform()
        return tip.is_displayed()

    WebDriverWait(browser, 10).until(hover)
    assert tip.text.startswith("rank 1: row ")
    assert tip.find_elements("tag name", "img")
    ActionChains(browser).move_to_element(elsewhere).perform()
    WebDriverWait(browser, 5).until(lambda _: not tip.is_displayed())
    assert label.find_elements("xpath", "../*[local-name()='title']")


@pytest.mark.browser
@pytest.mark.parametrize("width", [360, 800, 1400])
def test_page_fits_its_window(browser: Chrome, page: str, width: int) -> None:
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        browser.get(page)
        wide = browser.execute_script("return document.documentElement.scrollWidth")
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert wide <= width
