"""Random projects as plain values: knows how a project is written, nothing of how it is built.

A world is a small project: tables, files and recipes. All tables have the columns id, a, b, c, so that any recipe can
read any of them. `World.write` lays it out as real files. The same seed gives the same world.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bodies import HELPERS, NARROW_BODIES, READY_BODIES, TABLE_BODIES, VALUE_BODIES

WORDS = ["ash", "oak", "elm", 'fir "x"', "yew, old", "", "NA", "birk\u00f6"]
COLUMNS = ["id", "a", "b", "c"]
DTYPES = {"id": "int64", "a": "Int64", "b": "string", "c": "float64"}

FRAMES = (*TABLE_BODIES, *NARROW_BODIES, *READY_BODIES, "counts", "head")

Row = tuple[int, int | None, str | None, float | None]


# -- sources -----------------------------------------------------------------------------------------------------------


@dataclass
class Csv:
    """One CSV file: its rows, and how they are spelt."""

    rows: list[Row]
    quotes_all: bool = False
    ends: str = "\n"
    is_broken: bool = False

    def text(self, columns: Sequence[str]) -> str:
        """The file, with these columns; ``d`` follows from the others."""
        rows = ([dict(zip(COLUMNS, row, strict=True), d=f"d{row[0] % 3}")[c] for c in columns] for row in self.rows)
        lines = [",".join(columns), *(",".join(self._cell(v) for v in row) for row in rows)]
        if self.is_broken:
            lines.append("7,8")
        return self.ends.join(lines) + self.ends

    def _cell(self, value: object) -> str:
        if value is None:
            return ""
        text = str(value)
        if self.quotes_all or text == "" or any(c in text for c in ',"\n'):
            return '"' + text.replace('"', '""') + '"'
        return text


@dataclass
class Plain:
    """One file that is no table."""

    content: str

    def text(self, columns: Sequence[str]) -> str:
        return self.content


Content = Csv | Plain


@dataclass
class Source:
    """A declared source: ``kind`` is one, star or family."""

    name: str
    kind: str
    is_table: bool
    is_keyed: bool
    is_declared: bool
    columns: list[str] = field(default_factory=COLUMNS.copy)
    a_dtype: str = "Int64"
    files: dict[str, Content] = field(default_factory=dict)
    lost: dict[str, Content] = field(default_factory=dict)

    @property
    def reference(self) -> str:
        return f"{self.name}[k={{k}}]" if self.kind == "family" else self.name

    @property
    def suffix(self) -> str:
        return ".csv" if self.is_table else ".txt"

    def path(self, member: str) -> str:
        return f"data/{self.name}{self.suffix}" if self.kind == "one" else f"data/{self.name}/{member}{self.suffix}"

    @property
    def pattern(self) -> str:
        inner = {"one": "", "star": "*", "family": "{k}"}[self.kind]
        return self.path(inner)

    def code(self) -> str:
        words = [f'"{self.reference}"', f'"{self.pattern}"']
        words += ['key="id"'] if self.is_keyed else []
        words += [f"columns={DTYPES | {'a': self.a_dtype}}"] if self.is_table and self.is_declared else []
        return f"b.source({', '.join(words)})"


# -- recipes -----------------------------------------------------------------------------------------------------------


@dataclass
class Reads:
    """One input of a recipe: the dataset's owner, its output, and what of it is read."""

    owner: str
    output: str = ""
    gather: bool = False
    columns: tuple[str, ...] = ()


@dataclass
class Recipe:
    """A recipe: what it does, what it reads, and what about it can change."""

    name: str
    body: str
    reads: list[Reads]
    const: int
    each: str = ""  # "", "list", or the family whose members it takes
    values: list[int] = field(default_factory=list)
    is_keyed: bool = False
    trap: int | None = None
    limit: int | None = None
    comment: int = 0
    retries: int = 0
    version: int = 0
    is_pure: bool = True
    publish: bool | None = None
    is_frame: bool = True
    grain: str = ""  # "", rows, groups or update
    is_lookup: bool = False
    is_declared: bool = False
    patience: int | None = None
    """Beyond how many changed rows its own update asks for a full run; None for never."""

    @property
    def is_table(self) -> bool:
        """Whether its result has the standard columns."""
        return self.body in TABLE_BODIES

    @property
    def outputs(self) -> tuple[str, ...]:
        return ("good", "bad") if self.body == "split" else ("",)


@dataclass
class World:
    """A project."""

    sources: dict[str, Source]
    recipes: dict[str, Recipe]
    publish: str = "leaves"
    step: int = 1
    unused: int = 0
    names: int = 0

    # -- as files ----------------------------------------------------------------------------------------------------

    def files(self) -> dict[str, str]:
        """All files of the project by path."""
        found = {s.path(m): c.text(s.columns) for s in self.sources.values() for m, c in s.files.items()}
        unused = f"\n\ndef unused():\n    return {self.unused}\n\n" if self.unused else ""
        found["recipes/_helpers.py"] = HELPERS.format(step=self.step, unused=unused)
        found["recipes/main.py"] = self._main()
        found["builder.toml"] = f'name = "world"\npublish = "{self.publish}"\nenvironment = []\n'
        return found

    def write(self, root: Path) -> None:
        """Bring the project's files to this state; a file that has it already is left alone."""
        wanted = self.files()
        for path in [p for top in ("data", "recipes") for p in sorted((root / top).rglob("*")) if p.is_file()]:
            if path.relative_to(root).as_posix() not in wanted:
                path.unlink()
        for name, text in wanted.items():
            path = root / name
            content = text.encode()
            if not path.exists() or path.read_bytes() != content:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)

    def _main(self) -> str:
        lines = ["import builder as b", "import geopandas as gpd", "import pandas as pd", "import shapely", ""]
        lines += ["from ._helpers import shift, size, text", ""]
        lines += [s.code() for s in self.sources.values()]
        lines += [self._recipe(r) for r in self.recipes.values()]
        return "\n".join(lines) + "\n"

    def family_of(self, owner: str) -> str:
        """The parameter that members of a dataset's owner have: ``k``, ``p`` or none."""
        if owner in self.sources:
            return "k" if self.sources[owner].kind == "family" else ""
        recipe = self.recipes[owner]
        return "" if not recipe.each else "p" if recipe.each == "list" else self.family_of(recipe.each)

    def _parameter(self, recipe: Recipe) -> str:
        return "" if not recipe.each else "p" if recipe.each == "list" else self.family_of(recipe.each)

    def _reference(self, recipe: Recipe, reads: Reads) -> str:
        name = reads.owner + (f".{reads.output}" if reads.output else "")
        parameter = self.family_of(reads.owner)
        if reads.gather:
            name += "[*]"
        elif parameter:
            name += f"[{parameter}={{{parameter}}}]"
        if recipe.is_lookup and recipe.trap is None and reads is not recipe.reads[0]:
            return f'b.lookup("{name}", on="id")'
        return f'b.read("{name}", columns={list(reads.columns)})' if reads.columns else f'"{name}"'

    def _ready(self, recipe: Recipe, references: list[str]) -> str:
        """A call of a ready-made recipe."""
        words = "".join(f", {w}" for w in self._words(recipe))
        ties = repr("all" if recipe.const % 2 else "lowest")
        values = {"name": repr(recipe.name), "ties": ties, "words": words}
        call = READY_BODIES[recipe.body].format(**values, **dict(zip("tu", references, strict=False)))
        return f"\n\n{recipe.name} = b.{call}"

    def _recipe(self, recipe: Recipe) -> str:
        parameter = self._parameter(recipe)
        names = ["t", "u"][: len(recipe.reads)]
        references = [self._reference(recipe, r) for r in recipe.reads]
        if recipe.body in READY_BODIES:
            return self._ready(recipe, references)
        inputs = ", ".join(f'"{n}": {r}' for n, r in zip(names, references, strict=True))
        key = {"grouped": "b"}.get(recipe.body, "id")
        words = [f"inputs={{{inputs}}}"]
        words += [f'key="{key}"'] if recipe.is_keyed else []
        words += ['outputs=("good", "bad")'] if recipe.body == "split" else []
        if recipe.trap is None and recipe.grain in ("rows", "groups"):  # a trap looks at the whole of its input
            words += [f'grain=b.{recipe.grain}({"" if recipe.grain == "rows" else repr("b") + ", "}"t")']
        words += [f"columns={DTYPES}"] if recipe.is_declared else []
        words += self._words(recipe)
        words += [f"check=lambda v: size(v) if len(v) < {recipe.limit} else False"] if recipe.limit is not None else []
        kinds = [self._annotation(r, recipe) for r in recipe.reads]
        arguments = [f"{n}{k}" for n, k in zip(names, kinds, strict=True)] + ([parameter] if parameter else [])
        body = (TABLE_BODIES | NARROW_BODIES | VALUE_BODIES)[recipe.body]
        body = body.replace("CONST", str(recipe.const)).replace("PARAM", f"str({parameter})" if parameter else "0")
        if recipe.is_declared:  # these and no others
            body = f"    t = t[{COLUMNS}].copy()\n{body}"
        if recipe.trap is not None:
            body = f"    if int(size(t), 16) % 3 == {recipe.trap}:\n        raise ValueError('trapped')\n{body}"
        if recipe.comment:
            body = f"    # note {recipe.comment}\n{body}"
        made = f"\n\n@b.recipe({', '.join(words)})\ndef {recipe.name}({', '.join(arguments)}):\n{body}"
        return made + self._update(recipe)

    def _update(self, recipe: Recipe) -> str:
        """A recipe's own update, where it has one."""
        if recipe.grain != "update" or recipe.trap is not None:
            return ""
        answer = f"b.Delta({recipe.name}(deltas['t'].upserts), deltas['t'].deleted)"
        if recipe.patience is not None:
            answer = f"b.FULL if len(deltas['t'].upserts) > {recipe.patience} else {answer}"
        return f"\n\n@{recipe.name}.update\ndef {recipe.name}_update(previous, deltas):\n    return {answer}\n"

    def _words(self, recipe: Recipe) -> list[str]:
        """Keywords that any recipe may have."""
        words = [f'each={{"p": {recipe.values}}}'] if recipe.each == "list" else []
        words += [f'each="{recipe.each}"'] if recipe.each not in ("", "list") else []
        words += [f"retries={recipe.retries}"] if recipe.retries else []
        words += [f"version={recipe.version}"] if recipe.version else []
        words += ["pure=False"] if not recipe.is_pure else []
        words += [f"publish={recipe.publish}"] if recipe.publish is not None else []
        return words

    def _annotation(self, reads: Reads, recipe: Recipe) -> str:
        if self.is_frame(reads) and (recipe.is_frame or not reads.gather):
            return ": pd.DataFrame"
        return ""

    def is_frame(self, reads: Reads) -> bool:
        """Whether what is read can arrive as a frame."""
        if reads.owner in self.sources:
            return self.sources[reads.owner].is_table
        return self.recipes[reads.owner].body in FRAMES

    def is_standard(self, owner: str) -> bool:
        """Whether a dataset's owner makes tables with the standard columns."""
        return self.sources[owner].is_table if owner in self.sources else self.recipes[owner].is_table

    def fresh(self, prefix: str) -> str:
        self.names += 1
        return f"{prefix}{self.names}"


# -- making a world ----------------------------------------------------------------------------------------------------


def make_world(rng: random.Random) -> World:
    """A random project."""
    world = World({}, {}, publish=rng.choice(["leaves", "leaves", "all"]), step=rng.randint(1, 3))
    for _ in range(rng.randint(1, 3)):
        source = _source(world, rng)
        world.sources[source.name] = source
    if not any(s.is_table for s in world.sources.values()):
        source = Source(world.fresh("s"), "one", True, True, True)
        source.files[""] = _csv(source, rng)
        world.sources[source.name] = source
    for _ in range(rng.choice([3, 3, 4, 4, 5, 8])):
        recipe = make_recipe(world, rng)
        world.recipes[recipe.name] = recipe
    return world


def _source(world: World, rng: random.Random) -> Source:
    kind = rng.choice(["one", "one", "star", "family"])
    is_table = rng.random() < 0.75
    source = Source(world.fresh("s"), kind, is_table, is_table and rng.random() < 0.6, is_declared=rng.random() < 0.7)
    for member in [""] if kind == "one" else rng.sample("uvwxyz", rng.choice([1, 2, 2])):
        source.files[member] = make_content(source, rng)
    return source


def make_content(source: Source, rng: random.Random) -> Content:
    return _csv(source, rng) if source.is_table else Plain("".join(rng.choices("abc\n", k=rng.randint(1, 8))))


def _csv(source: Source, rng: random.Random) -> Csv:
    count = rng.randint(1, 6)
    numbers: list[int | None] = [*free_ids(source, rng, count)] if source.is_keyed else [None] * count
    return Csv([make_row(source, rng, n) for n in numbers])


def free_ids(source: Source, rng: random.Random, count: int) -> list[int]:
    """Ids that no row of the source has; members of a family are tables of their own, but may not clash either."""
    taken = {r[0] for c in [*source.files.values(), *source.lost.values()] if isinstance(c, Csv) for r in c.rows}
    return rng.sample([i for i in range(60) if i not in taken], count)


def make_row(source: Source, rng: random.Random, number: int | None = None) -> Row:
    number = rng.randrange(60) if number is None else number
    a = None if source.is_declared and rng.random() < 0.1 else rng.randrange(20)
    b = None if rng.random() < 0.1 else rng.choice(WORDS)
    c = None if source.is_declared and rng.random() < 0.1 else rng.choice([0.5, -0.0, 1e9, 2.25])
    return (number, a, b, c)


def make_recipe(world: World, rng: random.Random) -> Recipe:
    owners = [*world.sources, *world.recipes]
    tables = [o for o in owners if world.is_standard(o)]
    # More of those that have an update of their own kind.
    often = ("filter", "derive", "derive", "shapes", "assign", "assign", "assign")
    body = rng.choice([*TABLE_BODIES, *NARROW_BODIES, *READY_BODIES, *VALUE_BODIES, *often])
    recipe = Recipe(world.fresh("r"), body, [], rng.randint(1, 9))
    first = rng.choice(tables if body in FRAMES else owners)
    parameter = world.family_of(first)
    reads = Reads(first, _output(world, first, rng))
    if parameter and (rng.random() < 0.4) and body not in READY_BODIES:
        reads.gather = True
    elif parameter:
        recipe.each = first
    elif rng.random() < 0.25:
        recipe.each, recipe.values = "list", rng.sample(range(1, 6), rng.randint(1, 2))
    if body in VALUE_BODIES and world.is_standard(first) and not reads.gather and rng.random() < 0.35:
        reads.columns = ("id", "a", "b") if body in ("counts", "head") else tuple(rng.sample(COLUMNS, 2))
    recipe.is_frame = body in FRAMES or rng.random() < 0.6
    recipe.reads = [reads]
    _add_second(world, recipe, rng)
    is_by_key = not reads.gather and _is_keyed(world, first)
    if recipe.body in TABLE_BODIES or recipe.body == "shapes":
        # A gather has the ids of all members; only with its parameter would they be a key.
        recipe.is_keyed = is_by_key and rng.random() < 0.8
        recipe.grain = rng.choice(["rows", "rows", "rows", ""]) if not reads.gather else ""
    if recipe.body == "grouped":
        recipe.is_keyed, recipe.grain = rng.random() < 0.9, "" if reads.gather else rng.choice(["groups", ""])
    if recipe.body == "derive" and is_by_key and not recipe.each and rng.random() < 0.4:
        recipe.grain, recipe.patience = "update", 1 if recipe.const % 3 == 0 else None
    recipe.is_declared = recipe.body in ("filter", "derive", "join") and rng.random() < 0.35
    recipe.is_lookup = recipe.body == "join" and recipe.grain == "rows" and _is_keyed(world, recipe.reads[1].owner)
    _add_moods(recipe, rng)
    return recipe


def _add_second(world: World, recipe: Recipe, rng: random.Random) -> None:
    """Give a recipe the second table that it needs, or let it do something that needs none."""
    wanted = {
        "join": [o for o in (*world.sources, *world.recipes) if world.is_standard(o)],
        "assign": [n for n, r in world.recipes.items() if r.body == "shapes" and r.is_keyed],
    }
    if recipe.body == "assign" and not _is_keyed(world, recipe.reads[0].owner):
        wanted["assign"] = []  # nothing would name its rows
    plain = [o for o in wanted.get(recipe.body, []) if not world.family_of(o)]
    if plain:
        other = rng.choice(plain)
        recipe.reads.append(Reads(other, _output(world, other, rng)))
    elif recipe.body in wanted:
        is_keyed = _is_keyed(world, recipe.reads[0].owner)
        recipe.body = "filter" if recipe.body == "join" else "shapes" if is_keyed else "count"


def _add_moods(recipe: Recipe, rng: random.Random) -> None:
    """Give a recipe now and then what makes it fail, run again, or be published otherwise."""
    is_own = recipe.body not in READY_BODIES
    recipe.trap = rng.randrange(3) if rng.random() < 0.08 and is_own else None
    recipe.limit = rng.randint(2, 6) if rng.random() < 0.08 and is_own and recipe.body != "split" else None
    recipe.retries = 1 if rng.random() < 0.08 else 0
    recipe.is_pure = rng.random() > 0.04
    recipe.publish = rng.choice([True, False]) if rng.random() < 0.15 else None


def _is_keyed(world: World, owner: str) -> bool:
    return world.sources[owner].is_keyed if owner in world.sources else world.recipes[owner].is_keyed


def _output(world: World, owner: str, rng: random.Random) -> str:
    return rng.choice(world.recipes[owner].outputs) if owner in world.recipes else ""
