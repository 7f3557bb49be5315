"""The perceptron of the experiments in torch, for a GPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gssl_poison.exceptions import DeviceError

if TYPE_CHECKING:
    from gssl_poison.experiments.inductive import Perceptron

Integers = npt.NDArray[np.int64]

# Test points that are predicted together.
_ROWS = 8192


def check_torch_device(device: str) -> None:
    """Refuse a device that torch does not have here.

    Raises
    ------
    DeviceError
        torch is not installed, or sees no such device.

    Examples
    --------
    >>> check_torch_device("cpu")
    """
    try:
        import torch
    except ImportError as error:
        raise DeviceError(
            f"device={device!r} trains perceptrons with torch, which is not installed; "
            "install gssl-poison[torch], or use device='cpu'."
        ) from error
    if device == "cuda" and not torch.cuda.is_available():
        raise DeviceError(
            f"device='cuda' cannot run here: torch {torch.__version__} finds no GPU; "
            "use device='cpu' or 'auto'."
        )


def predict_by_torch(
    settings: Perceptron,
    X: Any,
    codes: Integers,
    X_test: Any,
    *,
    seed: int,
    device: str,
) -> Integers:
    """Train a perceptron and return what it predicts for the test points.

    Parameters
    ----------
    settings : Perceptron
    X, X_test : (n, d), (m, d) ndarray or scipy.sparse.csr_array
        Batches of a sparse array are made dense one by one.
    codes : (n,) int64
        Class codes of X.
    seed : int
        Of the first weights and of the order of the points.
    device : str
        One of torch's.

    Returns
    -------
    (m,) int64

    Notes
    -----
    As scikit-learn's ``MLPClassifier`` with the same settings: float32 weights drawn uniformly in
    ``sqrt(6 / (fan_in + fan_out))``, cross-entropy plus half of ``l2`` times the squared weights,
    divided by the batch; Adam; points in a new order every epoch. The draws are others, so a model
    differs as with another seed.

    References
    ----------
    Glorot and Bengio 2010, Understanding the difficulty of training deep feedforward neural
    networks; Kingma and Ba 2015, Adam.
    """
    import torch

    classes, targets = np.unique(codes, return_inverse=True)
    n, d = (int(side) for side in X.shape)
    # Two classes have one output: the logit of the second.
    n_outputs = 1 if classes.size == 2 else max(1, classes.size)
    if classes.size == 1:
        return np.full(int(X_test.shape[0]), classes[0], dtype=np.int64)
    draw = torch.Generator().manual_seed(seed)
    layers = [*_drawn(d, settings.n_hidden, draw), *_drawn(settings.n_hidden, n_outputs, draw)]
    layers = [layer.to(device).requires_grad_() for layer in layers]
    optimizer = torch.optim.Adam(layers, lr=settings.learning_rate)
    answers = torch.as_tensor(targets, device=device)
    for _ in range(settings.n_epochs):
        order = torch.randperm(n, generator=draw).numpy()
        for start in range(0, n, settings.batch_size):
            rows = order[start : start + settings.batch_size]
            logits = _forward(layers, _batch(X, rows, device))
            wanted = answers[torch.as_tensor(rows, device=device)]
            if n_outputs == 1:
                loss = torch.nn.functional.binary_cross_entropy_with_logits(
                    logits[:, 0], wanted.to(logits.dtype)
                )
            else:
                loss = torch.nn.functional.cross_entropy(logits, wanted)
            squares = (layers[0] ** 2).sum() + (layers[2] ** 2).sum()
            optimizer.zero_grad()
            (loss + 0.5 * settings.l2 * squares / rows.size).backward()
            optimizer.step()
    predicted = []
    with torch.no_grad():
        for start in range(0, int(X_test.shape[0]), _ROWS):
            rows = np.arange(start, min(start + _ROWS, int(X_test.shape[0])))
            logits = _forward(layers, _batch(X_test, rows, device))
            codes_of = logits[:, 0] > 0 if n_outputs == 1 else logits.argmax(dim=1)
            predicted.append(codes_of.cpu().numpy().astype(np.int64))
    return np.asarray(classes[np.concatenate(predicted)], dtype=np.int64)


def _drawn(n_in: int, n_out: int, draw: Any) -> tuple[Any, Any]:
    """Return first weights (n_in, n_out) and offsets (n_out,)."""
    import torch

    bound = (6.0 / (n_in + n_out)) ** 0.5
    return tuple(
        (2.0 * torch.rand(*shape, generator=draw) - 1.0) * bound
        for shape in ((n_in, n_out), (n_out,))
    )


def _forward(layers: list[Any], batch: Any) -> Any:
    """Return the logits of a batch."""
    return (batch @ layers[0] + layers[1]).relu() @ layers[2] + layers[3]


def _batch(X: Any, rows: npt.NDArray[np.int64], device: str) -> Any:
    """Return some rows as a dense float32 tensor."""
    import torch

    block = X[rows]
    dense = block if isinstance(block, np.ndarray) else block.toarray()
    return torch.as_tensor(np.ascontiguousarray(dense, dtype=np.float32), device=device)
