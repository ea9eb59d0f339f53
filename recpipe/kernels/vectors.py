"""Vector instructions for the inner loops of ALS and top-N, through Numba's own door.

A loop that Numba vectorises by itself stores what it adds at every step, and spends most of a
short row on its beginning and end; NumPy's product needs both halves of a symmetric result and a
call a row. So these few loops keep a tile of the matrix in registers and are given to LLVM as
vectors of LANES numbers, which it fits to whatever the machine has (AVX-512, AVX2, NEON). Here is
what they share; the loops are in `cholesky_tiles`, `gradient_tiles`, `score_tiles`, `bound_tiles`.

All arrays are C-contiguous float32; matrices have a width that is a multiple of LANES.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llvmlite import ir
from numba.core import cgutils

if TYPE_CHECKING:
    from collections.abc import Callable

LANES = 16
"""Columns of a tile, and what every row of a matrix here is padded to a multiple of."""
ROWS = 8
"""Rows of a tile of a product."""

FLOAT = ir.FloatType()
VECTOR = ir.VectorType(FLOAT, LANES)
INDEX = ir.IntType(64)
LANE = ir.IntType(32)


class Matrix:
    """A matrix while instructions are emitted."""

    def __init__(self, context: Any, builder: Any, kind: Any, value: Any) -> None:
        array = context.make_array(kind)(context, builder, value)
        self.builder, self.data = builder, array.data
        self.width = builder.extract_value(array.shape, 1)

    def at(self, row: Any, column: Any) -> Any:
        """The address of a number."""
        place = self.builder.add(self.builder.mul(row, self.width), column)
        return self.builder.gep(self.data, [place])

    def load(self, row: Any, column: Any) -> Any:
        """LANES numbers of a row."""
        place = self.builder.bitcast(self.at(row, column), VECTOR.as_pointer())
        return self.builder.load(place, align=4)

    def store(self, vector: Any, row: Any, column: Any) -> None:
        place = self.builder.bitcast(self.at(row, column), VECTOR.as_pointer())
        self.builder.store(vector, place, align=4)


def repeated(builder: Any, scalar: Any) -> Any:
    """A vector of one number."""
    none = ir.Constant(VECTOR, ir.Undefined)
    return one_lane(builder, builder.insert_element(none, scalar, ir.Constant(LANE, 0)), 0)


def one_lane(builder: Any, vector: Any, lane: int) -> Any:
    """A vector of one lane of another."""
    return builder.shuffle_vector(
        vector, vector, ir.Constant(ir.VectorType(LANE, LANES), [lane] * LANES)
    )


def plus(builder: Any, index: Any, offset: int) -> Any:
    """An index so much further."""
    return builder.add(index, ir.Constant(INDEX, offset))


def fused(builder: Any) -> Callable[[Any, Any, Any], Any]:
    """A b + c of vectors, rounded once."""
    name = f"llvm.fma.v{LANES}f32"
    kind = ir.FunctionType(VECTOR, [VECTOR] * 3)
    function = cgutils.get_or_insert_function(builder.module, kind, name)
    return lambda a, b, c: builder.call(function, [a, b, c])


class Vector:
    """A one-dimensional array while instructions are emitted."""

    def __init__(self, context: Any, builder: Any, kind: Any, value: Any) -> None:
        self.builder = builder
        self.data = context.make_array(kind)(context, builder, value).data

    def number(self, place: Any) -> Any:
        return self.builder.load(self.builder.gep(self.data, [place]))

    def lanes(self, place: Any) -> Any:
        """The address of LANES numbers."""
        return self.builder.bitcast(self.builder.gep(self.data, [place]), VECTOR.as_pointer())


def bits(builder: Any, lanes: Any) -> Any:
    """Which lanes are set, a bit each."""
    return builder.bitcast(lanes, ir.IntType(LANES))


def any_of(builder: Any, lanes: Any) -> Any:
    """1 if one of the lanes is set, else 0."""
    none = ir.Constant(ir.IntType(LANES), 0)
    return builder.zext(builder.icmp_unsigned("!=", bits(builder, lanes), none), INDEX)
