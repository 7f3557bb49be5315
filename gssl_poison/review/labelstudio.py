"""Queues as tasks that Label Studio imports, and the labelling interface they are shown in."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import quoteattr

import numpy as np
import numpy.typing as npt

from gssl_poison._atomic import atomic_write
from gssl_poison.datasets.pictures import thumbnails
from gssl_poison.exceptions import InputError
from gssl_poison.review.fingerprints import label_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from gssl_poison.datasets import Dataset

# What a person answers who cannot tell; a class of that name takes the word away.
CANNOT_TELL = ("?", "skip")
# Name of the control whose choice is the answer, as the column of a CSV queue is.
ANSWER = "answer"
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
# Features of a row shown to a person; of sparse rows those that are not 0.
_SHOWN = 100


def config_path(path: Path) -> Path:
    """Return where the labelling interface of a queue is written: beside it."""
    return path.with_name(f"{path.stem}.config.xml")


def cannot_tell(classes: Sequence[str]) -> str | None:
    """Return the word for "cannot tell" that is no class; None where all are."""
    return next((word for word in CANNOT_TELL if word not in classes), None)


def labeling_config(classes: Sequence[str], *, images: bool) -> str:
    """Return the labelling interface as XML: the row, what is asked, one choice for each class.

    Parameters
    ----------
    classes : sequence of str
    images : bool
        Whether tasks hold pictures; else a table of features.

    Notes
    -----
    Label Studio puts the data of a task in the place of ``$name`` in texts. A class with a dollar
    in its name is shown with the wide form of the sign, and its result is the name as it is.

    Examples
    --------
    >>> print(labeling_config(["cat", "a < b"], images=True))
    <View>
      <Header value="$question"/>
      <Image name="points" value="$image" smoothing="false"/>
      <Choices name="answer" toName="points" choice="single" required="true">
        <Choice value="cat"/>
        <Choice value="a &lt; b"/>
        <Choice value="?" hint="cannot tell"/>
      </Choices>
    </View>
    """
    shown = (
        '<Image name="points" value="$image" smoothing="false"/>'
        if images
        else '<HyperText name="points" value="$html"/>'
    )
    word = cannot_tell(classes)
    choices = [_choice(name) for name in classes]
    if word is not None:
        choices.append(f'<Choice value="{word}" hint="cannot tell"/>')
    return "\n".join(
        [
            "<View>",
            '  <Header value="$question"/>',
            f"  {shown}",
            f'  <Choices name="{ANSWER}" toName="points" choice="single" required="true">',
            *(f"    {choice}" for choice in choices),
            "  </Choices>",
            "</View>",
        ]
    )


def write_tasks(queue: pd.DataFrame, path: Path, config: Path, dataset: Dataset) -> None:
    """Write the tasks and, beside them, the labelling interface."""
    classes = queue.attrs.get("classes")
    if not classes:
        raise InputError(
            "the queue has lost its attrs['classes'], the choices to be offered; write the table "
            "that make_queue returned."
        )
    bad = [name for name in classes if _NOT_XML.search(name)]
    if bad:
        raise InputError(
            f"the class {bad[0]!r} has a character that XML cannot hold; rename the "
            "class, or write the queue as .csv."
        )
    images = thumbnails(dataset, queue["point"].to_numpy(dtype=np.int64))
    text = json.dumps(_tasks(queue, dataset, images), indent=1, allow_nan=False, ensure_ascii=False)
    layout = labeling_config(classes, images=bool(images))
    # The interface first: tasks without it are of no use.
    for file, content in ((config, layout), (path, text)):
        with atomic_write(file) as temporary:
            temporary.write_text(content + "\n", encoding="utf-8")


def _tasks(queue: pd.DataFrame, dataset: Dataset, images: list[str]) -> list[dict[str, Any]]:
    """Return a task for every row, with what the other labels say as its prediction."""
    from gssl_poison import __version__

    tasks = []
    for k, row in enumerate(queue.to_dict(orient="records")):
        label, says = label_text(row["label"]), label_text(row["says"])
        share = round(float(row["share_against"]), 4)
        heard = "Other labels say nothing here."
        if share > 0.0:
            heard = f"Other labels around it: {share:.0%} against it, most say {says}."
        point = int(row["point"])
        shown = {"image": images[k]} if images else {"html": _as_html(dataset, point)}
        tasks.append(
            {
                "id": int(row["order"]),
                "data": {
                    **shown,
                    "question": f"Point {point} is labelled {label}. What is it? {heard}",
                    "point": point,
                    "label": label,
                    "says": says,
                    "share_against": share,
                    "probability": round(float(row["probability"]), 4),
                    "decides": int(row["decides"]),
                    "changes": int(row["changes"]),
                    "neighbours": row["neighbours"],
                    "row": row["row"],
                    "data": row["data"],
                },
                "predictions": [
                    {
                        "model_version": f"gssl-poison {__version__}",
                        "score": share,
                        "result": [
                            {
                                "from_name": ANSWER,
                                "to_name": "points",
                                "type": "choices",
                                "value": {"choices": [says]},
                            }
                        ],
                    }
                ],
            }
        )
    return tasks


def _choice(name: str) -> str:
    """Return the tag of a class; its result is the name, whatever is shown."""
    value = quoteattr(name.replace("$", "\uff04"))
    alias = f" alias={quoteattr(name)}" if "$" in name else ""
    return f"<Choice value={value}{alias}/>"


def _as_html(dataset: Dataset, point: int) -> str:
    """Return the features of a row as an HTML table, with every name escaped."""
    picked: Any = dataset.X[point : point + 1]
    sparse = hasattr(picked, "toarray")
    values: npt.NDArray[Any] = np.asarray(picked.toarray() if sparse else picked)[0]
    columns = np.flatnonzero(values) if sparse else np.arange(values.size)
    names = dataset.feature_names
    rows = [
        f"<tr><th>{html.escape(names[j] if names else f'feature {j}')}</th>"
        f"<td>{float(values[j]):.6g}</td></tr>"
        for j in columns[:_SHOWN].tolist()
    ]
    left = columns.size - len(rows)
    more = f"<p>and {left:,} more features</p>" if left else ""
    return f"<table>{''.join(rows)}</table>{more}"
