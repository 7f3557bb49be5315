"""The contract of all attacks, read off the registry: none is named here but where it differs."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from attack_problems import LABELED, digits, fitted

import gssl_poison as gp
from gssl_poison.attacks import ATTACKS, make_attack

PRESETS = ("corrected", "replication")
TWO_CLASSES = digits(2)
EACH = pytest.mark.parametrize("name", ATTACKS)


@pytest.fixture(scope="module")
def surrogate():
    return fitted(TWO_CLASSES).stored()


@EACH
@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("budget", [1, 0.3, LABELED.size])
def test_the_budget_is_kept_and_nothing_is_touched(name, preset, budget, surrogate):
    problem, before = TWO_CLASSES, TWO_CLASSES.y.copy()
    M = surrogate.matrix().copy()
    poison = make_attack(name, preset=preset).attack(problem, surrogate, budget)
    k = gp.problem.count_flips(budget, LABELED.size)
    assert len(poison) <= k
    assert len(poison) == k or poison.notes, "fewer flips than the budget need a reason"
    assert np.unique(poison.order).size == len(poison)
    assert (poison.new != poison.old).all()
    assert np.isin(poison.new, [0, 1]).all()
    np.testing.assert_array_equal(poison.old, before[poison.order])
    np.testing.assert_array_equal(problem.y, before)
    np.testing.assert_array_equal(surrogate.matrix(), M)
    after = problem.poisoned(poison).y
    assert (after != before).sum() == len(poison)
    assert poison.objective.shape == (len(poison),)
    assert np.isfinite(poison.objective).all()
    assert poison.objective_name
    assert poison.seconds > 0.0
    assert 0.0 <= gp.error_rate(surrogate, problem, poison) <= 1.0


@EACH
@pytest.mark.parametrize("preset", PRESETS)
def test_a_seed_gives_the_same_flips_again(name, preset, surrogate):
    attack = make_attack(name, preset=preset, random_state=7)
    first, second = (attack.attack(TWO_CLASSES, surrogate, 4) for _ in range(2))
    np.testing.assert_array_equal(first.order, second.order)
    np.testing.assert_array_equal(first.objective, second.objective)


@EACH
def test_one_run_holds_the_smaller_budgets_if_it_says_so(name, surrogate):
    attack = make_attack(name)
    longest = attack.attack(TWO_CLASSES, surrogate, 6)
    if attack.nested:
        for k in (1, 3):
            shorter = attack.attack(TWO_CLASSES, surrogate, k)
            np.testing.assert_array_equal(longest.first(k).order, shorter.order)
            np.testing.assert_array_equal(longest.first(k).new, shorter.new)
    else:
        with pytest.raises(gp.InputError, match="run it with that budget"):
            longest.first(3)


@EACH
def test_it_works_with_more_classes(name):
    problem = digits(4, n=30)
    prop = fitted(problem)
    poison = make_attack(name).attack(problem, prop, 2)
    assert 1 <= len(poison) <= 2
    assert (poison.new != poison.old).all()
    assert ((poison.new >= 0) & (poison.new < 4)).all()


@EACH
def test_truth_is_read_only_where_it_is_said_to_be(name):
    """Without truth: the same flips, if the attack says that it reads none; else one error."""
    known, unknown = digits(3, n=48), digits(3, truth=False, n=48)
    prop = fitted(known)
    attack = make_attack(name)
    reads = "truth" in {f.name for f in dataclasses.fields(attack)}
    with_truth = attack.attack(known, prop, 3)
    assert with_truth.used_truth == reads
    if not reads:
        without = attack.attack(unknown, prop, 3)
        np.testing.assert_array_equal(with_truth.order, without.order)
        np.testing.assert_array_equal(with_truth.new, without.new)
        return
    with pytest.raises(gp.InputError, match="truth=False"):
        attack.attack(unknown, prop, 3)
    blind = make_attack(name, truth=False)
    poison = blind.attack(unknown, prop, 3)
    assert not poison.used_truth
    np.testing.assert_array_equal(poison.order, blind.attack(known, prop, 3).order)


@EACH
def test_what_it_is_can_be_read(name):
    attack = ATTACKS[name]
    assert dataclasses.is_dataclass(attack)
    with pytest.raises(dataclasses.FrozenInstanceError):
        attack.anything = 1
    assert attack.source
    assert attack.__doc__.split("\n")[0].endswith(".")
    assert attack.surrogate in {"direct", "harmonic", "victim"}
    assert make_attack(name) == attack


@EACH
@pytest.mark.parametrize(
    ("budget", "message"),
    [
        (0, "budget=0 is out of range"),
        (-3, "budget=-3 is out of range"),
        (LABELED.size + 1, f"1..{LABELED.size}"),
        (1.0, "between 0 and 1"),
        (0.0, "between 0 and 1"),
        (0.01, "less than one"),
        (float("nan"), "between 0 and 1"),
    ],
)
def test_a_budget_that_is_none_is_refused(name, budget, message, surrogate):
    with pytest.raises(gp.InputError, match=message):
        make_attack(name).attack(TWO_CLASSES, surrogate, budget)


@EACH
def test_a_budget_of_another_type_is_refused(name, surrogate):
    for budget in ("5", True, None):
        with pytest.raises(gp.InputTypeError, match="is not a number"):
            make_attack(name).attack(TWO_CLASSES, surrogate, budget)


@EACH
def test_one_class_cannot_be_flipped(name):
    two = digits(2)
    one = gp.Problem(two.graph, two.labeled, np.zeros_like(two.y), np.zeros(90, dtype=int))
    with pytest.raises(gp.InputError, match="no other to flip one to"):
        make_attack(name).attack(one, fitted(one), 1)


@EACH
def test_a_surrogate_of_other_points_is_refused(name):
    other = gp.Direct().fit(TWO_CLASSES.graph, LABELED[1:])
    with pytest.raises(gp.InputError, match="the surrogate is fitted to 14 labelled"):
        make_attack(name).attack(TWO_CLASSES, other, 1)


@EACH
@pytest.mark.parametrize("changes", [{"residual": 0.1}, {"converged": False}, {"residual": np.nan}])
def test_a_surrogate_whose_check_failed_is_refused(name, changes, surrogate):
    with pytest.raises(gp.InputError, match="failed its own check"):
        make_attack(name).attack(TWO_CLASSES, dataclasses.replace(surrogate, **changes), 1)


def test_names_and_presets_are_checked():
    with pytest.raises(gp.InputError, match="method='best' is not known; use one of mir"):
        make_attack("best")
    with pytest.raises(gp.InputError, match="preset='old'"):
        make_attack("mir", preset="old")
    for name in ("mir+kicks", "swaps+swaps", "mir+"):
        with pytest.raises(gp.InputError, match="is not known"):
            make_attack(name)
    assert make_attack("total+swaps").start == gp.attacks.Total()
