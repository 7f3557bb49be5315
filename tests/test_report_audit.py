"""The page about an audit: what it says, what it shows, and that data cannot act in it."""

from __future__ import annotations

import dataclasses
import itertools
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import scipy.sparse as sp
from audit_samples import ARABIC, HEBREW, audited, blobs, cells, plain, section
from report_samples import EVIL, NASTY, NOW, tags_of, text_of

from gssl_poison.datasets import load_dataset
from gssl_poison.exceptions import InputError
from gssl_poison.metrics import predictions
from gssl_poison.report import render_audit, write_audit
from gssl_poison.report._audit_changes import compare
from gssl_poison.report._audit_facts import find
from gssl_poison.report._features import Usual, feature_names
from gssl_poison.report._format import percent

if TYPE_CHECKING:
    from gssl_poison.datasets import Dataset
    from gssl_poison.review.auditing import Audit


def sample(**more: Any) -> tuple[Audit, Dataset]:
    """Audit two clusters with three wrong labels."""
    X, y, truth = blobs()
    return audited(X, y, **{"truth": truth, **more})


def test_file_is_written_whole_and_the_same_each_time(tmp_path: Path) -> None:
    found, dataset = sample()
    first = write_audit(tmp_path / "a.html", found, dataset, now=NOW)
    second = write_audit(tmp_path / "b.html", found, dataset, now=NOW)
    assert first.read_bytes() == second.read_bytes()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.html", "b.html"]
    assert "21 November 2026, 04:50 UTC" in text_of(first.read_text(encoding="utf-8"))


def test_another_data_set_is_refused_and_the_old_page_stays(tmp_path: Path) -> None:
    found, dataset = sample()
    path = write_audit(tmp_path / "a.html", found, dataset)
    old = path.read_bytes()
    other = dataclasses.replace(dataset, X=dataset.X[:-1])
    with pytest.raises(InputError, match="of 180 points and the data set has 179 rows"):
        write_audit(path, found, other)
    X, y, _ = blobs(size=20)
    with pytest.raises(InputError, match="audit before is of 40 points and this one of 180"):
        write_audit(path, found, dataset, before=audited(X, y)[0])
    assert path.read_bytes() == old


def test_the_verdict_counts_suspects_and_what_hangs_on_them() -> None:
    found, dataset = sample()
    page = find(found, dataset)
    suspects = np.flatnonzero(found.suspect)
    assert suspects.size == found.n_suspects >= 3
    # By retraining, from the definition.
    y = np.array(found.problem.y)
    y[suspects] = found.instead[suspects]
    corrected = predictions(found.prop, dataclasses.replace(found.problem, y=y))
    hang = int((corrected != predictions(found.prop, found.problem)).sum())
    assert page.hang == hang > 0
    text = text_of(render_audit(found, dataset))
    assert f"{suspects.size} of 60 labels look wrong, and {hang} prediction" in text
    why = (
        "by how they mislead those around them, each is wrong with a probability of more than 25 %"
    )
    assert why in text
    assert "60 labels decide 120 predictions" in text
    certificate = found.certificate
    assert certificate is not None
    # Neither bound reaches one half: the larger budget is spoken of.
    assert certificate.collective[1] < 0.5
    bound = plain(percent(float(certificate.collective[1])))
    assert f"{bound} of the predictions changed at most, by whoever changes 2 labels" in text
    assert f"and to whatever class, can change more than {bound} of the predictions." in text


def test_suspects_come_as_cards_in_the_order_of_the_audit() -> None:
    found, dataset = sample()
    page = render_audit(found, dataset)
    heads = re.findall(r'<a href="#rank-(\d+)">row ([\d,]+)</a>', page)
    order = [int(j) for j in found.order if found.suspect[j]]
    assert [int(row) for _, row in heads] == found.problem.labeled[order].tolist()
    rank = {int(j): place + 1 for place, j in enumerate(found.order)}
    assert [int(place) for place, _ in heads] == [rank[j] for j in order]
    places = re.findall(r'<span class="order">(\d+)</span>', page)
    assert [int(place) for place in places] == list(range(1, len(order) + 1))
    card = text_of(page.split('class="card suspect"')[1].split('class="card suspect"')[0])
    j = order[0]
    label, says = (found.problem.classes[c] for c in (found.problem.y[j], found.said[j]))
    against = plain(percent(float(found.contradiction[j])))
    for words in (
        f"Label {label}",
        f"Others say {says}",
        f"Against it {against}",
        f"It decides {found.mir[j]} (MIR)",
        f"Chance that it is wrong: {plain(percent(float(found.probability[j])))}",
    ):
        assert words in card
    n = int(found.changes[j])
    assert (f"If corrected, {n} prediction" if n else "changes no prediction") in card


def test_the_loudest_voices_are_shown_with_their_labels_shares_and_features() -> None:
    found, dataset = sample(names=("length", "width", "height"))
    page = render_audit(found, dataset)
    j = next(int(j) for j in found.order if found.suspect[j])
    own, *voices = cells(page.split('class="card suspect"')[1])
    assert own[0] == str(found.problem.labeled[j])
    assert len(voices) == 5
    for line, voice, share in zip(voices, found.voices[j], found.voice_shares[j], strict=True):
        point = int(found.problem.labeled[voice])
        label = found.problem.classes[found.problem.y[voice]]
        assert line[:3] == [str(point), label, plain(percent(float(share)))]
        assert [float(v) for v in line[3:]] == pytest.approx(
            np.asarray(dataset.X)[point].tolist(), rel=1e-3
        )


def test_pictures_are_shown_where_rows_are_images() -> None:
    data = load_dataset("digits-1-7", labeled=0.2)
    y = data.y.copy()
    for row in (105, 173, 189):  # near the mean of their class, where a wrong label misleads most
        y[row] = 8 - y[row]
    found, _ = audited(data.X, y, gamma=0.01)
    dataset = dataclasses.replace(data, y=y)
    page = render_audit(found, dataset)
    images = [given for tag, given in tags_of(page) if tag == "img"]
    cards = found.n_suspects
    assert cards == 3
    # A card has its own picture and five of others; both tables have one a row.
    assert len(images) == 6 * cards + 10 + 72
    assert all(str(image["src"]).startswith("data:image/png;base64,") for image in images)
    assert all(image["alt"] for image in images)
    first = int(found.problem.labeled[next(j for j in found.order if found.suspect[j])])
    assert images[0]["alt"] == f"Picture of row {first}, labelled {y[first]}"
    assert "What sets it apart" not in page


def test_of_many_features_those_are_shown_that_speak_for_the_other_class() -> None:
    X, y, truth = blobs(d=40)
    found, dataset = audited(X, y, truth=truth, gamma=0.1, names=tuple(f"f{k}" for k in range(40)))
    assert feature_names(dataset) == ()
    page = render_audit(found, dataset)
    assert "What sets it apart" in page
    # Features 0 and 1 are all in which the clusters differ.
    card = page.split('class="card suspect"')[1]
    told = cells(card[card.index("What sets") :])
    assert {"f0", "f1"} <= {row[0] for row in told}
    usual = Usual(dataset, found.problem.labeled, found.problem.y)
    labeled, codes = found.problem.labeled, found.problem.y
    for code in (0, 1):
        assert usual.of(code) == pytest.approx(X[labeled[codes == code]].mean(axis=0))
    row = int(labeled[0])
    for feature in usual.telling(row, 1, 0):
        assert abs(feature.value - feature.own) > abs(feature.value - feature.said)


def test_a_class_is_compared_with_its_predictions() -> None:
    found, dataset = sample()
    text = section(render_audit(found, dataset), "classes")
    for line, row in zip(cells(text), found.class_rows, strict=True):
        shares = f"labels {percent(row.share)} predictions {percent(row.predicted_share)}"
        assert line[:4] == [str(row.name), plain(shares), str(row.labels), str(row.suspects)]
        assert line[4].startswith(f"{row.z:+.1f}")
    far = tuple(
        dataclasses.replace(row, z=sign * 3.5)
        for row, sign in zip(found.class_rows, (1, -1), strict=True)
    )
    text = text_of(render_audit(dataclasses.replace(found, class_rows=far), dataset))
    assert "+3.5more labels than expected" in text
    assert "-3.5fewer labels than expected" in text


def test_sources_are_listed_the_most_contradicted_first() -> None:
    X, y, truth = blobs(wrong=6)
    origin = [
        "eve" if y[k] not in (None, truth[k]) else ("ann", "bob")[k % 2] for k in range(len(y))
    ]
    found, dataset = audited(X, y, provenance=origin)
    lines = cells(section(render_audit(found, dataset), "sources"))
    assert [line[0] for line in lines] == [
        s.name for s in sorted(found.sources, key=lambda s: -s.z)
    ]
    assert lines[0][0] == "eve"
    assert "contradicted more often than the rest" in lines[0][5]
    by_name = {source.name: source for source in found.sources}
    for line in lines:
        assert line[1:3] == [str(by_name[line[0]].labels), str(by_name[line[0]].contradicted)]
    found, dataset = sample()
    assert "Where the labels come from" not in render_audit(found, dataset)


def test_the_most_influential_labels_are_listed_right_or_wrong() -> None:
    found, dataset = sample()
    lines = cells(section(render_audit(found, dataset), "influential"))
    mir = [int(line[5]) for line in lines]
    assert len(lines) == 10
    assert mir == sorted(found.mir.tolist(), reverse=True)[:10]
    chance = {
        str(point): plain(percent(float(p)))
        for point, p in zip(found.problem.labeled, found.probability, strict=True)
    }
    assert [line[4] for line in lines] == [chance[line[0]] for line in lines]


def test_the_table_lists_every_label_with_its_state() -> None:
    X, y, truth = blobs()
    given, _ = audited(X, y)
    first, second = (int(given.problem.labeled[j]) for j in given.order[:2])
    found, dataset = audited(X, y, truth=truth, answers={first: truth[first], second: y[second]})
    lines = cells(render_audit(found, dataset).split('id="table"')[1])
    assert [int(line[1]) for line in lines] == found.problem.labeled[found.order].tolist()
    state = {int(line[1]): line[5] for line in lines}
    assert state[first] == "corrected"
    assert state[second] == "checked"
    suspects = set(found.problem.labeled[found.suspect].tolist())
    assert suspects == {row for row, said in state.items() if said == "suspect"}
    assert set(state.values()) == {"corrected", "checked", "suspect", "passes"}
    # What somebody confirmed stays contradicted, and is no suspect.
    at = found.problem.labeled.tolist().index(second)
    assert found.contradiction[at] > 0.5
    assert set(found.problem.labeled[find(found, dataset).suspects].tolist()) == suspects
    text = text_of(render_audit(found, dataset))
    assert "2 labels have been checked and count as right." in text


def test_without_a_certificate_it_says_so() -> None:
    found, dataset = sample(certificate=False)
    text = text_of(render_audit(found, dataset))
    assert "No bound was computed for these labels." in text
    assert f"{found.mir.max()} predictions decided by one label, at most" in text


def test_where_truth_is_known_it_says_how_many_suspects_are_right() -> None:
    found, dataset = sample()
    assert "3 labels are wrong, 3 of them suspect; of the 3 suspects 0 are right" in text_of(
        render_audit(found, dataset)
    )
    blind = dataclasses.replace(dataset, truth=None)
    assert "true class" not in text_of(render_audit(found, blind)).lower()


def test_before_and_after_names_what_changed() -> None:
    X, y, truth = blobs()
    before, dataset = audited(X, y)
    rows = [int(before.problem.labeled[j]) for j in before.order if before.suspect[j]]
    after, _ = audited(X, y, answers={row: truth[row] for row in rows})
    changes = compare(find(after, dataset), before)
    assert changes is not None
    assert [item.point for item in changes.labels] == sorted(rows)
    assert all(
        (item.old, item.new) == (y[item.point], truth[item.point]) for item in changes.labels
    )
    was = predictions(before.prop, before.problem)
    now = predictions(after.prop, after.problem)
    assert changes.n_predictions == int((was != now).sum()) > 0
    assert sum(move.points for move in changes.moves) == changes.n_predictions
    text = text_of(render_audit(after, dataset, before=before))
    assert "Before the changes there were 3 suspects." in text
    assert "3 labels changed" in text
    assert f"{changes.n_predictions} predictions changed" in text
    lines = {
        line[0]: line[1:]
        for line in cells(section(render_audit(after, dataset, before=before), "changes"))
    }
    assert lines["Suspects"] == ["3", str(after.n_suspects)]
    assert lines["Labels checked"] == ["0", "3"]


def test_before_and_after_can_have_other_labels_and_classes() -> None:
    X, y, _ = blobs()
    before, _ = audited(X, y)
    more = list(y)
    more[1], more[3] = "c", None
    after, dataset = audited(X, more)
    changes = compare(find(after, dataset), before)
    assert changes is not None
    assert [(i.point, i.old, i.new) for i in changes.labels] == [(1, None, "c"), (3, "a", None)]
    assert changes.n_common == 119
    text = text_of(render_audit(after, dataset, before=before))
    assert "row 1no label" in text


def test_what_was_corrected_before_is_no_change() -> None:
    X, y, truth = blobs()
    first, second = (
        int(row)
        for row in np.flatnonzero([a not in (None, b) for a, b in zip(y, truth, strict=True)])[:2]
    )
    before, _ = audited(X, y, answers={first: truth[first]})
    after, dataset = audited(X, y, answers={row: truth[row] for row in (first, second)})
    changes = compare(find(after, dataset), before)
    assert changes is not None
    assert [item.point for item in changes.labels] == [second]
    assert "0 labels changed" in text_of(render_audit(after, dataset, before=after))


def test_no_suspects_is_said_calmly() -> None:
    X, y, truth = blobs(wrong=0)
    found, dataset = audited(X, y, truth=truth)
    assert not found.n_suspects
    text = text_of(render_audit(found, dataset))
    assert "No label looks wrong." in text
    assert "none is wrong with a probability of more than 25 %." in text
    closest = int(found.probability.argmax())
    row, most = found.problem.labeled[closest], plain(percent(float(found.probability[closest])))
    assert f"Row {row} comes closest, with {most}." in text
    assert "hardly tell the classes apart" not in text
    assert "no proof: wrong labels side by side vouch for one another" in text
    assert "Check these first" not in text
    assert "every label is right" in text


@pytest.mark.parametrize("n_labels", [1, 2, 3])
@pytest.mark.parametrize("one_class", [True, False])
def test_few_labels_render(n_labels: int, one_class: bool) -> None:
    X, _, _ = blobs()
    names = ["a", "a", "a"] if one_class else ["a", "b", "c"]
    found, dataset = audited(X, names[:n_labels] + [None] * (len(X) - n_labels))
    text = text_of(render_audit(found, dataset))
    if n_labels == 1:
        assert "One label is nothing to compare with." in text
        assert "The only label, most worth checking first." in text
    elif one_class:
        assert f"All {n_labels} labels are of one class, so none contradicts another." in text


def test_many_suspects_are_told_from_many_wrong_labels() -> None:
    found, dataset = sample()
    for many in (15, 16):
        suspect = np.zeros(60, dtype=bool)
        suspect[found.order[:many]] = True
        text = text_of(render_audit(dataclasses.replace(found, suspect=suspect), dataset))
        assert ("hardly tell the classes apart" in text) == (many == 16)


def test_where_labels_tell_nothing_few_suspects_are_no_comfort() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(90, 2))
    y = [("a", "b")[int(rng.integers(2))] if k % 3 == 0 else None for k in range(90)]
    found, dataset = audited(X, y)
    against = int((found.contradiction > 0.5).sum())
    assert found.n_suspects < against
    for suspect in (found.suspect, np.zeros(30, dtype=bool)):
        text = text_of(render_audit(dataclasses.replace(found, suspect=suspect), dataset))
        assert f"At {against} of 30 labelled points most of what the other labels say is" in text


def test_others_that_disagree_among_themselves_are_no_verdict() -> None:
    found, dataset = sample()
    j = int(np.flatnonzero(found.suspect)[0])
    said = np.array(found.said)
    said[j] = found.problem.y[j]
    text = text_of(render_audit(dataclasses.replace(found, said=said), dataset))
    assert "The others disagree with it and among themselves." in text
    assert "Others sayseveral classes" in text


def test_a_suspect_that_the_others_agree_with_says_what_else_it_is_for() -> None:
    found, dataset = sample()
    j = next(int(j) for j in found.order if found.suspect[j])
    said, against, changes = np.array(found.said), found.contradiction.copy(), found.changes.copy()
    said[j], against[j], changes[j] = found.problem.y[j], 0.3, 4
    page = dataclasses.replace(found, said=said, contradiction=against, changes=changes)
    html = render_audit(page, dataset)
    card = text_of(html.split('class="card suspect"')[1])
    assert "Others saythe same" in card
    other = found.problem.classes[found.instead[j]]
    assert "Suspect for what it does to the labels around it." in card
    assert f"If it became {other}, 4 predictions would change." in card
    # What hangs on suspects does not depend on what the others say of them.
    assert find(page, dataset).hang == find(found, dataset).hang > 0


@pytest.mark.parametrize("kind", ["100 classes", "names", "sparse", "wide", "list of images"])
def test_unusual_data_render(kind: str) -> None:
    X, y, truth = blobs()
    more: dict[str, Any] = {}
    if kind == "100 classes":
        X, y, truth = blobs([f"class {k}" for k in range(100)], size=9)
        more["certificate"] = False
    elif kind == "names":
        X, y, truth = blobs([HEBREW, ARABIC, "x" * 5000, "10", " "])
    elif kind == "sparse":
        X = sp.csr_array(np.where(np.abs(X) > 1.0, X, 0.0))
    elif kind == "wide":
        X, y, truth = blobs(d=50)
    else:
        more["shape"] = (3, 1, 1)
    if kind not in {"names", "100 classes"}:
        more["truth"] = truth
    found, dataset = audited(X, y, **more)
    page = render_audit(found, dataset)
    assert len(cells(page.split('id="table"')[1])) == min(500, found.problem.y.size)
    assert len(cells(section(page, "classes"))) == len(found.problem.classes)
    assert "nan" not in text_of(page).lower().split()


def test_nothing_from_data_is_markup() -> None:
    X, y, truth = blobs(NASTY[:6], wrong=0)
    rng = np.random.default_rng(2)
    y = [None if label is None else NASTY[int(rng.integers(len(NASTY)))] for label in y]
    origin = [NASTY[k % len(NASTY)] for k in range(len(y))]
    found, dataset = audited(X, y, truth=truth, names=NASTY[:3], provenance=origin)
    found = dataclasses.replace(found, notes=(EVIL,), influence=NASTY[2])
    dataset = dataclasses.replace(dataset, name=EVIL, source=NASTY[3])
    page = render_audit(found, dataset, command=EVIL, before=audited(X, y[::-1])[0])
    tags = tags_of(page)
    names = [tag for tag, _ in tags]
    assert names.count("script") == 1
    assert not any(name.startswith("on") for _, given in tags for name in given)
    assert all(str(given.get("href", "#")).startswith(("#", "data:,")) for _, given in tags)
    assert "{{ 7 * 7 }}" in text_of(page)


def test_headings_go_down_one_level_at_a_time() -> None:
    found, dataset = sample()
    page = render_audit(found, dataset, before=found)
    levels = [int(tag[1]) for tag, _ in tags_of(page) if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b <= a + 1 for a, b in itertools.pairwise(levels))
    # Names that are pointed at exist, and each once.
    tags = tags_of(page)
    ids = [given["id"] for _, given in tags if "id" in given]
    assert len(ids) == len(set(ids))
    for _, given in tags:
        for name in str(given.get("aria-labelledby") or "").split():
            assert name in ids
        target = str(given.get("href") or "")
        assert not target.startswith("#") or target[1:] in ids
