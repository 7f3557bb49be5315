"""The printed figures: sums over rows, taken from the text by a script, and spot values."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gssl_poison.experiments.cells import Cell
from gssl_poison.experiments.paper import PAPER_DATASETS, printed, printed_cells

WHERE = ("mnist-1-7", "replication", 0.05, 2020, "propagation")

# In hundredths of a per cent, from the text of Table 4 by a script: the clean error, the sums over
# four budgets after MIR, greedy and probabilistic, and the sum of each figure times its place in
# the row from 0, which notices two that are swapped.
ROWS = {
    ("mnist-1-7", "transductive", 0.05): (125, 12311, 1216, 4969, 133834),
    ("mnist-1-7", "transductive", 0.15): (69, 12635, 508, 5039, 132610),
    ("mnist-1-7", "transductive", 0.25): (58, 13655, 464, 4962, 137871),
    ("cifar10-cat-ship", "transductive", 0.05): (1912, 21466, 11285, 10400, 291113),
    ("cifar10-cat-ship", "transductive", 0.15): (1752, 16667, 10648, 9271, 245926),
    ("cifar10-cat-ship", "transductive", 0.25): (1734, 14929, 11508, 8060, 225754),
    ("rcv1", "transductive", 0.05): (1166, 12915, 12154, 12325, 271994),
    ("rcv1", "transductive", 0.15): (819, 13841, 11906, 12194, 278277),
    ("rcv1", "transductive", 0.25): (691, 14736, 12058, 12280, 285647),
    ("mnist-1-7", "forest", 0.05): (107, 9901, 500, 925, 82169),
    ("mnist-1-7", "forest", 0.15): (56, 6636, 624, 359, 59538),
    ("mnist-1-7", "forest", 0.25): (42, 6068, 480, 314, 55937),
    ("cifar10-cat-ship", "forest", 0.05): (1896, 21625, 11178, 7870, 278620),
    ("cifar10-cat-ship", "forest", 0.15): (1725, 14797, 9618, 8220, 224332),
    ("cifar10-cat-ship", "forest", 0.25): (1550, 11575, 7952, 6880, 179336),
    ("rcv1", "forest", 0.05): (900, 8641, 8266, 15099, 255567),
    ("rcv1", "forest", 0.15): (585, 9602, 7183, 15672, 261115),
    ("rcv1", "forest", 0.25): (573, 7865, 9268, 14908, 258319),
}


@pytest.mark.parametrize(("dataset", "model", "labeled"), ROWS)
def test_rows_of_table_four(dataset: str, model: str, labeled: float) -> None:
    def hundredths(attack: str, budget: float) -> int:
        cell = Cell(
            *("error", dataset, "corrected", labeled, 7, "propagation", attack, budget, "none"),
            model,
        )
        return round(10_000 * printed(cell)["error"])

    line = [hundredths("none", 0.0)]
    for budget in (0.05, 0.1, 0.15, 0.2):
        line += [hundredths(attack, budget) for attack in ("mir", "greedy", "probabilistic")]
    weighed = sum(k * value for k, value in enumerate(line))
    sums = (line[0], sum(line[1::3]), sum(line[2::3]), sum(line[3::3]), weighed)
    assert sums == ROWS[dataset, model, labeled]


def test_there_is_nothing_but_what_is_printed() -> None:
    kinds = [cell.kind for cell in printed_cells()]
    assert {kind: kinds.count(kind) for kind in set(kinds)} == {
        "correlation": 3 * 2 * 3,
        "seconds": 3 * 3,
        "error": 2 * 3 * 3 * 13,
    }
    assert {cell.dataset for cell in printed_cells()} == set(PAPER_DATASETS)
    assert all(printed(cell) == figures for cell, figures in printed_cells().items())


@pytest.mark.parametrize(
    ("dataset", "victim", "labeled", "kendall", "pearson"),
    [
        ("mnist-1-7", "propagation", 0.05, 0.96, 0.99),
        ("mnist-1-7", "spreading", 0.25, 0.59, 0.71),
        ("cifar10-cat-ship", "propagation", 0.15, 0.43, 0.49),
        ("cifar10-cat-ship", "spreading", 0.05, 0.35, 0.35),
        ("rcv1", "propagation", 0.25, 0.56, 0.82),
        ("rcv1", "spreading", 0.15, 0.43, 0.53),
    ],
)
def test_correlations_of_table_two(
    dataset: str, victim: str, labeled: float, kendall: float, pearson: float
) -> None:
    cell = Cell("correlation", dataset, "replication", labeled, 2020, victim)
    assert printed(cell) == {"kendall": kendall, "pearson": pearson}


def test_sums_of_table_two_and_three() -> None:
    sums = {"kendall": 0.0, "pearson": 0.0, "seconds_median": 0.0, "seconds_deviation": 0.0}
    for figures in printed_cells().values():
        for name in figures.keys() & sums.keys():
            sums[name] += figures[name]
    # Added up from the text by column, by a script.
    assert sums == pytest.approx(
        {
            "kendall": 9.74,
            "pearson": 11.75,
            "seconds_median": 1502.98,
            "seconds_deviation": 96.97,
        }
    )


@pytest.mark.parametrize(
    ("dataset", "attack", "median", "deviation"),
    [
        ("mnist-1-7", "mir", 7.67, 0.19),
        ("rcv1", "greedy", 711.25, 77.69),
        ("cifar10-cat-ship", "probabilistic", 17.52, 0.71),
    ],
)
def test_seconds_of_table_three(dataset: str, attack: str, median: float, deviation: float) -> None:
    cell = Cell("seconds", dataset, "replication", 0.05, 2020, "propagation", attack, 20.0)
    assert printed(cell) == {"seconds_median": median, "seconds_deviation": deviation}
    assert not printed(replace(cell, budget=10.0))


@pytest.mark.parametrize(
    "cell",
    [
        Cell("error", *WHERE, "mir", 0.1, "none", "mlp"),
        Cell("error", *WHERE, "mir", 0.1, "relabel", "forest"),
        Cell("error", *WHERE, "mir", 0.1, "label-more", "transductive"),
        Cell("error", *WHERE, "mir", 0.3, "none", "forest"),
        Cell("error", *WHERE[:4], "spreading", "mir", 0.1, "none", "forest"),
        Cell("error", "reuters-corporate", *WHERE[1:], "mir", 0.1, "none", "forest"),
        Cell("correlation", *WHERE[:2], 0.1, 2020, "propagation"),
        Cell("seconds", *WHERE[:2], 0.15, 2020, "propagation", "mir", 20.0),
    ],
)
def test_what_the_text_does_not_print_stays_blank(cell: Cell) -> None:
    assert printed(cell) == {}


def test_figures_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        printed(Cell("correlation", *WHERE))["kendall"] = 1.0  # type: ignore[index]
