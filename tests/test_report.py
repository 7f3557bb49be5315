"""The report as a file: what it says, and that nothing from data can act in it."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from report_samples import EVIL, NASTY, NOW, make, sample, tags_of, text_of
from scipy.sparse import csr_array
from sklearn.metrics.pairwise import rbf_kernel

from gssl_poison import Harmonic, SparseGraph, Spreading, load_dataset, rank
from gssl_poison.exceptions import InputError
from gssl_poison.report import render_report, write_report
from gssl_poison.report._facts import read_facts
from gssl_poison.report._format import count, listing, number, percent, short

# --- the file


def test_file_is_written_whole_and_the_same_each_time(tmp_path: Path) -> None:
    table, dataset = sample()
    first = write_report(tmp_path / "a.html", table, dataset, now=NOW, command="gssl-poison demo")
    second = write_report(
        str(tmp_path / "b.html"), table, dataset, now=NOW, command="gssl-poison demo"
    )
    assert first == tmp_path / "a.html"
    assert first.read_bytes() == second.read_bytes()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.html", "b.html"]
    assert "21 November 2026, 04:50 UTC" in text_of(first.read_text(encoding="utf-8"))


def test_failed_write_leaves_the_old_report(tmp_path: Path) -> None:
    table, dataset = sample()
    path = write_report(tmp_path / "a.html", table, dataset)
    old = path.read_bytes()
    with pytest.raises(InputError):
        write_report(path, table.drop(columns="mir"), dataset)
    assert path.read_bytes() == old


def test_lone_surrogates_do_not_stop_the_file(tmp_path: Path) -> None:
    path = write_report(tmp_path / "a.html", *sample(classes=("\udc80", "b")))
    assert "\\udc80" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t, d: (t.drop(columns="share"), d), "no column 'share'"),
        (lambda t, d: (t.head(5), d), "the whole table"),
        (lambda t, d: (t, dataclasses.replace(d, X=d.X[:50])), "has 50 rows"),
        (lambda t, d: (pd.DataFrame(t.to_dict("list")), d), "table.attrs"),
    ],
    ids=["column", "part", "other data", "attrs"],
)
def test_wrong_table_is_refused(change: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        render_report(*change(*sample()))


def test_max_rows_below_one_is_refused() -> None:
    with pytest.raises(InputError, match="max_rows is 0"):
        render_report(*sample(), max_rows=0)


# --- safety


def test_nothing_is_loaded_and_the_policy_forbids_it() -> None:
    page = render_report(*sample(classes=NASTY), command=EVIL)
    for tag, attributes in tags_of(page):
        assert tag not in {"iframe", "object", "embed", "base", "form", "audio", "video", "source"}
        for name in ("src", "href", "action", "data", "poster", "srcset", "xlink:href"):
            value = attributes.get(name)
            assert value is None or value.startswith(("#", "data:")), (tag, name, value)
        assert not any(name.startswith("on") or name == "style" for name in attributes), attributes
    style = re.search(r"<style>(.*?)</style>", page, re.S)
    assert style is not None
    assert "url(" not in style[1]
    assert "@import" not in style[1]
    policy = dict(tags_of(page))["meta"]
    policies = [a["content"] for t, a in tags_of(page) if a.get("http-equiv")]
    assert policy is not None
    assert len(policies) == 1
    assert "default-src 'none'" in str(policies[0])
    assert "unsafe" not in str(policies[0])


@pytest.mark.parametrize("nasty", NASTY, ids=range(len(NASTY)))
def test_strings_from_data_stay_text(nasty: str) -> None:
    def everywhere(word: str) -> str:
        table, dataset = sample(
            d=2, classes=(word, "b"), notes=[word], gamma_rule=word, gamma_note=word,
            versions={word: word}, device_note=word,
        )  # fmt: skip
        truth = np.array([f"{word}!"] * dataset.X.shape[0], dtype=object)
        truth[0] = word
        dataset = dataclasses.replace(
            dataset, name=word, source=word, feature_names=(word, "f"), truth=truth
        )
        return render_report(table, dataset, now=NOW, command=word)

    # The same tags in the same order as with a harmless word: nothing was read as markup.
    plain, page = tags_of(everywhere("plain")), tags_of(everywhere(nasty))
    assert [tag for tag, _ in page] == [tag for tag, _ in plain]
    assert [sorted(a) for _, a in page] == [sorted(a) for _, a in plain]
    assert " ".join(short(nasty, 24).split()) in text_of(everywhere(nasty))


def test_script_is_a_constant() -> None:
    scripts = {
        re.search(r"<script>(.*?)</script>", render_report(*sample(classes=names)), re.S)[1]  # type: ignore[index]
        for names in (("a", "b"), NASTY)
    }
    assert len(scripts) == 1


# --- words


def test_headline_counts_the_first_labels() -> None:
    table, dataset = sample(n=90)
    first = int(table["mir"].head(10).sum())
    said = text_of(render_report(table, dataset))
    assert f"10 labels out of 30 decide {percent(first / 60)} of the 60 unlabelled points." in (
        said.replace(" %", "\u00a0%")
    )


def test_headline_by_total() -> None:
    said = text_of(render_report(*sample(by="total")))
    assert "10 labels out of 40 carry" in said
    assert "of all influence on the 80 unlabelled points." in said
    assert "This ranking goes by total influence" in said


def test_nobody_dominates() -> None:
    said = text_of(render_report(*sample(gamma=1e-6)))
    assert "No single label decides any of the 80 unlabelled points." in said
    assert "Turning any one label is never enough" in said
    assert "80 points (100 %) have no deciding label" in said


def test_concentrated_influence_is_called_that() -> None:
    X = np.concatenate([np.zeros((200, 2)), 100 + np.arange(50.0)[:, None] * [10, 0]])
    X[:200] += np.random.default_rng(0).normal(scale=0.01, size=(200, 2))
    y: list[str | None] = ["a"] + [None] * 199 + (["b", None] * 25)
    said = text_of(render_report(*make(X, y, gamma=1.0)))
    assert "A mistake there spreads far" in said
    assert "Give row 0 another class and all 199 points it decides take that class too." in said
    assert "The first label alone decides half of all points" in said


def test_even_influence_is_called_that() -> None:
    X = np.repeat(np.arange(40.0), 2)[:, None] * 10
    y: list[object] = ["a", None] * 40
    said = text_of(render_report(*make(X, y)))
    assert "influence is spread fairly evenly" in said
    assert "Every unlabelled point has one label that decides it." in said


def test_one_class() -> None:
    said = text_of(render_report(*sample(classes=("only",))))
    assert "All known labels are of one class, 'only'." in said


def test_undecided_rows_are_told() -> None:
    assert "close to one half" not in text_of(render_report(*sample()))
    said = text_of(render_report(*sample(undecided=3)))
    assert "For 3 points the largest share lies so close to one half" in said


def test_gamma_and_normalization_are_told() -> None:
    assert "Gamma, 1, was given." in text_of(render_report(*sample()))
    said = text_of(
        render_report(
            *sample(gamma_rule="auto", gamma_note="it is so.", normalization="column-row")
        )
    )
    assert "Gamma, 1, was chosen by the rule 'auto': it is so." in said
    assert "(normalization column-row)" in said


def test_notes_and_wrong_labels_are_told() -> None:
    table, dataset = sample(notes=["2 rows are duplicates"])
    truth = np.where(np.arange(120) < 3, "b", "a").astype(object)
    truth[::3] = dataset.y[::3]
    truth[int(table["point"].iloc[4])] = "c"
    page = render_report(table, dataclasses.replace(dataset, truth=truth))
    said = text_of(page)
    assert "2 rows are duplicates." in said
    assert "1 label differs from them: rank 5." in said
    assert "True class" in said
    assert "true class" not in text_of(render_report(table, dataset)).lower()


def test_numbers_as_true_classes_are_the_same_class() -> None:
    table, dataset = sample(classes=(1, 7))
    truth = np.array([1.0 if (k // 3) % 2 == 0 else 7.0 for k in range(120)])
    assert set(read_facts(table, dataclasses.replace(dataset, truth=truth)).truth) == {None}


def test_small_numbers_read_well() -> None:
    said = text_of(render_report(*make(np.array([[0.0], [1.0]]), ["a", None])))
    assert "The only label decides 100 % of the 1 unlabelled point." in said
    assert "There is one label, row 0 (a): everything rests on it." in said
    assert not re.search(r"\b1 (labels|points)\b", said)


def test_limits_are_stated() -> None:
    said = text_of(render_report(*sample()))
    assert "for this gamma, these labels and this set of classes" in said
    assert "does not mean that a label is wrong" in said


def test_settings_are_shown() -> None:
    said = text_of(render_report(*sample(device_note="2 threads"), command="gssl-poison rank x"))
    for part in ("gssl-poison rank x", "1 (rule: given)", "float64, cpu, 2 threads", "a test",
                 "40 labelled, 80 unlabelled, 3 features", "gssl-poison 0.1.0"):  # fmt: skip
        assert part in said


# --- propagators


@pytest.fixture(scope="module")
def digits() -> Any:
    """Read the digits, and rank them by any propagator on any graph."""
    data = load_dataset("digits-1-7", labeled=0.1)

    def page_of(**options: Any) -> tuple[str, pd.DataFrame]:
        table = rank(data.X, data.y, **options)
        return text_of(render_report(table, data, now=NOW)), table

    return page_of


def test_a_harmonic_ranking_says_that_it_is_one(digits: Any) -> None:
    said, table = digits(influence="harmonic")
    assert "these listen on, until a label is met" in said
    assert "those of the harmonic solution" in said
    assert "direct influence" not in said
    assert "its nearest label alone" not in said
    assert "Normalization" not in said
    for part in ("Influenceharmonic", "Graphrbf", "Methodelimination without subtraction"):
        assert part in said
    assert "s for the solver before it" in said
    first = int(table["mir"].head(10).sum())
    assert f"decide {percent(first / 325)} of the 325".replace("\u00a0", " ") in said


@pytest.mark.parametrize(
    ("influence", "words"),
    [
        ("direct", "The figures are direct influence: one step from the labels to each point"),
        ("propagation:n_iter=1", "stopped after 1 iteration, for this gamma"),
        ("propagation:n_iter=7", "label propagation stopped after 7 iterations, for this gamma"),
        ("spreading:alpha=0.3,n_iter=4", "those of spreading:alpha=0.3,n_iter=4, for this gamma"),
        (Spreading(0.3), "those of Spreading(alpha=0.3, n_iter=None,"),
        (Harmonic(), "those of the harmonic solution"),
    ],
)
def test_every_propagator_has_its_words(digits: Any, influence: Any, words: str) -> None:
    said, _ = digits(influence=influence)
    assert words in said
    assert ("Direct influence" in said or "direct influence" in said) == (influence == "direct")
    assert "these labels and this set of classes" in said
    assert "does not mean that a label is wrong" in said


def test_a_graph_of_neighbours_is_named(digits: Any) -> None:
    said, table = digits(influence="harmonic", graph="knn:n_neighbors=6")
    assert "Points listen to their nearest neighbours only (knn:n_neighbors=6)." in said
    assert "Graphknn:n_neighbors=6" in said
    assert "s for the graph" in said
    assert number(table.attrs["gamma"]) in said


def test_a_graph_of_ones_own_has_no_gamma_and_may_have_points_apart(digits: Any) -> None:
    """Cut the digits into two halves, the second of which keeps no label."""
    data = load_dataset("digits-1-7", labeled=0.1)
    labeled = np.flatnonzero([value is not None for value in data.y.tolist()])
    apart = np.setdiff1d(np.arange(len(data.y)), labeled)[:27]
    inside = np.zeros(len(data.y), dtype=bool)
    inside[apart] = True
    dense = rbf_kernel(data.X, gamma=0.01)
    dense[np.ix_(inside, ~inside)] = dense[np.ix_(~inside, inside)] = 0.0
    said, table = digits(influence="harmonic:unreached=leave", graph=SparseGraph(csr_array(dense)))
    assert table.attrs["gamma"] is None
    assert table.attrs["unreached"] == 27
    assert "27 points are reached by no label" in said
    assert "Reached by no label27 points" in said
    assert "No label reaches 27 unlabelled points" in said
    assert "The graph was given: its weights say who listens to whom" in said
    assert "for this graph, these labels and this set of classes" in said
    assert "gamma makes" not in said
    assert "Gammanone: the graph was given" in said
    # What nobody reaches is not among the points that several labels share.
    shared = 325 - 27 - int(table["mir"].sum())
    assert f"{shared} points" in said


def test_influence_is_a_part_of_what_labels_reach() -> None:
    table, dataset = sample(by="total", unreached=0)
    whole = read_facts(table, dataset)
    assert whole.weight.sum() == pytest.approx(1.0)
    table["total"] *= 0.5
    table.attrs.update(unreached=40, undominated=table.attrs["undominated"] + 40)
    half = read_facts(table, dataset)
    assert half.weight.sum() == pytest.approx(1.0)
    assert half.shared == whole.shared


def test_one_unreached_point_reads_well() -> None:
    said = text_of(render_report(*sample(unreached=1)))
    assert "1 point is reached by no label" in said
    assert "Reached by no label1 point" in said


def test_column_row_is_told_however_it_was_asked_for(digits: Any) -> None:
    for options in (
        {"normalization": "column-row"},
        {"influence": "direct:normalization=column-row"},
    ):
        said, _ = digits(**options)
        assert "(normalization column-row)" in said
        assert "Normalizationcolumn-row" in said


def test_number_words() -> None:
    assert [percent(v) for v in (0, 1, 0.38, 0.061, 0.00123, 0.9999, 1e-7)] == [
        f"{v}\u00a0%" for v in ("0", "100", "38", "6.1", "0.12", "99.9", "under 0.01")
    ]
    assert [number(v) for v in (0, 5, 0.1, 12.3456, 1234.5, 1e-9, 3e8)] == [
        "0", "5", "0.1", "12.35", "1,234", "1e-09", "3e+08",
    ]  # fmt: skip
    assert count(12357) == "12,357"
    assert listing(["a", "b", "c"]) == "a, b and c"
    assert short("x" * 50, 5) == "xxxx\u2026"
