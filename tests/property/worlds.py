"""Random projects as plain values: knows how a project is written, nothing of how it is built.

A world is a small project: tables, regions, files and recipes. All tables have the columns id, a, b, c, so that any
recipe can read any of them; regions have id, b and a geometry. `World.write` lays it out as real files.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bodies import HELPERS, INFERENCE, NARROW_BODIES, READY_BODIES, REGIONS, SMOOTHING, TABLE_BODIES, VALUE_BODIES

WORDS = ["ash", "oak", "elm", 'fir "x"', "yew, old", "", "NA", "birk\u00f6"]
COLUMNS = ["id", "a", "b", "c"]
DTYPES = {"id": "int64", "a": "Int64", "b": "string", "c": "float64"}

FRAMES = (*TABLE_BODIES, *NARROW_BODIES, *READY_BODIES, "counts", "head")

Row = tuple[Any, ...]
"""(id, a, b, c) of a table, (id, b, ring) of regions; the ring has no last point, or is None for no geometry."""


# -- sources -----------------------------------------------------------------------------------------------------------


@dataclass
class Table:
    """One file of rows, and how they are spelt."""

    rows: list[Row]
    quotes_all: bool = False
    ends: str = "\n"
    is_broken: bool = False


@dataclass
class Csv(Table):
    """One CSV file."""

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
class Regions(Table):
    """One GeoJSON file."""

    def text(self, columns: Sequence[str]) -> str:
        """The file; broken it ends too soon."""
        features = [
            {"type": "Feature", "properties": {"id": number, "b": b}, "geometry": self._geometry(ring)}
            for number, b, ring in self.rows
        ]
        crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::3857"}}
        whole = {"type": "FeatureCollection", "crs": crs, "features": features}
        text = json.dumps(whole, indent=1 if self.quotes_all else None)
        return text[:-9] if self.is_broken else text

    def _geometry(self, ring: list[Any] | None) -> dict[str, Any] | None:
        return None if ring is None else {"type": "Polygon", "coordinates": [[*ring, ring[0]]]}


@dataclass
class Plain:
    """One file that is no table."""

    content: str

    def text(self, columns: Sequence[str]) -> str:
        return self.content


Content = Csv | Regions | Plain


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
    is_regions: bool = False
    files: dict[str, Content] = field(default_factory=dict)
    lost: dict[str, Content] = field(default_factory=dict)

    @property
    def reference(self) -> str:
        return f"{self.name}[k={{k}}]" if self.kind == "family" else self.name

    @property
    def suffix(self) -> str:
        return ".csv" if self.is_table else ".geojson" if self.is_regions else ".txt"

    def path(self, member: str) -> str:
        return f"data/{self.name}{self.suffix}" if self.kind == "one" else f"data/{self.name}/{member}{self.suffix}"

    @property
    def pattern(self) -> str:
        inner = {"one": "", "star": "*", "family": "{k}"}[self.kind]
        return self.path(inner)

    def code(self) -> str:
        words = [f'"{self.reference}"', f'"{self.pattern}"']
        words += ['key="id"'] if self.is_keyed else []
        dtypes = DTYPES | {"a": self.a_dtype} if self.is_table else {"id": "int64", "b": "string"}
        words += [f"columns={dtypes}"] if (self.is_table or self.is_regions) and self.is_declared else []
        return f"b.source({', '.join(words)})"


# -- recipes -----------------------------------------------------------------------------------------------------------


@dataclass
class Reads:
    """One input of a recipe: the dataset's owner, its output, and what of it is read."""

    owner: str
    output: str = ""
    gather: bool = False
    columns: tuple[str, ...] = ()
    where: tuple[str, Any] | None = None


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
    policy: str = "auto"
    is_declared: bool = False
    patience: int | None = None
    """Beyond how many changed rows its own update asks for a full run; None for never."""
    is_wrong: bool = False
    """Whether its own update gives other rows than it does, or rows are said to be what it goes by, which is not so."""

    @property
    def is_table(self) -> bool:
        """Whether its result has the standard columns."""
        return self.body in TABLE_BODIES

    @property
    def outputs(self) -> tuple[str, ...]:
        return ("good", "bad") if self.body == "split" else ("",)

    @property
    def can_be_wrong(self) -> bool:
        """Whether it could be updated wrongly."""
        return self.trap is None and (self.grain == "update" or (self.body == "head" and self.is_keyed))


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
        words = [f"columns={list(reads.columns)}"] if reads.columns else []
        words += [f"where={dict([reads.where])!r}"] if reads.where else []
        return f'b.read("{name}", {", ".join(words)})' if words else f'"{name}"'

    def _ready(self, recipe: Recipe, references: list[str]) -> str:
        """A call of a ready-made recipe."""
        words = "".join(f", {w}" for w in self._words(recipe))
        values = {
            "name": repr(recipe.name),
            "ties": repr("all" if recipe.const % 2 else "lowest"),
            "smoothing": SMOOTHING[recipe.const % len(SMOOTHING)],
            "inference": INFERENCE[recipe.const % len(INFERENCE)],
            "column": self.id_of(recipe.reads[-1].owner),
            "words": words,
        }
        call = READY_BODIES[recipe.body].format(**values, **dict(zip("tu", references, strict=False)))
        return f"\n\n{recipe.name} = b.{call}"

    def _recipe(self, recipe: Recipe) -> str:
        parameter = self._parameter(recipe)
        names = ["t", "u"][: len(recipe.reads)]
        references = [self._reference(recipe, r) for r in recipe.reads]
        if recipe.body in READY_BODIES:
            return self._ready(recipe, references)
        inputs = ", ".join(f'"{n}": {r}' for n, r in zip(names, references, strict=True))
        key: str | list[str] = {"grouped": "b", "codes": "code", "peers": ["id", "a"]}.get(recipe.body, "id")
        words = [f"inputs={{{inputs}}}"]
        words += [f"key={key!r}"] if recipe.is_keyed else []
        words += ['outputs=("good", "bad")'] if recipe.body == "split" else []
        grain = "rows" if recipe.is_wrong and recipe.body == "head" else recipe.grain
        if recipe.trap is None and grain in ("rows", "groups"):  # a trap looks at the whole of its input
            by = "" if grain == "rows" else '"a", ' if recipe.body == "peers" else '"b", '
            words += [f'grain=b.{grain}({by}"t")']
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
        wrong = ".assign(b='wrong')" if recipe.is_wrong else ""
        answer = f"b.Delta({recipe.name}(deltas['t'].upserts){wrong}, deltas['t'].deleted)"
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
        words += [f'policy="{recipe.policy}"'] if recipe.policy != "auto" else []
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

    def has_regions(self, owner: str) -> bool:
        """Whether a dataset's owner makes regions, with a column b and a geometry."""
        return self.sources[owner].is_regions if owner in self.sources else self.recipes[owner].body in REGIONS

    def id_of(self, owner: str) -> str:
        """The column that names the rows of a dataset's owner."""
        if owner in self.sources or self.recipes[owner].body not in ("smooth", "hulls", "dissolve"):
            return "id"
        recipe = self.recipes[owner]
        return self.id_of(recipe.reads[0].owner) if recipe.body == "smooth" else "b"

    def fresh(self, prefix: str) -> str:
        self.names += 1
        return f"{prefix}{self.names}"
