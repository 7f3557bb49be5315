"""Small rankings, and readers of a page, for the tests of the report."""

from __future__ import annotations

import datetime
import html
import re
from collections.abc import Hashable, Sequence
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pandas as pd

from gssl_poison.datasets import Dataset

NOW = datetime.datetime(2026, 11, 21, 4, 50, tzinfo=datetime.UTC)
EVIL = "<script>alert(1)</script>"
NASTY = (
    EVIL,
    "</title><script>alert(2)</script>",
    "</style><!-- \u2028 --><img src=x onerror=alert(3)>",
    '"><svg onload=alert(4)>',
    "' onmouseover='alert(5)",
    "{{ 7 * 7 }}{% raw %}",
    "]]>&amp;&lt;",
    "javascript:alert(6)",
    "\u202egnp.exe",
    "x" * 5000,
)


def make(
    X: Any, y: Sequence[object], *, gamma: float = 1.0, by: str = "mir", **attrs: object
) -> tuple[pd.DataFrame, Dataset]:
    """Rank by direct influence, slowly, and put the table in the shape `rank` gives it."""
    dense = np.asarray(X.toarray() if hasattr(X, "toarray") else X, dtype=np.float64)
    known = np.array([label is not None for label in y])
    L, U = np.flatnonzero(known), np.flatnonzero(~known)
    log = -gamma * ((dense[U][:, None, :] - dense[L][None, :, :]) ** 2).sum(axis=2)
    share = np.exp(log - log.max(axis=1, keepdims=True))
    share /= share.sum(axis=1, keepdims=True)
    mir = (share > 0.5).sum(axis=0).astype(np.int64)
    total = share.sum(axis=0)
    order = np.argsort(-(total if by == "total" else mir), kind="stable")
    table = pd.DataFrame(
        {
            "rank": np.arange(1, L.size + 1),
            "point": L[order],
            "label": pd.Series([y[row] for row in L[order].tolist()], dtype=object),
            "mir": mir[order],
            "total": total[order],
            "share": mir[order] / U.size,
        }
    )
    classes = sorted({str(y[row]) for row in L.tolist()})
    settings: dict[Hashable, object] = {
        "gamma": gamma,
        "gamma_rule": "given",
        "gamma_note": "",
        "influence": "direct",
        "graph": "rbf",
        "method": "direct",
        "n_iter": 1,
        "residual": 0.0,
        "unreached": 0,
        "by": by,
        "normalization": "row",
        "n_labeled": int(L.size),
        "n_unlabeled": int(U.size),
        "n_features": dense.shape[1],
        "classes": classes,
        "one_class": len(classes) == 1,
        "undecided": 0,
        "rechecked": 0,
        "undominated": int(U.size - mir.sum()),
        "route": "float64",
        "device": "cpu",
        "device_note": "",
        "seconds": 0.01,
        "seconds_gamma": 0.0,
        "seconds_fit": 0.0,
        "versions": {"gssl-poison": "0.1.0"},
        "notes": [],
    }
    table.attrs = {**settings, **dict(attrs.items())}
    return table, Dataset("a set", X, np.array(y, dtype=object), None, None, None, "a test")


def sample(
    n: int = 120, d: int = 3, classes: tuple[object, ...] = ("a", "b"), **more: Any
) -> tuple[pd.DataFrame, Dataset]:
    """Make a set with every third point labelled."""
    X = np.random.default_rng(1).normal(size=(n, d))
    y = [classes[(k // 3) % len(classes)] if k % 3 == 0 else None for k in range(n)]
    return make(X, y, **more)


def text_of(page: str) -> str:
    """Strip a page to its prose: no drawings, and plain spaces."""
    body = re.sub(r"<(script|style|svg)\b.*?</\1>", " ", page, flags=re.S)
    return " ".join(html.unescape(re.sub(r"<[^>]*>", "", body)).split())


class Tags(HTMLParser):
    """Collect every tag with its attributes."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def tags_of(page: str) -> list[tuple[str, dict[str, str | None]]]:
    parser = Tags()
    parser.feed(page)
    return parser.found
