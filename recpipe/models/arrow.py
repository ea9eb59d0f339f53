"""Arrays in and out of Arrow's binary columns, without a copy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Batches = Iterator[pa.RecordBatch]

_TYPES = {
    "int": pa.int32(),
    "long": pa.int64(),
    "double": pa.float64(),
    "boolean": pa.bool_(),
    "string": pa.string(),
    "binary": pa.binary(),
}


def arrow_row(schema: str, *values: Any) -> pa.RecordBatch:
    """One row.

    Args:
        schema: names and types as Spark's DDL has them, such as `block int, data binary`.
        values: one a column; a contiguous array becomes the bytes of a binary value.
    """
    fields = [field.split() for field in schema.split(", ")]
    return pa.RecordBatch.from_arrays(
        [_column(v, _TYPES[kind]) for v, (_, kind) in zip(values, fields, strict=True)],
        names=[name for name, _ in fields],
    )


def _column(value: Any, kind: pa.DataType) -> pa.Array:
    if not isinstance(value, np.ndarray):
        return pa.array([value], kind)
    ends = pa.py_buffer(np.array([0, value.nbytes], np.int32))
    return pa.Array.from_buffers(kind, 1, [None, ends, pa.py_buffer(np.ascontiguousarray(value))])


def arrow_rows(schema: str, ends: NDArray[np.int64], *values: Any) -> pa.RecordBatch:
    """Rows whose binary values are the parts of arrays, one after the other.

    Args:
        schema: as of `arrow_row`.
        ends: (rows,) the element at which each row's part ends.
        values: one a column: of a binary one the whole array, of others a value each, or for all.
    """
    fields = [field.split() for field in schema.split(", ")]
    starts = np.concatenate(([0], ends))
    columns = []
    for value, (_, kind) in zip(values, fields, strict=True):
        if kind == "binary":
            offsets = pa.py_buffer((starts * value.itemsize).astype(np.int32))
            data = pa.py_buffer(np.ascontiguousarray(value))
            columns.append(pa.Array.from_buffers(pa.binary(), len(ends), [None, offsets, data]))
        else:
            columns.append(pa.array(np.full(len(ends), value), _TYPES[kind]))
    return pa.RecordBatch.from_arrays(columns, names=[name for name, _ in fields])


def factor_rows(
    name: str, ids: NDArray[np.int32], factors: NDArray[np.float32], bias: NDArray[np.float32]
) -> pa.RecordBatch:
    """(`name` int, factors array<float>, bias float), a row an id.

    Args:
        name: of the ids.
        ids: (rows,)
        factors: (rows, rank)
        bias: (rows,)
    """
    ends = np.arange(len(ids) + 1, dtype=np.int32) * factors.shape[1]
    lists = pa.ListArray.from_arrays(ends, np.ascontiguousarray(factors).ravel())
    columns = [pa.array(ids), lists, pa.array(np.ascontiguousarray(bias))]
    return pa.RecordBatch.from_arrays(columns, names=[name, "factors", "bias"])


def as_array(value: Any, kind: type[np.int32 | np.int64 | np.float32 | np.float64]) -> NDArray[Any]:
    """A binary Arrow scalar as an array over Arrow's own memory: read-only."""
    buffer = value.as_buffer()
    return np.frombuffer(buffer, kind) if buffer is not None else np.empty(0, kind)
