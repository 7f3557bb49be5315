"""Sparse matrices of every library multiply in their own, and are read without being changed."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from torch_geometric.data import Data

from gssl_poison.exceptions import DeviceError, InputError, InputTypeError
from gssl_poison.sparse import (
    as_csr,
    check_csr,
    is_sparse_matrix,
    library_of,
    matmul,
    pyg_to_coo,
    sort_edges,
)

# torch says so whenever the first compressed tensor of a process is made.
pytestmark = pytest.mark.filterwarnings("ignore:Sparse .* tensor support is in beta:UserWarning")

FORMATS = ("bsr", "coo", "csc", "csr", "dia", "dok", "lil")


def sparse_values(rng, shape=(6, 4)):
    return rng.normal(size=shape) * (rng.random(shape) < 0.5)


def tensor(indices, values, shape):
    """COO tensor that is neither sorted nor summed."""
    indices, values = torch.tensor(indices), torch.tensor(values)
    return torch.sparse_coo_tensor(indices, values, shape, check_invariants=True)


class OnADevice:
    """Stands in for a cupy array: what it holds comes to the host by `get`."""

    def __init__(self, held):
        self.held, self.shape, self.ndim = held, held.shape, held.ndim

    def get(self):
        return self.held

    def __matmul__(self, other):
        return OnADevice(self.held @ other.held)


class CupySparse(OnADevice):
    __module__ = "cupyx.scipy.sparse._csr"


class CupyDense(OnADevice):
    __module__ = "cupy"


@pytest.mark.parametrize("columns", [(), (3,)])
@pytest.mark.parametrize("form", FORMATS)
def test_scipy_products_are_those_of_the_dense_matrix(form, columns, rng):
    values, F = sparse_values(rng), rng.normal(size=(4, *columns))
    product = matmul(sp.coo_array(values).asformat(form), F)
    assert type(product) is np.ndarray
    np.testing.assert_allclose(product, values @ F, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("columns", [(), (3,)])
@pytest.mark.parametrize("layout", [torch.sparse_coo, torch.sparse_csr])
def test_torch_products_are_torch_tensors(layout, columns, rng):
    values, F = sparse_values(rng), rng.normal(size=(4, *columns))
    A = torch.from_numpy(values).to_sparse(layout=layout)
    product = matmul(A, torch.from_numpy(F))
    assert isinstance(product, torch.Tensor)
    assert product.layout == torch.strided
    np.testing.assert_allclose(product.numpy(), values @ F, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("layout", [torch.sparse_coo, torch.sparse_csr])
def test_torch_products_take_the_wider_type(layout, rng):
    A = torch.from_numpy(sparse_values(rng)).float().to_sparse(layout=layout)
    F = torch.from_numpy(rng.normal(size=(4, 2)))
    assert matmul(A, F).dtype == torch.float64
    assert matmul(A, F.float()).dtype == torch.float32


def test_gradients_flow_through_a_torch_product(rng):
    values = sparse_values(rng)
    F = torch.ones((4, 2), dtype=torch.float64, requires_grad=True)
    matmul(torch.from_numpy(values).to_sparse_coo(), F).sum().backward()
    np.testing.assert_allclose(F.grad[:, 0].numpy(), values.sum(axis=0), rtol=1e-14)


def test_cupy_products_stay_with_cupy():
    A, F = CupySparse(np.array([[0.0, 2.0]])), CupyDense(np.array([[1.0], [3.0]]))
    assert isinstance(matmul(A, F), OnADevice)
    assert matmul(A, F).get() == 6.0


@pytest.mark.parametrize("F_kind", ["numpy", "torch", "cupy", "list", "sparse"])
@pytest.mark.parametrize("A_kind", ["scipy", "torch", "cupy"])
def test_mixed_kinds_are_refused(A_kind, F_kind):
    eye = np.eye(2)
    A = {"scipy": sp.csr_array(eye), "torch": torch.eye(2).to_sparse_coo(), "cupy": CupySparse(eye)}
    F = {
        "numpy": eye,
        "torch": torch.eye(2),
        "cupy": CupyDense(eye),
        "list": eye.tolist(),
        "sparse": A[A_kind],
    }
    if (A_kind, F_kind) in {("scipy", "numpy"), ("torch", "torch"), ("cupy", "cupy")}:
        matmul(A[A_kind], F[F_kind])
        return
    with pytest.raises(InputTypeError, match=r"cannot multiply .*convert one"):
        matmul(A[A_kind], F[F_kind])


def test_a_dense_left_factor_is_refused():
    for dense in (np.eye(2), torch.eye(2)):
        with pytest.raises(InputTypeError, match="not sparse"):
            matmul(dense, dense)


@pytest.mark.parametrize("shape", [(3, 1), (3,), (4, 2, 2), ()])
def test_shapes_that_do_not_fit_are_refused(shape):
    with pytest.raises(InputError, match="do not fit"):
        matmul(sp.eye_array(4, format="csr"), np.ones(shape))


def test_torch_layouts_without_a_product_are_refused():
    with pytest.raises(InputTypeError, match="to_sparse_csr"):
        matmul(torch.eye(2).to_sparse_csc(), torch.eye(2))


def test_torch_tensors_of_two_devices_are_refused():
    with pytest.raises(DeviceError, match="is on cpu and F on meta"):
        matmul(torch.eye(2).to_sparse_coo(), torch.ones(2, device="meta"))


def test_products_of_scipy_import_no_other_library():
    code = (
        "import sys, numpy as np, scipy.sparse as sp\n"
        "from gssl_poison.sparse import as_csr, matmul\n"
        "matmul(as_csr(sp.eye_array(2)), np.eye(2))\n"
        "print(*{'torch', 'cupy', 'torch_geometric'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("kind", ["array", "matrix"])
@pytest.mark.parametrize("dtype", ["float64", "float32", "int32", "uint8", "bool"])
def test_any_scipy_matrix_becomes_canonical_csr(form, kind, dtype, rng):
    values = (4 * rng.random((5, 7)) * (rng.random((5, 7)) < 0.5)).astype(dtype)
    A = sp.csr_matrix(values) if kind == "matrix" else sp.csr_array(values)
    csr = as_csr(A.asformat(form))
    assert isinstance(csr, sp.csr_array)
    assert csr.dtype == np.float64
    assert csr.indices.dtype == csr.indptr.dtype == np.int32
    assert csr.has_canonical_format
    np.testing.assert_array_equal(csr.toarray(), values.astype(np.float64))


@pytest.mark.parametrize("layout", ["coo", "csr", "csc", "bsr"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.int64])
def test_any_torch_layout_becomes_canonical_csr(layout, dtype):
    dense = torch.tensor([[0, 1, 2, 0], [0, 0, 0, 0], [3, 0, 0, 0], [0, 0, 4, 1]]).to(dtype)
    arguments = ((2, 2),) if layout == "bsr" else ()
    csr = as_csr(getattr(dense, f"to_sparse_{layout}")(*arguments))
    assert csr.has_canonical_format
    np.testing.assert_array_equal(csr.toarray(), dense.double().numpy())


def test_entries_given_twice_are_summed():
    at = ([0, 0, 1], [1, 1, 0])
    uncoalesced = tensor(at, [1.0, 2.0, 5.0], (2, 2))
    for A in (sp.coo_array(([1.0, 2.0, 5.0], at), shape=(2, 2)), uncoalesced):
        np.testing.assert_array_equal(as_csr(A).toarray(), [[0.0, 3.0], [5.0, 0.0]])


def test_cupy_is_read_from_the_device():
    np.testing.assert_array_equal(as_csr(CupySparse(sp.csr_array(np.eye(2)))).toarray(), np.eye(2))


def test_canonical_csr_is_read_where_it_lies(rng):
    A = sp.csr_array(sparse_values(rng))
    assert np.shares_memory(as_csr(A).data, A.data)


@pytest.mark.parametrize("writeable", [True, False])
def test_the_matrix_of_the_caller_is_not_changed(writeable):
    # Neither sorted nor unique: scipy would put that right in place.
    parts = {
        "data": np.array([1.0, 2.0, 3.0, 4.0]),
        "indices": np.array([2, 0, 0, 1], dtype=np.int32),
        "indptr": np.array([0, 3, 4, 4], dtype=np.int32),
    }
    A = sp.csr_array((parts["data"], parts["indices"], parts["indptr"]), shape=(3, 3))
    before = {name: array.copy() for name, array in parts.items()}
    for array in parts.values():
        array.flags.writeable = writeable
    np.testing.assert_array_equal(as_csr(A).toarray(), [[5.0, 0, 1], [0, 4, 0], [0, 0, 0]])
    for name, array in parts.items():
        np.testing.assert_array_equal(array, before[name])
        assert getattr(A, name).size == before[name].size


def test_what_is_no_sparse_matrix_of_numbers_is_refused():
    for dense in (np.eye(2), torch.eye(2), [[1.0]], CupyDense(np.eye(2))):
        with pytest.raises(InputTypeError, match=r"not sparse; .*csr_array\(W\)"):
            as_csr(dense)
    with pytest.raises(InputTypeError, match="complex128"):
        as_csr(sp.csr_array(np.eye(2) * 1j))
    with pytest.raises(InputError, match="1 dimension"):
        as_csr(sp.coo_array(np.ones(3)))
    with pytest.raises(InputError, match="3 dimensions"):
        as_csr(tensor([[0], [0], [1]], [1.0], (2, 2, 3)))
    with pytest.raises(InputError, match="hybrid"):
        as_csr(tensor([[0]], [[1.0, 2.0, 3.0]], (2, 3)))


def test_the_kinds_of_arrays_are_told_apart():
    assert library_of(np.eye(2)) == library_of(sp.eye_array(2)) == "numpy"
    assert library_of(torch.eye(2)) == "torch"
    assert library_of([1.0]) is None
    assert is_sparse_matrix(torch.eye(2).to_sparse_csc())
    assert not is_sparse_matrix(torch.eye(2))


def test_edges_are_sorted_and_those_given_twice_are_added_as_weights():
    indptr, indices, logs = sort_edges(
        np.array([0, 3, 3, 5]), np.array([2, 0, 2, 1, 0]), np.array([-2000.0, 1, -2000, 2, 3])
    )
    np.testing.assert_array_equal(indptr, [0, 2, 2, 4])
    np.testing.assert_array_equal(indices, [0, 2, 0, 1])
    np.testing.assert_allclose(logs, [1.0, -2000 + np.log(2), 3, 2], rtol=1e-15)


@pytest.mark.parametrize(
    ("indptr", "indices", "message"),
    [
        ([0, 1], [0], "shapes"),
        ([0, 1, 1], [0, 1], "shapes"),
        ([0, 2, 1], [0], "rise from 0"),
        ([1, 1, 1], [0], "rise from 0"),
        ([0, 0, 2], [0], "rise from 0"),
        ([0, 1, 1], [2], "columns lie in 0..1"),
        ([0, 1, 1], [-1], "columns lie in 0..1"),
        ([0.0, 1.0, 1.0], [0], "pass integers"),
        ([0, 1, 1], [0.0], "pass integers"),
    ],
)
def test_arrays_that_are_no_csr_are_refused(indptr, indices, message):
    with pytest.raises(InputError, match=message):
        check_csr(np.array(indptr), np.array(indices), np.zeros(1), 2)


def test_pyg_edges_go_from_source_to_target():
    edge_index = torch.tensor([[0, 1, 0], [1, 2, 1]])
    plain = pyg_to_coo(Data(edge_index=edge_index, num_nodes=4))
    np.testing.assert_array_equal(
        plain.toarray(), [[0, 0, 0, 0], [2, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]]
    )
    weight = torch.tensor([0.5, 2.0, 0.25])
    by_weight = Data(edge_index=edge_index, edge_weight=weight, num_nodes=4)
    by_attr = Data(edge_index=edge_index, edge_attr=weight[:, None], num_nodes=4)
    for data in (by_weight, by_attr):
        assert pyg_to_coo(data).tocsr()[1, 0] == 0.75


def test_pyg_data_that_is_no_graph_is_refused():
    edge_index = torch.tensor([[0, 1], [1, 0]])
    with pytest.raises(InputTypeError, match="no edge_index"):
        pyg_to_coo(Data(x=torch.ones((2, 1))))
    with pytest.raises(InputTypeError, match="no edge_index"):
        pyg_to_coo({"edge_index": edge_index})
    with pytest.raises(InputError, match=r"edge_attr has shape \(2, 3\) for 2 edges"):
        pyg_to_coo(Data(edge_index=edge_index, edge_attr=torch.ones((2, 3)), num_nodes=2))
    with pytest.raises(InputError, match=r"node numbers lie in 0\.\.0"):
        pyg_to_coo(Data(edge_index=edge_index, num_nodes=1))
