"""`rank`: the table, its order, its settings, and what it refuses."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from reference import transcribe

import gssl_poison as gp
from gssl_poison.exceptions import DeviceError, InputError, InputTypeError


@pytest.fixture
def half_labelled(rng):
    """Three clusters, a third of the points labelled."""
    centers = rng.normal(size=(3, 5)) * 3
    truth = rng.integers(0, 3, size=90)
    X = centers[truth] + rng.normal(size=(90, 5))
    y = np.array(["ant", "bee", "cat"], dtype=object)[truth]
    y[rng.permutation(90)[:60]] = None
    return X, y


def test_the_table_says_what_the_definitions_say(half_labelled):
    X, y = half_labelled
    table = gp.rank(X, y, gamma=0.4)
    assert list(table.columns) == ["rank", "point", "label", "mir", "total", "share"]
    assert table["rank"].tolist() == list(range(1, 31))
    labeled = np.flatnonzero([v is not None for v in y])
    reference = transcribe(X, labeled, 0.4)
    by_point = table.sort_values("point")
    assert by_point["point"].tolist() == labeled.tolist()
    assert by_point["mir"].tolist() == reference.mir.tolist()
    assert by_point["label"].tolist() == y[labeled].tolist()
    np.testing.assert_allclose(by_point["total"], reference.total, rtol=1e-4)
    np.testing.assert_allclose(table["share"], table["mir"] / 60)


@pytest.mark.parametrize(("by", "then"), [("mir", "total"), ("total", "mir")])
def test_most_influential_first_and_ties_in_order(half_labelled, by, then):
    table = gp.rank(*half_labelled, gamma=2.0, by=by)
    keys = list(zip(-table[by], -table[then], table["point"], strict=True))
    assert keys == sorted(keys)


def test_equal_points_keep_their_order():
    X = np.array([[0.0], [4.0], [8.0], [0.1], [4.1], [8.1]])
    table = gp.rank(X, ["a", "b", "a", None, None, None], gamma=5.0)
    assert table["point"].tolist() == [0, 1, 2]
    assert table["mir"].tolist() == [1, 1, 1]


def test_settings_are_plain_values_that_travel(half_labelled, tmp_path):
    table = gp.rank(*half_labelled)
    facts = json.loads(json.dumps(table.attrs))
    assert facts == table.attrs
    assert facts["gamma_rule"] == "auto"
    assert facts["n_labeled"], facts["n_unlabeled"] == (30, 60)
    assert facts["classes"] == ["ant", "bee", "cat"]
    assert facts["undominated"] == 60 - table["mir"].sum()
    assert facts["versions"]["gssl-poison"] == gp.__version__
    assert facts["device"] == "cpu"
    path = tmp_path / "table.parquet"
    table.to_parquet(path)
    pd.testing.assert_frame_equal(pd.read_parquet(path), table, check_dtype=False)


def test_every_container_gives_the_same_table(half_labelled):
    X, y = half_labelled
    X = np.round(X * 4) / 4
    expected = gp.rank(X, y, gamma=0.5)
    frame = pd.DataFrame(X, columns=list("abcde"), index=np.arange(90) * 3)
    for other, labels in (
        (frame, pd.Series(y, index=frame.index)),
        (sp.csr_array(X), y),
        (sp.csc_matrix(X), list(y)),
        (torch.tensor(X), y),
        (torch.tensor(X, dtype=torch.float32), y),
        (X.tolist(), y.tolist()),
    ):
        table = gp.rank(other, labels, gamma=0.5)
        pd.testing.assert_frame_equal(table, expected, rtol=1e-4)


@pytest.mark.parametrize("rule", ["auto", "scale", "median", "loo"])
@pytest.mark.parametrize("normalization", ["row", "column-row"])
def test_every_rule_and_normalisation_runs(half_labelled, rule, normalization):
    table = gp.rank(*half_labelled, gamma=rule, normalization=normalization)
    assert table.attrs["gamma_rule"] == rule
    assert table.attrs["normalization"] == normalization
    assert table["total"].sum() == pytest.approx(60)


def test_the_smallest_input():
    table = gp.rank([[0.0], [1.0]], ["a", None])
    assert table[["point", "mir", "share"]].to_numpy().tolist() == [[0, 1, 1.0]]
    assert table.attrs["one_class"]
    notes = " ".join(table.attrs["notes"])
    assert "one class (a)" in notes
    assert "single labelled point" in notes


def test_a_gamma_at_which_nobody_decides_is_said(half_labelled):
    table = gp.rank(*half_labelled, gamma=1e-6)
    assert table["mir"].sum() == 0
    assert table["total"].is_monotonic_decreasing
    assert "no label holds more than half" in table.attrs["notes"][0]


def test_constant_features_and_duplicates_are_ranked_and_said():
    table = gp.rank(np.ones((6, 2)), ["a", "b", None, None, None, None])
    assert table["mir"].tolist() == [0, 0]
    assert table.attrs["undecided"] == 4
    assert "cannot be told from one half" in table.attrs["notes"][0]


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        ({"by": "share"}, InputError, "by='share'"),
        ({"influence": "indirect"}, InputError, "'indirect' names no propagator"),
        ({"normalization": "none"}, InputError, "normalization='none'"),
        ({"gamma": -1}, InputError, "gamma=-1"),
        ({"gamma": "cosine"}, InputError, "gamma='cosine'"),
        ({"device": "cuda"}, DeviceError, "device='cuda'"),
        ({"device": "gpu"}, InputError, "device='gpu'"),
        ({"block_size": 0}, InputError, "block_size=0"),
        ({"unlabeled": "dog"}, InputError, "unlabeled='dog'"),
    ],
)
def test_a_bad_option_is_one_sentence(half_labelled, options, kind, words):
    with pytest.raises(kind, match=words):
        gp.rank(*half_labelled, **options)


@pytest.mark.parametrize(
    ("X", "y", "kind"),
    [
        ([[1.0], [np.nan], [2.0]], [0, 1, None], InputError),
        ([[1.0], [2.0], [np.inf]], [0, 1, None], InputError),
        ([[1.0], [2.0]], [0, 1, None], InputError),
        ([["x"], ["y"]], [0, None], InputTypeError),
        ([[1.0], [2.0]], [-1, 1], InputError),
    ],
)
def test_bad_data_are_value_or_type_errors(X, y, kind):
    with pytest.raises(kind) as caught:
        gp.rank(X, y)
    assert isinstance(caught.value, ValueError | TypeError)


def test_progress_and_block_size_reach_the_work(half_labelled):
    seen = []
    table = gp.rank(*half_labelled, block_size=7, progress=lambda *a: seen.append(a))
    assert seen[-1] == (60, 60)
    assert len(seen) >= 9
    pd.testing.assert_frame_equal(table, gp.rank(*half_labelled), rtol=1e-4)


@pytest.mark.parametrize("rule", ["auto", "scale", "median", "loo", 1.0])
@pytest.mark.parametrize("row", range(6))
def test_the_row_that_is_not_finite_is_the_one_that_is_named(rule, row):
    X = np.arange(12.0).reshape(6, 2)
    X[row, 1] = np.nan
    with pytest.raises(InputError, match=rf"X\[{row}, 1\] is nan"):
        gp.rank(X, ["a", "b", "a", "b", None, None], gamma=rule)


@pytest.mark.parametrize("scale", [1e-170, 1e-155, 1e155, 1e160, 1e300])
@pytest.mark.parametrize("rule", ["auto", "scale", "median", "loo"])
def test_extreme_units_are_ranked_or_refused_without_a_warning(rng, scale, rule):
    X = rng.normal(size=(12, 3)) * scale
    y = ["a", "b", "a", "b", "a", "b"] + [None] * 6
    refusal = ""
    try:
        total = gp.rank(X, y, gamma=rule)["total"]
    except InputError as error:
        refusal = str(error)
    assert "rescale" in refusal or np.isfinite(total).all()


@pytest.mark.parametrize(
    ("X", "y", "kind", "words"),
    [
        (np.ma.masked_array(np.eye(3), mask=np.eye(3)), [0, 1, None], InputTypeError, "masked"),
        (np.eye(3), np.ma.masked_array([0, 1, 2], mask=[0, 0, 1]), InputTypeError, "masked"),
        (np.eye(3), [[0], {}, None], InputTypeError, "list"),
        (np.eye(3), [True, 1, None], InputTypeError, "mix bool and int"),
    ],
)
def test_containers_that_would_lose_something_are_refused(X, y, kind, words):
    with pytest.raises(kind, match=words):
        gp.rank(X, y)


@pytest.mark.parametrize(
    "y",
    [
        pd.Categorical(["a", "b", None]),
        pd.array(["a", "b", None], dtype="string"),
        pd.DataFrame({"label": ["a", "b", None]}),
        np.array(["a", "b", np.float32("nan")], dtype=object),
        np.array(["a", "b", ""]),
        np.array([b"a", b"b", b""]),
        ("a", "b", np.str_("")),
    ],
    ids=[f"case{i}" for i in range(7)],
)
def test_labels_in_odd_containers(y):
    table = gp.rank(np.eye(3), y)
    assert sorted(table["point"]) == [0, 1]
    assert len(table.attrs["classes"]) == 2


def test_torch_tensors_of_sixteen_bits():
    X = torch.tensor([[0.0], [1.0], [0.25]])
    for kind in (torch.float16, torch.bfloat16):
        table = gp.rank(X.to(kind), ["a", "b", None], gamma=1.0)
        assert table["mir"].tolist() == [1, 0]


def test_other_arguments_of_a_wrong_kind():
    X, y = np.eye(3), ["a", "b", None]
    with pytest.raises(InputError, match="gamma="):
        gp.rank(X, y, gamma=10**400)
    with pytest.raises(InputTypeError, match="progress=3"):
        gp.rank(X, y, progress=3)
    with pytest.raises(InputTypeError, match="ndarray"):
        gp.rank(X, y, unlabeled=np.array([1, 2]))
    prop = gp.Direct().fit(gp.RBFGraph(X, 1.0), [0, 1])
    with pytest.raises(InputError, match="threads=0"):
        gp.measure_influence(prop, threads=0)
    for rows in ([9], [-1], [2.7], []):
        with pytest.raises(InputError, match="rows"):
            prop.matrix(rows)


@pytest.mark.parametrize(
    "influence", ["harmonic", "propagation:n_iter=3", "spreading:alpha=0.3", "direct"]
)
@pytest.mark.parametrize("graph", ["rbf", "knn", "knn:n_neighbors=4"])
def test_every_influence_is_that_of_its_propagator(influence, graph, half_labelled):
    X, y = half_labelled
    table = gp.rank(X, y, gamma=0.5, influence=influence, graph=graph)
    labeled = np.flatnonzero([label is not None for label in y])
    points = gp.RBFGraph(X, 0.5)
    if graph != "rbf":
        points = gp.knn_graph(X, 4 if "=" in graph else 10, gamma=0.5)
    fitted = gp.parse_propagator(influence).fit(points, labeled)
    shares = fitted.shares()
    order = np.argsort(table["point"].to_numpy())
    np.testing.assert_array_equal(table["mir"].to_numpy()[order], (shares > 0.5).sum(axis=0))
    np.testing.assert_allclose(table["total"].to_numpy()[order], shares.sum(axis=0), rtol=1e-4)
    facts = json.loads(json.dumps(table.attrs))
    assert facts["influence"] == influence
    assert facts["graph"] == graph
    assert facts["unreached"] == fitted.unreached.size


def test_a_graph_can_be_given_and_a_propagator_too(half_labelled):
    X, y = half_labelled
    graph = gp.knn_graph(X, 6, gamma=0.5)
    named = gp.rank(X, y, gamma=0.5, influence="harmonic", graph="knn:n_neighbors=6")
    given = gp.rank(X, y, influence=gp.Harmonic(), graph=graph)
    assert given[["point", "mir", "total"]].equals(named[["point", "mir", "total"]])
    bare = gp.rank(X, y, influence="harmonic", graph=gp.SparseGraph(graph.weights_csr))
    assert bare.attrs["gamma"] is None
    np.testing.assert_array_equal(bare["point"], named["point"])
    with pytest.raises(InputError, match="no part in a graph that is given"):
        gp.rank(X, y, gamma=0.5, graph=graph)
    with pytest.raises(InputError, match="the same points in the same order"):
        gp.rank(X[:-1], y[:-1], graph=graph)
    for wrong in ("knn:k=3", "lattice", "rbf:n_neighbors=3"):
        with pytest.raises(InputError, match="is not known; use 'rbf'"):
            gp.rank(X, y, graph=wrong)
    with pytest.raises(InputError, match="not a whole number"):
        gp.rank(X, y, graph="knn:n_neighbors=many")
    with pytest.raises(InputError, match="setting of direct influence"):
        gp.rank(X, y, influence="harmonic", normalization="column-row")


def test_points_without_a_label_in_reach_are_counted_and_reported():
    X = np.array([[0.0], [0.1], [0.2], [9.0], [9.1], [9.2]])
    table = gp.rank(
        X, ["a", None, "b", None, None, None], influence="direct", graph="knn:n_neighbors=2"
    )
    assert table.attrs["unreached"] == 3
    assert table["total"].sum() == pytest.approx(1.0)
    assert any("No label reaches 3 unlabelled points" in note for note in table.attrs["notes"])
    with pytest.raises(gp.UnreachedError, match="points 3, 4, 5"):
        gp.rank(
            X, ["a", None, "b", None, None, None], influence="harmonic", graph="knn:n_neighbors=2"
        )
