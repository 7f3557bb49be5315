"""The page about an audit in a real browser."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest
from audit_samples import HEBREW, audited, blobs
from report_samples import EVIL, NOW

from gssl_poison.report import write_audit

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

# Texts whose contrast with the nearest painted background is below 4.5, as WCAG 2 computes it.
CONTRAST = r"""
const parse = (text) => text.match(/[\d.]+/g).map(Number);
const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
  .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
  .reduce((sum, v, k) => sum + v * [0.2126, 0.7152, 0.0722][k], 0);
const behind = (node) => {
  for (let at = node; at; at = at.parentElement) {
    const color = parse(getComputedStyle(at).backgroundColor);
    if (color.length < 4 || color[3] === 1) return color;
  }
  return [255, 255, 255];
};
const found = new Set();
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const node = walker.currentNode.parentElement;
  if (!walker.currentNode.textContent.trim() || node.closest('script, svg')) continue;
  const style = getComputedStyle(node);
  const [a, b] = [light(parse(style.color)), light(behind(node))];
  const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  if (ratio < 4.5 || Number(style.opacity) < 1) found.add(`${node.className} ${ratio}`);
}
return [...found];
"""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Write one page with a hostile class, pictures, sources and a past, and give its address."""
    X, y, truth = blobs((EVIL, "x" * 300, HEBREW), d=4)
    origin = [(EVIL, "b")[k % 2] for k in range(len(y))]
    before, _ = audited(X, y)
    row = int(before.problem.labeled[before.order[0]])
    found, dataset = audited(
        X, y, truth=truth, shape=(2, 2), provenance=origin, answers={row: truth[row]}
    )
    dataset = dataclasses.replace(dataset, name=EVIL)
    path = tmp_path_factory.mktemp("audit") / "page.html"
    return write_audit(path, found, dataset, command=EVIL, before=before, now=NOW).as_uri()


@pytest.mark.browser
def test_loads_quietly_and_draws(browser: Chrome, address: str) -> None:
    browser.get_log("browser")  # type: ignore[no-untyped-call]
    browser.get(address)
    assert browser.get_log("browser") == []  # type: ignore[no-untyped-call]
    loaded = "return performance.getEntriesByType('resource').map(e => e.name)"
    assert browser.execute_script(loaded) == []
    assert len(browser.find_elements("css selector", ".suspect")) >= 2
    assert all(
        image.size["width"] > 20 for image in browser.find_elements("css selector", ".suspect img")
    )
    assert len(browser.find_elements("css selector", ".chart > svg")) == 2
    # The script ran: the policy's hash is right.
    assert browser.find_element("id", "filter").is_displayed()


@pytest.mark.browser
def test_hostile_class_stays_text(browser: Chrome, address: str) -> None:
    from selenium.common.exceptions import NoAlertPresentException

    browser.get(address)
    with pytest.raises(NoAlertPresentException):
        _ = browser.switch_to.alert.text
    assert EVIL in browser.title
    assert len(browser.find_elements("tag name", "script")) == 1
    assert EVIL in [chip.text for chip in browser.find_elements("css selector", "#table .chip")]


@pytest.mark.browser
def test_labels_can_be_filtered_sorted_and_reached_from_a_card(
    browser: Chrome, address: str
) -> None:
    browser.get(address)
    shown = "return [...document.querySelectorAll('#table tbody tr')].filter(r => !r.hidden).length"
    everything = browser.execute_script(shown)
    suspects = len(browser.find_elements("css selector", ".suspect"))
    browser.find_element("id", "filter").send_keys("suspect")
    assert browser.execute_script(shown) == suspects < everything
    heads = browser.find_elements("css selector", "#table thead button")
    assert [head.text for head in heads] == [
        *("Place", "Row", "Label", "Others say", "Against", "State", "Chance", "Changes"),
        *("Decides", "Influence", "Source", "True class"),
    ]
    heads[4].click()
    against = browser.execute_script(
        "return [...document.querySelectorAll('#table tbody tr')]"
        ".map(row => Number(row.cells[5].dataset.value))"
    )
    assert against == sorted(against, reverse=True)
    browser.find_element("css selector", ".suspect h3 a").click()
    target = browser.find_element("css selector", "#table tr:target")
    assert target.is_displayed()


@pytest.mark.browser
@pytest.mark.parametrize("width", [360, 800, 1400])
def test_page_fits_its_window(browser: Chrome, address: str, width: int) -> None:
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        browser.get(address)
        wide = browser.execute_script("return document.documentElement.scrollWidth")
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert wide <= width


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_stands_out_from_what_is_behind_it(
    browser: Chrome, address: str, scheme: str
) -> None:
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    try:
        browser.get(address)
        faint = browser.execute_script(CONTRAST)
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert faint == []
