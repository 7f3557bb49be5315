"""Label spreading as a scikit-learn estimator."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin, _fit_context
from sklearn.utils._param_validation import Interval, StrOptions

from gssl_poison.estimators.fitting import fit
from gssl_poison.estimators.inference import distributions_of, tags_of
from gssl_poison.estimators.spread import Spread


class LabelSpreading(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Label spreading: a point takes a part from its neighbours and keeps a part of its label.

    Drop-in for `sklearn.semi_supervised.LabelSpreading`, with its parameters, attributes and
    results, right where its weights underflow, and with an exact solver.

    Parameters
    ----------
    kernel : {"rbf", "knn", "precomputed"} or callable, default "rbf"
        "rbf": ``exp(-gamma |x - x'|^2)`` between all points, which is never stored as a full
        matrix. "knn": scikit-learn's directed graph of nearest neighbours, every point one of its
        own, all weights 1. "precomputed": X is the (n, n) matrix of weights, dense or sparse, row i
        saying with what weight point i listens to the others. A callable takes two arrays of points
        and returns the weights between them, dense or sparse.
    gamma : float, default 20
        Kernel coefficient of "rbf", in inverse squared units of X.
    n_neighbors : int, default 7
        Neighbours of a point for "knn", itself included.
    alpha : float, default 0.2
        In (0, 1): how much a point takes from its neighbours, and not from its own label.
    max_iter : int, default 30
        Largest number of iterations.
    tol : float, default 1e-3
        The loop stops when the distributions of all points together change by less than this.
    n_jobs : int, optional
        Threads that search for neighbours, as in scikit-learn; -1 for all processors. Products use
        all processors that the process may use.
    solver : {"iterative", "exact"}, default "iterative"
        "iterative": scikit-learn's loop, its stopping included. "exact": what the loop tends to,
        the closed form ``(1 - alpha) (I - alpha S)^-1 Y``; ``max_iter`` and ``tol`` do not count.
    precision : {"double", "single"}, default "double"
        "single": the weights of a dense graph are held in float32, in half the memory. Labels are
        those of "double": where a bound on the rounding leaves a class or the number of iterations
        open, all is done again in float64.
    device : {"auto", "cpu", "cuda"}, default "auto"
        Where to compute.

    Attributes
    ----------
    X_ : (n, d) ndarray or scipy sparse
        The training points, or the weights between them.
    classes_ : (c,) ndarray
        The classes, ascending.
    label_distributions_ : (n, c) float64
        Distribution over the classes for every point; 0 where no label reaches it.
    transduction_ : (n,) ndarray
        Class of every point: the first of the largest entries of its distribution.
    n_iter_ : int
        Iterations of the loop; with ``solver="exact"`` those of the solver.
    unreached_ : (r,) int64
        Rows of the points that no label reaches. Their ``transduction_`` is the first class, which
        is what an argmax gives and no decision.
    reran_in_double_ : bool
        Whether "single" was not enough and float64 was used.
    n_features_in_ : int
        Columns of X.
    feature_names_in_ : (d,) ndarray of str
        Names of the columns of X, where all are text.

    Warns
    -----
    ConvergenceWarning
        The loop stopped at ``max_iter``.
    UserWarning
        No label reaches some points, or some points given to ``predict`` reach none.

    Raises
    ------
    ValueError
        A parameter, X or y is not usable (`gssl_poison.InputError` where scikit-learn has no error
        of its own): no label at all, a negative weight, "exact" together with "single".
    DeviceError
        The device is not there.
    NumericalError
        ``solver="exact"`` at a gamma so large that float64 cannot carry the answer.

    Notes
    -----
    ``F <- alpha S F + (1 - alpha) Y`` with ``S = D^-1/2 W D^-1/2`` and a zero diagonal, from
    ``F = Y`` until ``sum |F - F_before| < tol``; rows are divided by their sums at the end. On a
    directed graph degrees are those of the columns, as in scikit-learn. Wherever a row of
    scikit-learn's ``label_distributions_`` sums to 1, this one is the same to 1e-10 for float64 X,
    ``n_iter_`` included: the loop runs on the weights that float64 can represent. Rows that it
    leaves at 0 because weights underflow (a large gamma) get what the same iterations give in
    logarithms, and where a label needs more iterations to arrive, what it brings when it does.
    ``n^2 d`` operations for "rbf" and ``n^2 c`` an iteration; memory of one triangle of the weights
    or less. Features of float32 are computed on in float64.

    References
    ----------
    Zhou, Bousquet, Lal, Weston and Schoelkopf 2004, Learning with local and global consistency.

    See Also
    --------
    LabelPropagation : Labels are clamped.
    gssl_poison.Spreading : The same as an operator on a graph.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[0.0], [1.0], [2.0], [9.0], [10.0]])
    >>> model = LabelSpreading(gamma=1.0).fit(X, [0, -1, -1, -1, 1])
    >>> model.transduction_
    array([0, 0, 0, 1, 1])
    >>> model.predict([[3.0], [1e6]])  # far away: the nearest point decides
    array([0, 1])
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "kernel": [StrOptions({"rbf", "knn", "precomputed"}), callable],
        "gamma": [Interval(Real, 0, None, closed="left")],
        "n_neighbors": [Interval(Integral, 0, None, closed="neither")],
        "alpha": [Interval(Real, 0, 1, closed="neither")],
        "max_iter": [Interval(Integral, 0, None, closed="neither")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "n_jobs": [None, Integral],
        "solver": [StrOptions({"iterative", "exact"})],
        "precision": [StrOptions({"double", "single"})],
        "device": [StrOptions({"auto", "cpu", "cuda"})],
    }

    def __init__(
        self,
        kernel: str | Callable[..., Any] = "rbf",
        *,
        gamma: float = 20,
        n_neighbors: int = 7,
        alpha: float = 0.2,
        max_iter: int = 30,
        tol: float = 1e-3,
        n_jobs: int | None = None,
        solver: str = "iterative",
        precision: str = "double",
        device: str = "auto",
    ) -> None:
        self.kernel = kernel
        self.gamma = gamma
        self.n_neighbors = n_neighbors
        self.alpha = alpha
        self.max_iter = max_iter
        self.tol = tol
        self.n_jobs = n_jobs
        self.solver = solver
        self.precision = precision
        self.device = device

    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def fit(self, X: Any, y: Any) -> LabelSpreading:
        """Spread labels over the graph of all points.

        Parameters
        ----------
        X : (n, d) array-like or scipy sparse
            Labelled and unlabelled points, or (n, n) weights for ``kernel="precomputed"``.
        y : (n,) array-like
            Classes, and -1 where a point is unlabelled; text and the number -1 go together in an
            object array.

        Returns
        -------
        LabelSpreading
            The estimator itself.
        """
        fit(self, Spread(float(self.alpha)), X, y)
        return self

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """Return the class of new points.

        Parameters
        ----------
        X : (q, d) array-like or scipy sparse
            New points, or their (q, n) weights to the training points for
            ``kernel="precomputed"``. A training point asked about again is a new point, and its
            class need not be that of ``transduction_``.

        Returns
        -------
        (q,) ndarray
        """
        probabilities = self.predict_proba(X)
        classes: npt.NDArray[Any] = self.classes_[np.argmax(probabilities, axis=1)]
        return classes

    def predict_proba(self, X: Any) -> npt.NDArray[np.float64]:
        """Return the distribution over the classes at new points.

        Parameters
        ----------
        X : (q, d) array-like or scipy sparse
            As for `predict`.

        Returns
        -------
        (q, c) float64
            The mean of the training points' distributions, weighted by the kernel; columns as in
            ``classes_``. Where all weights underflow it is the limit, that of the nearest point. A
            row is 0 where no training point with a distribution has a weight.
        """
        return distributions_of(self, X)

    def __sklearn_tags__(self) -> Any:
        """Return what scikit-learn asks about an estimator."""
        return tags_of(super().__sklearn_tags__(), self.kernel)
