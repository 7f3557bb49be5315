"""Text from data in a table that a spreadsheet opens: it must not run as a formula."""

from __future__ import annotations

import re

from gssl_poison.readers.cells import DECIMAL

# A spreadsheet takes a cell for a formula that begins with one of these, some by the wide form.
_FORMULA = "[=+\\-@\uff1d\uff0b\uff0d\uff20]"
# Where a cell begins: at its start or, should the file be split by another mark, after that.
_DANGER = re.compile(rf"(?:(?<=[;,\t\r\n])|^)(?=[ ']*{_FORMULA})")
_GUARDED = re.compile(rf"(?:(?<=[;,\t\r\n])|^)'(?=[ ']*{_FORMULA})")


def guarded(text: str) -> str:
    """Put an apostrophe before what a spreadsheet would take for a formula; numbers stay.

    Examples
    --------
    >>> guarded("=1+1"), guarded("-1"), guarded("cat")
    ("'=1+1", '-1', 'cat')
    """
    return text if DECIMAL.fullmatch(text) else _DANGER.sub("'", text)


def unguarded(text: str) -> str:
    """Take away the apostrophes that `guarded` puts."""
    return _GUARDED.sub("", text)
