"""Kernels of flips and of radii, and the library's own way to them: cases as in `_gpu_rows`."""

from __future__ import annotations

import numpy as np
from _gpu_checks import blocks, called, integers, launched, poisoned

from gssl_poison.kernels.cuda import Card
from gssl_poison.kernels.cuda_flips import CardFlips
from gssl_poison.kernels.cuda_radius import count_needed_on_card
from gssl_poison.labels import TIE

# Rows that are drawn; larger M hold them again and again.
_DRAWN = 2048


def first_of(scores):
    """Return the class of the highest score, ties up to `TIE` to the lower; classes come first."""
    most, best = scores[0].copy(), np.zeros(scores[0].shape, dtype=np.int64)
    for c in range(1, len(scores)):
        higher = scores[c] > most + TIE
        most, best = np.where(higher, scores[c], most), np.where(higher, c, best)
    return best


def flip_task(rng, rows, labels, classes):
    """Return M, scores, codes and targets in eighths, whose sums are exact: ties are ties.

    Scores are off by less than what is a tie.
    """
    few = rng.integers(0, 8, (min(rows, _DRAWN), labels), dtype=np.uint8) / 8.0
    codes = rng.integers(0, classes, labels)
    scores = scores_of(few, codes, classes)
    scores += 0.3 * TIE * rng.integers(-1, 2, scores.shape)
    M, scores = again(rows, few, scores)
    return M, scores, codes, rng.integers(0, classes, rows)


def scores_of(M, codes, classes):
    """Return the scores of every class, (r, c)."""
    return np.stack([M @ (codes == c).astype(np.float64) for c in range(classes)], axis=1)


def again(rows, *arrays):
    """Return arrays of so many rows, theirs again and again: drawing all would take minutes."""
    return [np.resize(array, (rows, *array.shape[1:])) for array in arrays]


def count_flips(M, scores, codes, target):
    """Return how many more rows are wrong once label j has class b, (l, c)."""
    n_classes = scores.shape[1]
    change = np.zeros((codes.size, n_classes), dtype=np.int64)
    for start in range(0, len(M), 256):
        m, s, right = M[start : start + 256], scores[start : start + 256], target[start:][:256]
        wrong = first_of(s.T) != right
        for shift in range(1, n_classes):
            to = (codes + shift) % n_classes
            moved = [s[:, c, None] + m * ((to == c) * 1.0 - (codes == c)) for c in range(n_classes)]
            more = (first_of(moved) != right[:, None]).sum(axis=0) - wrong.sum()
            change[np.arange(codes.size), to] += more
    return change


def flip_errors(card: Card, rng, rows, labels, classes):
    M, scores, codes, target = flip_task(rng, rows, labels, classes)
    before = rng.integers(0, 99, (labels, classes)).astype(np.int32)  # gains the counts
    change, together = card.put(before), 128
    while together * (8 * classes + 8) > 48 * 1024:  # of shared memory
        together //= 2
    return launched(
        card,
        "flip_errors",
        grid=(blocks(labels, 64), blocks(rows, together), classes - 1),
        threads=64,
        arguments=(
            card.put(M),
            card.put(scores),
            *(card.put(a.astype(np.int32)) for a in (codes, target)),
            *integers(rows, labels, classes),
            np.float64(TIE),
            change,
        ),
        outputs={"change": change},
        shared=together * (8 * classes + 8),
        macros={"ROWS": str(together)},
        expected=lambda: {"change": before + count_flips(M, scores, codes, target)},
        n_bytes=8 * rows * (labels + classes) + 4 * (rows + labels + labels * classes),
        n_flops=2 * classes * (classes - 1) * rows * labels,
    )


def flip_label(card: Card, rng, rows, labels, classes):
    M, scores, codes, _ = flip_task(rng, rows, labels, classes)
    label = int(rng.integers(labels))
    old, new = int(codes[label]), (int(codes[label]) + 1) % classes
    there, classes_there = card.put(scores), card.put(codes.astype(np.int32))
    move = np.zeros(classes)
    move[old], move[new] = -1.0, 1.0

    def expected():
        flipped = codes.copy()
        flipped[label] = new
        return {"scores": scores + M[:, [label]] * move, "codes": flipped}

    return launched(
        card,
        "flip_label",
        grid=(blocks(rows, 256),),
        threads=256,
        arguments=(
            card.put(M),
            *integers(rows, labels, classes, label, old, new),
            there,
            classes_there,
        ),
        outputs={"scores": there, "codes": classes_there},
        expected=expected,
        n_bytes=(8 + 4 * 8) * rows,
        n_held=M.nbytes,
        n_flops=2 * rows,
    )


def near_to_turning(M, scores, codes, target, *, labels, fresh):
    """Return what flips bring the right rows nearer to turning, rows added up in order, (m,)."""
    right = np.arange(len(M))[first_of(scores.T) == target]
    if not right.size:
        return np.zeros(labels.size)
    s, goal, rows = scores[right], target[right], np.arange(right.size)
    part, old = M[np.ix_(right, labels)], codes[labels]
    own = s[rows, goal][:, None]
    ahead = own + part * ((fresh == goal[:, None]) * 1.0 - (old == goal[:, None]))
    gap, after = np.full(part.shape, 1e300), np.full(part.shape, 1e300)
    for c in range(s.shape[1]):
        theirs = (goal != c)[:, None]
        lead = ahead - s[:, [c]] - part * ((fresh == c) * 1.0 - (old == c))
        gap = np.where(theirs, np.minimum(gap, own - s[:, [c]]), gap)
        after = np.where(theirs, np.minimum(after, lead), after)
    gap = np.maximum(gap, TIE)
    nearer = np.where(part == 0.0, 0.0, np.clip((gap - after) / gap, -1.0, 1.0))
    return np.cumsum(nearer, axis=0)[-1]


def flip_nearness(card: Card, rng, rows, labels, classes):
    M, scores, codes, target = flip_task(rng, rows, labels, classes)
    # Not eighths alone: sums that depend on the order of the rows.
    M = M * rng.random((rows, 1))
    scores = scores_of(M, codes, classes)
    which = rng.permutation(labels)
    fresh = (codes[which] + rng.integers(1, classes, labels)) % classes
    outputs = {"nearness": poisoned(card, (labels,), "float64")}
    whole = [card.put(a.astype(np.int32)) for a in (codes, target, which, fresh)]
    return launched(
        card,
        "flip_nearness",
        grid=(blocks(labels, 64),),
        threads=64,
        arguments=(
            card.put(M),
            card.put(scores),
            *whole,
            *integers(rows, labels, classes, labels),
            np.float64(TIE),
            outputs["nearness"],
        ),
        outputs=outputs,
        expected=lambda: {
            "nearness": near_to_turning(M, scores, codes, target, labels=which, fresh=fresh)
        },
        n_bytes=8 * rows * (labels + classes) + 4 * rows + 20 * labels,
        n_flops=(6 * classes + 8) * rows * labels,
    )


def fewest_flips(M, scores, codes, predicted, *, error, allowance):
    """Return how few flips change a row, by its shares and beyond doubt, (r, 2): by sorting."""
    n_labeled, n_classes = codes.size, scores.shape[1]
    needed = np.full((len(M), 2), n_labeled + 1)
    for i in np.flatnonzero(M.any(axis=1)):
        for rival in set(range(n_classes)) - {int(predicted[i])}:
            tie = TIE if rival > predicted[i] else -TIE
            need = scores[i, predicted[i]] - scores[i, rival] + tie
            for side in range(2):
                gains = np.where(codes == predicted[i], 2.0, 1.0) * (M[i] + side * error)
                sums = np.cumsum(np.sort(gains[codes != rival])[::-1])
                wanted = need - side * allowance
                found = 0 if wanted <= 0.0 else 1 + int(np.searchsorted(sums, wanted))
                if found <= sums.size:
                    needed[i, side] = min(needed[i, side], found)
    return needed


def shares_to_turn(rng, rows, labels, classes):
    """Return M, scores, codes, predictions, and two errors, of which all sums are exact.

    1024ths and powers of two: their sums have no order, and many gains tie.
    """
    parts = rng.random(labels) ** 4
    few = rng.multinomial(1024, parts / parts.sum(), min(rows, _DRAWN)) / 1024.0
    few[2::5] = 0.0  # out of reach
    codes = rng.integers(0, classes, labels)
    M, scores = again(rows, few, scores_of(few, codes, classes))
    return (M, scores, codes, first_of(scores.T)), 2.0**-30, 2.0**-40


def count_needed(card: Card, rng, rows, labels, classes):
    given, error, rounding = shares_to_turn(rng, rows, labels, classes)
    known = {"error": error, "allowance": labels * error + rounding}
    M, scores, *whole = given
    outputs = {"needed": poisoned(card, (rows, 2), "int32")}
    return launched(
        card,
        "count_needed",
        grid=(rows,),
        threads=256,
        arguments=(
            card.put(M),
            card.put(scores),
            *(card.put(array.astype(np.int32)) for array in whole),
            *integers(labels, classes),
            *map(np.float64, (TIE, *known.values())),
            outputs["needed"],
        ),
        outputs=outputs,
        expected=lambda: {"needed": fewest_flips(*given, **known)},
        n_bytes=8 * rows * (labels + classes + 1) + 4 * (rows + labels),
        n_flops=4 * (classes - 1) * rows * labels,
    )


# --- the library's own calls


def flip_in_turn(M, scores, codes, target, n_flips):
    """Return what a search asks for, flip by flip, each giving the best label its best class."""
    scores, codes, n_classes = scores.copy(), codes.copy(), scores.shape[1]
    changes, near = [], []
    for _ in range(n_flips):
        change = count_flips(M, scores, codes, target)
        changes.append(change)
        j, new = divmod(int(change.argmax()), n_classes)
        flips = {"labels": np.arange(codes.size), "fresh": (codes + 1) % n_classes}
        near.append(near_to_turning(M, scores, codes, target, **flips))
        if new != codes[j]:
            scores[:, codes[j]] -= M[:, j]
            scores[:, new] += M[:, j]
            codes[j] = new
    return {"changes": np.array(changes), "nearness": np.array(near), "scores": scores}


def greedy(card: Card, rng, rows, labels, classes, *, n_flips=3):
    """What a greedy search does on a card: counts, nearness and a flip, again and again."""
    M, scores, codes, target = flip_task(rng, rows, labels, classes)

    def search():
        state, now = CardFlips(card, M, scores, codes, target), codes.copy()
        changes, near = [], []
        for _ in range(n_flips):
            change = state.count()
            changes.append(change)
            j, new = divmod(int(change.argmax()), classes)
            near.append(state.nearness(np.arange(labels), (now + 1) % classes))
            if new != now[j]:
                state.flip(j, int(now[j]), new)
                now[j] = new
        return {"changes": np.array(changes), "nearness": np.array(near), "scores": state.scores}

    return called(search, expected=lambda: flip_in_turn(M, scores, codes, target, n_flips))


def greedy_round(card: Card, rng, rows, labels, classes):
    """One round of a greedy search, M being on the card: all counts to the host, and a flip."""
    M, scores, codes, target = flip_task(rng, rows, labels, classes)
    state, now = CardFlips(card, M, scores, codes, target), codes.copy()

    def search():
        change = state.count()
        j, new = divmod(int(change.argmax()), classes)
        state.flip(j, int(now[j]), new)
        now[j] = new
        return {"change": change}

    return called(
        search,
        expected=lambda: {"change": count_flips(M, scores, codes, target)},
        n_bytes=8 * rows * (labels + 3 * classes),
        n_flops=2 * classes * (classes - 1) * rows * labels,
    )


def radii(card: Card, rng, rows, labels, classes):
    """Radii of rows whose shares come from the host."""
    given, error, rounding = shares_to_turn(rng, rows, labels, classes)
    known = {"error": error, "allowance": labels * error + rounding}
    return called(
        lambda: {"needed": count_needed_on_card(card, *given, error, rounding)},
        expected=lambda: {"needed": fewest_flips(*given, **known)},
        n_bytes=8 * rows * (labels + classes + 1),
        n_flops=4 * (classes - 1) * rows * labels,
    )


# As in `_gpu_rows`.
KERNELS = {
    flip_errors: (
        [(1, 1, 2), (129, 33, 2), (130, 70, 5), (130, 9, 50)],
        [(12357, 650, 2), (12357, 3251, 2), (12357, 650, 10), (16_000, 10_000, 2)],
    ),
    flip_label: ([(1, 1, 2), (257, 33, 4)], [(12357, 650, 2), (12357, 3251, 10)]),
    flip_nearness: ([(1, 1, 2), (129, 33, 2), (130, 70, 5)], [(12357, 650, 2), (12357, 3251, 10)]),
    count_needed: (
        [(1, 1, 2), (11, 31, 3), (12, 300, 4)],
        [(2000, 650, 2), (12357, 650, 2), (12357, 3251, 10)],
    ),
}
WHOLE = {
    greedy: ([(130, 33, 2), (61, 40, 4)], []),
    greedy_round: ([(130, 33, 2)], [(12357, 650, 2), (12357, 3251, 2), (12357, 3251, 10)]),
    radii: ([(11, 31, 3)], [(12357, 650, 2)]),
}
