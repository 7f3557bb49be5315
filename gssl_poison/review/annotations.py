"""The JSON that Label Studio exports, as answers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from gssl_poison.exceptions import InputError
from gssl_poison.review.filled import Given
from gssl_poison.review.labelstudio import ANSWER

if TYPE_CHECKING:
    from pathlib import Path


def read_export(file: Path, cannot_tell: tuple[str, ...]) -> list[Given]:
    """Return what every task of an export was answered; `cannot_tell` are words for that."""
    try:
        tasks = json.loads(file.read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError as error:
        raise InputError(f"{file} is not UTF-8 text ({error}); export it again.") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{file} is not JSON ({error}); export it again.") from error
    if not isinstance(tasks, list):
        raise InputError(
            f"{file} holds no list of tasks; export it from Label Studio in the format JSON."
        )
    return [_given(file, number, task, cannot_tell) for number, task in enumerate(tasks, 1)]


def _given(file: Path, number: int, task: Any, cannot_tell: tuple[str, ...]) -> Given:
    """Return the answer of one task."""
    known = task.get("id", number) if isinstance(task, dict) else number
    place = f"task {known}"
    data = task.get("data") if isinstance(task, dict) else None
    annotations = task.get("annotations") if isinstance(task, dict) else None
    if not (isinstance(data, dict) and isinstance(annotations, list)):
        raise InputError(
            f"{place} of {file} has no 'data' and 'annotations' as Label Studio exports them; "
            "export it in the format JSON (not JSON-MIN, and not the file that was imported)."
        )
    missing = [name for name in ("point", "row", "data") if name not in data]
    if missing:
        raise InputError(
            f"{place} of {file} has no {missing[0]!r} in its data, so it was not made by "
            "gssl-poison queue; import the queue as it is."
        )
    point, row, mark = (_text(data[name]) for name in ("point", "row", "data"))
    told = _told(file, place, annotations)
    different = sorted({text for text in told or () if text.strip().lower() not in cannot_tell})
    if len(different) > 1:
        raise InputError(
            f"{place} of {file} is answered {' and '.join(map(repr, different))}; decide which in "
            "Label Studio, and export again."
        )
    answer = None if told is not None else ""
    label = _text(data.get("label", ""))
    return Given(place, point, different[0] if different else answer, row, mark, label)


def _text(value: Any) -> str:
    """Return a value of a task as text; what is neither text nor a whole number as JSON has it."""
    return value if isinstance(value, str) else json.dumps(value)


def _told(file: Path, place: str, annotations: list[Any]) -> list[str] | None:
    """Return what the annotations of a task chose; None where nobody looked at it."""
    told: list[str] = []
    looked = False
    for annotation in annotations:
        results = annotation.get("result") if isinstance(annotation, dict) else None
        if not isinstance(results, list):
            raise InputError(f"{place} of {file} has an annotation without a result; export again.")
        skipped = bool(annotation.get("was_cancelled"))
        chosen = [] if skipped else _choices(file, place, results)
        told.extend(chosen)
        looked = looked or skipped or bool(chosen)
    return told if looked else None


def _choices(file: Path, place: str, results: list[Any]) -> list[str]:
    """Return what one annotation chose: one class, or nothing."""
    found: list[str] = []
    for result in results:
        if not isinstance(result, dict) or result.get("from_name") != ANSWER:
            continue
        value = result.get("value")
        choices = value.get("choices") if isinstance(value, dict) else None
        if not (isinstance(choices, list) and all(isinstance(text, str) for text in choices)):
            raise InputError(
                f"{place} of {file} has an {ANSWER!r} that is no choice; use the labelling "
                "interface that belongs to the queue."
            )
        found.extend(choices)
    if len(found) > 1:
        raise InputError(
            f"{place} of {file} has {len(found)} choices in one annotation, "
            f"{' and '.join(map(repr, found))}; a label is one class."
        )
    return found
