"""The report's table, images, charts and map."""

from __future__ import annotations

import base64
import dataclasses
import io
import re
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import scipy.sparse as sp
from report_samples import make, sample, tags_of, text_of

from gssl_poison.datasets.pictures import thumbnails
from gssl_poison.report import render_report
from gssl_poison.report._charts import bin_edges, cumulative, histogram
from gssl_poison.report._facts import read_facts
from gssl_poison.report._format import percent
from gssl_poison.report._map import MAX_POINTS, choose_rows, point_map, project

# --- table, images, charts, map


def test_table_is_cut_and_says_so() -> None:
    page = render_report(*sample(), max_rows=7)
    assert page.count('<tr id="rank-') == 7
    assert "The first 7 of 40 labels, most influential first." in text_of(page)
    assert "All 40 labels, most influential first." in text_of(render_report(*sample()))


@pytest.mark.parametrize(
    ("shape", "size", "mode"), [((4, 6), (6, 4), "L"), ((3, 5, 2), (2, 5), "RGB")]
)
@pytest.mark.parametrize("kind", ["float32", "uint8", "0..16", "negative", "sparse"])
def test_images_decode_to_the_pixels(
    shape: tuple[int, ...], size: tuple[int, int], mode: str, kind: str
) -> None:
    from PIL import Image

    _, dataset = sample(d=int(np.prod(shape)))
    unit = np.random.default_rng(0).random(dataset.X.shape)
    unit[0, :2] = 0, 1
    X: Any = {
        "float32": unit.astype(np.float32),
        "uint8": np.rint(255 * unit).astype(np.uint8),
        "0..16": 16 * unit,
        "negative": 4 * unit - 2,
        "sparse": sp.csr_array(unit),
    }[kind]
    uris = thumbnails(
        dataclasses.replace(dataset, X=X, image_shape=shape), np.array([0, 3], dtype=np.int64)
    )
    assert len(uris) == 2
    image = Image.open(io.BytesIO(base64.b64decode(uris[0].removeprefix("data:image/png;base64,"))))
    assert image.size == size
    assert image.mode == mode
    shown = np.asarray(image)
    expected = unit[0].reshape(shape) if mode == "L" else np.moveaxis(unit[0].reshape(shape), 0, -1)
    np.testing.assert_allclose(shown, 255 * expected, atol=1.01)


def test_images_in_the_page_are_capped_and_have_words() -> None:
    table, dataset = sample(n=900, d=4)
    page = render_report(table, dataclasses.replace(dataset, image_shape=(2, 2)))
    images = [a for tag, a in tags_of(page) if tag == "img"]
    assert len(images) == 210  # 200 in the table, 10 on the cards
    assert all(image["alt"] for image in images)
    assert "Images are shown for the first 200." in text_of(page)


def test_shape_that_is_no_image_gives_none() -> None:
    _, dataset = sample(d=4)
    rows = np.arange(3)
    for shape in ((3, 3), (4, 1, 1), (4,), None):
        assert thumbnails(dataclasses.replace(dataset, image_shape=shape), rows) == []


@pytest.mark.parametrize("by", ["mir", "total"])
@pytest.mark.parametrize("gamma", [1e-6, 0.1, 10.0, 1e4])
def test_histogram_counts_every_label(by: str, gamma: float) -> None:
    chart = histogram(read_facts(*sample(n=200, gamma=gamma, by=by)))
    assert sum(int(bar.text.replace(",", "") or 0) for bar in chart.bars) == 67
    assert len(chart.bars) <= 16
    ends = [bar.x + bar.width for bar in chart.bars]
    assert all(end <= bar.x for end, bar in zip(ends, chart.bars[1:], strict=False))
    assert ends[-1] <= chart.right


def test_bins_follow_the_spread() -> None:
    whole, zero = bin_edges(np.array([0.0, 1, 2, 3]), whole=True)
    assert zero
    assert whole.tolist() == [1, 2, 3, 4]
    skewed, zero = bin_edges(np.array([1.0, 2, 3, 900]), whole=True)
    assert not zero
    assert skewed.tolist() == [2.0**k for k in range(11)]
    even, _ = bin_edges(np.array([40.0, 50, 60]), whole=True)
    assert set(np.diff(even)) == {5.0}
    tiny, _ = bin_edges(np.array([1e-300, 1.0, 1e9]), whole=False)
    assert len(tiny) <= 15


def test_curve_ends_at_what_is_decided() -> None:
    table, dataset = sample()
    chart = cumulative(read_facts(table, dataset))
    assert percent(float(table["share"].sum())) in chart.dots[-1].tip


def test_map_samples_the_same_rows_and_keeps_the_top() -> None:
    table, dataset = sample(n=30)
    facts = read_facts(table, dataset)
    many = dataclasses.replace(facts, settings={**facts.settings, "n_unlabeled": 9990})
    rows = choose_rows(many, 10_000, 3)
    assert rows.size == MAX_POINTS
    assert set(facts.point.tolist()) <= set(rows.tolist())
    assert np.array_equal(rows, choose_rows(many, 10_000, 3))
    assert choose_rows(many, 10_000, 10**7).size == 60


def test_map_reads_only_the_rows_it_draws() -> None:
    class Watched:
        """Stand for an array too large to read: only asked-for rows exist."""

        shape = (20_000, 4)
        asked: list[int]

        def __getitem__(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
            self.asked.append(rows.size)
            return np.random.default_rng(0).random((rows.size, 4))

    table, dataset = sample(n=60)
    table.attrs["n_unlabeled"] = 19_980
    X = Watched()
    X.asked = []
    lazy: Any = X
    render_report(table, dataclasses.replace(dataset, X=lazy, image_shape=(2, 2)))
    assert sorted(X.asked) == [20, MAX_POINTS]


@pytest.mark.parametrize("d", [1, 2, 3, 70])
@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])
@pytest.mark.parametrize("constant", [False, True], ids=["varied", "constant"])
@pytest.mark.parametrize("n", [2, 3, 90])
def test_map_of_any_shape(d: int, sparse: bool, constant: bool, n: int) -> None:
    X: Any = np.full((n, d), 3.0)
    if not constant:
        X = np.random.default_rng(0).normal(size=(n, d))
    y: list[object] = ["a" if k % 2 == 0 else None for k in range(n)]
    table, dataset = make(sp.csr_array(X) if sparse else X, y)
    drawn = point_map(dataset, read_facts(table, dataset))
    assert len(drawn.unlabeled) + len(drawn.labeled) == n
    places = [(spot.x, spot.y) for spot in (*drawn.unlabeled, *drawn.labeled)]
    for x, y_at in (*places, *((ring.x, ring.y) for ring in drawn.rings)):
        assert 0 <= x <= drawn.width
        assert 0 <= y_at <= drawn.height
    assert "nan" not in render_report(table, dataset).lower().replace("nano", "")


def test_huge_values_do_not_overflow() -> None:
    X = np.random.default_rng(0).normal(size=(60, 5)) * 1e300
    y: list[object] = ["a", None] * 30
    table, dataset = make(X / 1e300, y)
    drawn = point_map(dataclasses.replace(dataset, X=X), read_facts(table, dataset))
    assert all(np.isfinite(spot.x) for spot in drawn.unlabeled)


def test_sparse_is_never_dense(monkeypatch: pytest.MonkeyPatch) -> None:
    X = sp.random_array((300, 5000), density=0.01, format="csr", random_state=0)
    y: list[object] = ["a" if k % 3 == 0 else None for k in range(300)]
    _, dataset = make(X, y)
    monkeypatch.setattr(sp.csr_array, "toarray", lambda *_: pytest.fail("densified"))
    monkeypatch.setattr(sp.csr_array, "todense", lambda *_: pytest.fail("densified"))
    xy, labels, _ = project(dataset, np.arange(300))
    assert xy.shape == (300, 2)
    assert "of the variance" in labels[0]


def test_sparse_and_dense_agree() -> None:
    X = np.random.default_rng(3).normal(size=(100, 80)) * np.r_[9, 5, np.ones(78)]
    y: list[object] = ["a", None] * 50
    _, dataset = make(X, y)
    dense = project(dataset, np.arange(100))
    sparse = project(dataclasses.replace(dataset, X=sp.csr_array(X)), np.arange(100))
    np.testing.assert_allclose(dense[0], sparse[0], atol=1e-6)
    assert dense[1] == sparse[1]


def test_forty_classes_have_their_own_marks() -> None:
    names = tuple(f"class {k}" for k in range(32))
    page = render_report(*sample(n=300, classes=names))
    marks = set(re.findall(r'<svg class="mark (k\d)"[^>]*><path d="([^"]*)"', page))
    assert len(marks) == 32
