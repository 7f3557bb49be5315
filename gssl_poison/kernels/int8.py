"""Exact products of 8-bit rows, for processors that multiply four bytes and add in one step.

Columns are packed sixteen to a panel, four features of each side by side, so that one 64-byte
register meets four features of a row, repeated sixteen times, and a product needs no sum across a
register. A tile of 8 rows by 2 panels stays in registers. The instruction (AVX-512 VNNI `vpdpbusd`)
multiplies unsigned by signed bytes and adds into int32 without saturation: a product is exact in
any order, and of 2**14 features twice a product less a square still fits int32.
"""

from __future__ import annotations

from typing import Any

import llvmlite.binding as llvm
import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils, config
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

ROWS = 8
PANELS = 2
PANEL = 16
GROUP = 4

_INSTRUCTION = "llvm.x86.avx512.vpdpbusd.512"
# The operand types of the instruction in LLVM's language are those of LLVM 22.
_LLVM = 22


def is_available() -> bool:
    """Tell whether the compiler and the processor it compiles for have the instruction."""
    # numba compiles for another processor where its settings name one.
    overridden = any(getattr(config, name) is not None for name in ("CPU_NAME", "CPU_FEATURES"))
    return bool(
        not overridden
        and llvm.llvm_version_info[0] >= _LLVM
        and llvm.get_host_cpu_features().get("avx512vnni", False)
    )


def padded(size: int, multiple: int) -> int:
    """Return the size rounded up to a multiple."""
    return -(-size // multiple) * multiple


def pack(codes: npt.NDArray[np.int8]) -> npt.NDArray[np.int8]:
    """Lay (l, d) signed codes out in panels, zero-padded: (l' / 16, 16 d')."""
    n_columns, n_features = codes.shape
    full = np.zeros((padded(n_columns, PANEL * PANELS), padded(n_features, GROUP)), dtype=np.int8)
    full[:n_columns, :n_features] = codes
    panels = full.reshape(full.shape[0] // PANEL, PANEL, -1, GROUP).transpose(0, 2, 1, 3)
    return np.ascontiguousarray(panels).reshape(panels.shape[0], -1)


@intrinsic
def _multiply_tile(typingctx: Any, rows: Any, panels: Any, out: Any, i: Any, p: Any) -> Any:
    """Write the products of 8 rows from i and 2 panels from p to ``out``; compiled code only."""
    signature = types.void(rows, panels, out, types.intp, types.intp)
    return signature, _generate_tile


def _generate_tile(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """Emit the loop over features of one tile."""
    i64, i32, i8 = ir.IntType(64), ir.IntType(32), ir.IntType(8)
    bytes_, sums = ir.VectorType(i8, PANEL * GROUP), ir.VectorType(i32, PANEL)
    rows, panels, out = (
        make_array(kind)(context, builder, value)
        for kind, value in zip(signature.args[:3], arguments[:3], strict=True)
    )
    multiply_add = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(sums, [sums, bytes_, bytes_]), _INSTRUCTION
    )

    def starts(array: Any, first: Any, count: int) -> list[Any]:
        stride = cgutils.unpack_tuple(builder, array.strides, 2)[0]
        start = builder.bitcast(array.data, i8.as_pointer())
        indices = [builder.add(first, i64(r)) for r in range(count)]
        return [builder.gep(start, [builder.mul(index, stride)]) for index in indices]

    def load(start: Any, offset: Any, kind: Any) -> Any:
        where = builder.bitcast(builder.gep(start, [offset]), kind.as_pointer())
        value = builder.load(where, typ=kind)
        value.align = 1
        return value

    def repeated(four_bytes: Any) -> Any:
        anything = ir.Constant(sums, ir.Undefined)
        one = builder.insert_element(anything, four_bytes, i32(0))
        all_first = ir.Constant(ir.VectorType(i32, PANEL), [0] * PANEL)
        return builder.bitcast(builder.shuffle_vector(one, anything, all_first), bytes_)

    n_features = cgutils.unpack_tuple(builder, rows.shape, 2)[1]
    row_starts = starts(rows, arguments[3], ROWS)
    panel_starts = starts(panels, arguments[4], PANELS)
    before = builder.block
    body, after = (builder.append_basic_block(f"tile.{name}") for name in ("body", "after"))
    builder.branch(body)

    builder.position_at_end(body)
    k = builder.phi(i64)
    k.add_incoming(i64(0), before)
    running = [[builder.phi(sums) for _ in range(PANELS)] for _ in range(ROWS)]
    sixteen_k = builder.mul(k, i64(PANEL))
    columns = [load(start, sixteen_k, bytes_) for start in panel_starts]
    now: list[list[Any]] = []
    for r, start in enumerate(row_starts):
        row = repeated(load(start, k, i32))
        now.append(
            [builder.call(multiply_add, [running[r][q], row, columns[q]]) for q in range(PANELS)]
        )
    for r in range(ROWS):
        for q in range(PANELS):
            running[r][q].add_incoming(ir.Constant(sums, [0] * PANEL), before)
            running[r][q].add_incoming(now[r][q], body)
    following = builder.add(k, i64(GROUP))
    k.add_incoming(following, body)
    builder.cbranch(builder.icmp_signed("<", following, n_features), body, after)

    builder.position_at_end(after)
    for r, start in enumerate(starts(out, arguments[3], ROWS)):
        for q in range(PANELS):
            first = builder.mul(builder.add(arguments[4], i64(q)), i64(PANEL * 4))
            where = builder.bitcast(builder.gep(start, [first]), sums.as_pointer())
            builder.store(now[r][q], where).align = 4
    return context.get_dummy_value()


@njit(nogil=True, cache=True)
def multiply(
    rows: npt.NDArray[np.uint8], panels: npt.NDArray[np.int8], out: npt.NDArray[np.int32]
) -> None:
    """Write the products of rows (b', d') and packed columns to ``out`` (b', l'), C-ordered.

    b' is a multiple of `ROWS`, d' of `GROUP`, l' of `PANEL` times `PANELS`.
    """
    for p in range(0, panels.shape[0], PANELS):
        for i in range(0, rows.shape[0], ROWS):
            _multiply_tile(rows, panels, out, i, p)  # type: ignore[call-arg]
