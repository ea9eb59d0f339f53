"""Scores of ROWS users for LANES items at once."""

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
    Vector,
    any_of,
    fused,
    plus,
    repeated,
)

PARTS = 4
"""Sums that make a score, of every fourth factor each: one alone would wait for each of its own
additions, and four are a vector where one score is wanted."""


def _score(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    kinds = signature.args
    users, factors, biases, scores = (
        Matrix(context, builder, kinds[n], args[n]) for n in (0, 2, 8, 10)
    )
    base, thresholds = (Vector(context, builder, kinds[n], args[n]) for n in (5, 6))
    first_user, first_factor, rank, row, panel = (args[n] for n in (1, 3, 4, 7, 9))
    fma = fused(builder)
    zero, nothing = ir.Constant(INDEX, 0), ir.Constant(VECTOR, [0.0] * LANES)
    bias = biases.load(panel, zero)
    rows = [plus(builder, row, r) for r in range(ROWS)]
    sums, totals = ([cgutils.alloca_once(builder, VECTOR) for _ in rows] for _ in range(2))
    for total, here in zip(totals, rows, strict=True):
        builder.store(builder.fadd(bias, repeated(builder, base.number(here))), total)
    step = ir.Constant(INDEX, PARTS)
    for start in range(PARTS):
        for part in sums:
            builder.store(nothing, part)
        first = ir.Constant(INDEX, start)
        with cgutils.for_range_slice(builder, first, rank, step) as (at, _):
            items = factors.load(builder.add(first_factor, at), zero)
            factor = builder.add(first_user, at)
            for r, part in enumerate(sums):
                user = builder.load(users.at(factor, ir.Constant(INDEX, r)))
                builder.store(fma(repeated(builder, user), items, builder.load(part)), part)
        for part, total in zip(sums, totals, strict=True):
            builder.store(builder.fadd(builder.load(total), builder.load(part)), total)
    found = zero
    for r, (total, here) in enumerate(zip(totals, rows, strict=True)):
        score = builder.load(total)
        scores.store(score, ir.Constant(INDEX, r), zero)
        threshold = repeated(builder, thresholds.number(here))
        above = any_of(builder, builder.fcmp_ordered(">", score, threshold))
        found = builder.or_(found, builder.shl(above, ir.Constant(INDEX, r)))
    return found


def _score_type(
    _context: Any, users: Any, _first_user: Any, factors: Any, _first_factor: Any, _rank: Any,
    base: Any, thresholds: Any, _row: Any, biases: Any, _panel: Any, scores: Any,
) -> Any:  # fmt: skip
    index = types.intp
    given = (users, index, factors, index, index, base, thresholds, index, biases, index, scores)
    return types.int64(*given), _score


score_tile: Any = intrinsic(_score_type)
"""f(users, first_user, factors, first_factor, rank, base, thresholds, row, biases, panel, scores):
the scores of ROWS users for LANES items, base[row + r] + biases[panel] + the products of
users[first_user + f, r] and factors[first_factor + f] for f < rank, to `scores`; bit r of what is
returned is set if one of user r is above thresholds[row + r]."""


def _score_one(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    users, items = (Matrix(context, builder, signature.args[n], args[n]) for n in (0, 2))
    user, item, start = args[1], args[3], args[4]
    kind = ir.VectorType(FLOAT, PARTS)
    fma = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(kind, [kind] * 3), f"llvm.fma.v{PARTS}f32"
    )
    sums = cgutils.alloca_once_value(builder, ir.Constant(kind, [0.0] * PARTS))
    zero, step = ir.Constant(INDEX, 0), ir.Constant(INDEX, PARTS)
    with cgutils.for_range_slice(builder, zero, items.width, step) as (factor, _):
        some = [
            builder.load(builder.bitcast(matrix.at(row, factor), kind.as_pointer()), align=4)
            for matrix, row in ((users, user), (items, item))
        ]
        builder.store(builder.call(fma, [*some, builder.load(sums)]), sums)
    total = start
    for part in range(PARTS):
        number = builder.extract_element(builder.load(sums), ir.Constant(LANE, part))
        total = builder.fadd(total, number)
    return total


def _score_one_type(
    _context: Any, users: Any, _user: Any, items: Any, _item: Any, _start: Any
) -> Any:
    return types.float32(users, types.intp, items, types.intp, types.float32), _score_one


score_one: Any = intrinsic(_score_one_type)
"""f(users, user, items, item, start): start + the product of users[user] and items[item], with the
bits of `score_tile` where `start` is its base + bias and the width, here a multiple of PARTS, is
filled up with zeros."""


def _lowest(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
    return builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))


def _lowest_type(_context: Any, _bits: Any) -> Any:
    return types.int64(types.int64), _lowest


lowest_bit: Any = intrinsic(_lowest_type)
"""f(bits): the place of the lowest bit that is set; there is one."""
