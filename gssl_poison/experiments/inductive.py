"""Models that learn from known and inferred labels: the paper's random forest and perceptron."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gssl_poison.exceptions import InputError
from gssl_poison.experiments.machine import ignoring

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Forest:
    """The paper's random forest: 100 trees, Gini impurity, the root of the features at a split."""

    n_estimators: int = 100
    criterion: str = "gini"
    max_features: str = "sqrt"


@dataclass(frozen=True)
class Perceptron:
    """The paper's perceptron: 128 rectified units, a sigmoid (softmax for more than two classes).

    Epochs and optimiser are those of its published code, the rest scikit-learn's defaults.
    """

    n_hidden: int = 128
    n_epochs: int = 5
    learning_rate: float = 1e-3
    batch_size: int = 200
    l2: float = 1e-4


MODEL_SETTINGS: dict[str, Forest | Perceptron] = {"forest": Forest(), "mlp": Perceptron()}


def settings_of(model: str) -> dict[str, Any]:
    """Return what a model is made of, for the key of a cell.

    Examples
    --------
    >>> settings_of("forest")["n_estimators"]
    100
    >>> settings_of("transductive")
    {}
    """
    return asdict(MODEL_SETTINGS[model]) if model in MODEL_SETTINGS else {}


def model_error(
    model: str,
    train: tuple[Any, Integers],
    test: tuple[Any, Integers],
    *,
    seed: int,
    device: str = "cpu",
) -> float:
    """Train a model on known and inferred labels; return its error on points kept for testing.

    Parameters
    ----------
    model : {"forest", "mlp"}
    train, test : tuple of (n, d) array or CSR array, (n,) int64
        Features and class codes.
    seed : int
        Of the model.
    device : {"cpu", "cuda"}
        Where a perceptron is trained: scikit-learn on the CPU, torch on a GPU. A forest is trained
        on the CPU.

    Returns
    -------
    float
        Part of the test points that are predicted wrongly.

    Raises
    ------
    InputError
        The model is not known.

    Notes
    -----
    One thread, whatever else runs: the order of additions, and so the model, is always the same.

    Examples
    --------
    >>> import numpy as np
    >>> X, y = np.array([[0.0], [0.1], [5.0], [5.1]]), np.array([0, 0, 1, 1])
    >>> model_error("forest", (X, y), (X, y), seed=0)
    0.0
    """
    X, codes = train
    if model not in MODEL_SETTINGS:
        raise InputError(f"model={model!r} is not known; use one of {', '.join(MODEL_SETTINGS)}.")
    if model == "forest":
        predicted = _forest(X, codes, test[0], seed)
    elif device == "cuda":
        from gssl_poison.experiments.perceptron import predict_by_torch

        predicted = predict_by_torch(Perceptron(), X, codes, test[0], seed=seed, device="cuda")
    else:
        predicted = _perceptron(X, codes, test[0], seed)
    return float((predicted != test[1]).mean())


def _forest(X: Any, codes: Integers, X_test: Any, seed: int) -> Integers:
    from sklearn.ensemble import RandomForestClassifier

    forest = RandomForestClassifier(**asdict(Forest()), random_state=seed, n_jobs=1)
    predicted: Integers = forest.fit(X, codes).predict(X_test)
    return predicted


def _perceptron(X: Any, codes: Integers, X_test: Any, seed: int) -> Integers:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier
    from threadpoolctl import threadpool_limits

    chosen = Perceptron()
    perceptron = MLPClassifier(
        hidden_layer_sizes=(chosen.n_hidden,),
        activation="relu",
        solver="adam",
        max_iter=chosen.n_epochs,
        learning_rate_init=chosen.learning_rate,
        batch_size=min(chosen.batch_size, int(X.shape[0])),
        alpha=chosen.l2,
        random_state=seed,
    )
    # Five epochs are what is asked for, and no convergence.
    with ignoring(ConvergenceWarning), threadpool_limits(1, user_api="blas"):
        predicted: Integers = perceptron.fit(X, codes).predict(X_test)
    return predicted
