"""The formats of texts: which there are in a column, and how frequent each is.

Decides what the format of a text is. Never judges whether a text is right.
"""

from __future__ import annotations

import json
import unicodedata
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from builder.errors import error
from builder.transforms.columns import check_columns
from builder.transforms.values import text_values, with_bytes

_EXAMPLES = 3


def patterns(texts: Any, column: str | None = None, *, collapse: bool = False, most: int = 20) -> pd.DataFrame:
    """The most frequent formats of a text column: ``AA-9999`` for ``WA-0451``.

    A capital letter is ``A``, any other letter ``a``, a decimal digit ``9``; all else stands for itself.

    Parameters
    ----------
    texts
        A Series, or a DataFrame and the name of its `column`; any index.
    collapse
        Whether a run of letters of one kind, or of digits, is one: ``A-9``.
    most
        How many formats are listed at most.

    Returns
    -------
    pandas.DataFrame
        By count, descending, then by pattern; a fresh RangeIndex: ``pattern`` (string), ``count`` (int64), ``share``
        (float64, of the texts that are not null), ``examples`` (string: JSON, the three lowest of different texts).
        The same for any order of the rows.

    Raises
    ------
    BuilderError
        ``bad-value`` where the column is missing or not text; ``recipe-declaration`` for wrong arguments.

    Notes
    -----
    Nulls have no pattern and are not counted; the empty text has the empty pattern. Letters and digits are those of
    Unicode (categories L and Nd), capitals Lu and Lt; marks that combine with a letter are left out.

    Examples
    --------
    >>> import pandas as pd
    >>> codes = pd.Series(["WA-0451", "OR-7", "or-71", None, "CA-12"])
    >>> patterns(codes, collapse=True).values.tolist()
    [['A-9', 3, 0.75, '["CA-12", "OR-7", "WA-0451"]'], ['a-9', 1, 0.25, '["or-71"]']]
    """
    if isinstance(most, bool) or not isinstance(most, int) or most < 1:
        raise error("recipe-declaration", f"'most' is {most!r}", hint="give how many patterns to list")
    held = _texts(texts, column).drop_null()
    codes, formats = coded(held, collapse)
    counts = np.bincount(codes, minlength=len(formats))
    table = pa.table({"pattern": formats, "count": counts})
    order = pc.sort_indices(table, sort_keys=[("count", "descending"), ("pattern", "ascending")])[:most].to_numpy()
    listed = counts[order].astype(np.int64)
    return pd.DataFrame(
        {
            "pattern": pd.Series(formats.take(pa.array(order)).to_pylist(), dtype="string"),
            "count": listed,
            "share": listed / max(len(held), 1),
            "examples": pd.Series([_lowest(held, codes == code) for code in order], dtype="string"),
        }
    )


def _texts(values: Any, column: str | None) -> pa.Array:
    if not isinstance(values, pd.DataFrame):
        series = values if isinstance(values, pd.Series) else pd.Series(values)
        return text_values(series, str(series.name or column or "texts"))
    if column is None:
        raise error("recipe-declaration", "'column' is missing", hint="name the column of the frame")
    check_columns(values, [column], "texts")
    return text_values(values[column], column)


def coded(texts: pa.Array, collapse: bool) -> tuple[npt.NDArray[np.int64], pa.Array]:
    """The number of each text's format, and the formats; of texts without nulls."""
    encoded = _formats(texts).dictionary_encode()
    codes = encoded.indices.to_numpy().astype(np.int64)
    formats = encoded.dictionary
    if collapse:
        for letter in "Aa9":
            formats = pc.replace_substring_regex(formats, letter + "+", letter)
        again = formats.dictionary_encode()
        codes, formats = again.indices.to_numpy().astype(np.int64)[codes], again.dictionary
    return codes, formats


def _formats(texts: pa.Array) -> pa.Array:
    """The format of each text. ASCII has one byte a character before and after: its bytes are looked up all at once."""
    is_ascii = pc.string_is_ascii(texts)
    made = with_bytes(texts, _BYTES)
    if pc.all(is_ascii).as_py() is not False:
        return made
    mask = ~is_ascii.to_numpy(zero_copy_only=False)
    others = texts.filter(pa.array(mask)).dictionary_encode()
    formats = pa.array([text.translate(_CHARACTERS) for text in others.dictionary.to_pylist()], pa.large_string())
    return pc.replace_with_mask(made, mask, formats.take(others.indices))


class _Characters(dict[int, "str | int | None"]):
    """What a character is in a format, found when it is first met; None where it is left out."""

    def __missing__(self, code: int) -> str | int | None:
        category = unicodedata.category(chr(code))
        if category[0] == "L":
            made: str | int | None = "A" if category in ("Lu", "Lt") else "a"
        else:
            made = "9" if category == "Nd" else None if category[0] == "M" else code
        self[code] = made
        return made


_CHARACTERS = _Characters()
# Bytes above 127 become spaces: what they are part of is replaced afterwards, and must be text until then.
_BYTES = np.array([ord(chr(n).translate(_CHARACTERS)) if n < 128 else 32 for n in range(256)], np.uint8)


def _lowest(texts: pa.Array, is_chosen: npt.NDArray[np.bool_]) -> str:
    distinct = pa.table({"text": pc.unique(texts.filter(pa.array(is_chosen)))})
    order = pc.select_k_unstable(distinct, _EXAMPLES, [("text", "ascending")])
    return json.dumps(distinct["text"].take(order).to_pylist(), ensure_ascii=False)
