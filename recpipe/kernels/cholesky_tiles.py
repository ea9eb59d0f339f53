"""The normal equations by tiles: products, Cholesky, and solving by its factor."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from recpipe.kernels.vectors import (
    FLOAT,
    INDEX,
    LANE,
    LANES,
    ROWS,
    VECTOR,
    Matrix,
    fused,
    one_lane,
    plus,
    repeated,
)


def _tile(*, subtract: bool) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        rows = Matrix(context, builder, signature.args[0], args[0])
        matrix = Matrix(context, builder, signature.args[4], args[4])
        count, i, j = args[1:4]
        fma = fused(builder)
        sums = [cgutils.alloca_once(builder, VECTOR) for _ in range(ROWS)]
        for r in range(ROWS):
            builder.store(matrix.load(plus(builder, i, r), j), sums[r])
        with cgutils.for_range(builder, count) as loop:
            columns = rows.load(loop.index, j)
            if subtract:
                columns = builder.fneg(columns)
            for r in range(ROWS):
                scalar = builder.load(rows.at(loop.index, plus(builder, i, r)))
                total = fma(repeated(builder, scalar), columns, builder.load(sums[r]))
                builder.store(total, sums[r])
        for r in range(ROWS):
            matrix.store(builder.load(sums[r]), plus(builder, i, r), j)
        return context.get_dummy_value()

    @intrinsic
    def tile(_context: Any, rows: Any, _count: Any, _i: Any, _j: Any, matrix: Any) -> Any:
        return types.void(rows, types.intp, types.intp, types.intp, matrix), generate

    return tile


add_tile: Any = _tile(subtract=False)
"""f(rows, count, i, j, matrix): add rows[:count, i : i + ROWS]' rows[:count, j : j + LANES] to the
tile of `matrix` at (i, j)."""

subtract_tile: Any = _tile(subtract=True)
"""The same, subtracted."""


def _factor_diagonal(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    matrix = Matrix(context, builder, signature.args[0], args[0])
    inverse = context.make_array(signature.args[2])(context, builder, args[2]).data
    first, least = args[1], args[3]
    fma = fused(builder)
    root = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(FLOAT, [FLOAT]), "llvm.sqrt.f32"
    )
    rows = [matrix.load(plus(builder, first, r), first) for r in range(LANES)]
    good = ir.Constant(ir.IntType(1), 1)
    for p in range(LANES):
        place = builder.gep(inverse, [plus(builder, first, p)])
        pivot = builder.extract_element(rows[p], ir.Constant(LANE, p))
        lowest = builder.fmul(least, builder.load(place))
        good = builder.and_(good, builder.fcmp_ordered(">", pivot, lowest))
        scale = builder.fdiv(ir.Constant(FLOAT, 1.0), builder.call(root, [pivot]))
        builder.store(scale, place)
        rows[p] = builder.fmul(rows[p], repeated(builder, scale))
        negative = builder.fneg(rows[p])
        for r in range(p + 1, LANES):
            rows[r] = fma(one_lane(builder, negative, r), rows[p], rows[r])
    for r in range(LANES):
        matrix.store(rows[r], plus(builder, first, r), first)
    return good


def _factor_diagonal_type(
    _context: Any, matrix: Any, _first: Any, inverse: Any, _least: Any
) -> Any:
    return types.boolean(matrix, types.intp, inverse, types.float32), _factor_diagonal


factor_diagonal: Any = intrinsic(_factor_diagonal_type)
"""Cholesky's U'U of matrix[first : first + LANES] in the columns of its diagonal.

`inverse[first:]` comes with the diagonal as it was and leaves with 1 / the diagonal of U.
True if every pivot was above `least` times the diagonal as it was.
"""


def _factor_beside(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    matrix = Matrix(context, builder, signature.args[0], args[0])
    inverse = context.make_array(signature.args[3])(context, builder, args[3]).data
    first, column = args[1:3]
    fma = fused(builder)
    rows = [matrix.load(plus(builder, first, r), column) for r in range(LANES)]
    for p in range(LANES):
        scale = builder.load(builder.gep(inverse, [plus(builder, first, p)]))
        rows[p] = builder.fmul(rows[p], repeated(builder, scale))
        negative = builder.fneg(rows[p])
        for r in range(p + 1, LANES):
            factor = builder.load(matrix.at(plus(builder, first, p), plus(builder, first, r)))
            rows[r] = fma(repeated(builder, factor), negative, rows[r])
    for r in range(LANES):
        matrix.store(rows[r], plus(builder, first, r), column)
    return context.get_dummy_value()


def _factor_beside_type(_context: Any, matrix: Any, _first: Any, _column: Any, inverse: Any) -> Any:
    return types.void(matrix, types.intp, types.intp, inverse), _factor_beside


factor_beside: Any = intrinsic(_factor_beside_type)
"""The rows of a factored diagonal in another LANES columns, to the right of it."""


def _forward(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    matrix = Matrix(context, builder, signature.args[0], args[0])
    right, inverse = (
        context.make_array(signature.args[n])(context, builder, args[n]).data for n in (2, 3)
    )
    first = args[1]
    rows = [plus(builder, first, r) for r in range(LANES)]
    left = [builder.load(builder.gep(right, [row])) for row in rows]
    for p in range(LANES):
        left[p] = builder.fmul(left[p], builder.load(builder.gep(inverse, [rows[p]])))
        builder.store(left[p], builder.gep(right, [rows[p]]))
        negative = builder.fneg(left[p])
        for r in range(p + 1, LANES):
            factor = builder.load(matrix.at(rows[p], rows[r]))
            left[r] = builder.fma(negative, factor, left[r])
    fma = fused(builder)
    known = [repeated(builder, builder.fneg(value)) for value in left]
    start, step = plus(builder, first, LANES), ir.Constant(INDEX, LANES)
    with cgutils.for_range_slice(builder, start, matrix.width, step) as (column, _):
        place = builder.bitcast(builder.gep(right, [column]), VECTOR.as_pointer())
        rest = builder.load(place, align=4)
        for p in range(LANES):
            rest = fma(known[p], matrix.load(rows[p], column), rest)
        builder.store(rest, place, align=4)
    return context.get_dummy_value()


def _forward_type(_context: Any, matrix: Any, _first: Any, right: Any, inverse: Any) -> Any:
    return types.void(matrix, types.intp, right, inverse), _forward


forward: Any = intrinsic(_forward_type)
"""LANES steps of solving U'z = right: z in place, and out of the equations that follow."""


def _backward(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    matrix = Matrix(context, builder, signature.args[0], args[0])
    right, inverse = (
        context.make_array(signature.args[n])(context, builder, args[n]).data for n in (2, 3)
    )
    first = args[1]
    rows = [plus(builder, first, r) for r in range(LANES)]
    fma = fused(builder)
    sums = [cgutils.alloca_once(builder, VECTOR) for _ in rows]
    for total in sums:
        builder.store(ir.Constant(VECTOR, [0.0] * LANES), total)
    start, step = plus(builder, first, LANES), ir.Constant(INDEX, LANES)
    with cgutils.for_range_slice(builder, start, matrix.width, step) as (column, _):
        place = builder.bitcast(builder.gep(right, [column]), VECTOR.as_pointer())
        known = builder.load(place, align=4)
        for row, total in zip(rows, sums, strict=True):
            product = fma(matrix.load(row, column), known, builder.load(total))
            builder.store(product, total)
    add_up = cgutils.get_or_insert_function(
        builder.module,
        ir.FunctionType(FLOAT, [FLOAT, VECTOR]),
        f"llvm.vector.reduce.fadd.v{LANES}f32",
    )
    left = []
    for row, total in zip(rows, sums, strict=True):
        zero = ir.Constant(FLOAT, 0.0)
        dot = builder.call(add_up, [zero, builder.load(total)], fastmath=("reassoc",))
        left.append(builder.fsub(builder.load(builder.gep(right, [row])), dot))
    for p in reversed(range(LANES)):
        left[p] = builder.fmul(left[p], builder.load(builder.gep(inverse, [rows[p]])))
        builder.store(left[p], builder.gep(right, [rows[p]]))
        negative = builder.fneg(left[p])
        for r in range(p):
            factor = builder.load(matrix.at(rows[r], rows[p]))
            left[r] = builder.fma(negative, factor, left[r])
    return context.get_dummy_value()


def _backward_type(_context: Any, matrix: Any, _first: Any, right: Any, inverse: Any) -> Any:
    return types.void(matrix, types.intp, right, inverse), _backward


backward: Any = intrinsic(_backward_type)
"""LANES steps of solving U x = right, where all that follow are solved: x in place."""
