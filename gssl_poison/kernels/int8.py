"""Exact products of 8-bit rows, for processors that multiply four bytes and add in one step.

A tile of 4 x 4 dot products is kept in registers; each step takes 64 bytes of four rows and four
columns. The instruction (AVX-512 VNNI `vpdpbusd`) multiplies unsigned by signed bytes and adds into
int32 without saturation: a dot product is exact in any order, and of 2**14 features twice a product
less a square still fits int32.
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

TILE = 4
STEP = 64
MOST_FEATURES = 2**14

# Columns of a tile row that stay in the first-level cache while the rows of a block pass by.
_COLUMN_BLOCK = 128

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


@intrinsic
def _multiply_tile(typingctx: Any, rows: Any, columns: Any, out: Any, i: Any, j: Any) -> Any:
    """Write ``rows[i : i + 4] @ columns[j : j + 4].T`` to ``out``; compiled code only."""
    signature = types.void(rows, columns, out, types.intp, types.intp)
    return signature, _generate_tile


def _generate_tile(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """Emit the loop over features of one tile."""
    i64, i32, i8 = ir.IntType(64), ir.IntType(32), ir.IntType(8)
    bytes_, sums = ir.VectorType(i8, STEP), ir.VectorType(i32, STEP // 4)
    rows, columns, out = (
        make_array(kind)(context, builder, value)
        for kind, value in zip(signature.args[:3], arguments[:3], strict=True)
    )
    multiply_add = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(sums, [sums, bytes_, bytes_]), _INSTRUCTION
    )
    add_up = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(i32, [sums]), f"llvm.vector.reduce.add.v{STEP // 4}i32"
    )

    def start_of(array: Any, row: Any) -> Any:
        stride = cgutils.unpack_tuple(builder, array.strides, 2)[0]
        return builder.gep(builder.bitcast(array.data, i8.as_pointer()), [builder.mul(row, stride)])

    def starts(array: Any, first: Any) -> list[Any]:
        return [start_of(array, builder.add(first, i64(r))) for r in range(TILE)]

    def load(start: Any) -> Any:
        where = builder.bitcast(builder.gep(start, [k]), bytes_.as_pointer())
        value = builder.load(where, typ=bytes_)
        value.align = 1
        return value

    n_features = cgutils.unpack_tuple(builder, rows.shape, 2)[1]
    row_starts, column_starts = starts(rows, arguments[3]), starts(columns, arguments[4])
    before = builder.block
    body, after = (builder.append_basic_block(f"tile.{name}") for name in ("body", "after"))
    builder.branch(body)

    builder.position_at_end(body)
    k = builder.phi(i64)
    k.add_incoming(i64(0), before)
    running = [[builder.phi(sums) for _ in range(TILE)] for _ in range(TILE)]
    row_bytes, column_bytes = [load(s) for s in row_starts], [load(s) for s in column_starts]
    sums_now = [
        [builder.call(multiply_add, [running[r][c], a, b]) for c, b in enumerate(column_bytes)]
        for r, a in enumerate(row_bytes)
    ]
    for r in range(TILE):
        for c in range(TILE):
            running[r][c].add_incoming(ir.Constant(sums, [0] * (STEP // 4)), before)
            running[r][c].add_incoming(sums_now[r][c], body)
    following = builder.add(k, i64(STEP))
    k.add_incoming(following, body)
    builder.cbranch(builder.icmp_signed("<", following, n_features), body, after)

    builder.position_at_end(after)
    for r, start in enumerate(starts(out, arguments[3])):
        for c in range(TILE):
            column = builder.add(arguments[4], i64(c))
            where = builder.gep(builder.bitcast(start, i32.as_pointer()), [column])
            builder.store(builder.call(add_up, [sums_now[r][c]]), where)
    return context.get_dummy_value()


@njit(nogil=True, cache=True)
def multiply(
    rows: npt.NDArray[np.uint8], columns: npt.NDArray[np.int8], out: npt.NDArray[np.int32]
) -> None:
    """Write ``rows @ columns.T``; sizes are multiples of `TILE`, features of `STEP`, C-ordered."""
    n_rows, n_columns = rows.shape[0], columns.shape[0]
    for first in range(0, n_columns, _COLUMN_BLOCK):
        for i in range(0, n_rows, TILE):
            for j in range(first, min(first + _COLUMN_BLOCK, n_columns), TILE):
                _multiply_tile(rows, columns, out, i, j)  # type: ignore[call-arg]


def padded(size: int, multiple: int) -> int:
    """Return the size rounded up to a multiple."""
    return -(-size // multiple) * multiple
