"""Products of a matrix, and of the ratings of a row, for conjugate gradients."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from recpipe.kernels.vectors import (
    FLOAT,
    INDEX,
    LANES,
    VECTOR,
    Matrix,
    Vector,
    fused,
    plus,
    repeated,
)

APPLIED = 4
"""Ratings that `apply_ratings` takes at once."""


def _add_scaled(rows: Matrix, here: list[Any], shares: list[Any], image: Vector) -> None:
    """Add some rows, each times its share, to `image`."""
    builder = rows.builder
    fma = fused(builder)
    start, step = ir.Constant(INDEX, 0), ir.Constant(INDEX, LANES)
    with cgutils.for_range_slice(builder, start, rows.width, step) as (column, _):
        total = builder.load(image.lanes(column), align=4)
        for row, share in zip(here, shares, strict=True):
            total = fma(rows.load(row, column), share, total)
        builder.store(total, image.lanes(column), align=4)


def _product(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    matrix = Matrix(context, builder, signature.args[0], args[0])
    x, image = (Vector(context, builder, signature.args[n], args[n]) for n in (1, 2))
    start, stride = ir.Constant(INDEX, 0), ir.Constant(INDEX, APPLIED)
    with cgutils.for_range_slice(builder, start, matrix.width, stride) as (first, _):
        here = [plus(builder, first, r) for r in range(APPLIED)]
        _add_scaled(matrix, here, [repeated(builder, x.number(row)) for row in here], image)
    return context.get_dummy_value()


def _product_type(_context: Any, matrix: Any, x: Any, image: Any) -> Any:
    return types.void(matrix, x, image), _product


add_product: Any = intrinsic(_product_type)
"""f(matrix, x, image): add matrix x, of a symmetric matrix, to `image`."""


def _apply(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    rows = Matrix(context, builder, signature.args[0], args[0])
    count = args[1]
    x, weight, target, image = (
        Vector(context, builder, signature.args[n], args[n]) for n in range(2, 6)
    )
    fma = fused(builder)
    add_up = cgutils.get_or_insert_function(
        builder.module,
        ir.FunctionType(FLOAT, [FLOAT, VECTOR]),
        f"llvm.vector.reduce.fadd.v{LANES}f32",
    )
    zero, none = ir.Constant(FLOAT, 0.0), ir.Constant(VECTOR, [0.0] * LANES)
    start, step = ir.Constant(INDEX, 0), ir.Constant(INDEX, LANES)
    sums = [cgutils.alloca_once(builder, VECTOR) for _ in range(APPLIED)]
    stride = ir.Constant(INDEX, APPLIED)
    with cgutils.for_range_slice(builder, start, count, stride) as (first, _):
        here = [plus(builder, first, r) for r in range(APPLIED)]
        for total in sums:
            builder.store(none, total)
        with cgutils.for_range_slice(builder, start, rows.width, step) as (column, _):
            known = builder.load(x.lanes(column), align=4)
            for row, total in zip(here, sums, strict=True):
                builder.store(fma(rows.load(row, column), known, builder.load(total)), total)
        shares = []
        for row, total in zip(here, sums, strict=True):
            dot = builder.call(add_up, [zero, builder.load(total)], fastmath=("reassoc",))
            share = builder.fsub(builder.fmul(dot, weight.number(row)), target.number(row))
            shares.append(repeated(builder, share))
        _add_scaled(rows, here, shares, image)
    return context.get_dummy_value()


def _apply_type(
    _context: Any, rows: Any, _count: Any, x: Any, weight: Any, target: Any, image: Any
) -> Any:
    return types.void(rows, types.intp, x, weight, target, image), _apply


apply_ratings: Any = intrinsic(_apply_type)
"""f(rows, count, x, weight, target, image): add (weight (y . x) - target) y over rows[:count] to
`image`; `count` is a multiple of APPLIED."""
