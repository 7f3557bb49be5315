"""The report of the experiments: what it says, that no figure is made up, how it is drawn."""

from __future__ import annotations

import base64
import itertools
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from report_samples import EVIL, NASTY, tags_of, text_of
from reproduction_samples import DATASETS, error_of, sample_table
from test_report_audit_browser import CONTRAST

from gssl_poison.exceptions import InputError
from gssl_poison.experiments.cells import Cell
from gssl_poison.experiments.comparison import read_results
from gssl_poison.experiments.explanations import explanations
from gssl_poison.experiments.paper_tables import curves
from gssl_poison.report import write_reproduction
from gssl_poison.report._reproduction_figure import figure_four
from gssl_poison.report._reproduction_markdown import escape
from gssl_poison.report._reproduction_views import difference_value

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

FILES = ["figure-4.svg", "report.html", "report.md"]
SVG = "{http://www.w3.org/2000/svg}"


def write(table: pd.DataFrame, folder: Path, **more: Any) -> tuple[str, str]:
    """Write a report and return its page and its Markdown."""
    write_reproduction(table, folder, **more)
    return tuple((folder / name).read_text(encoding="utf-8") for name in FILES[1:])  # type: ignore[return-value]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a report of everything once."""
    folder = tmp_path_factory.mktemp("whole") / "new" / "folder"
    write_reproduction(sample_table(), folder, command="gssl-poison reproduce all")
    return folder


@pytest.fixture(scope="module")
def page(whole: Path) -> str:
    return (whole / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def markdown(whole: Path) -> str:
    return (whole / "report.md").read_text(encoding="utf-8")


def tables_of(page: str) -> dict[str, list[list[str]]]:
    """Read the tables of a page by the identifier of their title: rows of texts."""
    found = {}
    for block in re.findall(r'<div class="block">.*?</table>', page, flags=re.S):
        name = re.search(r'<h3 id="([^"]+)"', block)
        assert name is not None
        found[name[1]] = [
            [text_of(cell) for cell in re.findall(r"<t[hd]\b.*?</t[hd]>", row, flags=re.S)]
            for row in re.findall(r"<tr\b.*?</tr>", block, flags=re.S)
        ]
    return found


def test_three_files_are_written_the_same_each_time(whole: Path, tmp_path: Path) -> None:
    assert sorted(path.name for path in whole.iterdir()) == FILES
    shuffled = sample_table().sample(frac=1, random_state=1)
    write_reproduction(shuffled, tmp_path, command="gssl-poison reproduce all")
    for name in FILES:
        assert (tmp_path / name).read_bytes() == (whole / name).read_bytes()


def test_a_failed_write_leaves_the_old_report(tmp_path: Path) -> None:
    write(sample_table(("rq1",)), tmp_path)
    old = (tmp_path / "report.html").read_bytes()
    with pytest.raises(InputError, match="no rows"):
        write_reproduction(sample_table(("rq1",)).iloc[:0], tmp_path)
    assert (tmp_path / "report.html").read_bytes() == old
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "report.md"]


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    with pytest.raises(InputError, match="is a file; give a folder"):
        write_reproduction(sample_table(("rq1",)), tmp_path / "a")


def test_it_says_what_was_run(page: str) -> None:
    text = text_of(page)
    assert (
        "2,034 finished cells on MNIST 1/7, CIFAR-10 cat/ship and Reuters corporate, under the "
        "presets replication (1 seed) and corrected (3 seeds)." in text
    )
    assert "Of the paper's data sets RCV1 was not run." in text
    assert "gssl-poison reproduce all" in text
    for fact in ("a processor, 2 threads", "gssl-poison 0.1.0, numpy 2.3", "650 of 13,007"):
        assert fact in text
    assert "Correctedseeds 2020, 2021, 2022; label propagation is Harmonic()" in text


def test_figures_stand_beside_those_of_the_paper(page: str) -> None:
    rows = tables_of(page)["table-4-2"]  # MNIST, transductive
    assert rows[0] == ["Labelled", "Flipped", "MIR", "greedy", "probabilistic"]
    assert rows[1] == ["paper", "replication", "difference", "corrected"] * 3
    assert [row[2] for row in rows[2:]] == [
        *("1.25", "16.22", "27.05", "35.86", "43.98"),
        *("0.69", "16.09", "27.48", "37.07", "45.71"),
        *("0.58", "17.47", "29.94", "40.26", "48.88"),
    ]
    last = rows[6]  # 5 % labelled, 20 % flipped
    where = ("mnist-1-7", "replication", 0.05, 2020, "propagation")
    for k, attack in enumerate(("mir", "greedy", "probabilistic")):
        paper, ours, difference, corrected = last[2 + 4 * k : 6 + 4 * k]
        error = 100 * error_of(Cell("error", *where, attack, 0.2, "none", "transductive"))
        assert paper == ("43.98", "3.04", "19.46")[k]
        assert ours == f"{error:.2f}"
        assert difference.split()[1].replace("\u2212", "-") == f"{error - float(paper):+.2f}"
        assert re.fullmatch(r"\d+\.\d\d ± \d\.\d\d", corrected)


def test_the_size_of_a_difference_is_told_by_a_sign_too() -> None:
    found = [difference_value(size).text[0] for size in (0.05, 0.051, -1.0, -1.01)]
    assert found == ["=", "\u2248", "\u2248", "\u2260"]
    assert [difference_value(x).tone for x in (0.0, 0.5, 1.5)] == ["same", "near", "far"]
    assert difference_value(None).text == "\u2013"


def test_nearness_counts_every_compared_cell(page: str) -> None:
    rows = tables_of(page)["table-4-1"][2:]
    counted = [[int(cell) for cell in row[2:5] + row[6:9]] for row in rows]
    assert sum(map(sum, counted)) == 2 * 2 * 3 * 13
    # Transductive errors after MIR and on clean labels are made up within 0.04 points.
    assert counted[0] == [3, 0, 0, 3, 0, 0]
    assert counted[1] == [12, 0, 0, 12, 0, 0]


def test_what_is_not_in_the_source_is_said(page: str) -> None:
    tables = tables_of(page)
    assert "paper" not in tables["table-4-4"][1]  # perceptrons
    text = text_of(page)
    assert "MNIST 1/7, multilayer perceptron The paper's figures are not in the source" in text
    fifth = tables["table-5-1"]
    assert fifth[2][2:] == ["paper", "1.25", "27.05", *["not in the source"] * 4]
    third = tables["table-3-1"]
    assert [row[2] for row in third if row[0] == "MNIST 1/7"][:2] == ["paper", "replication"]
    assert {row[2] for row in third if row[0] == "Reuters corporate"} == {
        "replication",
        "corrected",
    }


def test_table_three_tells_the_matrix_from_the_search(page: str) -> None:
    rows = tables_of(page)["table-3-1"]
    assert rows[0] == [
        *("Data set", "Attack", "Source", "whole", "matrix", "search alone", "flips", "timings")
    ]
    dash = "\u2013"
    found = {tuple(row[:3]): row[3:] for row in rows[2:]}
    assert found["MNIST 1/7", "greedy", "paper"] == ["86.47", "4.58", "11.3\u00d7", *[dash] * 6]
    assert found["MNIST 1/7", "MIR", "corrected"] == [
        *("0.05", "0.0025", "1\u00d7"),
        *[dash] * 4,
        *("20", "3"),
    ]
    # The deviation is that of the search, and stands there.
    assert found["MNIST 1/7", "greedy", "corrected"] == [
        *("3.00", dash, "60\u00d7", "0.60"),
        *("2.40", "0.15", "48\u00d7", "20", "3"),
    ]
    assert "Greedy and probabilistic read a matrix that is made once" in text_of(page)


def test_large_multiples_are_written_out(tmp_path: Path) -> None:
    table = sample_table(("rq3",), ("corrected",), ("mnist-1-7",))
    table.loc[table.attack == "greedy", "seconds_median"] = 120.6
    html, _ = write(table, tmp_path)
    greedy = next(
        row for row in tables_of(html)["table-3-1"] if row[1:3] == ["greedy", "corrected"]
    )
    assert greedy[5] == "2,412\u00d7"
    assert "18 to 2,412 times as long" in text_of(html)


def test_the_headline_names_the_data_sets_that_are_judged(tmp_path: Path) -> None:
    html, _ = write(sample_table(("rq1",)), tmp_path)
    assert "hold here with sound solvers, on MNIST 1/7 and CIFAR-10 cat/ship." in text_of(html)
    html, text = write(sample_table(("rq1",), datasets=("reuters-corporate",)), tmp_path)
    told = "with sound solvers, on Reuters corporate, which it does not have."
    assert told in text_of(html)
    assert told in text


def test_signed_ranks_are_no_independent_pairs(page: str) -> None:
    text = text_of(page)
    assert "Pairs share draws of labels and nested budgets and are not independent" in text
    assert "Pairs share draws of labels and are not independent" in text
    rows = [row for name, rows in tables_of(page).items() if "table-4" in name for row in rows]
    assert ["replication", "all data sets, cells that the paper prints", "48"] in [
        row[1:4] for row in rows
    ]


def test_cells_off_by_more_than_a_point_are_explained(page: str, markdown: str) -> None:
    found = explanations(read_results(sample_table()))
    why = page[page.index('aria-labelledby="why"') : page.index('aria-labelledby="table-5"')]
    assert why.count("<li>") == len(found) > 20
    lines = markdown[markdown.index("## Why") : markdown.index("## Table 5")]
    assert lines.count("\n- ") == len(found)
    for one in found:
        assert text_of(one.where) in text_of(why)
        assert escape(one.cause) in lines


def test_causes_that_differ_between_parts_labelled_are_told_apart(tmp_path: Path) -> None:
    table = sample_table(("rq3",), ("replication",), ("mnist-1-7",))
    assert "greedy, transductive, 5" not in text_of(write(table, tmp_path)[0])
    few = table.labeled == 0.05
    table.loc[few, "note"] = table.note[few].str.replace("-4.1e+106", "-2e+9")
    text = text_of(write(table, tmp_path)[0])
    assert "MNIST 1/7, greedy, transductive, 5 % labelled Greedy reads K" in text
    assert "MNIST 1/7, greedy, transductive, 15 % and 25 % labelled Greedy reads K" in text


def test_markdown_has_the_same_tables(page: str, markdown: str) -> None:
    blocks = re.findall(r"(?:^\|.*\n)+", markdown, flags=re.M)
    tables = tables_of(page)
    assert len(blocks) == len(tables)
    for block, rows in zip(blocks, tables.values(), strict=True):
        lines = [line.strip("| \n").split(" | ") for line in block.splitlines()]
        assert len({line.count(" | ") for line in block.splitlines()}) == 1
        body = [row for row in rows if len(row) == len(lines[0])][-len(lines[2:]) :]
        plain = [[re.sub(r"[*\\]", "", cell).strip() for cell in line] for line in lines[2:]]
        assert [[text_of(cell) for cell in row] for row in plain] == body
    assert "](figure-4.svg)" in markdown


@pytest.mark.parametrize(
    "choice",
    [
        {"questions": ("rq1",)},
        {"questions": ("rq2",), "presets": ("corrected",)},
        {"questions": ("rq3",), "presets": ("replication",), "budgets": (0.1,)},
        {"questions": ("rq4",), "datasets": ("reuters-corporate",)},
        {"datasets": ("digits-1-7",), "labeled": (0.1,)},
        {"datasets": ("mnist",)},
        {"datasets": ("rcv1", "mnist-1-7"), "models": ("transductive",)},
        {"presets": ("replication",), "models": ("mlp",)},
    ],
    ids=str,
)
def test_any_part_of_a_run_makes_a_report(choice: dict[str, Any], tmp_path: Path) -> None:
    html, text = write(sample_table(**choice), tmp_path)
    assert "nan" not in text_of(html).lower().replace("finance", "")
    assert "None" not in text_of(html).replace("None is.", "")
    assert html.count("<table>") == text.count("\n| :--")
    compares = "How near the replication comes" in html
    assert ("Why some errors" in html) == ("Why some errors" in text) == compares
    questions = choice.get("questions", ("rq1", "rq2", "rq3", "rq4"))
    assert ("reproduce rq1" in html) == ("rq1" not in questions)
    if len(choice.get("presets", "12")) == 1:
        (absent,) = {"replication", "corrected"} - set(choice["presets"])
        heads = itertools.chain.from_iterable(rows[1] for rows in tables_of(html).values())
        assert absent not in set(heads)


def test_each_row_alone_makes_a_report(tmp_path: Path) -> None:
    table = sample_table(datasets=("mnist-1-7",), repeats=1)
    for _, kind in table.groupby(["kind", "model", "repair", "attack"], sort=True):
        html, _ = write(kind.iloc[:1], tmp_path)
        assert "1 finished cell on MNIST 1/7" in text_of(html)


def test_a_cell_that_is_missing_is_not_run(tmp_path: Path) -> None:
    table = sample_table(("rq3",), ("replication",), ("mnist-1-7",))
    whole, _ = write(table, tmp_path)
    assert "not run" not in {
        cell for rows in tables_of(whole).values() for row in rows for cell in row
    }
    hole = (table.attack == "greedy") & (table.budget == 0.15) & (table.labeled == 0.05)
    html, text = write(table[~(hole & (table.model == "transductive"))], tmp_path)
    row = tables_of(html)["table-4-2"][5]
    assert row[5:8] == ["3.04", "not run", "\u2013"]
    assert "| not run |" in text


def test_undefined_figures_are_no_numbers(tmp_path: Path) -> None:
    table = sample_table(("rq1",), ("replication",), ("mnist-1-7",))
    table.loc[0, "kendall"] = float("nan")
    html, _ = write(table, tmp_path)
    assert tables_of(html)["table-2-1"][2][4] == "undefined"


def test_a_figure_of_an_earlier_run_does_not_stay(tmp_path: Path) -> None:
    write(sample_table(("rq2",)), tmp_path)
    assert (tmp_path / "figure-4.svg").exists()
    _, text = write(sample_table(("rq1",)), tmp_path)
    assert not (tmp_path / "figure-4.svg").exists()
    assert "figure-4.svg" not in text


# --- the figure


def test_four_curves_in_every_panel(whole: Path) -> None:
    root = ET.fromstring((whole / "figure-4.svg").read_bytes())  # noqa: S314 - our own file
    traces = [e.get("class", "") for e in root.iter(f"{SVG}path") if "trace" in e.get("class", "")]
    in_legend = 4
    for kind in ("propagation forest", "propagation mlp", "spreading forest", "spreading mlp"):
        assert traces.count(f"trace {kind}") == 2 * len(DATASETS) + 1
    assert len(traces) == 4 * 2 * len(DATASETS) + in_legend
    titles = [e.text for e in root.iter(f"{SVG}title")]
    assert sum("printed" in (t or "") or "prints" in (t or "") for t in titles) == 2 * 2 * 5
    texts = [e.text for e in root.iter(f"{SVG}text")]
    assert "MNIST 1/7, replication" in texts
    assert "labels flipped, of 25\u00a0% labelled" in texts


def test_curves_stay_in_the_frame_and_read_off_the_errors() -> None:
    table = sample_table(("rq2",), ("corrected",), ("mnist-1-7",), repeats=3)
    found = curves(read_results(table))
    figure = figure_four(found)
    assert figure is not None
    assert figure.has_bars
    ((_, (panel,)),) = figure.rows
    top = float(panel.y_ticks[-1].text.removesuffix("\u00a0%"))
    for curve, trace in zip(found, panel.traces, strict=True):
        vertices = [tuple(map(float, v.split())) for v in trace.line[1:].split("L")]
        for (x, y), error in zip(vertices, curve.errors, strict=True):
            assert panel.left <= x <= panel.right
            assert error is not None
            part = (panel.bottom - y) / (panel.bottom - panel.top)
            assert part * top == pytest.approx(100 * error.value, abs=0.15)
        for spot, error in zip(trace.spots, curve.errors, strict=True):
            assert error is not None
            assert f"{100 * error.value:.2f}\u00a0% ± {100 * error.deviation:.2f}" in spot.tip
            ends = [float(v.split()[1]) for v in spot.bar[1:].split("L")]
            assert ends[0] > ends[1] >= panel.top


def test_a_gap_stays_a_gap() -> None:
    table = sample_table(("rq2",), ("replication",), ("mnist-1-7",))
    hole = (table.model == "mlp") & (table.budget == 0.1)
    figure = figure_four(curves(read_results(table[~hole])))
    assert figure is not None
    ((_, (panel,)),) = figure.rows
    assert [trace.line.count("M") for trace in panel.traces] == [1, 2, 1, 2]
    assert [len(trace.spots) for trace in panel.traces] == [5, 4, 5, 4]
    assert not figure.has_bars


# --- what comes from data


def hostile() -> pd.DataFrame:
    table = sample_table(("rq2", "rq3"), datasets=("mnist-1-7",), repeats=2)
    for column, text in zip(
        ("note", "versions", "machine", "device", "data", "victim_is", "finished"),
        NASTY,
        strict=False,
    ):
        table[column] = f"{text}\x00 | row sums, which must be 1, span <b>9 to {EVIL}"
    named = table.copy()
    named["dataset"] = f"{NASTY[3]}\x00|`{NASTY[5]}"
    return pd.concat([table, named])


def test_nothing_from_data_is_markup(tmp_path: Path) -> None:
    html, text = write(hostile(), tmp_path, command=f"``` {EVIL}")
    tags = tags_of(html)
    names = [tag for tag, _ in tags]
    assert "script" not in names
    assert "img" not in names
    assert names.count("style") == 1
    assert not any(name.startswith("on") for _, given in tags for name in given)
    assert "{{ 7 * 7 }}" in text_of(html)
    fenced = re.sub(r"^(`{3,})\n.*?\n\1$", "", text, flags=re.S | re.M)
    assert "<" not in fenced
    assert "\x00" not in text
    ET.fromstring((tmp_path / "figure-4.svg").read_bytes())  # noqa: S314 - well-formed


def test_the_policy_allows_nothing_but_the_style(page: str) -> None:
    policy = next(
        str(given["content"])
        for tag, given in tags_of(page)
        if tag == "meta" and given.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'sha256-")
    assert "script-src" not in policy
    assert not re.search(r'(?:src|href)="(?!data:|#)', page)
    assert 'style="' not in page


# --- in a browser


@pytest.fixture(scope="module")
def address(whole: Path) -> str:
    return (whole / "report.html").as_uri()


@pytest.mark.browser
def test_loads_quietly_and_draws(browser: Chrome, address: str) -> None:
    browser.get_log("browser")  # type: ignore[no-untyped-call]
    browser.get(address)
    assert browser.get_log("browser") == []  # type: ignore[no-untyped-call]
    loaded = "return performance.getEntriesByType('resource').map(e => e.name)"
    assert browser.execute_script(loaded) == []
    panels = browser.find_elements("css selector", ".panels .chart > svg")
    assert len(panels) == 2 * len(DATASETS)
    assert all(panel.size["height"] > 150 for panel in panels)
    # The style is applied: the policy's hash is right.
    dots = browser.find_element("css selector", ".panels .mlp.trace")
    assert dots.value_of_css_property("stroke-dasharray") != "none"


@pytest.mark.browser
def test_the_drawing_is_one_of_its_own(browser: Chrome, whole: Path) -> None:
    browser.get_log("browser")  # type: ignore[no-untyped-call]
    browser.get((whole / "figure-4.svg").as_uri())
    assert browser.get_log("browser") == []  # type: ignore[no-untyped-call]
    outside = browser.execute_script(
        "const box = document.documentElement.viewBox.baseVal;"
        "return [...document.querySelectorAll('text, path')].filter(e => {"
        "  const at = e.getBoundingClientRect();"
        "  return at.left < 0 || at.top < 0 || at.right > box.width || at.bottom > box.height;"
        "}).map(e => e.outerHTML)"
    )
    assert outside == []


@pytest.mark.browser
@pytest.mark.parametrize("width", [360, 800, 1400])
def test_page_fits_its_window(browser: Chrome, address: str, tmp_path: Path, width: int) -> None:
    write(hostile(), tmp_path, command="x" * 500)
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        for where in (address, (tmp_path / "report.html").as_uri()):
            browser.get(where)
            wide = browser.execute_script("return document.documentElement.scrollWidth")
            assert wide <= width
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.mark.browser
def test_no_table_is_cut_off_on_a_desk(browser: Chrome, address: str) -> None:
    size = {"width": 1280, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        browser.get(address)
        cut = browser.execute_script(
            "return [...document.querySelectorAll('.dense')].filter(e => "
            "e.scrollWidth > e.clientWidth + 1 || e.scrollHeight > e.clientHeight + 1)"
            ".map(e => `${e.getAttribute('aria-labelledby')} ${e.scrollWidth} ${e.clientWidth}`)"
        )
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert cut == []


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


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_either_theme_prints_dark_on_white(browser: Chrome, address: str, scheme: str) -> None:
    media = {"media": "print", "features": [{"name": "prefers-color-scheme", "value": scheme}]}
    # A4 across, less the margins.
    size = {"width": 1039, "height": 700, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        browser.get(address)
        body = browser.find_element("tag name", "body")
        assert body.value_of_css_property("background-color") == "rgba(255, 255, 255, 1)"
        assert body.value_of_css_property("color") == "rgba(29, 33, 38, 1)"
        assert browser.execute_script("return document.documentElement.scrollWidth") <= 1039
        printed = browser.execute_cdp_cmd(
            "Page.printToPDF", {"printBackground": True, "preferCSSPageSize": True}
        )
        pdf = base64.b64decode(printed["data"])
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})
    pages = re.findall(rb"/MediaBox\s*\[0 0 ([\d.]+) ([\d.]+)\]", pdf)
    assert 5 < len(pages) < 40
    assert all(float(wide) > float(high) for wide, high in pages)
