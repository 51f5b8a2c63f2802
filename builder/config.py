"""A project's place and its settings, from ``builder.toml`` or ``[tool.builder]`` of ``pyproject.toml``.

Decides where a project begins, what each key may hold and what stands where nothing is said. Never looks at sources or
recipes, and creates nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from builder.errors import BuilderError, error
from builder.names import check_name
from builder.nouns import dataclass, field
from builder.sizes import parse_bytes

ENVIRONMENT = ("python", "pandas", "geopandas", "shapely", "pyarrow")
PUBLISH_WORDS = ("leaves", "all")
_KEYS = ("name", "recipes", "store", "out", "publish", "environment", "depends", "lanes", "sets", "cluster", "hooks")
_CLUSTER_KEYS = ("workers", "scheduler", "memory", "abilities", "ca", "cert", "key", "wait", "factory")
_HOOK_KEYS = ("before", "after")


@dataclass(frozen=True, slots=True)
class Config:
    """The settings of one project; ``recipes``, ``store`` and ``out`` are absolute.

    ``publish`` is ``"leaves"``, ``"all"`` or the targets named. ``workers`` None means one per CPU, ``scheduler``
    ``""`` the embedded cluster; ``memory_bytes`` (0: the machine's, shared) and ``abilities`` are each worker's.
    ``ca``, ``cert`` and ``key`` are the files for ``tls://`` schedulers, absolute; ``wait_s`` is how long a first
    worker or a scheduler that went away is waited for; ``factory`` (``file.py:function``) makes a Dask cluster object.
    ``hooks`` names callables, by ``before`` and ``after``. ``file`` is the file that was read, relative to the project,
    None for a bare folder.
    """

    root: Path
    name: str
    recipes: Path
    store: Path
    out: Path
    publish: str | tuple[str, ...] = "leaves"
    environment: tuple[str, ...] = ENVIRONMENT
    depends: tuple[str, ...] = ()
    lanes: Mapping[str, int] = field(default_factory=dict)
    sets: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    workers: int | None = None
    scheduler: str = ""
    memory_bytes: int = 0
    abilities: tuple[str, ...] = ()
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    wait_s: float = 60.0
    factory: str = ""
    hooks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    file: str | None = None


def find_project(start: Path) -> Path:
    """The nearest folder at or above `start` that is a project, absolute, links resolved.

    A project has ``builder.toml``, or ``[tool.builder]`` in ``pyproject.toml``, or at least a folder ``recipes``. Such
    a bare folder gives way to a configured project above it whose recipes these are.

    Raises
    ------
    ConfigError
        ``config`` where no folder is one, or `start` is none.
    """
    here = start.resolve()
    if not here.is_dir():
        raise error("config", f"'{start}' is no folder", place=str(start), hint="name the project's folder")
    bare: Path | None = None
    for folder in (here, *here.parents):
        if bare is None:
            if config_file(folder):
                return folder
            bare = folder if (folder / "recipes").is_dir() else None
        elif _owns_recipes(folder, bare / "recipes"):
            return folder
    if bare is not None:
        return bare
    raise error(
        "config",
        f"'{start}' is in no project",
        place=str(here),
        hint="run builder init DIR to make one, or name one with -C DIR",
    )


def config_file(folder: Path) -> str | None:
    """The name of the file in `folder` that configures a project, ``builder.toml`` first; None where there is none."""
    if (folder / "builder.toml").is_file():
        return "builder.toml"
    pyproject = folder / "pyproject.toml"
    if not pyproject.is_file():
        return None
    text = _read_text(pyproject, "pyproject.toml")
    # TOML is slow to import and to parse, and most files named pyproject.toml say nothing of builder.
    return "pyproject.toml" if "builder" in text and "builder" in _tool_table(text) else None


def _owns_recipes(folder: Path, recipes: Path) -> bool:
    try:
        file = config_file(folder)
        return file is not None and read_config(folder).recipes == recipes
    except BuilderError:
        return False  # a broken project further up is not the one that was asked for


def read_config(root: Path) -> Config:
    """The settings of the project at `root`; every key has a default.

    Raises
    ------
    ConfigError
        ``config`` with the file and line: not TOML, an unknown key, a wrong type or value, folders that overlap.
    """
    root = root.resolve()
    file = config_file(root)
    text = _read_text(root / file, file) if file else ""
    table = _Table(file or "builder.toml", text, ("tool", "builder") if file == "pyproject.toml" else ())
    table.allow(_KEYS)
    cluster = table.table("cluster")
    cluster.allow(_CLUSTER_KEYS)
    hooks = table.table("hooks")
    hooks.allow(_HOOK_KEYS)
    config = Config(
        root=root,
        name=table.line_text("name", root.name or "project"),
        recipes=table.folder("recipes", "recipes", root),
        store=table.folder("store", ".builder", root),
        out=table.folder("out", "out", root),
        publish=table.publish(),
        environment=table.texts("environment", ENVIRONMENT),
        depends=table.texts("depends", ()),
        lanes=table.table("lanes").lanes(),
        sets=table.table("sets").sets(),
        workers=cluster.count("workers"),
        scheduler=cluster.scheduler(),
        memory_bytes=cluster.size("memory"),
        abilities=cluster.texts("abilities", ()),
        ca=cluster.path_of("ca", root),
        cert=cluster.path_of("cert", root),
        key=cluster.path_of("key", root),
        wait_s=cluster.seconds("wait", 60.0),
        factory=cluster.factory(),
        hooks={when: hooks.texts(when, ()) for when in _HOOK_KEYS if hooks.holds(when)},
        file=file,
    )
    _check_folders(config, table)
    return config


def _check_folders(config: Config, table: _Table) -> None:
    """Recipes, store and outputs lie apart, so that none is written over, published or loaded as another."""
    folders = {k: getattr(config, k).resolve() for k in ("recipes", "store", "out")}
    for key, folder in folders.items():
        if config.root.is_relative_to(folder):
            raise table.wrong(key, f"'{key}' is the project's own folder or one above it", "name a folder of its own")
    for first, second in (("out", "store"), ("out", "recipes"), ("store", "recipes")):
        one, other = folders[first], folders[second]
        if one.is_relative_to(other) or other.is_relative_to(one):
            key = first if table.holds(first) else second
            raise table.wrong(
                key, f"'{first}' and '{second}' overlap: {one} and {other}", "name folders that lie apart"
            )


class _Table:
    """One table of the file, read key by key; each complaint names the key's line."""

    def __init__(self, file: str, text: str, path: tuple[str, ...], value: Mapping[str, Any] | None = None) -> None:
        self.file = file
        self.text = text
        self.path = path
        if value is None:
            value = _parse(text, file) if text else {}
            for key in path:
                value = value.get(key, {})
        if not isinstance(value, dict):
            key = path[-1]
            self.path = path[:-1]
            raise self.wrong(key, f"'{key}' is {_shown(value)}", f"write it as a table: [{'.'.join(path)}]")
        self.value: Mapping[str, Any] = value

    def wrong(self, key: str, message: str, hint: str) -> BuilderError:
        """The error about `key`, at its line."""
        line = line_of(self.text, (*self.path, key))
        return error("config", message, place=self.file if line is None else f"{self.file}:{line}", hint=hint)

    def holds(self, key: str) -> bool:
        return key in self.value

    def allow(self, keys: tuple[str, ...]) -> None:
        """Refuse every key but these, naming the nearest."""
        for key in self.value:
            if key not in keys:
                from difflib import get_close_matches

                near = get_close_matches(key, keys, n=2)
                hint = f"did you mean {' or '.join(near)}?" if near else "the keys are " + ", ".join(keys)
                raise self.wrong(key, f"'{key}' is no key of {self._shown_path()}", hint)

    def _shown_path(self) -> str:
        return f"[{'.'.join(self.path)}]" if self.path else "a project"

    def table(self, key: str) -> _Table:
        return _Table(self.file, self.text, (*self.path, key), self.value.get(key, {}))

    def line_text(self, key: str, default: str) -> str:
        value = self.value.get(key, default)
        if not isinstance(value, str) or not value.strip() or not value.isprintable():
            raise self.wrong(key, f"'{key}' is {_shown(value)}", "write one line of text in quotes")
        return value

    def texts(self, key: str, default: tuple[str, ...]) -> tuple[str, ...]:
        value = self.value.get(key, list(default))
        if not isinstance(value, list) or not all(isinstance(v, str) and v and v.isprintable() for v in value):
            raise self.wrong(key, f"'{key}' is {_shown(value)}", f'write a list of texts: {key} = ["…", "…"]')
        return tuple(dict.fromkeys(value))

    def count(self, key: str) -> int | None:
        value = self.value.get(key)
        if value is None or (type(value) is int and value >= 1):
            return value
        raise self.wrong(key, f"'{key}' is {_shown(value)}", "write a whole number from 1 up")

    def size(self, key: str) -> int:
        """Bytes; 0 where nothing is said."""
        if not self.holds(key):
            return 0
        try:
            return parse_bytes(self.value[key], key)
        except BuilderError as cause:
            raise self.wrong(key, f"'{key}' is {_shown(self.value[key])}", cause.hint or "") from cause

    def path_of(self, key: str, root: Path) -> Path | None:
        """An absolute path, a relative one taken from the project, not looked at yet; None where nothing is said."""
        return (root / Path(self.line_text(key, "")).expanduser()) if self.holds(key) else None

    def seconds(self, key: str, default: float) -> float:
        value = self.value.get(key, default)
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e9:
            return float(value)
        raise self.wrong(key, f"'{key}' is {_shown(value)}", "write a number of seconds")

    def factory(self) -> str:
        """``file.py:function``, or ``""``; a cluster is found by its address or made, not both."""
        if not self.holds("factory"):
            return ""
        text = self.line_text("factory", "")
        if not re.fullmatch(r"[^:]+\.py:[A-Za-z_]\w*", text) or ".." in Path(text).parts or text.startswith("/"):
            raise self.wrong(
                "factory", f"'factory' is {_shown(text)}", 'write "file.py:function", with a file of the project'
            )
        if self.value.get("scheduler"):
            raise self.wrong("factory", "'factory' and 'scheduler' exclude each other", "keep one of them")
        return text

    def folder(self, key: str, default: str, root: Path) -> Path:
        """An absolute path; a relative one stays inside the project."""
        text = self.line_text(key, default)
        path = root / text
        parts = Path(text).parts
        if ".." in parts:
            raise self.wrong(
                key, f"'{key}' is {text!r}, outside the project", "write a folder below it, or an absolute path"
            )
        return path

    def publish(self) -> str | tuple[str, ...]:
        value = self.value.get("publish", "leaves")
        if isinstance(value, str) and value in PUBLISH_WORDS:
            return value
        if isinstance(value, list):
            return self.texts("publish", ())
        hint = 'write "leaves", "all", or a list of targets'
        raise self.wrong("publish", f"'publish' is {_shown(value)}", hint)

    def lanes(self) -> dict[str, int]:
        return {lane: self.count(self._name(lane, "lane")) or 1 for lane in self.value}

    def sets(self) -> dict[str, tuple[str, ...]]:
        return {name: self.texts(self._name(name, "set"), ()) for name in self.value}

    def _name(self, name: str, what: str) -> str:
        try:
            return check_name(name, what)
        except BuilderError as cause:
            raise self.wrong(name, cause.message, cause.hint or "") from cause

    def scheduler(self) -> str:
        value = self.value.get("scheduler", "")
        if value == "" or (isinstance(value, str) and re.fullmatch(r"[a-z][a-z+]*://\S+", value)):
            return str(value)
        raise self.wrong(
            "scheduler", f"'scheduler' is {_shown(value)}", 'write an address such as "tcp://host:8786", or ""'
        )


def line_of(text: str, path: tuple[str, ...]) -> int | None:
    """The line of a key of a TOML text, by its path of keys; where it is not found, that of the nearest table above."""
    best: tuple[int, int] | None = None
    for number, found in _keys_by_line(text):
        depth = next(
            (i for i, (a, b) in enumerate(zip(found, path, strict=False)) if a != b), min(len(found), len(path))
        )
        if depth and depth == min(len(found), len(path)) and (best is None or depth > best[0]):
            best = (depth, number)
    return best and best[1]


def _keys_by_line(text: str) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Each line that opens a table or gives a key, with the whole path of keys. A scan for messages, not a parser."""
    table: tuple[str, ...] = ()
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*\[\[?([^\[\]]+)\]", line):
            table = _dotted(header[1])
            yield number, table
        elif pair := re.match(r"""\s*((?:[\w.\s-]|"[^"]*"|'[^']*')+?)\s*=""", line):
            yield number, (*table, *_dotted(pair[1]))


def _dotted(text: str) -> tuple[str, ...]:
    return tuple(part.strip().strip("\"'") for part in re.findall(r"""\s*(?:"[^"]*"|'[^']*'|[^.]+)\s*""", text))


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"


def _tool_table(text: str) -> Mapping[str, Any]:
    table = _parse(text, "pyproject.toml").get("tool", {})
    return table if isinstance(table, dict) else {}


def _parse(text: str, file: str) -> dict[str, Any]:
    import tomllib  # takes tens of milliseconds; a bare project never needs it

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as cause:
        found = re.search(r"\s*\(at line (\d+), column (\d+)\)", str(cause))
        place = f"{file}:{found[1]}" if found else file
        what = str(cause).replace(found[0], "") if found else str(cause)
        raise error("config", f"'{file}' is not TOML: {what}", place=place, hint="mend the line") from cause


def _read_text(path: Path, shown: str) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as cause:
        hint = "save it as UTF-8" if isinstance(cause, UnicodeDecodeError) else "give read access to it"
        raise error("config", f"'{shown}' cannot be read: {cause}", place=shown, hint=hint) from cause
