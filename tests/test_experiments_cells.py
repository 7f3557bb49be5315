"""Cells, what their keys depend on, and which cells a question has."""

from __future__ import annotations

import copy
import hashlib
import json
from collections import Counter
from dataclasses import asdict, fields, replace

import numpy as np
import pytest

from gssl_poison.exceptions import InputError
from gssl_poison.experiments import cells, inductive, measuring, workplace
from gssl_poison.experiments.cells import Cell, canonical, key_of
from gssl_poison.experiments.inductive import Forest, Perceptron
from gssl_poison.experiments.measuring import key_for, settings_for
from gssl_poison.experiments.questions import QUESTIONS, Plan
from gssl_poison.experiments.studies import Roles, attacks_of, roles_of, study_of
from gssl_poison.propagation import Direct, Harmonic, Predicted, Propagation, Spreading

FOREST = Cell(
    "error", "digits-1-7", "corrected", 0.1, 2020, "propagation", "mir", 0.2, "none", "forest"
)
PERCEPTRON = replace(FOREST, model="mlp")
SETTINGS = {"gamma": 5.0, "nested": {"a": 1, "b": [1, None]}}
OTHER = {
    "kind": "seconds",
    "dataset": "digits",
    "preset": "replication",
    "labeled": 0.15,
    "seed": 2021,
    "victim": "spreading",
    "attack": "greedy",
    "budget": 0.1,
    "repair": "relabel",
    "model": "mlp",
}


# --- keys


@pytest.mark.parametrize("name", [f.name for f in fields(Cell)])
def test_a_key_differs_in_every_field(name):
    # Past the checks of a cell: one field alone, whatever the others are.
    other = copy.copy(FOREST)
    object.__setattr__(other, name, OTHER[name])
    assert getattr(other, name) != getattr(FOREST, name)
    assert key_of(other, SETTINGS) != key_of(FOREST, SETTINGS)
    assert key_of(copy.copy(FOREST), SETTINGS) == key_of(FOREST, SETTINGS)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"gamma": 5.0},
        {**SETTINGS, "gamma": 5.000000000000001},
        {**SETTINGS, "more": ""},
        {**SETTINGS, "nested": {"a": 1, "b": [None, 1]}},
        {"gamme": 5.0, "nested": SETTINGS["nested"]},
    ],
    ids=str,
)
def test_a_key_differs_in_every_setting(settings):
    assert key_of(FOREST, settings) != key_of(FOREST, SETTINGS)


def test_the_order_of_settings_is_no_matter():
    backwards = {"nested": {"b": [1, None], "a": 1}, "gamma": 5.0}
    assert list(backwards) != list(SETTINGS)
    assert key_of(FOREST, backwards) == key_of(FOREST, SETTINGS)


def test_a_key_is_a_hash_of_plain_json(monkeypatch):
    monkeypatch.setattr(cells, "RULES", 7)
    content = {"settings": SETTINGS, "cell": asdict(FOREST), "rules": 7}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    assert key_of(FOREST, SETTINGS) == hashlib.sha256(text.encode()).hexdigest()[:32]


def test_other_rules_are_other_keys(monkeypatch):
    before = key_for(FOREST, "cpu")
    monkeypatch.setattr(cells, "RULES", cells.RULES + 1)
    assert key_for(FOREST, "cpu") != before


def test_json_has_no_nan():
    with pytest.raises(ValueError, match="JSON"):
        canonical({"gamma": np.nan})


# What changes a cell's figures besides itself: where the engine takes it from, and another value.
CHANGES = {
    "gamma": (measuring, "study_of", lambda name: replace(study_of(name), gamma=0.02)),
    "victim": (measuring, "roles_of", lambda *_: Roles(Harmonic(), Direct())),
    "model": (inductive, "MODEL_SETTINGS", {"forest": Forest(n_estimators=99)}),
    "data": (measuring, "fingerprint_of", lambda _: "0123456789abcdef"),
    "versions": (measuring, "versions_of", lambda **_: "gssl-poison 0.0.0"),
}


def test_everything_that_is_in_a_key_is_tried():
    assert set(settings_for(FOREST, "cpu")) == {*CHANGES, "device"}


@pytest.mark.parametrize("name", CHANGES)
def test_what_changes_a_figure_changes_its_key(monkeypatch, name):
    before = settings_for(FOREST, "cpu"), key_for(FOREST, "cpu")
    monkeypatch.setattr(*CHANGES[name])
    after = settings_for(FOREST, "cpu"), key_for(FOREST, "cpu")
    assert {key for key in before[0] if before[0][key] != after[0][key]} == {name}
    assert before[1] != after[1]


def test_the_device_is_in_every_key():
    correlation = Cell("correlation", *FOREST.group[:2], 0.1, 1, "direct")
    for cell in (FOREST, FOREST.inferred_by, PERCEPTRON, correlation):
        assert key_for(cell, "cuda") != key_for(cell, "cpu")
        there = settings_for(cell, "cuda")["versions"]
        assert "cupy" in there
        assert ("torch" in there) == (cell is PERCEPTRON)


@pytest.mark.parametrize(
    "model",
    [
        Perceptron(n_hidden=64),
        Perceptron(n_epochs=6),
        Perceptron(learning_rate=1e-2),
        Perceptron(batch_size=100),
        Perceptron(l2=0.0),
    ],
    ids=repr,
)
def test_every_setting_of_a_model_is_in_the_key(monkeypatch, model):
    before = key_for(PERCEPTRON, "cpu")
    monkeypatch.setattr(inductive, "MODEL_SETTINGS", {"mlp": model})
    assert key_for(PERCEPTRON, "cpu") != before


@pytest.mark.parametrize("part", ["X", "y"])
@pytest.mark.parametrize("which", [0, 1], ids=["train", "test"])
def test_a_fingerprint_tells_data_apart(monkeypatch, part, which):
    parts = list(workplace.train_and_test("digits-1-7"))
    before = workplace.prepare.__wrapped__("digits-1-7").fingerprint
    values = np.array(getattr(parts[which], part))
    if part == "X":
        values[3, 20] += 1
    else:
        values[3] = 8 - values[3]
    parts[which] = replace(parts[which], **{part: values})
    monkeypatch.setattr(workplace, "train_and_test", lambda _: tuple(parts))
    after = workplace.prepare.__wrapped__("digits-1-7").fingerprint
    assert after != before
    assert len(after) == len(before) == 16


# --- cells


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"kind": "mean"}, "kind='mean' is not known; use one of correlation"),
        ({"victim": "harmonic"}, "victim='harmonic' is not known"),
        ({"attack": "total"}, "attack='total' is not known"),
        ({"attack": ""}, "attack='' is not known"),
        ({"repair": ""}, "repair='' is not known"),
        ({"model": ""}, "model='' is not known"),
        ({"budget": 0.0}, r"attack='mir' and budget=0.0 contradicts itself"),
        ({"attack": "none"}, r"attack='none' and budget=0.2 contradicts itself"),
        ({"kind": "correlation"}, "attack='mir' is not known"),
        ({"kind": "correlation", "attack": "", "repair": "", "model": ""}, "contradicts itself"),
        ({"kind": "seconds"}, "repair='none' is not known"),
        ({"kind": "seconds", "repair": ""}, "model='forest' is not known"),
        ({"kind": "seconds", "attack": "none"}, "attack='none' is not known"),
        ({"kind": "seconds", "repair": "", "model": "", "budget": 0.0}, "contradicts itself"),
    ],
    ids=str,
)
def test_contradictions_are_refused(changes, said):
    with pytest.raises(InputError, match=said):
        replace(FOREST, **changes)


def test_a_group_shares_data_preset_and_seed():
    assert FOREST.group == replace(FOREST, labeled=0.25, victim="spreading").group
    assert FOREST.group != replace(FOREST, seed=2021).group
    assert FOREST.inferred_by == replace(FOREST, model="transductive")
    timed = Cell("seconds", "digits", "corrected", 0.1, 2020, "propagation", "mir", 20.0)
    assert timed.inferred_by is timed


# --- which cells a question has

PARTS = {"labeled": (0.1, 0.25), "budgets": (0.1, 0.2)}


def plan(*questions, preset="replication", datasets=("digits-1-7",), **settings):
    return Plan(questions, preset, datasets, **(PARTS | settings))


COUNTS = {
    # parts labelled x victims
    ("rq1",): 2 * 2,
    # victims x (two models and the labels they learn) x (clean and two budgets)
    ("rq2",): 2 * 3 * 3,
    # parts labelled x models x (clean and three attacks at two budgets), and random flips without a
    # model; three attacks timed
    ("rq3",): 2 * 3 * (1 + 3 * 2) + 2 * 2 + 3,
    # parts labelled x models x (clean, poisoned, relabelled, more labelled)
    ("rq4",): 2 * 3 * 4,
    # RQ2's after propagation are RQ3's; RQ4 adds the two repairs
    QUESTIONS: 4 + (42 + 4 + 3) + 9 + 2 * 3 * 2,
}


@pytest.mark.parametrize(("questions", "count"), COUNTS.items(), ids=map(str, COUNTS))
def test_counts(questions, count):
    found = plan(*questions).cells()
    assert len(found) == len(set(found)) == count
    assert list(found) == sorted(found)


def test_defaults_are_the_papers():
    every = Plan(QUESTIONS, "replication")
    assert (every.labeled, every.budgets) == ((0.05, 0.15, 0.25), (0.05, 0.1, 0.15, 0.2))
    one_set = 3 * 2 + (3 * 3 * 13 + 3 * 4 + 3) + 3 * 5 + 3 * 3 * 2
    assert len(every.cells()) == 3 * one_set


def test_a_cell_of_two_questions_is_one():
    models, attacks = (set(plan(q).cells()) for q in ("rq2", "rq3"))
    shared = models & attacks
    assert len(shared) == 9
    assert {(c.victim, c.labeled) for c in shared} == {("propagation", 0.25)}
    assert {c.victim for c in models - attacks} == {"spreading"}


@pytest.mark.parametrize("models", [("forest",), ("mlp",), ("forest", "mlp")], ids=str)
def test_models_come_with_the_labels_they_learn(models):
    found = set(plan(*QUESTIONS, models=models).cells())
    trained = {cell for cell in found if cell.model in ("forest", "mlp")}
    assert {cell.model for cell in trained} == set(models)
    assert {cell.inferred_by for cell in trained} <= found
    alone = set(plan("rq2", models=models).cells())
    assert {cell.inferred_by for cell in alone} == {c for c in alone if c.model == "transductive"}


def test_no_models_where_none_are_asked_for():
    found = plan(*QUESTIONS, models=("transductive",)).cells()
    assert {cell.model for cell in found} == {"", "transductive"}
    # RQ2 is about models alone.
    with pytest.raises(InputError, match="add 'forest' or 'mlp'"):
        plan("rq2", models=("transductive",))


def test_repeats_are_seeds():
    one, three = plan(*QUESTIONS).cells(), plan(*QUESTIONS, repeats=3).cells()
    assert {cell.seed for cell in three} == {2020, 2021, 2022}
    assert {cell for cell in three if cell.seed == 2020} == set(one)
    # Attacks are timed once.
    assert len(three) == 3 * len(one) - 2 * 3
    assert {cell.seed for cell in three if cell.kind == "seconds"} == {2020}


@pytest.mark.parametrize(
    ("labeled", "trained", "timed"),
    [((0.05, 0.15, 0.25), 0.25, 0.05), ((0.1, 0.4), 0.4, 0.1), ((0.25, 0.3), 0.25, 0.25)],
    ids=str,
)
def test_where_models_are_trained_and_attacks_timed(labeled, trained, timed):
    assert {cell.labeled for cell in plan("rq2", labeled=labeled).cells()} == {trained}
    seconds = [c for c in plan("rq3", labeled=labeled).cells() if c.kind == "seconds"]
    assert {(cell.labeled, cell.budget) for cell in seconds} == {(timed, 20.0)}
    assert [cell.attack for cell in seconds] == ["greedy", "mir", "probabilistic"]


def test_labels_are_repaired_after_a_tenth_is_flipped():
    found = plan("rq4", budgets=(0.3,)).cells()
    assert Counter((c.attack, c.budget, c.repair) for c in found) == {
        ("none", 0.0, "none"): 6,
        ("mir", 0.1, "none"): 6,
        ("mir", 0.1, "relabel"): 6,
        ("mir", 0.1, "label-more"): 6,
    }


@pytest.mark.parametrize(
    ("preset", "attacks"), [("corrected", ("mir", "greedy")), ("replication", ("mir",))]
)
@pytest.mark.parametrize("name", ["digits", "mnist"])
def test_ten_classes_have_the_attacks_that_know_them(name, preset, attacks):
    assert attacks_of(study_of(name), preset) == attacks
    found = plan("rq3", preset=preset, datasets=(name,)).cells()
    assert {cell.attack for cell in found} == {"none", "random", *attacks}
    assert len(found) == 2 * 3 * (1 + 2 * len(attacks)) + 2 * 2 + len(attacks)


def test_weights_that_cannot_be_held_have_one_victim():
    found = plan("rq1", "rq2", datasets=("mnist",)).cells()
    assert {cell.victim for cell in found} == {"direct"}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"preset": "sound"}, "preset='sound' is not known; use one of corrected, replication"),
        ({"questions": ("rq5",)}, "question='rq5' is not known; use one of rq1, rq2, rq3, rq4"),
        ({"questions": ()}, "questions is empty; name at least one"),
        ({"datasets": ("mnist-3-8",)}, "no data set 'mnist-3-8'; they have mnist-1-7"),
        ({"datasets": ()}, "datasets is empty"),
        ({"models": ("svm",)}, "model='svm' is not known; use one of transductive, forest, mlp"),
        ({"models": ()}, "models is empty"),
        ({"repeats": 0}, "repeats=0 is not a whole number; give at least 1"),
        ({"repeats": 1.5}, "repeats=1.5 is not a whole number"),
        ({"labeled": ()}, r"labeled=\(\) must hold parts between 0 and 1"),
        ({"labeled": (0.1, 0.1)}, "each once"),
        ({"labeled": (0.0, 0.1)}, "both excluded"),
        ({"labeled": (1.0,)}, "both excluded"),
        ({"labeled": ("0.1",)}, "must hold parts"),
        ({"budgets": (np.nan,)}, r"budgets=\(nan,\) must hold parts"),
        ({"budgets": (-0.1,)}, "must hold parts"),
        ({"budgets": (20,)}, "must hold parts"),
    ],
    ids=str,
)
def test_wrong_plans_are_refused(changes, said):
    right = {"questions": ("rq1",), "preset": "corrected", "datasets": ("digits",)}
    Plan(**right)
    with pytest.raises(InputError, match=said):
        Plan(**(right | changes))


# --- what a preset means


@pytest.mark.parametrize(
    ("victim", "preset", "scored", "inferred"),
    [
        ("propagation", "replication", Propagation(11), Propagation(10)),
        (
            "spreading",
            "replication",
            Predicted(Spreading(0.2, n_iter=10)),
            Spreading(0.2, n_iter=10),
        ),
        ("propagation", "corrected", Harmonic(), Harmonic()),
        ("spreading", "corrected", Spreading(0.2), Spreading(0.2)),
        ("direct", "replication", Direct(), Direct()),
        ("direct", "corrected", Direct(), Direct()),
    ],
    ids=str,
)
def test_victims(victim, preset, scored, inferred):
    roles = roles_of(victim, preset)
    assert (roles.scored, roles.inferred) == (scored, inferred)
    # Both are in the key.
    assert repr(scored) in roles.text
    assert repr(inferred) in roles.text


def test_published_gammas():
    names = ("mnist-1-7", "cifar10-cat-ship", "rcv1")
    assert [study_of(name).gamma for name in names] == [5.0, 0.1, 20.0]
