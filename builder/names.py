"""Names of sources, recipes and targets: their grammar, their parameters, and their way into paths.

Decides what a legal name is and how a value is written in one. Never touches a disk.

    clean_shops                         a recipe, a source, a family
    clean_shops[state=CA,year=2024]     a member, parameters in declaration order
    split.good[state=CA]                one output of a recipe with several
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime
from urllib.parse import quote, unquote

from builder.digests import Scalar, digest_of
from builder.errors import BuilderError, error
from builder.nouns import dataclass

Params = tuple[tuple[str, Scalar], ...]

MAX_NAME_BYTES = 200
_NAME = re.compile(r"[^\W\d][\w-]*")
_BARE = re.compile(r"[\w .:+@~/-]*")  # what a value may hold as it is inside the brackets of a name
_RESERVED = frozenset({"con", "prn", "aux", "nul"})
PARAMETER = re.compile(r"\{(\w+)\}")


def check_name(name: str, what: str, place: str | None = None) -> str:
    """`name` itself where it is a legal name of a source, recipe, output, lane or parameter.

    Raises
    ------
    ConfigError
        ``recipe-declaration``: empty, longer than 200 bytes in UTF-8, or other than letters, digits,
        ``_`` and ``-`` with a letter or ``_`` first.
    """
    legal = isinstance(name, str) and _NAME.fullmatch(name) and len(name.encode("utf-8", "replace")) <= MAX_NAME_BYTES
    if not legal or name.lower() in _RESERVED:
        shown = repr(name) if len(repr(name)) < 80 else repr(name)[:76] + "…'"
        raise error(
            "recipe-declaration",
            f"{shown} is not a legal name of {'an' if what[0] in 'aeiou' else 'a'} {what}",
            place=place,
            hint="use letters, digits, _ and -, starting with a letter, at most 200 bytes",
        )
    return name


def value_text(value: Scalar) -> str:
    """A parameter's value as it stands in a name; characters with a meaning there are percent-encoded."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, int):
        return str(value)
    if value and _BARE.fullmatch(value) and not value.startswith(" ") and not value.endswith(" "):
        return value
    return quote(value, safe=" .:+@~/", errors="surrogatepass") if value else "%"


def filled(text: str, values: Mapping[str, Scalar], spelled: Callable[[Scalar], str] = value_text) -> str:
    """`text` with each ``{param}`` of the member replaced by its value as `spelled` gives it; unknown ones stay.

    >>> filled("{state}_{kind}", {"state": "CA"})
    'CA_{kind}'
    """
    return PARAMETER.sub(lambda m: spelled(values[m[1]]) if m[1] in values else m[0], text)


def plain_text(value: Scalar) -> str:
    """A parameter's value as it stands in a column's name: a text as it is.

    >>> plain_text("a,b"), plain_text(7)
    ('a,b', '7')
    """
    return value if isinstance(value, str) else value_text(value)


def value_json(value: Scalar) -> list[str | int | bool]:
    """A parameter's value with its type, for JSON: ``["s", "CA"]``, ``["i", 7]``, ``["b", true]``, ``["d", ISO]``."""
    if isinstance(value, bool):
        return ["b", value]
    if isinstance(value, int):
        return ["i", value]
    return ["d", value.isoformat()] if isinstance(value, date) else ["s", value]


def value_from_json(pair: list[str | int | bool]) -> Scalar:
    """The value that `value_json` wrote."""
    kind, value = pair
    return date.fromisoformat(str(value)) if kind == "d" else value


def check_value(value: object, subject: str, place: str | None = None) -> Scalar:
    """`value` itself where it may be a parameter: str, int, bool or date (no datetime).

    Raises
    ------
    ConfigError
        ``recipe-declaration`` for any other type.
    """
    if isinstance(value, (str, int, bool, date)) and not isinstance(value, datetime):
        return value
    raise error(
        "recipe-declaration",
        f"parameter '{subject}' has the value {value!r} of type {type(value).__name__}",
        place=place,
        hint="values of parameters are str, int, bool or datetime.date",
    )


def member_name(base: str, params: Params) -> str:
    """The full name of a member: the base name and its parameters in brackets."""
    if not params:
        return base
    return base + "[" + ",".join(f"{k}={value_text(v)}" for k, v in params) + "]"


@dataclass(frozen=True, slots=True)
class Reference:
    """A written reference: a base name and what stands in its brackets.

    ``fixed`` holds the ``k=v`` pairs as text (values may contain ``{param}``), ``rest`` says that ``*`` stood
    in the brackets: all members that agree with the fixed pairs.
    """

    base: str
    fixed: tuple[tuple[str, str], ...] = ()
    rest: bool = False
    bracketed: bool = False


def parse_reference(text: str, place: str | None = None) -> Reference:
    """The parts of ``name``, ``name[k=v,…]``, ``name[*]`` or ``name[k=v,*]``.

    Raises
    ------
    ConfigError
        ``recipe-declaration`` where the brackets cannot be read.

    >>> parse_reference("shops[state={state},*]")
    Reference(base='shops', fixed=(('state', '{state}'),), rest=True, bracketed=True)
    """
    base, bracket, inside = text.partition("[")
    if not bracket:
        return Reference(base)
    if not inside.endswith("]"):
        raise error(
            "recipe-declaration", f"reference {text!r} lacks its closing ]", place=place, hint="close the brackets"
        )
    fixed: list[tuple[str, str]] = []
    rest = False
    for item in inside[:-1].split(","):
        key, equals, value = item.partition("=")
        if item.strip() == "*":
            rest = True
        elif equals and key.strip():
            fixed.append((key.strip(), value))
        else:
            raise error(
                "recipe-declaration",
                f"reference {text!r} has {item!r} in its brackets",
                place=place,
                hint="write name[key=value,…], name[*] or name[key=value,*]",
            )
    return Reference(base, tuple(fixed), rest, True)


def names_meant(text: str, known: Iterable[str]) -> list[str]:
    """The full names among `known` that a written name means: itself, or the members that agree with its brackets.

    Parameters may stand in any order, and fewer than all mean several members; the order of `known` stays.

    >>> names_meant("f[year=1,state=CA]", ["f[state=CA,year=1]", "f[state=WA,year=1]"])
    ['f[state=CA,year=1]']
    """
    names = list(known)
    if text in names:
        return [text]
    try:
        wanted = parse_reference(text)
    except BuilderError:
        return []
    pairs = {(k, value_from_text(v)) for k, v in wanted.fixed}
    found = []
    for name in names:
        base, bracket, _ = name.partition("[")
        if base == wanted.base and bracket:
            found += [name] if pairs <= {(k, value_from_text(v)) for k, v in parse_reference(name).fixed} else []
    return found


def value_from_text(text: str) -> str:
    """The text that `value_text` wrote, with its percent-encoding taken back."""
    return "" if text == "%" else unquote(text, errors="surrogatepass")


def path_segment(text: str) -> str:
    """`text` as one safe segment of a path: percent-encoded, never ``.`` or ``..``; over 200 bytes it ends in a digest.

    >>> path_segment("../x"), path_segment("..")
    ('..%2Fx', '%2E%2E')
    """
    encoded = quote(text, safe=" +@~,=()", errors="surrogatepass")
    if encoded in ("", ".", ".."):
        encoded = encoded.replace(".", "%2E") or "%"
    if len(encoded) <= MAX_NAME_BYTES:
        return encoded
    # No other segment holds a "!", so that no text shares the segment of a longer one.
    return encoded[: MAX_NAME_BYTES - 17] + "!" + digest_of("path", text)[:16]


def file_segments(name: str) -> list[str]:
    """The segments of a file's own relative name, as they are; never ``.`` or ``..``, so that none leads elsewhere.

    >>> file_segments("css/ä b.css"), file_segments("../x")
    (['css', 'ä b.css'], ['%2E%2E', 'x'])
    """
    return [path_segment(s) if s in ("", ".", "..") or "\0" in s else s for s in name.split("/")]
