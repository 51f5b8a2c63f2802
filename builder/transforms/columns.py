"""What transforms ask of the columns of their frames.

Decides how a frame that lacks a column is refused. Never looks at values.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

from builder.errors import error


def check_columns(frame: Any, names: Iterable[str], what: str) -> None:
    """Refuse a frame that lacks a column, or has two of one name.

    Parameters
    ----------
    frame
        A DataFrame.
    names
        The columns that are needed.
    what
        The parameter that the frame came by, for the message.

    Raises
    ------
    BuilderError
        ``bad-value`` with the nearest name.
    """
    held = [str(column) for column in frame.columns]
    for name in names:
        if held.count(name) == 1:
            continue
        if name in held:
            raise error(
                "bad-value", f"'{what}' has {held.count(name)} columns '{name}'", hint="rename all but one of them"
            )
        near = get_close_matches(name, held, 1)
        hint = f"did you mean '{near[0]}'?" if near else f"it has: {', '.join(held) or 'no columns'}"
        raise error("bad-value", f"'{what}' has no column '{name}'", hint=hint)


def some_of(names: Iterable[Any], shown: int = 5) -> str:
    """The first few names as text, and how many more there are.

    >>> some_of(range(7), shown=3), some_of(["a"])
    ('0, 1, 2 and 4 more', 'a')
    """
    listed = [str(name) for name in names]
    more = len(listed) - shown
    return ", ".join(listed[:shown]) + (f" and {more} more" if more > 0 else "")
