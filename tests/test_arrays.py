"""Features of every kind are read without being changed, or refused in one sentence."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch

from gssl_poison._arrays import as_features, is_sparse, n_threads
from gssl_poison.exceptions import DeviceError, InputError, InputTypeError
from gssl_poison.kernels.cuda import resolve_device


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
def test_numpy_is_used_where_it_lies(dtype):
    X = np.ones((3, 2), dtype=dtype)
    assert np.shares_memory(as_features(X), X)


@pytest.mark.parametrize(
    ("given", "becomes"),
    [
        ("int64", "float64"),
        ("int8", "float64"),
        ("float16", "float32"),
        ("bool", "uint8"),
        (">f4", "float32"),
    ],
)
def test_other_types_become_one_of_three(given, becomes):
    X = np.array([[1, 0], [0, 1]]).astype(given)
    features = as_features(X)
    assert features.dtype == becomes
    assert features.dtype.isnative
    np.testing.assert_array_equal(features, X)


def test_lists_frames_and_tensors():
    expected = np.array([[1.0, 2.0], [3.0, 4.0]])
    for X in (
        [[1, 2], [3, 4]],
        pd.DataFrame({"a": [1.0, 3.0], "b": [2, 4]}),
        pd.DataFrame({"a": pd.array([1, 3], dtype="Int64"), "b": [2, 4]}),
        torch.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True),
        torch.tensor([[1, 2], [3, 4]]),
    ):
        np.testing.assert_array_equal(as_features(X), expected)


def test_a_torch_tensor_shares_its_memory():
    X = torch.ones(4, 2)
    assert np.shares_memory(as_features(X), X.numpy())


@pytest.mark.parametrize("kind", ["csr", "csc", "coo", "lil"])
def test_sparse_input_stays_sparse_and_unchanged(kind):
    X = sp.random_array((20, 9), density=0.3, rng=np.random.default_rng(0)).asformat(kind)
    features = as_features(X)
    assert is_sparse(features)
    assert features.has_canonical_format
    np.testing.assert_array_equal(features.toarray(), X.toarray())


def test_unsorted_duplicated_sparse_entries_are_summed_in_a_copy():
    data, indices, indptr = np.array([1.0, 2.0, 3.0]), np.array([2, 0, 2]), np.array([0, 3, 3])
    X = sp.csr_array((data, indices, indptr), shape=(2, 3))
    features = as_features(X)
    assert features.toarray().tolist() == [[2.0, 0.0, 4.0], [0.0, 0.0, 0.0]]
    assert data.tolist() == [1.0, 2.0, 3.0]
    assert indices.tolist() == [2, 0, 2]


@pytest.mark.parametrize(
    ("X", "kind", "words"),
    [
        ([[1, 2], [3]], InputError, "ragged"),
        (np.ones(3), InputError, r"shape \(3,\).*reshape"),
        (np.ones((2, 2, 2)), InputError, "shape"),
        (np.empty((0, 3)), InputError, "empty"),
        (np.empty((3, 0)), InputError, "empty"),
        (sp.csr_array((0, 3)), InputError, "empty"),
        (np.array([["a", "b"]]), InputTypeError, "<U1"),
        (np.array([[1, None]], dtype=object), InputTypeError, "Python objects"),
        (np.ones((2, 2), dtype=complex), InputTypeError, "complex"),
        (sp.csr_array(np.ones((2, 2), dtype=complex)), InputTypeError, "complex"),
        (pd.DataFrame({"a": [1], "city": ["x"]}), InputError, "'city'.*not numbers"),
        (pd.Series([1.0, 2.0]), InputError, "to_frame"),
        (torch.eye(2).to_sparse(), InputTypeError, "sparse"),
    ],
)
def test_features_that_cannot_be_used(X, kind, words):
    with pytest.raises(kind, match=words):
        as_features(X)


def test_every_blas_that_is_used_is_told():
    """scipy brings one of its own, which must not be loaded after the others were counted."""
    code = (
        "import numpy as np\n"
        "from threadpoolctl import threadpool_info\n"
        "from gssl_poison._arrays import one_blas_thread\n"
        "with one_blas_thread():\n"
        "    from gssl_poison.kernels.blas import add_product\n"
        "    add_product(np.ones((2, 2)), np.eye(2), np.eye(2))\n"
        "    print({p['num_threads'] for p in threadpool_info() if p['user_api'] == 'blas'})\n"
    )
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "2", "MKL_NUM_THREADS": "2"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "{1}"


def test_devices():
    assert resolve_device("cpu")[0] == "cpu"
    device, note = resolve_device("auto")
    assert device == "cpu"
    assert "fell back" in note
    with pytest.raises(DeviceError, match=r"device='cuda' has kernels for.*'cpu'"):
        resolve_device("cuda", able=False)
    with pytest.raises(InputError, match="tpu"):
        resolve_device("tpu")
    assert n_threads() >= 1
