"""Labels that the others, leaving them out, contradict; and what depends on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gssl_poison.defenses._common import Booleans, Floats, above
from gssl_poison.defenses.opinions import against, told
from gssl_poison.influence import total_influence
from gssl_poison.problem import Problem
from gssl_poison.propagation import Fitted


@dataclass(frozen=True)
class Contradiction:
    """Score a label by the share of the others that speak against it.

    Parameters
    ----------
    witness : str, default "auto"
        Who speaks: see `told`.

    Notes
    -----
    ``1 - sum_{k != j, y_k = y_j} T_jk``, with T what the others say at j were it unlabelled. The
    score is suspect above 0.5: more than half of the evidence is for other classes. All l points
    cost what one M does, where a witness's formula is that of `Fitted.leave_one_out`.

    Examples
    --------
    >>> import numpy as np
    >>> from gssl_poison import Direct, Problem, RBFGraph
    >>> graph = RBFGraph(np.array([[0.0], [0.1], [0.2], [0.3], [5.0]]), gamma=1.0)
    >>> problem = Problem(graph, labeled=[0, 1, 2, 3], y=[0, 0, 0, 1])
    >>> Contradiction().is_poisoned(problem, Direct().fit(graph, [0, 1, 2, 3]))
    array([False, False, False,  True])
    """

    witness: str = "auto"

    source: ClassVar[str] = "leave-one-out disagreement"
    threshold: ClassVar[float] = 0.5

    def score(self, problem: Problem, propagator: Fitted) -> Floats:
        """Return the share of the others that contradict every label, (l,), in 0..1.

        Parameters
        ----------
        problem : Problem
        propagator : Fitted
            The victim; read where it is the witness.
        """
        opinions = told(problem, propagator, self.witness)
        return against(opinions, problem.y, problem.n_classes)[0]

    def is_poisoned(
        self, problem: Problem, propagator: Fitted, threshold: float | None = None
    ) -> Booleans:
        """Return which labels score above a threshold, (l,); by default above 0.5."""
        return above(self.score(problem, propagator), threshold, self.threshold)


@dataclass(frozen=True)
class Suspicion:
    """Score a label by contradiction times influence: what is likely wrong and matters.

    Parameters
    ----------
    witness : str, default "auto"
        Who contradicts: see `told`. The influence is the propagator's.

    Notes
    -----
    Contradiction times total influence over its mean. Suspect above 0.5: a label of average
    influence that more than half of the others contradict, a label of ten times that influence
    which a twentieth does.

    Examples
    --------
    >>> import numpy as np
    >>> from gssl_poison import Direct, Problem, RBFGraph
    >>> graph = RBFGraph(np.array([[0.0], [0.1], [0.2], [5.0]]), gamma=1.0)
    >>> problem = Problem(graph, labeled=[0, 1, 2], y=[0, 1, 0])
    >>> Suspicion().score(problem, Direct().fit(graph, [0, 1, 2])).round(2)
    array([0.24, 0.75, 1.7 ])
    """

    witness: str = "auto"

    source: ClassVar[str] = "this project: leave-one-out disagreement times influence"
    threshold: ClassVar[float] = 0.5

    def score(self, problem: Problem, propagator: Fitted) -> Floats:
        """Return contradiction times relative influence of every label, (l,); see above."""
        contradiction = Contradiction(self.witness).score(problem, propagator)
        total = total_influence(propagator)
        mean = float(total.mean())
        return contradiction * (total / mean if mean > 0.0 else np.ones_like(total))

    def is_poisoned(
        self, problem: Problem, propagator: Fitted, threshold: float | None = None
    ) -> Booleans:
        """Return which labels score above a threshold, (l,); by default above 0.5."""
        return above(self.score(problem, propagator), threshold, self.threshold)
