"""Text as it is compared: case, accents, width, punctuation and spaces taken away.

Decides when two texts say the same. Never guesses: abbreviations and misspellings stay different (that is scoring's
part).
"""

from __future__ import annotations

import unicodedata
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from builder.transforms.values import text_values, with_bytes

# Marks that are accents in any script. Other marks (vowel signs of Indic scripts, voiced kana) are letters to their
# readers.
_ACCENTS = ((0x0300, 0x036F), (0x1AB0, 0x1AFF), (0x1DC0, 0x1DFF), (0x20D0, 0x20FF), (0xFE20, 0xFE2F))
_APOSTROPHES = "'’‘ʼ`´′"
# Letters that Unicode does not decompose, as they are written where the sign is missing.
_LETTERS = dict(zip("øłđħŧıæœþðŋ", ("o", "l", "d", "h", "t", "i", "ae", "oe", "th", "d", "n")))


class _Letters(dict[int, str]):
    """What becomes of each decomposed character, found when it is first met: texts, spaces, or nothing."""

    def __missing__(self, code: int) -> str:
        # Accents go before the case is folded: folding turns the iota below a Greek vowel into a letter of its own.
        letters = "" if _is_accent(code) else unicodedata.normalize("NFKD", chr(code).casefold())
        made = self[code] = "".join(map(_letter, letters))
        return made


def _is_accent(code: int) -> bool:
    return any(low <= code <= high for low, high in _ACCENTS)


def _letter(character: str) -> str:
    category = unicodedata.category(character)
    if _is_accent(ord(character)) or character in _APOSTROPHES or category == "Cf":  # Cf: soft hyphens, joiners
        return ""
    return _LETTERS.get(character, character) if category[0] in "LMN" else " "


_TABLE = _Letters()
_BYTES = np.array([ord(_TABLE[n] or "'") if n < 128 else 32 for n in range(256)], np.uint8)


def _folded(text: str) -> str:
    made = " ".join(unicodedata.normalize("NFKD", text).translate(_TABLE).split())
    return made if made.isascii() else unicodedata.normalize("NFC", made)


def normalise(values: pd.Series[Any]) -> pd.Series[Any]:
    """The texts of a Series as they are compared: one case, no accents, punctuation and spaces as single spaces.

    Compatible characters are one (NFKC: full width, ligatures, superscripts), case is folded, accents are taken off
    (also the strokes of ø, ł, đ and their like), apostrophes and invisible characters are dropped, every other run of
    what is neither letter, mark nor digit becomes one space, none at the ends. Doing it twice is doing it once.

    Parameters
    ----------
    values
        Texts, of any text dtype.

    Returns
    -------
    pandas.Series
        ``string``, with the index, the name and the order of `values`. Null stays null; a text of punctuation alone
        becomes the empty text.

    Raises
    ------
    BuilderError
        ``bad-value`` where the values are not text.

    Notes
    -----
    Unicode Standard Annex 15 (normalisation forms) and the case folding of chapter 3.13, by Python's Unicode tables.
    Texts of ASCII alone go through Arrow, two million and more in a CPU second; other distinct texts 3 µs each.

    Examples
    --------
    >>> import pandas as pd
    >>> normalise(pd.Series(["  O'Hare--Int’l ", "ŁÓDŹ", "Straße №5", "?!", None])).tolist()
    ['ohare intl', 'lodz', 'strasse no5', '', <NA>]
    """
    series = values if isinstance(values, pd.Series) else pd.Series(values)
    folded = normal_values(text_values(series, str(series.name or "values")))
    dtype: Any = pd.StringDtype("pyarrow")
    return pd.Series(dtype.__from_arrow__(folded), index=series.index, name=series.name)


def normal_values(texts: pa.Array) -> pa.Array:
    """The texts of an Arrow array as `normalise` gives them."""
    is_ascii = pc.string_is_ascii(texts)
    # Of ASCII, bytes stay in their places; only where that leaves apostrophes or spaces to be taken out, texts are cut.
    made = with_bytes(texts, _BYTES)
    is_rough = pc.match_substring_regex(made, "'|  |^ | $")
    if pc.any(is_rough).as_py():
        rough = pc.replace_substring_regex(made.filter(is_rough), "'+", "")
        cut = pc.ascii_trim_whitespace(pc.replace_substring_regex(rough, " +", " "))
        made = pc.replace_with_mask(made, is_rough.fill_null(False), cut)
    if pc.all(is_ascii).as_py() is False:
        others = texts.filter(pc.invert(is_ascii)).dictionary_encode()
        folded = pa.array([_folded(text) for text in others.dictionary.to_pylist()], pa.large_string())
        made = pc.replace_with_mask(made, pc.invert(is_ascii).fill_null(False), folded.take(others.indices))
    return made


def blank_as_null(texts: pa.Array, trimmed: pa.Array) -> pa.Array:
    """The texts, null where nothing is left of them when they are trimmed."""
    return pc.if_else(pc.equal(trimmed, ""), pa.scalar(None, pa.large_string()), texts)
