"""What kind of influence was ranked, in words: one step, a loop, or its limit."""

from __future__ import annotations

from ._facts import Facts
from ._format import count, number, plural

_METHODS = {
    "direct": "read from the weights",
    "loop": "the loop itself",
    "series": "the loop until nothing is left to come",
    "gth": "elimination without subtraction (GTH)",
    "cholesky": "Cholesky factorisation",
    "cg": "conjugate gradients with a certified error",
    "bicgstab": "BiCGStab with a certified error",
    "lu": "sparse LU factorisation with a certified error",
}


def how_trust_travels(facts: Facts) -> str:
    """Say what it means that a point listens to labels."""
    start = "Each unlabelled point divides its trust among the labelled points"
    if facts.kind == "direct":
        return f"{start}, more to near ones."
    to_others = f"{start}: it listens to near points, labelled or not, and these listen on"
    if facts.kind == "propagation":
        return f"{to_others}, for {plural(facts.n_iter, 'step')}."
    if facts.kind == "harmonic":
        return f"{to_others}, until a label is met."
    return f"{to_others}, each step counting for less than the one before."


def how_far_it_goes(facts: Facts) -> str:
    """Say what the figures hold for, and what could be otherwise."""
    held = f"for this {'graph' if facts.gamma is None else 'gamma'}, these labels and this set of"
    held += " classes."
    if facts.kind == "direct":
        text = (
            f"The figures are direct influence: one step from the labels to each point, {held} "
            "Labels that travel further, through unlabelled points, can rank otherwise "
            "(--influence harmonic)."
        )
    elif facts.kind == "propagation":
        text = (
            "The figures are those of label propagation stopped after "
            f"{plural(facts.n_iter, 'iteration')}, {held} Another number of iterations can rank "
            "otherwise."
        )
    elif facts.kind == "harmonic":
        text = (
            "The figures are those of the harmonic solution, the limit of label propagation, "
            f"{held} A loop that stops before it can rank otherwise."
        )
    else:
        text = (
            f"The figures are those of {facts.influence}, {held} Other settings can rank otherwise."
        )
    return (
        f"{text} High influence does not mean that a label is wrong; it means that much follows "
        "if it is."
    )


def what_reach_means(facts: Facts) -> str:
    """Say where gamma comes from and what it does, or that there is none."""
    if facts.gamma is None:
        return (
            "The graph was given: its weights say who listens to whom, and points without a path "
            "between them never hear each other. Another graph gives another order."
        )
    value, rule = number(facts.gamma), str(facts.settings["gamma_rule"])
    if rule == "given":
        text = f"Gamma, {value}, was given."
    else:
        note = str(facts.settings["gamma_note"]).strip().rstrip(".")
        text = f"Gamma, {value}, was chosen by the rule {rule!r}" + (f": {note}." if note else ".")
    larger = "each point listens to its nearest label alone"
    if facts.kind not in ("direct", "propagation"):
        larger = (
            "each point follows its nearest neighbours, from one to the next, to a single label"
        )
    text += (
        f" It sets how fast influence falls with distance: larger, and {larger}; smaller, and all "
        "labels are heard alike."
    )
    if facts.graph != "rbf":
        text += f" Points listen to their nearest neighbours only ({facts.graph})."
    return f"{text} Another gamma gives another order."


def method_in_words(facts: Facts) -> str:
    """Say how the influences were found, and how well the equations are met."""
    method = str(facts.settings.get("method", "direct"))
    text = _METHODS.get(method, method)
    if method in ("loop", "series"):
        text += f", {plural(facts.n_iter, 'iteration')}"
    elif method in ("cg", "bicgstab"):
        text += f", {count(facts.n_iter)} iterations"
    residual = float(facts.settings.get("residual") or 0.0)
    return f"{text}; residual {residual:.1g}" if residual > 0.0 else text
