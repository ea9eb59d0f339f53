"""Bounds of scores by factors as bytes: which of LANES items can be among the best at all."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.extending import intrinsic

from recpipe.kernels.vectors import (
    INDEX,
    LANE,
    LANES,
    ROWS,
    VECTOR,
    Matrix,
    any_of,
    bits,
    fused,
    plus,
    repeated,
)

BYTES = 4
"""Factors that one instruction multiplies for each lane, as bytes."""

BYTE_PRODUCTS = "+avx512vnni" in cpu_target.target_context.codegen().magic_tuple()[2].split(",")
"""Whether this machine has that instruction; `bound_tile` is right without, but slow."""

_INTS = ir.VectorType(LANE, LANES)


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
        high = builder.shl(user, ir.Constant(LANE, 24 - 8 * byte))
        signed = builder.ashr(high, ir.Constant(LANE, 24))
        total = builder.add(total, builder.mul(item, _repeated_int(builder, signed)))
    return total


def _repeated_int(builder: Any, scalar: Any) -> Any:
    none, first = ir.Constant(_INTS, ir.Undefined), ir.Constant(LANE, 0)
    lanes = builder.insert_element(none, scalar, first)
    return builder.shuffle_vector(lanes, lanes, ir.Constant(_INTS, [0] * LANES))


class _Bounds:
    """What `bound_tile` and `floor_tile` share: products of bytes, and what may be lost by them."""

    def __init__(self, context: Any, builder: Any, signature: Any, args: Any) -> None:
        self.builder = builder
        self.users, self.sides, self.items, self.bounds, self.last = (
            Matrix(context, builder, signature.args[n], args[n]) for n in (0, 2, 4, 6, 8)
        )
        self.first_user, self.first_side, self.first_item, panel, self.groups = (
            args[n] for n in (1, 3, 5, 7, 9)
        )
        self.panel = builder.mul(panel, ir.Constant(INDEX, BOUNDS))

    def products(self) -> list[Any]:
        """Of each user's bytes and those of LANES items."""
        builder, zero = self.builder, ir.Constant(INDEX, 0)
        columns = [ir.Constant(INDEX, r) for r in range(ROWS)]
        sums = [cgutils.alloca_once(builder, _INTS) for _ in columns]
        for column, total in zip(columns, sums, strict=True):
            start = builder.load(self.users.at(self.first_user, column))
            builder.store(_repeated_int(builder, start), total)
        with cgutils.for_range(builder, self.groups) as loop:
            address = self.items.at(builder.add(self.first_item, loop.index), zero)
            some = builder.load(builder.bitcast(address, _INTS.as_pointer()), align=4)
            group = builder.add(plus(builder, self.first_user, 1), loop.index)
            for column, total in zip(columns, sums, strict=True):
                user = builder.load(self.users.at(group, column))
                builder.store(_add_bytes(builder, builder.load(total), some, user), total)
        scale = self.bound(0)
        return [builder.fmul(builder.sitofp(builder.load(total), VECTOR), scale) for total in sums]

    def bound(self, row: int) -> Any:
        return self.bounds.load(plus(self.builder, self.panel, row), ir.Constant(INDEX, 0))

    def side(self, row: int, column: int) -> Any:
        place = plus(self.builder, self.first_side, row), ir.Constant(INDEX, column)
        return repeated(self.builder, self.builder.load(self.sides.at(*place)))


def _bound(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    fma = fused(builder)
    given = _Bounds(context, builder, signature, args)
    products = given.products()
    highest = fma(given.side(2, 0), given.bound(3), given.bound(1))
    highest = fma(given.side(2, 1), given.bound(4), highest)
    found = zero = ir.Constant(INDEX, 0)
    for r, product in enumerate(products):
        bound = fma(product, given.side(0, r), highest)
        above = builder.fcmp_ordered(">", bound, given.side(1, r))
        place = given.last.at(zero, ir.Constant(INDEX, r))
        builder.store(bits(builder, above), place)
        found = builder.or_(found, builder.shl(any_of(builder, above), ir.Constant(INDEX, r)))
    return found


def _floor(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    fma = fused(builder)
    given = _Bounds(context, builder, signature, args)
    lanes, place = Matrix(context, builder, signature.args[10], args[10]), args[11]
    products = given.products()
    lowest = fma(builder.fneg(given.side(2, 0)), given.bound(3), given.bound(2))
    lowest = fma(builder.fneg(given.side(2, 1)), given.bound(4), lowest)
    for r, product in enumerate(products):
        least = fma(product, given.side(0, r), lowest)
        row = ir.Constant(INDEX, r)
        before = lanes.load(row, place)
        hidden = builder.load(given.last.at(ir.Constant(INDEX, 0), row))
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
