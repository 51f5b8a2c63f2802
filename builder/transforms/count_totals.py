"""Exact sums of integers and decimals of any size, by loops that add 64-bit words.

Decides how a column is split so that no word can overflow: not at all where the largest value times the rows stays
below 2^63, else into limbs of 32 bits. Sums are joined as 64-bit integers where all fit, else as Python's. Floats are
refused: their sums depend on the order of the rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from builder.errors import BuilderError, error

if TYPE_CHECKING:
    import pandas as pd

Words = npt.NDArray[np.int64]
Limbs = tuple[Words, ...]
Totals = npt.NDArray[Any]
"""Words, or Python integers (dtype object) where one does not fit a word."""

MAX_ROWS = 1 << 30
"""Rows that limbs of 32 bits can be summed over."""

_WORD = 1 << 63
_LIMB = (1 << 32) - 1
_DIGITS = 38  # of the widest decimal that Arrow holds in 128 bits


def summed_column(series: pd.Series[Any], what: str) -> tuple[Limbs, pa.DataType]:
    """A column's values as limbs, null as 0, and the Arrow type of its sums: ``int64`` or ``decimal(38,s)``.

    Raises
    ------
    BuilderError
        ``bad-value`` for anything but integers and decimals.
    """
    dtype = series.dtype
    if isinstance(dtype, np.dtype) and dtype.kind not in "iu":
        raise _refused(series, what)
    try:
        array = pa.array(series.array, from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as cause:
        raise _refused(series, what) from cause
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    if pa.types.is_integer(array.type):
        return _integer_limbs(array), pa.int64()
    if pa.types.is_decimal(array.type) and array.type.precision <= _DIGITS and 0 <= array.type.scale <= _DIGITS:
        kind = pa.decimal128(_DIGITS, array.type.scale)
        return _decimal_limbs(array.cast(kind)), kind
    raise _refused(series, what)


def _refused(series: pd.Series[Any], what: str) -> BuilderError:
    kind = str(series.dtype)
    is_float = "float" in kind.lower() or "double" in kind
    why = "a sum of floats depends on the order of the rows: " if is_float else ""
    return error(
        "bad-value",
        f"column '{series.name}' of '{what}' cannot be summed exactly",
        facts=[("dtype", kind)],
        hint=why + "give integers, or decimals: .astype(pandas.ArrowDtype(pyarrow.decimal128(18, 2)))",
    )


def _integer_limbs(array: pa.Array) -> Limbs:
    filled = pc.fill_null(array, 0) if array.null_count else array
    if pa.types.is_uint64(array.type) and (pc.max(filled).as_py() or 0) >= _WORD:
        words = filled.to_numpy(zero_copy_only=False)
        return _split(np.stack([words, np.zeros_like(words)], axis=1))
    return word_limbs(filled.cast(pa.int64()).to_numpy(zero_copy_only=False))


def _decimal_limbs(array: pa.Array) -> Limbs:
    buffer = array.buffers()[1]
    pairs = np.zeros((len(array), 2), np.int64)
    if buffer is not None and len(array):
        pairs = np.frombuffer(buffer, np.int64, 2 * len(array), 16 * array.offset).reshape(-1, 2)
    if array.null_count:
        pairs = np.where(array.is_valid().to_numpy(zero_copy_only=False)[:, None], pairs, 0)
    if (pairs[:, 1] == pairs[:, 0] >> 63).all():
        return word_limbs(np.ascontiguousarray(pairs[:, 0]))
    return _split(pairs)


def word_limbs(words: Words) -> Limbs:
    """Words as one limb where no sum of them can overflow, else as two."""
    if len(words) == 0 or max(int(words.max()), -int(words.min())) * len(words) < _WORD:
        return (words,)
    return _split(words.reshape(-1, 1))


def _split(words: Any) -> Limbs:
    """The limbs of little-endian words, of which the last has the sign."""
    parts = np.ascontiguousarray(words).view(np.uint32).astype(np.int64)
    top = parts.shape[1] - 1
    parts[:, top] = parts[:, top].astype(np.int32)
    return tuple(np.ascontiguousarray(parts[:, i]) for i in range(top + 1))


def total_limbs(totals: Totals) -> Limbs:
    """The limbs of sums, to be summed again."""
    if totals.dtype != np.dtype(object):
        return word_limbs(totals)
    limbs = []
    while any(not -(_LIMB >> 1) <= v <= _LIMB >> 1 for v in totals):
        limbs.append((totals & _LIMB).astype(np.int64))
        totals = totals >> 32
    return (*limbs, totals.astype(np.int64))


def joined(limbs: Limbs) -> Totals:
    """The sums that limbs stand for."""
    if len(limbs) == 1:
        return limbs[0]
    whole: Totals = limbs[-1].astype(object)
    for limb in reversed(limbs[:-1]):
        whole = (whole << 32) + limb
    fits = all(-_WORD <= v < _WORD for v in whole)
    return whole.astype(np.int64) if fits else whole


def negated(totals: Totals) -> Totals:
    """The sums with the other sign; the least word has no opposite among words."""
    if totals.dtype != np.dtype(object) and len(totals) and int(totals.min()) == -_WORD:
        return -totals.astype(object)
    return -totals


def first_overflow(totals: Totals, kind: pa.DataType) -> int | None:
    """The position of the first sum that the type cannot hold, None where all fit."""
    if totals.dtype != np.dtype(object):
        return None
    limit = 10**_DIGITS if pa.types.is_decimal(kind) else _WORD
    low = -limit if pa.types.is_int64(kind) else 1 - limit
    return next((i for i, v in enumerate(totals) if not low <= v < limit), None)


def as_array(totals: Totals, kind: pa.DataType) -> Any:
    """Sums that fit as a pandas array: numpy's ``int64``, or Arrow decimals."""
    if pa.types.is_int64(kind):
        return totals.astype(np.int64)
    import pandas as pd

    words = np.empty((len(totals), 2), np.int64)
    if totals.dtype == np.dtype(object):
        words[:, 0] = (totals & ((1 << 64) - 1)).astype(np.uint64).view(np.int64)
        words[:, 1] = totals >> 64
    else:
        words[:, 0], words[:, 1] = totals, totals >> 63
    return pd.arrays.ArrowExtensionArray(pa.Array.from_buffers(kind, len(totals), [None, pa.py_buffer(words)]))
