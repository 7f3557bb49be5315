"""The audit against what it is defined by, and the sentences it is told in."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest

import gssl_poison as gp
from gssl_poison.defenses.learned import Learned
from gssl_poison.defenses.opinions import against, told
from gssl_poison.exceptions import InputError, InputTypeError
from gssl_poison.metrics import predictions
from gssl_poison.propagation import Fitted, parse_propagator
from gssl_poison.review.auditing import audit, audit_problem
from gssl_poison.review.steps import loudest
from gssl_poison.review.words import counted, part

# Bounds of more flips take the program solver its time.
FEW = (1, 2)
# Points, and labelled ones.
N, L = 180, 90
GAMMA = 2.0
COLUMNS = [
    "rank",
    "point",
    "label",
    "says",
    "contradiction",
    "suspicion",
    "probability",
    "mir",
    "total",
    "changes",
    "suspect",
    "checked",
    "answer",
    "source",
]


def clusters(n=N, labeled=L, flips=5, seed=0, classes=3):
    """Overlapping clusters of three classes, some labels wrong: X, y with None, the wrong rows.

    Wrong are labels amid their cluster: those that mislead their neighbours.
    """
    rng = np.random.default_rng(seed)
    truth = np.arange(n) % classes
    noise = rng.normal(size=(n, 2)) * 0.9
    X = noise + 4.0 * np.stack([truth == 1, truth == 2], axis=1)
    y = np.full(n, None, dtype=object)
    rows = np.sort(rng.choice(n, labeled, replace=False))
    amid = rows[np.argsort((noise[rows] ** 2).sum(axis=1))][: 2 * flips]
    wrong = rng.choice(amid, flips, replace=False)
    names = np.array(["ant", "bee", "cat"], dtype=object)
    y[rows] = names[truth[rows]]
    y[wrong] = names[(truth[wrong] + 1) % classes]
    return X, y, np.sort(wrong)


def problem_of(X, y, graph="rbf"):
    built = gp.RBFGraph(X, GAMMA) if graph == "rbf" else gp.knn_graph(X, 5, gamma=GAMMA)
    return gp.Problem.of(built, y)


@pytest.fixture(scope="module")
def found():
    X, y, _ = clusters()
    return audit(X, y, gamma=GAMMA, budgets=FEW)


# --- figures


@pytest.mark.parametrize("graph", ["rbf", "knn"])
@pytest.mark.parametrize("influence", ["direct", "harmonic:unreached=leave", "spreading:alpha=0.5"])
def test_changes_are_what_a_relabelling_changes(influence, graph):
    X, y, _ = clusters()
    problem = problem_of(X, y, graph)
    prop = parse_propagator(influence).fit(problem.graph, problem.labeled)
    got = audit_problem(problem, prop, certificate=False)
    assert ((got.said == problem.y) & (got.changes > 0)).any()
    clean = predictions(prop, problem)
    for j in range(problem.y.size):
        codes = np.array(problem.y)
        codes[j] = got.instead[j]
        after = predictions(prop, dataclasses.replace(problem, y=codes))
        assert got.changes[j] == (after != clean).sum()


@pytest.mark.parametrize("graph", ["rbf", "knn"])
def test_what_the_others_say(graph):
    X, y, _ = clusters()
    problem = problem_of(X, y, graph)
    prop = gp.Direct().fit(problem.graph, problem.labeled)
    got = audit_problem(problem, prop, certificate=False)
    opinions = told(problem, prop)
    contradiction, said = against(opinions, problem.y, problem.n_classes)
    np.testing.assert_array_equal(got.contradiction, contradiction)
    np.testing.assert_array_equal(got.said, said)
    votes = opinions @ np.eye(3)[problem.y]
    for j, own in enumerate(problem.y):
        others = [code for code in range(3) if code != own]
        assert got.instead[j] == max(others, key=lambda code: (votes[j, code], -code))
    differ = said != problem.y
    np.testing.assert_array_equal(got.instead[differ], said[differ])
    for j, (voices, shares) in enumerate(zip(got.voices, got.voice_shares, strict=True)):
        known = voices[voices >= 0]
        assert j not in known
        np.testing.assert_array_equal(shares[: known.size], opinions[j, known])
        assert (np.diff(shares) <= 0.0).all()
        assert shares.sum() == pytest.approx(np.sort(opinions[j])[-5:].sum())


def test_wrong_labels_are_found():
    X, y, wrong = clusters(n=300, labeled=120, flips=12)
    got = audit(X, y, gamma=GAMMA, certificate=False)
    suspects = got.problem.labeled[got.suspect]
    assert set(wrong) <= set(suspects)
    assert len(suspects) == got.n_suspects < 15
    assert set(wrong) <= set(got.table()["point"].head(16))


@pytest.mark.parametrize("influence", ["direct", "harmonic"])
def test_suspects_are_wrong_with_more_than_a_quarter(influence):
    X, y, wrong = clusters()
    problem = problem_of(X, y)
    prop = parse_propagator(influence).fit(problem.graph, problem.labeled)
    got = audit_problem(problem, prop, certificate=False)
    np.testing.assert_array_equal(got.suspect, Learned().is_poisoned(problem, prop))
    np.testing.assert_array_equal(got.suspect, got.probability > 0.25)
    # No label is one for being contradicted.
    assert set(wrong) <= set(problem.labeled[got.suspect])
    assert (~got.suspect & (got.contradiction > 0.5)).any()


def test_influence_is_that_of_rank(found):
    X, y, _ = clusters()
    table = gp.rank(X, y, gamma=GAMMA).sort_values("point")
    np.testing.assert_array_equal(found.mir, table["mir"])
    np.testing.assert_array_equal(found.total, table["total"])
    mean = found.total.mean()
    np.testing.assert_allclose(found.suspicion, found.contradiction * found.total / mean)


def test_the_certificate_is_that_of_the_predictions(found):
    X, y, _ = clusters()
    problem = problem_of(X, y)
    victim = gp.Direct().fit(problem.graph, problem.labeled)
    expected = gp.certify(problem, victim, FEW, truth=False)
    assert found.certificate.budgets == FEW
    assert found.certificate.used_truth is False
    np.testing.assert_array_equal(found.certificate.radius, expected.radius)
    np.testing.assert_array_equal(found.certificate.collective, expected.collective)


def test_what_one_label_can_do_is_exact(monkeypatch, found):
    monkeypatch.setattr(Fitted, "stored", lambda self: self)
    X, y, _ = clusters()
    problem = problem_of(X, y)
    prop = gp.Direct().fit(problem.graph, problem.labeled)
    clean, worst = predictions(prop, problem), 0
    for j in range(problem.y.size):
        for code in range(problem.n_classes):
            codes = np.array(problem.y)
            codes[j] = code
            after = predictions(prop, dataclasses.replace(problem, y=codes))
            worst = max(worst, int((after != clean).sum()))
    for some in (found, audit_problem(problem, prop, budgets=(1,))):
        assert some.certificate.collective[0] == worst / clean.size


def test_the_truth_is_not_read():
    X, y, _ = clusters()
    problem = problem_of(X, y)
    prop = gp.Direct().fit(problem.graph, problem.labeled)
    plain = audit_problem(problem, prop, budgets=FEW)
    lie = dataclasses.replace(problem, truth=np.zeros(len(X), dtype=np.int64))
    knowing = audit_problem(lie, prop, budgets=FEW)
    pd.testing.assert_frame_equal(plain.table(), knowing.table())
    np.testing.assert_array_equal(plain.certificate.collective, knowing.certificate.collective)
    assert plain.in_words() == knowing.in_words()


def test_probability_and_priority_order_the_table(found):
    assert ((found.probability >= 0.0) & (found.probability <= 1.0)).all()
    table = found.table()
    assert list(table.columns) == COLUMNS
    assert table["rank"].tolist() == list(range(1, L + 1))
    np.testing.assert_array_equal(found.problem.labeled[found.order], table["point"])
    assert (np.diff(found.priority[found.order]) <= 0.0).all()
    assert sorted(found.order) == list(range(L))


def test_probability_and_priority_are_those_of_learned():
    X, y, wrong = clusters()
    problem = problem_of(X, y)
    prop = gp.Direct().fit(problem.graph, problem.labeled)
    position = int(np.searchsorted(problem.labeled, wrong[0]))
    for answers in ({}, {position: 0, 3: int(problem.y[3])}):
        got = audit_problem(problem, prop, answers=answers, certificate=False)
        open_ = ~got.checked
        assert got.checked.sum() == len(answers)
        learned = Learned()
        for name in ("probability", "priority"):
            expected = getattr(learned, name)(problem, prop, answers)
            np.testing.assert_allclose(getattr(got, name)[open_], expected[open_], rtol=1e-12)
        expected = learned.probability(problem, prop, answers)
        np.testing.assert_array_equal(got.suspect, (expected > 0.25) & open_)
        assert got.suspect.any()


def test_classes_among_labels_and_predictions(found):
    problem = found.problem
    predicted = predictions(found.prop, problem)
    assert [row.name for row in found.class_rows] == ["ant", "bee", "cat"]
    for code, row in enumerate(found.class_rows):
        assert row.labels == (problem.y == code).sum()
        assert row.share == row.labels / L
        assert row.predicted_share == (predicted == code).mean()
        assert row.suspects == (found.suspect & (problem.y == code)).sum()
    assert sum(row.suspects for row in found.class_rows) == found.n_suspects > 0


def test_a_source_that_lies_is_named():
    X, y, wrong = clusters(n=300, labeled=120, flips=12)
    by = np.array(["Ann", "Bob", "Cy"] * 100, dtype=object)
    by[wrong] = "Eve"
    by[np.flatnonzero(y == "ant")[:2]] = "Eve"
    by[np.flatnonzero([label is None for label in y])] = None
    got = audit(X, y, gamma=GAMMA, provenance=by, certificate=False)
    first = got.sources[0]
    assert first.name == "Eve"
    assert first.z > 3.0
    assert [row for row in got.in_words() if "from 'Eve'" in row and "far more often" in row]
    assert got.provenance == tuple(by[got.problem.labeled])
    table = got.table()
    assert (table["source"] == by[table["point"]]).all()
    assert not [note for note in got.notes if "not given" in note]


def test_a_source_that_is_not_given_is_one_of_its_own():
    X, y, _ = clusters()
    by = pd.Series(["Ann", None, " ", np.nan] * (N // 4), index=np.arange(N) + 7)
    got = audit(X, y, gamma=GAMMA, provenance=by, certificate=False)
    assert {row.name for row in got.sources} == {"Ann", "(not given)"}
    assert [note for note in got.notes if "come from is not given" in note]


def test_loudest_takes_the_lower_index_of_a_tie():
    voices, shares = loudest(np.array([[0.0, 0.5, 0.5, 0.0], [0.2, 0.0, 0.4, 0.4]]), most=3)
    assert voices.tolist() == [[1, 2, -1], [2, 3, 0]]
    assert shares.tolist() == [[0.5, 0.5, 0.0], [0.4, 0.4, 0.2]]


# --- answers


def test_answers_count_as_the_labels_and_are_suspects_no_more():
    X, y, wrong = clusters()
    plain = audit(X, y, gamma=GAMMA, certificate=False)
    confirmed = int(wrong[1])
    assert plain.suspect[plain.problem.labeled == confirmed]
    right = ["ant", "bee", "cat"][int(wrong[0]) % 3]
    answers = {int(wrong[0]): right, confirmed: y[confirmed]}
    got = audit(X, y, gamma=GAMMA, answers=answers, budgets=FEW)
    assert got.n_corrected == 1
    assert got.problem.labeled[got.checked].tolist() == sorted(answers)
    assert not (got.suspect & got.checked).any()
    assert (got.probability[got.checked] == 0.0).all()
    assert (got.priority[got.checked] == 0.0).all()
    corrected = y.copy()
    corrected[wrong[0]] = right
    same = audit(X, corrected, gamma=GAMMA, budgets=FEW)
    for name in ("mir", "contradiction", "said", "changes", "voices"):
        np.testing.assert_array_equal(getattr(got, name), getattr(same, name), err_msg=name)
    np.testing.assert_array_equal(got.certificate.radius, same.certificate.radius)
    table = got.table().set_index("point")
    assert table.loc[wrong[0], "label"] == y[wrong[0]]
    assert table.loc[wrong[0], "answer"] == right
    assert table["answer"].notna().sum() == 2
    assert "2 labels were checked, and 1 was wrong" in " ".join(got.in_words())


def test_nothing_given_is_changed():
    X, y, _ = clusters()
    before = X.copy(), y.copy()
    answers = {int(np.flatnonzero([label is not None for label in y])[0]): "bee"}
    audit(X, y, answers=answers, provenance=["Ann"] * N, certificate=False)
    np.testing.assert_array_equal(X, before[0])
    assert y.tolist() == before[1].tolist()


# --- size


def test_without_the_memory_for_m_predictions_are_certified_one_by_one(monkeypatch, found):
    def refuse(self):
        raise InputError("M does not fit")

    monkeypatch.setattr(Fitted, "stored", refuse)
    X, y, _ = clusters()
    got = audit(X, y, gamma=GAMMA, budgets=FEW)
    assert [note for note in got.notes if "bounds every prediction by itself" in note]
    assert got.certificate.methods == ("enumeration", "pointwise")
    assert got.certificate.collective[0] == found.certificate.collective[0] < 1.0
    assert got.certificate.collective[1] == got.certificate.pointwise[1]
    np.testing.assert_array_equal(got.certificate.radius, found.certificate.radius)
    np.testing.assert_array_equal(got.changes, found.changes)


def test_no_certificate_stores_no_m(monkeypatch):
    def refuse(self):
        raise AssertionError("M was stored")

    monkeypatch.setattr(Fitted, "stored", refuse)
    X, y, _ = clusters()
    got = audit(X, y, gamma=GAMMA, certificate=False)
    assert got.certificate is None
    assert "proven" not in " ".join(got.in_words())


# --- words


def test_numbers_in_words():
    assert counted(1, "class", "classes") == "1 class"
    assert counted(0, "class", "classes") == "0 classes"
    assert [part(v) for v in (0.5, 0.00001, 0.99999, 0.0005)] == [
        "50.0 %",
        "below 0.01 %",
        "above 99.99 %",
        "0.05 %",
    ]


def test_words_say_what_the_figures_are(found):
    said = " ".join(found.in_words())
    assert f"{found.n_suspects} of {L} labels look wrong: by what the other labels say" in said
    assert "each is wrong with a probability of more than 25 %." in said
    first = found.table().query("suspect").iloc[0]
    assert f"Check point {first.point} first: it is labelled {first.label!r}" in said
    assert f"wrong with a probability of {part(first.probability)}." in said
    assert f"{part(first.contradiction)} speaks against it, most of it for {first.says!r}" in said
    turned = f"{first.changes:,} predictions would change"
    assert turned in said or "no prediction would" in said or "1 prediction would" in said
    strongest = found.problem.labeled[found.mir.argmax()]
    assert f"that of point {strongest} (" in said
    bound = part(float(found.certificate.collective[0]))
    assert f"Nobody who changes 1 label, whichever it is, can turn more than {bound}" in said
    least = found.certificate.radius.min()
    assert part(float((found.certificate.radius == least).mean())) in said


def test_a_suspect_that_the_others_agree_with_is_said(found):
    j = int(found.order[0])
    assert found.suspect[j]
    said, changes = found.said.copy(), found.changes.copy()
    said[j], changes[j] = found.problem.y[j], 7
    text = " ".join(dataclasses.replace(found, said=said, changes=changes).in_words())
    label, other = (found.problem.classes[c] for c in (said[j], found.instead[j]))
    assert f"for no other class as much as for {label!r}: it is suspect for what it does" in text
    assert f"Were it {other!r}, 7 predictions would change." in text


def test_one_suspect_and_none_are_said(found):
    alone = np.arange(L) == found.order[0]
    said = " ".join(dataclasses.replace(found, suspect=alone).in_words())
    assert f"1 of {L} labels looks wrong: by what the other labels say there" in said
    assert "it is wrong with a probability of more than 25 %." in said
    calm = dataclasses.replace(found, suspect=np.zeros(L, dtype=bool))
    said = " ".join(calm.in_words())
    assert "No label looks wrong: by" in said
    assert "none is wrong with a probability of more than 25 %." in said
    assert "hardly tell" not in said
    rest = dataclasses.replace(calm, checked=alone).in_words()
    assert rest[0].startswith("No unchecked label looks wrong")


def test_where_labels_tell_nothing_few_suspects_are_no_comfort(found):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(90, 2))
    y = [("a", "b")[int(rng.integers(2))] if k % 3 == 0 else None for k in range(90)]
    got = audit(X, y, gamma=GAMMA, certificate=False)
    against = (got.contradiction > 0.5).sum()
    assert got.n_suspects < against
    text = f"At {against} of 30 labelled points most of what the other labels say is for other"
    for suspect in (got.suspect, np.zeros(30, dtype=bool)):
        assert text in " ".join(dataclasses.replace(got, suspect=suspect).in_words())
    # Not for more than a quarter.
    for many in (L // 4, L // 4 + 1):
        contradiction = np.where(np.arange(L) < many, 0.6, 0.5)
        said = " ".join(dataclasses.replace(found, contradiction=contradiction).in_words())
        assert ("labelled points most of what" in said) == (many > L // 4)


@pytest.mark.parametrize("graph", ["rbf", "knn:n_neighbors=3"])
@pytest.mark.parametrize("influence", ["direct", "harmonic:unreached=leave"])
@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ({4: "a"}, "There is one label"),
        ({4: "a", 9: "a", 11: "a"}, "All 3 labels are of one class, 'a'"),
        ({4: "a", 9: "b"}, "2 of 2 labels look wrong"),
        ({4: "a", 9: "b", 20: "a"}, "Nobody who changes 1 label|may turn every prediction"),
    ],
)
def test_few_labels_get_sentences(labels, words, influence, graph):
    X = np.random.default_rng(3).normal(size=(30, 2))
    y = [labels.get(row) for row in range(30)]
    got = audit(X, y, graph=graph, influence=influence, provenance=["x"] * 30)
    said = " ".join(got.in_words())
    assert any(text in said for text in words.split("|")), said
    assert len(got.table()) == len(labels)
    if len(set(labels.values())) == 1:
        assert got.certificate is None
        assert not got.suspect.any()
    else:
        assert got.certificate.budgets == (1, 2)
        assert [note for note in got.notes if "leaves out the budgets 5, 10" in note]


def test_points_that_nobody_reaches_are_said():
    X = np.random.default_rng(0).normal(size=(30, 2))
    X[15:] += 1000.0
    y = [{3: "a", 5: "b", 9: "a", 12: "b"}.get(row) for row in range(30)]
    got = audit(X, y, graph="knn:n_neighbors=3")
    assert [note for note in got.notes if "No label reaches" in note]
    lonely = [{3: "a", 20: "b"}.get(row) for row in range(30)]
    got = audit(X, lonely, graph="knn:n_neighbors=3", influence="harmonic:unreached=leave")
    assert [note for note in got.notes if "At 2 labelled points no other label is heard" in note]
    assert not got.suspect.any()
    assert (got.voices == -1).all()


def test_equal_points_decide_nothing_alone():
    y = [{3: "a", 5: "b", 9: "a"}.get(row) for row in range(30)]
    said = " ".join(audit(np.zeros((30, 2)), y).in_words())
    assert "No label alone outweighs all others" in said
    assert "may turn every prediction" in said


def test_a_shift_of_classes_is_said():
    rng = np.random.default_rng(0)
    X = np.concatenate([rng.normal(size=(150, 1)), rng.normal(size=(150, 1)) + 20.0])
    y = np.full(300, None, dtype=object)
    y[:40], y[150:155] = "a", "b"
    got = audit(X, y, gamma=GAMMA, certificate=False)
    assert [text for text in got.in_words() if "not mixed as the predictions are: 'a'" in text]
    assert abs(got.class_rows[0].z) > 3.0


# --- bad input


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"answers": {1: "ant"}}, InputError, "point 1, which has no label"),
        ({"answers": {0: "fly"}}, InputError, "'fly' for point 0 is no class"),
        ({"answers": {0: None}}, InputError, "None for point 0 is no class"),
        ({"provenance": ["Ann"]}, InputError, "1 entries and X has 180 rows"),
        ({"provenance": "Ann"}, InputTypeError, "provenance is of type str"),
        ({"provenance": 3}, InputTypeError, "provenance is of type int"),
        ({"influence": "nobody"}, InputError, "names no propagator"),
        ({"graph": "nn"}, InputError, "graph='nn'"),
        ({"device": "cuda"}, gp.DeviceError, "device='cuda'"),
        ({"gamma": -1.0}, InputError, "gamma"),
        ({"unlabeled": "x"}, InputError, "'x' does not occur"),
    ],
)
def test_bad_input(options, error, message):
    X, _, _ = clusters()
    y = [["ant", None, "bee", None][row % 4] for row in range(N)]
    with pytest.raises(error, match=message):
        audit(X, y, **options)


def test_a_propagator_of_another_problem_is_refused():
    X, y, _ = clusters()
    problem = problem_of(X, y)
    with pytest.raises(InputError, match="fitted to"):
        audit_problem(problem, gp.Direct().fit(problem.graph, problem.labeled[1:]))
