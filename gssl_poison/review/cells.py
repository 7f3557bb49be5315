"""Label cells of a text file: where they stand, so that they alone are written anew."""

from __future__ import annotations

import re
from array import array
from typing import TYPE_CHECKING, Any

from gssl_poison.exceptions import InputError
from gssl_poison.review.fingerprints import label_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_END = re.compile("\r\n|\r|\n")
_BOM = "\ufeff"
_SVM_LABEL = re.compile(rb"^\s*([^\s#]+)")


def relabel_delimited(
    text: str, delimiter: str, column: int, y: Sequence[Any], changed: Mapping[int, Any]
) -> str:
    r"""Return a CSV or TSV text with other labels in some rows, and every other character kept.

    Parameters
    ----------
    text : str
        Header and rows, with whatever quotes, line ends and byte order mark.
    delimiter : str
    column : int
        Place of the label column.
    y : (n,) sequence
        The labels as they were read.
    changed : dict of int to label
        New labels by row; None for an empty cell.

    Raises
    ------
    InputError
        The text has another number of rows, or of columns, than were read.

    Notes
    -----
    A class is written as it stands in the first row that has it; in quotes where the cell was
    quoted or the name needs them.

    Examples
    --------
    >>> relabel_delimited('a,label\r\n1,"x"\r\n2,y\r\n', ",", 1, ["x", "y"], {0: "y"})
    'a,label\r\n1,"y"\r\n2,y\r\n'
    """
    starts, ends = _spans(text, delimiter, column)
    if len(starts) != len(y) + 1:
        raise InputError(
            f"the file has {len(starts) - 1:,} rows and {len(y):,} were read: it has changed "
            "since; read it again."
        )
    raw = [text[a:b] for a, b in zip(starts, ends, strict=True)][1:]
    written = _written(y, map(_unquoted, raw))
    pieces, last = [], 0
    for row in sorted(changed):
        new = "" if changed[row] is None else written(changed[row])
        if raw[row].startswith('"') or any(c in new for c in (delimiter, '"', "\r", "\n")):
            new = '"' + new.replace('"', '""') + '"'
        pieces += [text[last : starts[row + 1]], new]
        last = ends[row + 1]
    return "".join([*pieces, text[last:]])


def relabel_svmlight(data: bytes, y: Sequence[Any], changed: Mapping[int, Any]) -> bytes:
    r"""Return svmlight lines with other labels in some of them, every other byte kept.

    Examples
    --------
    >>> relabel_svmlight(b"# two\n+1 1:2\n-1 3:4\n", [1, -1], {0: -1})
    b'# two\n-1 1:2\n-1 3:4\n'
    """
    lines = data.splitlines(keepends=True)
    found = [(k, match) for k, line in enumerate(lines) if (match := _SVM_LABEL.match(line))]
    if len(found) != len(y):
        raise InputError(
            f"the file has {len(found):,} points and {len(y):,} were read: it has changed since; "
            "read it again."
        )
    written = _written(y, (match[1].decode() for _, match in found))
    for row, label in changed.items():
        k, match = found[row]
        new = b"nan" if label is None else written(label).encode()
        lines[k] = lines[k][: match.start(1)] + new + lines[k][match.end(1) :]
    return b"".join(lines)


def _written(y: Sequence[Any], cells: Iterable[str]) -> Any:
    """Return a function from a label to its text: as in the first row that has it."""
    style: dict[str, str] = {}
    for value, cell in zip(y, cells, strict=True):
        style.setdefault(label_text(value), cell if isinstance(value, str) else cell.strip())
    return lambda label: style.get(label_text(label), label_text(label))


def _unquoted(cell: str) -> str:
    """Return what a cell says."""
    if not cell.startswith('"'):
        return cell
    match = re.match('"([^"]*(?:""[^"]*)*)"', cell)
    if match is None:
        return cell
    return match[1].replace('""', '"') + cell[match.end() :]


def _spans(text: str, delimiter: str, column: int) -> tuple[array[int], array[int]]:
    """Return where the cell of a column begins and ends in every row, the header among them."""
    mark = re.escape(delimiter)
    # Nothing is tried again (?+, *+): a row that does not fit is told at once.
    cell = rf'(?:"[^"]*+(?:""[^"]*+)*+")?+[^{mark}\r\n]*+'
    row = re.compile(rf"(?:{cell}{mark}){{{column}}}({cell})(?:{mark}{cell})*+")
    starts, ends = array("q"), array("q")
    place = len(_BOM) if text.startswith(_BOM) else 0
    while place < len(text):
        line = _END.search(text, place)
        end, after = (line.start(), line.end()) if line else (len(text), len(text))
        if end == place:  # a blank line is no row
            place = after
            continue
        span = None
        if text.find('"', place, end) < 0:
            span = _plain_span(text, delimiter, column, place, end)
        elif match := row.match(text, place):  # which may run over several lines
            span = match.span(1)
            line = _END.match(text, match.end())
            after = line.end() if line else len(text)
        if span is None:
            raise InputError(
                f"row {len(starts) - 1} of the file has no column {column + 1}: it has changed "
                "since it was read; read it again."
            )
        starts.append(span[0])
        ends.append(span[1])
        place = after
    return starts, ends


def _plain_span(
    text: str, delimiter: str, column: int, start: int, end: int
) -> tuple[int, int] | None:
    """Find a cell in a line without quotes."""
    cells = text[start:end].split(delimiter, column)
    if len(cells) <= column:
        return None
    start = end - len(cells[-1])
    stop = text.find(delimiter, start, end)
    return start, end if stop < 0 else stop
