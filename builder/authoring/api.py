"""The words that recipes are written in: `source`, `recipe`, `read`, `lookup`, `rows`, `groups`.

Decides how keywords become declarations, and refuses wrong ones where they stand. Never resolves a name:
`graph.expand` does.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from pathlib import PurePosixPath
from typing import Any

from builder.authoring.registry import project_root, register
from builder.digests import Scalar
from builder.errors import error
from builder.formats.kinds import kind_of
from builder.graph.declare import WHOLE, Grain, Input, Lookup, Place, Publish, Read, RecipeDecl, SourceDecl
from builder.names import check_name, parse_reference
from builder.sizes import parse_bytes
from builder.tables.schema import check_dtype

FORMATS = frozenset({"csv", "tsv", "parquet", "geojson", "json", "jsonl", "gpkg", "fgb", "shp", "file"})
POLICIES = frozenset({"auto", "require", "full"})
NO_DOT = "rename the column: a key's name begins with no dot"
"""Arrow takes a name that begins with one for a path into a nested column, where it groups, sorts and joins."""


def place_of_call() -> Place:
    """Where the recipe's author called us: the innermost frame outside of this package."""
    frame = sys._getframe(2)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("builder."):
        frame = frame.f_back
    file = frame.f_code.co_filename
    root = project_root()
    if root and file.startswith(root + "/"):
        file = file[len(root) + 1 :]
    return Place(file, frame.f_lineno)


def _texts(
    value: str | Iterable[str] | None, what: str, place: Place, *, may_be_empty: bool = False
) -> tuple[str, ...]:
    """A text or several as a tuple, each once; `None` is none."""
    if value is None:
        return ()
    texts = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, Iterable) else (None,)
    if not all(isinstance(t, str) and (t or may_be_empty) for t in texts):
        hint = "give a text or a list of texts"
        raise error("recipe-declaration", f"{what} is {value!r}", place=str(place), hint=hint)
    if len(set(texts)) < len(texts):
        hint = "name each once"
        raise error("recipe-declaration", f"{what} is {value!r}, with a text twice", place=str(place), hint=hint)
    return tuple(t for t in texts if t is not None)


def has_dot(names: Iterable[str]) -> bool:
    """Whether any of these names begins with a dot."""
    return any(name.startswith(".") for name in names)


def _key(value: str | Sequence[str] | None, what: str, place: Place) -> tuple[str, ...]:
    """The columns that name a row, or a group."""
    names = _texts(value, what, place)
    if has_dot(names):
        raise error("recipe-declaration", f"{what} is {value!r}", place=str(place), hint=NO_DOT)
    return names


def _columns(columns: Mapping[str, str] | None, place: Place) -> tuple[tuple[str, str], ...]:
    if columns is None:
        return ()
    if not isinstance(columns, Mapping):
        raise error("recipe-declaration", "columns= is no mapping", place=str(place), hint='columns={"id": "string"}')
    return tuple((str(c), check_dtype(d, str(c), str(place))) for c, d in columns.items())


def source(
    name: str,
    path: str,
    *,
    key: str | Sequence[str] | None = None,
    columns: Mapping[str, str] | None = None,
    format: str | None = None,
    crs: str | None = None,
    layer: str | None = None,
    delimiter: str | None = None,
    encoding: str | None = None,
    null: Sequence[str] | None = None,
    file_column: str | None = None,
) -> str:
    """The name of a declared source, for use as a reference.

    Parameters
    ----------
    name
        ``airports``, or a family ``shops[state={state}]`` whose captures stand in `path` too.
    path
        A path relative to the project, absolute, or an fsspec URL. ``*`` matches within a file's name: one source of
        many files, in name order; ``{capture}`` makes one member per value.
    key
        The column or columns that name a row; none: rows are known by their position.
    columns
        Dtypes of columns; those not named are inferred from the whole first version and pinned in ``schemas/``.
    format
        One of csv, tsv, parquet, geojson, json, jsonl, gpkg, fgb, shp, file; by the path's ending where not given.
    crs
        The CRS of the geometries where the file gives none.
    layer
        The layer of a file that has several.
    delimiter, encoding, null
        The dialect of a text table; `null` lists the unquoted spellings of null (default: the empty field).
    file_column
        A column to add with the name of the file each row came from.

    Raises
    ------
    ConfigError
        ``recipe-declaration``: an illegal name, an unknown format or dtype, captures that do not agree.
    """
    place = place_of_call()
    if not isinstance(path, str) or not path or "\0" in path:
        raise error(
            "recipe-declaration",
            f"source '{name}' has the path {path!r}",
            place=str(place),
            hint="give the path of a file, a pattern or a URL as a text without NUL",
        )
    if format is not None and format not in FORMATS:
        raise error(
            "recipe-declaration",
            f"source '{name}' has the format {format!r}",
            place=str(place),
            hint="formats are " + ", ".join(sorted(FORMATS)),
        )
    reference = parse_reference(str(name), str(place))
    check_name(reference.base, "source", str(place))
    _check_captures(name, path, reference.fixed, place)
    chosen = format or ("file" if path.endswith("/") else kind_of(PurePosixPath(path).name)[0])
    register(
        SourceDecl(
            name=name,
            path=path,
            place=place,
            key=_key(key, "key=", place),
            columns=_columns(columns, place),
            format=chosen,
            crs=crs,
            layer=layer,
            delimiter=delimiter,
            encoding=encoding,
            null=None if null is None else _texts(null, "null=", place, may_be_empty=True),
            file_column=file_column,
        )
    )
    return name


def _check_captures(name: str, path: str, fixed: tuple[tuple[str, str], ...], place: Place) -> None:
    """Refuse a family whose brackets and path hold different captures."""
    from re import findall

    in_path = set(findall(r"\{(\w+)\}", path))
    for parameter, text in fixed:
        check_name(parameter, "parameter", str(place))
        if text != "{" + parameter + "}":
            raise error(
                "recipe-declaration",
                f"source '{name}' has {text!r} in its brackets",
                place=str(place),
                hint=f"write [{parameter}={{{parameter}}}]",
            )
    if in_path != {p for p, _ in fixed}:
        raise error(
            "recipe-declaration",
            f"the captures of source '{name}' and of its path {path!r} differ",
            place=str(place),
            hint="name each {capture} of the path in the brackets: shops[state={state}]",
        )


def read(ref: str, columns: str | Sequence[str] | None = None, where: Mapping[str, Any] | None = None) -> Read:
    """A reference of which only these columns (and rows where each column has the value) are read, and count.

    Columns arrive in the order given here.
    """
    place = place_of_call()
    chosen = None if columns is None else _texts(columns, "columns=", place)
    for column, value in (where or {}).items():
        if isinstance(value, datetime) or not isinstance(value, (str, int, bool, float, date, type(None))):
            what = f"where= compares column '{column}' with {value!r}"
            hint = "give one value for each column: str, int, bool, float, datetime.date or None"
            raise error("recipe-declaration", what, place=str(place), hint=hint)
    return Read(ref, chosen, tuple((where or {}).items()))


def lookup(ref: str, on: str) -> Lookup:
    """A reference that a row recipe looks up by the column `on`: a changed side row touches only its rows."""
    return Lookup(ref, on)


def rows(of: str) -> Grain:
    """The grain of a recipe whose output rows each depend on one row of the input `of` (0..n rows per input row)."""
    return Grain("rows", of)


def groups(by: str | Sequence[str], of: str) -> Grain:
    """The grain of a recipe that gets all rows of the touched groups of the input `of` at once."""
    return Grain("groups", of, _key(by, "by", place_of_call()))


class Recipe:
    """A declared recipe: still callable as the function it was; `update` takes its own update rule."""

    def __init__(self, function: Callable[..., Any], name: str) -> None:
        self.__wrapped__ = function
        self.__doc__ = function.__doc__
        self.__name__ = getattr(function, "__name__", name)
        self.__module__ = function.__module__
        self.name = name
        self.decl: RecipeDecl | None = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What the function returns."""
        return self.__wrapped__(*args, **kwargs)

    def update(self, function: Callable[..., Any]) -> Recipe:
        """The recipe itself, after noting its own update ``update(previous, deltas)``; used as a decorator."""
        assert self.decl is not None
        object.__setattr__(self.decl, "update", function)
        return self


def recipe(
    function: Callable[..., Any] | None = None,
    *,
    name: str | None = None,
    key: str | Sequence[str] | None = None,
    columns: Mapping[str, str] | None = None,
    outputs: Sequence[str] = (),
    grain: Grain = WHOLE,
    each: Any = None,
    inputs: Mapping[str, Input] | Callable[..., Mapping[str, Input]] | None = None,
    lane: Any = None,
    slots: Any = 1,
    memory: Any = None,
    needs: Any = (),
    retries: int = 0,
    timeout: Any = None,
    priority: int = 0,
    environment: Sequence[str] = (),
    version: Scalar | None = None,
    check: Any = None,
    publish: Publish = None,
    pure: bool = True,
    policy: str = "auto",
) -> Any:
    """A decorator that declares a recipe; usable bare (``@recipe``) or with keywords.

    Parameters
    ----------
    name
        The recipe's name; default: the function's.
    key, columns
        The output's key columns and dtypes. With `columns`, the result must have exactly these.
    outputs
        Names of several outputs; the function returns a dict with them, the targets are ``NAME.output``.
    grain
        How output rows depend on input rows: whole (default), `rows`, `groups`.
    each
        What makes a family: a dict of lists (product), a list of dicts, a family's name, or a list of these.
    inputs
        References per parameter, or a function of the parameters that returns them.
    lane, slots, memory, needs
        Scarce resources: ``"db"`` or ``{"db": 2}``; workers taken; ``"4 GB"``; abilities of a worker.
    retries, timeout, priority
        Further attempts after a failure; seconds; higher runs first among equals.
    environment, version
        Libraries whose version counts; a value whose change forces a rebuild.
    check
        A function or a pandera schema; an output that fails it is not published.
    publish
        True or False where the project's setting is not to count.
    pure
        False: runs on every rebuild.
    policy
        ``auto``, ``require`` (an update or an error after the first build) or ``full``.

    Raises
    ------
    ConfigError
        ``recipe-declaration`` for keywords that cannot be.
    """
    keywords = {k: v for k, v in locals().items() if k not in ("function", "name")}
    place = place_of_call()

    def declare(function: Callable[..., Any]) -> Recipe:
        return _declared(function, name, place, keywords)

    return declare if function is None else declare(function)


def _declared(function: Any, name: str | None, place: Place, keywords: dict[str, Any]) -> Recipe:
    """The recipe of a function, made known to the project."""
    if not callable(function):
        raise error(
            "recipe-declaration",
            f"@b.recipe stands on {function!r}, which is no function",
            place=str(place),
            hint="decorate a function; options are keywords: @b.recipe(key=…)",
        )
    own = getattr(function, "__name__", "")
    chosen = check_name(name if name is not None else own, "recipe", str(place))
    code = getattr(inspect.unwrap(function), "__code__", None)
    at = Place(place.file, code.co_firstlineno) if code and code.co_filename.endswith(place.file) else place
    made = Recipe(function, chosen)
    keywords = keywords | {
        "key": _key(keywords["key"], "key=", at),
        "columns": _columns(keywords["columns"], at),
        "outputs": tuple(check_name(o, "output", str(at)) for o in _texts(keywords["outputs"], "outputs=", at)),
        "environment": _texts(keywords["environment"], "environment=", at),
    }
    made.decl = RecipeDecl(name=chosen, function=function, place=at, **keywords)
    _check_keywords(made.decl)
    register(made.decl)
    return made


def _check_keywords(decl: RecipeDecl) -> None:
    """Refuse keywords of a wrong type or range."""
    wrong: list[tuple[str, Any, str]] = []
    if not isinstance(decl.grain, Grain):
        wrong.append(("grain", decl.grain, "b.rows(of) or b.groups(by, of)"))
    if not isinstance(decl.retries, int) or decl.retries < 0:
        wrong.append(("retries", decl.retries, "0 or more"))
    if not isinstance(decl.priority, int):
        wrong.append(("priority", decl.priority, "a whole number"))
    if decl.policy == "require" and not decl.pure:
        wrong.append(("policy", decl.policy, "auto: with pure=False it runs whole on every rebuild"))
    if decl.policy not in POLICIES:
        wrong.append(("policy", decl.policy, "auto, require or full"))
    if decl.publish not in (None, True, False):
        wrong.append(("publish", decl.publish, "True or False"))
    if len(set(decl.outputs)) != len(decl.outputs) or len(decl.outputs) == 1:
        wrong.append(("outputs", decl.outputs, "two or more different names"))
    if decl.version is not None and not isinstance(decl.version, (str, int, bool)):
        wrong.append(("version", decl.version, "a text or a whole number"))
    if decl.inputs is not None and not isinstance(decl.inputs, Mapping) and not callable(decl.inputs):
        wrong.append(("inputs", decl.inputs, "a dict, or a function of the parameters that returns one"))
    if decl.check is not None and not callable(decl.check) and not hasattr(decl.check, "validate"):
        wrong.append(("check", decl.check, "a function of the result, or a pandera schema"))
    if isinstance(decl.memory, str):
        parse_bytes(decl.memory, f"memory= of recipe '{decl.name}'", str(decl.place))
    for what, value, hint in wrong:
        raise error(
            "recipe-declaration", f"{what} of recipe '{decl.name}' is {value!r}", place=str(decl.place), hint=hint
        )
