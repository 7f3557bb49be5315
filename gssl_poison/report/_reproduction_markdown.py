"""The report of the experiments in Markdown: the same words and tables as the page."""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING

from gssl_poison.experiments.names import signed

from ._reproduction_views import Table, plain

if TYPE_CHECKING:
    from ._reproduction import Part, ReproductionPage

_MARKED = re.compile(r"([\\`*_\[\]|~#])")
_BOLD = "far"


def write_markdown(page: ReproductionPage, figure: str) -> str:
    """Return a page as Markdown; ``figure`` is the name of the drawing that it refers to."""
    title = "".join(text for text, _ in page.headline)
    lines = [f"# {escape(title)}", "", escape(page.lead), ""]
    lines += [f"- **{escape(number)}** {escape(meaning)}" for number, meaning in page.tiles]
    lines += ["", *_findings(page)]
    lines += _part(page.correlations, "Table 2")
    lines += _figure(page, figure)
    lines += _part(page.timings, "Table 3")
    lines += _part(page.errors, "Table 4")
    lines += _explained(page)
    lines += _part(page.repairs, "Table 5")
    lines += ["## How it was made", ""]
    if page.command:
        fence = "`" * max(3, 1 + max(map(len, re.findall("`+", page.command)), default=0))
        lines += [fence, plain(page.command).replace("\n", " "), fence, ""]
    lines += [f"- {escape(name)}: {escape(text)}" for name, text in page.settings]
    lines += ["", *_table(page.times)]
    return "\n".join(lines).rstrip() + "\n"


def escape(text: str) -> str:
    r"""Write a text so that Markdown and the HTML in it take it for nothing else.

    Examples
    --------
    >>> escape("a|b <i> *c*")
    'a\\|b &lt;i&gt; \\*c\\*'
    """
    flat = " ".join(plain(text).split("\n"))
    return _MARKED.sub(r"\\\1", html.escape(flat, quote=False))


def _findings(page: ReproductionPage) -> list[str]:
    lines = ["## What holds", ""]
    for name, asks, found in page.findings:
        lines += [f"### {name}. {escape(asks)}", ""]
        for one in found:
            lines += [f"**{escape(one.claim)}**", ""]
            for source in ("paper", *page.presets):
                verdict = getattr(one, source)
                told = "by the printed figures" if source == "paper" else source
                lines.append(f"- {told}: **{verdict.word}**. {escape(verdict.sentence)}")
            lines += [f"- rule: {escape(one.rule)}", ""]
    return lines


def _part(part: Part, number: str) -> list[str]:
    lines = [f"## {number}. {escape(part.title)}", ""]
    if part.missing:
        return [*lines, part.missing, ""]
    if part.about:
        lines += [escape(part.about), ""]
    for table in part.tables:
        lines += _table(table)
    return lines


def _table(table: Table) -> list[str]:
    names = [*table.heads]
    names += [f"{c.group}: {c.name}" if c.group else c.name for c in table.columns]
    rules = [":--"] * len(table.heads) + ["--:"] * len(table.columns)
    lines = [f"### {escape(table.title)}", ""]
    if table.about:
        lines += [escape(table.about), ""]
    lines.append("| " + " | ".join(map(escape, names)) + " |")
    lines.append("| " + " | ".join(rules) + " |")
    for line in table.lines:
        values = [
            f"**{escape(value.text)}**" if value.tone == _BOLD else escape(value.text)
            for value in line.values
        ]
        lines.append("| " + " | ".join([*map(escape, line.heads), *values]) + " |")
    if table.foot:
        lines += ["", escape(table.foot)]
    return [*lines, ""]


def _figure(page: ReproductionPage, figure: str) -> list[str]:
    lines = ["## Figure 4. Error of models against the labels flipped", ""]
    if page.figure is None:
        return [*lines, "Not run: `gssl-poison reproduce rq2` fills it in.", ""]
    return [
        *lines,
        f"![Error of models against the part of the labels that MIR flips, one panel for each data "
        f"set and preset]({figure})",
        "",
    ]


def _explained(page: ReproductionPage) -> list[str]:
    if not page.compares:
        return []
    lines = ["## Why some errors are off by more than a point", ""]
    if not page.explained:
        return [*lines, "None is.", ""]
    for group, cause, cells in page.explained:
        lines += [f"**{escape(group)}.** {escape(cause)}", ""]
        for one in cells:
            compared = one.compared
            paper, ours = compared.paper or 0.0, compared.replication
            told = f"{one.where}: {100 * paper:.2f} printed"
            if ours is not None:
                told += f", {100 * ours.value:.2f} here ({signed(compared.difference or 0.0)})"
            lines.append(f"- {escape(told)}" + (f"; {escape(one.detail)}" if one.detail else ""))
        lines.append("")
    return lines
