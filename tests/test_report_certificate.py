"""The page about a certificate: what it says, what it draws, and that data cannot act in it."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from report_samples import EVIL, NASTY, NOW, tags_of, text_of

from gssl_poison.datasets import Dataset, load_dataset
from gssl_poison.exceptions import InputError
from gssl_poison.report import CertificatePage, Level, render_certificate, write_certificate
from gssl_poison.report._certificate_charts import bound_chart, radius_histogram, survival
from gssl_poison.report._format import percent

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

N_LABELED = 36


def sample(
    *, u: int = 300, last: int = 10, classes: tuple[str, ...] = ("a", "b"), **more: Any
) -> tuple[CertificatePage, Dataset]:
    """Make a page of random radii."""
    rng = np.random.default_rng(3)
    radius = np.minimum(rng.geometric(0.2, size=u), N_LABELED + 1)
    predicted = rng.integers(0, len(classes), size=u)
    truth = np.where(rng.random(u) < 0.1, (predicted + 1) % len(classes), predicted)
    wrong = truth != predicted
    pointwise = np.array([np.mean(wrong | (radius <= k)) for k in range(last + 1)])
    attack = wrong.mean() + 0.4 * (pointwise - wrong.mean())
    levels = tuple(
        Level(
            k,
            float(attack[k]),
            float(0.9 * pointwise[k]),
            float(pointwise[k]),
            float(1 - pointwise[k]),
            "milp",
        )
        for k in sorted({1, max(1, last // 2), last})
    )
    settings: dict[str, Any] = {
        "name": "a set",
        "n_labeled": N_LABELED,
        "classes": classes,
        "used_truth": True,
        "clean": float(wrong.mean()),
        "levels": levels,
        "attack_name": "greedy",
        "attack": attack,
        "pointwise": pointwise,
        "point": np.arange(100, 100 + u),
        "radius": radius,
        "predicted": predicted,
        "truth": truth,
        "holds_for": "this graph.",
        "undecided": 0,
        "settings": (("Data", "a set"),),
        "versions": {"numpy": "2.0"},
        "command": "gssl-poison certify a",
    }
    X = rng.normal(size=(100 + u, 4))
    data = Dataset("a set", X, np.full(100 + u, None), None, None, None, "a test")
    return CertificatePage(**{**settings, **more}), data


def test_file_is_written_whole_and_the_same_each_time(tmp_path: Path) -> None:
    page, dataset = sample()
    first = write_certificate(tmp_path / "a.html", page, dataset, now=NOW)
    second = write_certificate(tmp_path / "b.html", page, dataset, now=NOW)
    assert first.read_bytes() == second.read_bytes()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.html", "b.html"]
    assert "21 November 2026, 04:50 UTC" in text_of(first.read_text(encoding="utf-8"))


def test_failed_write_leaves_the_old_page(tmp_path: Path) -> None:
    page, dataset = sample()
    path = write_certificate(tmp_path / "a.html", page, dataset)
    old = path.read_bytes()
    with pytest.raises(InputError, match="no budget"):
        write_certificate(path, dataclasses.replace(page, levels=()), dataset)
    assert path.read_bytes() == old


def test_it_says_what_nobody_can_do() -> None:
    page, dataset = sample(holds_for="one <gamma>.", undecided=3)
    text = text_of(render_certificate(page, dataset))
    level = page.levels[0]  # the largest at which most predictions are certain
    assert page.levels[1].certified < 0.5 < level.certified
    assert (
        f"{percent(level.certified)} of the predictions are right and stay so".replace("\xa0", " ")
        in text
    )
    assert "whoever changes 1 of the 36 labels." in text
    assert "Nobody who changes at most 1 label, whichever they are" in text
    assert "It holds for one <gamma>." in text
    assert "For 3 predictions rounding leaves open" in text
    for level in page.levels:
        for part in (level.attack, level.collective, level.pointwise, level.certified):
            assert f"{100 * part:.2f} %" in text


@pytest.mark.parametrize(
    ("certified", "words"),
    [
        (1.0, "All predictions are right and stay so, whoever changes 10 of the 36 labels."),
        (0.0, "No prediction is sure to stay once 1 of the 36 labels change."),
    ],
)
def test_the_headline_fits_the_extremes(certified: float, words: str) -> None:
    page, dataset = sample()
    levels = tuple(dataclasses.replace(level, certified=certified) for level in page.levels)
    text = text_of(render_certificate(dataclasses.replace(page, levels=levels), dataset))
    assert words in text


def test_without_truth_it_speaks_of_changes() -> None:
    page, dataset = sample(used_truth=False, truth=None)
    text = text_of(render_certificate(page, dataset))
    assert "predictions changed" in text
    assert " wrong" not in text


def test_the_points_that_are_easiest_to_turn_come_first() -> None:
    page, dataset = sample(u=500)
    order = np.lexsort((page.point, page.radius))
    text = text_of(render_certificate(page, dataset))
    assert "The first 200 of 500 unlabelled points, easiest to turn first." in text
    assert f"1 row {page.point[order[0]]} " in text
    assert "takes 1 label" in text


def test_images_are_drawn_where_rows_are_images() -> None:
    data = load_dataset("digits-1-7", labeled=0.1)
    page, _ = sample(u=200)
    images = [a for tag, a in tags_of(render_certificate(page, data)) if tag == "img"]
    assert len(images) == 10 + 200
    assert all(str(image["src"]).startswith("data:image/png;base64,") for image in images)


def test_where_an_attack_reaches_the_bound_it_says_that_nothing_is_worse() -> None:
    page, dataset = sample()
    levels = tuple(dataclasses.replace(level, attack=level.collective) for level in page.levels)
    assert "nothing worse exists" not in text_of(render_certificate(page, dataset))
    text = text_of(render_certificate(dataclasses.replace(page, levels=levels), dataset))
    assert "An attack was found that does just that: nothing worse exists." in text
    assert "no attack exceeds that. Where curve and bound meet, the worst is known." in text


@pytest.mark.parametrize("last", [1, 2, 10, 500])
def test_curves_stay_in_the_frame_and_in_order(last: int) -> None:
    page, _ = sample(last=last)
    figure = bound_chart(page)
    for path in (figure.attack, figure.bound, figure.joint):
        spots = [tuple(map(float, spot.split())) for spot in path[1:].split("L")]
        assert all(figure.left <= x <= figure.right for x, _ in spots)
        assert all(figure.top <= y <= figure.bottom for _, y in spots)
        assert [x for x, _ in spots] == sorted(x for x, _ in spots)
    assert len(figure.marks) == len(page.levels)
    assert len(figure.dots) <= 60
    assert 2 <= len(figure.x_ticks) <= 12


def test_the_histogram_counts_every_prediction_once() -> None:
    page, _ = sample(u=400)
    for radius in (
        page.radius,
        np.ones(400, dtype=np.int64),
        np.full(400, N_LABELED + 1),
        np.zeros(400, dtype=np.int64),
        np.arange(400) % (N_LABELED + 2),
    ):
        changed = dataclasses.replace(page, radius=radius)
        bars = radius_histogram(changed).bars
        assert sum(int(bar.text or 0) for bar in bars) == 400
        assert all(a.x + a.width <= b.x for a, b in itertools.pairwise(bars))
        assert survival(changed).dots


def test_the_survival_curve_reads_off_the_radii() -> None:
    page, _ = sample(u=400)
    right = page.predicted == page.truth
    for some, rows in ((page, right), (dataclasses.replace(page, truth=None), right | True)):
        tips = [dot.tip for dot in survival(some).dots]
        part = percent(float(np.mean(rows & (page.radius > 2))))
        assert f"After 2 changed labels: {part} certain" in tips


def test_nothing_from_data_is_markup() -> None:
    page, dataset = sample(
        classes=NASTY,
        name=EVIL,
        holds_for=NASTY[2],
        settings=((NASTY[3], NASTY[4]),),
        command=EVIL,
        attack_name=NASTY[3],
    )
    html = render_certificate(page, dataclasses.replace(dataset, name=EVIL))
    tags = tags_of(html)
    assert [tag for tag, _ in tags].count("script") == 1
    assert not any(name.startswith("on") for _, given in tags for name in given)
    assert "{{ 7 * 7 }}" in text_of(html)


# --- in a browser


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Write one page with a hostile class and give its address."""
    page, dataset = sample(classes=(EVIL, "b"), name=EVIL, command=EVIL)
    dataset = dataclasses.replace(dataset, image_shape=(2, 2))
    path = tmp_path_factory.mktemp("certificate") / "page.html"
    return write_certificate(path, page, dataset, now=NOW).as_uri()


@pytest.mark.browser
def test_loads_quietly_and_draws(browser: Chrome, address: str) -> None:
    browser.get_log("browser")  # type: ignore[no-untyped-call]
    browser.get(address)
    assert browser.get_log("browser") == []  # type: ignore[no-untyped-call]
    loaded = "return performance.getEntriesByType('resource').map(e => e.name)"
    assert browser.execute_script(loaded) == []
    figure = browser.find_element("css selector", ".wide-chart > svg")
    assert figure.is_displayed()
    assert figure.size["height"] > 200
    assert len(browser.find_elements("css selector", ".mark-joint")) == 3
    assert len(browser.find_elements("css selector", ".chart > svg")) == 3
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
def test_points_can_be_filtered_and_sorted(browser: Chrome, address: str) -> None:
    browser.get(address)
    shown = "return [...document.querySelectorAll('#table tbody tr')].filter(r => !r.hidden).length"
    assert browser.execute_script(shown) == 200
    browser.find_element("id", "filter").send_keys("alert(1)")
    assert 0 < browser.execute_script(shown) < 200
    heads = browser.find_elements("css selector", "#table thead button")
    assert [head.text for head in heads] == ["Place", "Row", "Predicted", "True class", "Takes"]
    heads[1].click()
    rows = browser.execute_script(
        "return [...document.querySelectorAll('#table tbody tr')]"
        ".map(row => Number(row.cells[2].dataset.value))"
    )
    assert rows == sorted(rows)


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
