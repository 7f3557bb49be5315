"""Small audits for the tests of their page."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from report_samples import text_of

from gssl_poison.datasets import Dataset
from gssl_poison.review.auditing import Audit, audit

HEBREW, ARABIC = "\u05e9\u05dc\u05d5\u05dd", "\u0645\u0631\u062d\u0628\u0627"


def audited(
    X: Any,
    y: Any,
    *,
    truth: Sequence[object] | None = None,
    names: tuple[str, ...] | None = None,
    shape: tuple[int, ...] | None = None,
    gamma: float = 4.0,
    **more: Any,
) -> tuple[Audit, Dataset]:
    """Audit labels of any kind; None where a point has none."""
    column = np.empty(len(y), dtype=object)
    column[:] = list(y)
    known = None if truth is None else np.array(list(truth), dtype=object)
    found = audit(X, column, **{"gamma": gamma, "budgets": (1, 2), **more})
    # Not the time it took: the same page twice is the same bytes.
    found = dataclasses.replace(found, seconds={"graph": 0.5})
    return found, Dataset("a set", X, column, known, names, shape, "a test")


def blobs(
    classes: Sequence[object] = ("a", "b"), *, size: int = 90, wrong: int = 3, d: int = 3
) -> tuple[Any, list[object], list[object]]:
    """Make a cluster for every class, every third point labelled and a few of the first wrongly.

    Wrong are those amid the cluster, which mislead most. Returns features, labels and truth.
    """
    rng = np.random.default_rng(1)
    X = rng.normal(size=(size * len(classes), d))
    amid = np.argsort((X[:size:3] ** 2).sum(axis=1), kind="stable")
    truth: list[object] = []
    for k, name in enumerate(classes):
        X[k * size : (k + 1) * size, k % d] += 6.0 * (1 + k // d)
        truth += [name] * size
    y = [name if k % 3 == 0 else None for k, name in enumerate(truth)]
    for at in 3 * amid[:wrong]:
        y[int(at)] = classes[1]
    return X, y, truth


def plain(text: str) -> str:
    """Replace spaces that do not break."""
    return text.replace("\xa0", " ")


def cells(table: str) -> list[list[str]]:
    """Return the cells of the body of a table, as text."""
    body = table.split("<tbody>")[1].split("</tbody>", maxsplit=1)[0]
    rows = body.split("<tr")[1:]
    return [
        [plain(text_of(cell)) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.S)]
        for row in rows
    ]


def section(page: str, name: str) -> str:
    """Return one section of the page."""
    return page.split(f'aria-labelledby="{name}">', 1)[1].split("</section>", maxsplit=1)[0]
