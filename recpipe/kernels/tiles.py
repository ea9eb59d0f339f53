"""The inner loops of ALS and top-N as vector instructions: products and Cholesky by tiles.

A loop that Numba vectorises by itself stores what it adds at every step, and spends most of a
short row on its beginning and end; NumPy's product needs both halves of a symmetric result and a
call a row. So these few loops keep a tile of the matrix in registers and are given to LLVM as
vectors of LANES numbers, which it fits to whatever the machine has (AVX-512, AVX2, NEON).

All arrays are C-contiguous float32; matrices have a width that is a multiple of LANES.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.extending import intrinsic

if TYPE_CHECKING:
    from collections.abc import Callable

LANES = 16
"""Columns of a tile, and what every row of a matrix here is padded to a multiple of."""
ROWS = 8
"""Rows of a tile of a product."""

_FLOAT = ir.FloatType()
_VECTOR = ir.VectorType(_FLOAT, LANES)
_INDEX = ir.IntType(64)
_LANE = ir.IntType(32)


class _Matrix:
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
        place = self.builder.bitcast(self.at(row, column), _VECTOR.as_pointer())
        return self.builder.load(place, align=4)

    def store(self, vector: Any, row: Any, column: Any) -> None:
        place = self.builder.bitcast(self.at(row, column), _VECTOR.as_pointer())
        self.builder.store(vector, place, align=4)


def _repeated(builder: Any, scalar: Any) -> Any:
    """A vector of one number."""
    none = ir.Constant(_VECTOR, ir.Undefined)
    return _lane(builder, builder.insert_element(none, scalar, ir.Constant(_LANE, 0)), 0)


def _lane(builder: Any, vector: Any, lane: int) -> Any:
    """A vector of one lane of another."""
    return builder.shuffle_vector(
        vector, vector, ir.Constant(ir.VectorType(_LANE, LANES), [lane] * LANES)
    )


def _plus(builder: Any, index: Any, offset: int) -> Any:
    return builder.add(index, ir.Constant(_INDEX, offset))


def _fma(builder: Any) -> Callable[[Any, Any, Any], Any]:
    name = f"llvm.fma.v{LANES}f32"
    kind = ir.FunctionType(_VECTOR, [_VECTOR] * 3)
    function = cgutils.get_or_insert_function(builder.module, kind, name)
    return lambda a, b, c: builder.call(function, [a, b, c])


def _tile(*, subtract: bool) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        rows = _Matrix(context, builder, signature.args[0], args[0])
        matrix = _Matrix(context, builder, signature.args[4], args[4])
        count, i, j = args[1:4]
        fma = _fma(builder)
        sums = [cgutils.alloca_once(builder, _VECTOR) for _ in range(ROWS)]
        for r in range(ROWS):
            builder.store(matrix.load(_plus(builder, i, r), j), sums[r])
        with cgutils.for_range(builder, count) as loop:
            columns = rows.load(loop.index, j)
            if subtract:
                columns = builder.fneg(columns)
            for r in range(ROWS):
                scalar = builder.load(rows.at(loop.index, _plus(builder, i, r)))
                total = fma(_repeated(builder, scalar), columns, builder.load(sums[r]))
                builder.store(total, sums[r])
        for r in range(ROWS):
            matrix.store(builder.load(sums[r]), _plus(builder, i, r), j)
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
    matrix = _Matrix(context, builder, signature.args[0], args[0])
    inverse = context.make_array(signature.args[2])(context, builder, args[2]).data
    first, least = args[1], args[3]
    fma = _fma(builder)
    root = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(_FLOAT, [_FLOAT]), "llvm.sqrt.f32"
    )
    rows = [matrix.load(_plus(builder, first, r), first) for r in range(LANES)]
    good = ir.Constant(ir.IntType(1), 1)
    for p in range(LANES):
        place = builder.gep(inverse, [_plus(builder, first, p)])
        pivot = builder.extract_element(rows[p], ir.Constant(_LANE, p))
        lowest = builder.fmul(least, builder.load(place))
        good = builder.and_(good, builder.fcmp_ordered(">", pivot, lowest))
        scale = builder.fdiv(ir.Constant(_FLOAT, 1.0), builder.call(root, [pivot]))
        builder.store(scale, place)
        rows[p] = builder.fmul(rows[p], _repeated(builder, scale))
        negative = builder.fneg(rows[p])
        for r in range(p + 1, LANES):
            rows[r] = fma(_lane(builder, negative, r), rows[p], rows[r])
    for r in range(LANES):
        matrix.store(rows[r], _plus(builder, first, r), first)
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
    matrix = _Matrix(context, builder, signature.args[0], args[0])
    inverse = context.make_array(signature.args[3])(context, builder, args[3]).data
    first, column = args[1:3]
    fma = _fma(builder)
    rows = [matrix.load(_plus(builder, first, r), column) for r in range(LANES)]
    for p in range(LANES):
        scale = builder.load(builder.gep(inverse, [_plus(builder, first, p)]))
        rows[p] = builder.fmul(rows[p], _repeated(builder, scale))
        negative = builder.fneg(rows[p])
        for r in range(p + 1, LANES):
            factor = builder.load(matrix.at(_plus(builder, first, p), _plus(builder, first, r)))
            rows[r] = fma(_repeated(builder, factor), negative, rows[r])
    for r in range(LANES):
        matrix.store(rows[r], _plus(builder, first, r), column)
    return context.get_dummy_value()


def _factor_beside_type(_context: Any, matrix: Any, _first: Any, _column: Any, inverse: Any) -> Any:
    return types.void(matrix, types.intp, types.intp, inverse), _factor_beside


factor_beside: Any = intrinsic(_factor_beside_type)
"""The rows of a factored diagonal in another LANES columns, to the right of it."""


def _forward(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    matrix = _Matrix(context, builder, signature.args[0], args[0])
    right, inverse = (
        context.make_array(signature.args[n])(context, builder, args[n]).data for n in (2, 3)
    )
    first = args[1]
    rows = [_plus(builder, first, r) for r in range(LANES)]
    left = [builder.load(builder.gep(right, [row])) for row in rows]
    for p in range(LANES):
        left[p] = builder.fmul(left[p], builder.load(builder.gep(inverse, [rows[p]])))
        builder.store(left[p], builder.gep(right, [rows[p]]))
        negative = builder.fneg(left[p])
        for r in range(p + 1, LANES):
            factor = builder.load(matrix.at(rows[p], rows[r]))
            left[r] = builder.fma(negative, factor, left[r])
    fma = _fma(builder)
    known = [_repeated(builder, builder.fneg(value)) for value in left]
    start, step = _plus(builder, first, LANES), ir.Constant(_INDEX, LANES)
    with cgutils.for_range_slice(builder, start, matrix.width, step) as (column, _):
        place = builder.bitcast(builder.gep(right, [column]), _VECTOR.as_pointer())
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
    matrix = _Matrix(context, builder, signature.args[0], args[0])
    right, inverse = (
        context.make_array(signature.args[n])(context, builder, args[n]).data for n in (2, 3)
    )
    first = args[1]
    rows = [_plus(builder, first, r) for r in range(LANES)]
    fma = _fma(builder)
    sums = [cgutils.alloca_once(builder, _VECTOR) for _ in rows]
    for total in sums:
        builder.store(ir.Constant(_VECTOR, [0.0] * LANES), total)
    start, step = _plus(builder, first, LANES), ir.Constant(_INDEX, LANES)
    with cgutils.for_range_slice(builder, start, matrix.width, step) as (column, _):
        place = builder.bitcast(builder.gep(right, [column]), _VECTOR.as_pointer())
        known = builder.load(place, align=4)
        for row, total in zip(rows, sums, strict=True):
            product = fma(matrix.load(row, column), known, builder.load(total))
            builder.store(product, total)
    add_up = cgutils.get_or_insert_function(
        builder.module,
        ir.FunctionType(_FLOAT, [_FLOAT, _VECTOR]),
        f"llvm.vector.reduce.fadd.v{LANES}f32",
    )
    left = []
    for row, total in zip(rows, sums, strict=True):
        zero = ir.Constant(_FLOAT, 0.0)
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


APPLIED = 4
"""Ratings that `apply_ratings` takes at once."""


class _Vector:
    """A one-dimensional array while instructions are emitted."""

    def __init__(self, context: Any, builder: Any, kind: Any, value: Any) -> None:
        self.builder = builder
        self.data = context.make_array(kind)(context, builder, value).data

    def number(self, place: Any) -> Any:
        return self.builder.load(self.builder.gep(self.data, [place]))

    def lanes(self, place: Any) -> Any:
        """The address of LANES numbers."""
        return self.builder.bitcast(self.builder.gep(self.data, [place]), _VECTOR.as_pointer())


def _add_scaled(rows: _Matrix, here: list[Any], shares: list[Any], image: _Vector) -> None:
    """Add some rows, each times its share, to `image`."""
    builder = rows.builder
    fma = _fma(builder)
    start, step = ir.Constant(_INDEX, 0), ir.Constant(_INDEX, LANES)
    with cgutils.for_range_slice(builder, start, rows.width, step) as (column, _):
        total = builder.load(image.lanes(column), align=4)
        for row, share in zip(here, shares, strict=True):
            total = fma(rows.load(row, column), share, total)
        builder.store(total, image.lanes(column), align=4)


def _product(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    matrix = _Matrix(context, builder, signature.args[0], args[0])
    x, image = (_Vector(context, builder, signature.args[n], args[n]) for n in (1, 2))
    start, stride = ir.Constant(_INDEX, 0), ir.Constant(_INDEX, APPLIED)
    with cgutils.for_range_slice(builder, start, matrix.width, stride) as (first, _):
        here = [_plus(builder, first, r) for r in range(APPLIED)]
        _add_scaled(matrix, here, [_repeated(builder, x.number(row)) for row in here], image)
    return context.get_dummy_value()


def _product_type(_context: Any, matrix: Any, x: Any, image: Any) -> Any:
    return types.void(matrix, x, image), _product


add_product: Any = intrinsic(_product_type)
"""f(matrix, x, image): add matrix x, of a symmetric matrix, to `image`."""


def _apply(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    rows = _Matrix(context, builder, signature.args[0], args[0])
    count = args[1]
    x, weight, target, image = (
        _Vector(context, builder, signature.args[n], args[n]) for n in range(2, 6)
    )
    fma = _fma(builder)
    add_up = cgutils.get_or_insert_function(
        builder.module,
        ir.FunctionType(_FLOAT, [_FLOAT, _VECTOR]),
        f"llvm.vector.reduce.fadd.v{LANES}f32",
    )
    zero, none = ir.Constant(_FLOAT, 0.0), ir.Constant(_VECTOR, [0.0] * LANES)
    start, step = ir.Constant(_INDEX, 0), ir.Constant(_INDEX, LANES)
    sums = [cgutils.alloca_once(builder, _VECTOR) for _ in range(APPLIED)]
    stride = ir.Constant(_INDEX, APPLIED)
    with cgutils.for_range_slice(builder, start, count, stride) as (first, _):
        here = [_plus(builder, first, r) for r in range(APPLIED)]
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
            shares.append(_repeated(builder, share))
        _add_scaled(rows, here, shares, image)
    return context.get_dummy_value()


def _apply_type(
    _context: Any, rows: Any, _count: Any, x: Any, weight: Any, target: Any, image: Any
) -> Any:
    return types.void(rows, types.intp, x, weight, target, image), _apply


apply_ratings: Any = intrinsic(_apply_type)
"""f(rows, count, x, weight, target, image): add (weight (y . x) - target) y over rows[:count] to
`image`; `count` is a multiple of APPLIED."""


PARTS = 4
"""Sums that make a score, of every fourth factor each: one alone would wait for each of its own
additions, and four are a vector where one score is wanted."""


def _score(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    kinds = signature.args
    users, factors, biases, scores = (
        _Matrix(context, builder, kinds[n], args[n]) for n in (0, 2, 8, 10)
    )
    base, thresholds = (_Vector(context, builder, kinds[n], args[n]) for n in (5, 6))
    first_user, first_factor, rank, row, panel = (args[n] for n in (1, 3, 4, 7, 9))
    fma = _fma(builder)
    zero, nothing = ir.Constant(_INDEX, 0), ir.Constant(_VECTOR, [0.0] * LANES)
    bias = biases.load(panel, zero)
    rows = [_plus(builder, row, r) for r in range(ROWS)]
    sums, totals = ([cgutils.alloca_once(builder, _VECTOR) for _ in rows] for _ in range(2))
    for total, here in zip(totals, rows, strict=True):
        builder.store(builder.fadd(bias, _repeated(builder, base.number(here))), total)
    step = ir.Constant(_INDEX, PARTS)
    for start in range(PARTS):
        for part in sums:
            builder.store(nothing, part)
        first = ir.Constant(_INDEX, start)
        with cgutils.for_range_slice(builder, first, rank, step) as (at, _):
            items = factors.load(builder.add(first_factor, at), zero)
            factor = builder.add(first_user, at)
            for r, part in enumerate(sums):
                user = builder.load(users.at(factor, ir.Constant(_INDEX, r)))
                builder.store(fma(_repeated(builder, user), items, builder.load(part)), part)
        for part, total in zip(sums, totals, strict=True):
            builder.store(builder.fadd(builder.load(total), builder.load(part)), total)
    found = zero
    for r, (total, here) in enumerate(zip(totals, rows, strict=True)):
        score = builder.load(total)
        scores.store(score, ir.Constant(_INDEX, r), zero)
        threshold = _repeated(builder, thresholds.number(here))
        above = _any(builder, builder.fcmp_ordered(">", score, threshold))
        found = builder.or_(found, builder.shl(above, ir.Constant(_INDEX, r)))
    return found


def _bits(builder: Any, lanes: Any) -> Any:
    return builder.bitcast(lanes, ir.IntType(LANES))


def _any(builder: Any, lanes: Any) -> Any:
    """1 if one of the lanes is set, else 0."""
    none = ir.Constant(ir.IntType(LANES), 0)
    return builder.zext(builder.icmp_unsigned("!=", _bits(builder, lanes), none), _INDEX)


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
    users, items = (_Matrix(context, builder, signature.args[n], args[n]) for n in (0, 2))
    user, item, start = args[1], args[3], args[4]
    kind = ir.VectorType(_FLOAT, PARTS)
    fma = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(kind, [kind] * 3), f"llvm.fma.v{PARTS}f32"
    )
    sums = cgutils.alloca_once_value(builder, ir.Constant(kind, [0.0] * PARTS))
    zero, step = ir.Constant(_INDEX, 0), ir.Constant(_INDEX, PARTS)
    with cgutils.for_range_slice(builder, zero, items.width, step) as (factor, _):
        some = [
            builder.load(builder.bitcast(matrix.at(row, factor), kind.as_pointer()), align=4)
            for matrix, row in ((users, user), (items, item))
        ]
        builder.store(builder.call(fma, [*some, builder.load(sums)]), sums)
    total = start
    for part in range(PARTS):
        number = builder.extract_element(builder.load(sums), ir.Constant(_LANE, part))
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

BYTES = 4
"""Factors that one instruction multiplies for each lane, as bytes."""

BYTE_PRODUCTS = "+avx512vnni" in cpu_target.target_context.codegen().magic_tuple()[2].split(",")
"""Whether this machine has that instruction; `bound_tile` is right without, but slow."""

_INTS = ir.VectorType(_LANE, LANES)


def _add_bytes(builder: Any, total: Any, items: Any, user: Any) -> Any:
    """Add the products of LANES x BYTES unsigned bytes and BYTES signed ones to each lane."""
    if BYTE_PRODUCTS:
        kind = ir.FunctionType(_INTS, [_INTS] * 3)
        name = "llvm.x86.avx512.vpdpbusd.512"
        add = cgutils.get_or_insert_function(builder.module, kind, name)
        return builder.call(add, [total, items, _repeated_int(builder, user)])
    for byte in range(BYTES):
        down = ir.Constant(_INTS, [8 * byte] * LANES)
        item = builder.and_(builder.lshr(items, down), ir.Constant(_INTS, [255] * LANES))
        high = builder.shl(user, ir.Constant(_LANE, 24 - 8 * byte))
        signed = builder.ashr(high, ir.Constant(_LANE, 24))
        total = builder.add(total, builder.mul(item, _repeated_int(builder, signed)))
    return total


def _repeated_int(builder: Any, scalar: Any) -> Any:
    none, first = ir.Constant(_INTS, ir.Undefined), ir.Constant(_LANE, 0)
    lanes = builder.insert_element(none, scalar, first)
    return builder.shuffle_vector(lanes, lanes, ir.Constant(_INTS, [0] * LANES))


class _Bounds:
    """What `bound_tile` and `floor_tile` share: products of bytes, and what may be lost by them."""

    def __init__(self, context: Any, builder: Any, signature: Any, args: Any) -> None:
        self.builder = builder
        self.users, self.sides, self.items, self.bounds, self.last = (
            _Matrix(context, builder, signature.args[n], args[n]) for n in (0, 2, 4, 6, 8)
        )
        self.first_user, self.first_side, self.first_item, panel, self.groups = (
            args[n] for n in (1, 3, 5, 7, 9)
        )
        self.panel = builder.mul(panel, ir.Constant(_INDEX, BOUNDS))

    def products(self) -> list[Any]:
        """Of each user's bytes and those of LANES items."""
        builder, zero = self.builder, ir.Constant(_INDEX, 0)
        columns = [ir.Constant(_INDEX, r) for r in range(ROWS)]
        sums = [cgutils.alloca_once(builder, _INTS) for _ in columns]
        for column, total in zip(columns, sums, strict=True):
            start = builder.load(self.users.at(self.first_user, column))
            builder.store(_repeated_int(builder, start), total)
        with cgutils.for_range(builder, self.groups) as loop:
            address = self.items.at(builder.add(self.first_item, loop.index), zero)
            some = builder.load(builder.bitcast(address, _INTS.as_pointer()), align=4)
            group = builder.add(_plus(builder, self.first_user, 1), loop.index)
            for column, total in zip(columns, sums, strict=True):
                user = builder.load(self.users.at(group, column))
                builder.store(_add_bytes(builder, builder.load(total), some, user), total)
        scale = self.bound(0)
        return [builder.fmul(builder.sitofp(builder.load(total), _VECTOR), scale) for total in sums]

    def bound(self, row: int) -> Any:
        return self.bounds.load(_plus(self.builder, self.panel, row), ir.Constant(_INDEX, 0))

    def side(self, row: int, column: int) -> Any:
        place = _plus(self.builder, self.first_side, row), ir.Constant(_INDEX, column)
        return _repeated(self.builder, self.builder.load(self.sides.at(*place)))


def _bound(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    fma = _fma(builder)
    given = _Bounds(context, builder, signature, args)
    products = given.products()
    highest = fma(given.side(2, 0), given.bound(3), given.bound(1))
    highest = fma(given.side(2, 1), given.bound(4), highest)
    found = zero = ir.Constant(_INDEX, 0)
    for r, product in enumerate(products):
        bound = fma(product, given.side(0, r), highest)
        above = builder.fcmp_ordered(">", bound, given.side(1, r))
        place = given.last.at(zero, ir.Constant(_INDEX, r))
        builder.store(_bits(builder, above), place)
        found = builder.or_(found, builder.shl(_any(builder, above), ir.Constant(_INDEX, r)))
    return found


def _floor(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    fma = _fma(builder)
    given = _Bounds(context, builder, signature, args)
    lanes, place = _Matrix(context, builder, signature.args[10], args[10]), args[11]
    products = given.products()
    lowest = fma(builder.fneg(given.side(2, 0)), given.bound(3), given.bound(2))
    lowest = fma(builder.fneg(given.side(2, 1)), given.bound(4), lowest)
    for r, product in enumerate(products):
        least = fma(product, given.side(0, r), lowest)
        row = ir.Constant(_INDEX, r)
        before = lanes.load(row, place)
        hidden = builder.load(given.last.at(ir.Constant(_INDEX, 0), row))
        seen = builder.bitcast(hidden, ir.VectorType(ir.IntType(1), LANES))
        higher = builder.fcmp_ordered(">", least, before)
        lanes.store(
            builder.select(builder.and_(higher, builder.not_(seen)), least, before), row, place
        )
    return context.get_dummy_value()


def _bound_type(
    _context: Any, users: Any, _first_user: Any, sides: Any, _first_side: Any, items: Any,
    _first_item: Any, bounds: Any, _panel: Any, masks: Any, _groups: Any,
) -> Any:  # fmt: skip
    index = types.intp
    given = (users, index, sides, index, items, index, bounds, index, masks, index)
    return types.int64(*given), _bound


def _floor_type(
    _context: Any, users: Any, _first_user: Any, sides: Any, _first_side: Any, items: Any,
    _first_item: Any, bounds: Any, _panel: Any, hidden: Any, _groups: Any, lanes: Any, _place: Any,
) -> Any:  # fmt: skip
    index = types.intp
    given = (users, index, sides, index, items, index, bounds, index, hidden, index, lanes, index)
    return types.void(*given), _floor


SIDES = 3
"""Rows of `sides` for ROWS users."""
BOUNDS = 5
"""Rows of `bounds` for a panel."""

bound_tile: Any = intrinsic(_bound_type)
"""f(users, first_user, sides, first_side, items, first_item, bounds, panel, masks, groups): which
scores of ROWS users for LANES items may be above a limit, by factors as bytes.

The bound of user r and an item is p s t + h + e E + n N, where p is users[first_user, r] plus the
products of the bytes in users[first_user + 1 + g, r] (signed) and those of the item in
items[first_item + g] (not signed) for g < groups; s and the limit are sides[first_side, r] and
sides[first_side + 1, r]; e and n are sides[first_side + 2, :2]; and t, h, l, E and N are the item's
of bounds[panel * BOUNDS :]. masks[0, r] has a bit for each lane whose bound is above the limit; bit
r of what is returned is set if there is one."""

floor_tile: Any = intrinsic(_floor_type)
"""f(users, first_user, sides, first_side, items, first_item, bounds, panel, hidden, groups, lanes,
place): raise lanes[r, place :][:LANES] to what the scores of user r are at least, p s t + l - e E -
n N, but for the lanes that have a bit in hidden[0, r]."""
