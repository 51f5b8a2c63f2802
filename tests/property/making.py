"""Random projects: which sources and recipes a world has, what their rows are, and who reads whom.

The same source of chance gives the same world.
"""

from __future__ import annotations

import copy
import math
import random
from typing import Any

from bodies import NARROW_BODIES, READY_BODIES, TABLE_BODIES, VALUE_BODIES
from worlds import COLUMNS, FRAMES, WORDS, Content, Csv, Plain, Reads, Recipe, Regions, Row, Source, Table, World


def make_world(rng: random.Random) -> World:
    """A random project."""
    world = World({}, {}, publish=rng.choice(["leaves", "leaves", "all"]), step=rng.randint(1, 3))
    for _ in range(rng.randint(1, 3)):
        source = _source(world, rng)
        world.sources[source.name] = source
    if not any(s.is_table for s in world.sources.values()):
        source = Source(world.fresh("s"), "one", True, True, True)
        source.files[""] = make_content(source, rng)
        world.sources[source.name] = source
    for _ in range(rng.choice([3, 3, 4, 4, 5, 8])):
        recipe = make_recipe(world, rng)
        world.recipes[recipe.name] = recipe
    return world


# -- sources -----------------------------------------------------------------------------------------------------------


def _source(world: World, rng: random.Random) -> Source:
    kind = rng.choice(["one", "one", "star", "family"])
    what = rng.choices(["table", "regions", "plain"], [14, 4, 2])[0]
    is_keyed = what != "plain" and rng.random() < (0.6 if what == "table" else 0.9)
    source = Source(world.fresh("s"), kind, what == "table", is_keyed, is_declared=rng.random() < 0.7)
    source.is_regions = what == "regions"
    for member in [""] if kind == "one" else rng.sample("uvwxyz", rng.choice([1, 2, 2])):
        source.files[member] = make_content(source, rng)
    return source


def make_content(source: Source, rng: random.Random) -> Content:
    """What one file of a source holds."""
    if not (source.is_table or source.is_regions):
        return Plain("".join(rng.choices("abc\n", k=rng.randint(1, 8))))
    count = rng.randint(1, 6) if source.is_table else rng.randint(1, 4)
    numbers: list[int | None] = [*free_ids(source, rng, count)] if source.is_keyed else [None] * count
    return (Csv if source.is_table else Regions)([make_row(source, rng, n) for n in numbers])


def free_ids(source: Source, rng: random.Random, count: int) -> list[int]:
    """Ids that no row of the source has; members of a family are tables of their own, but may not clash either."""
    taken = {r[0] for c in [*source.files.values(), *source.lost.values()] if isinstance(c, Table) for r in c.rows}
    return rng.sample([i for i in range(60) if i not in taken], count)


def make_row(source: Source, rng: random.Random, number: int | None = None) -> Row:
    """A row with this id, or any."""
    number = rng.randrange(60) if number is None else number
    b = None if rng.random() < 0.1 else rng.choice(WORDS)
    if source.is_regions:
        return (number, b, None if rng.random() < 0.05 else _ring(rng))
    a = None if source.is_declared and rng.random() < 0.1 else rng.randrange(20)
    c = None if source.is_declared and rng.random() < 0.1 else rng.choice([0.5, -0.0, 1e9, 2.25])
    return (number, a, b, c)


def _ring(rng: random.Random) -> list[list[float]]:
    """A ring around one point, so that it does not cross itself, where the points of the world are."""
    x, y, count = rng.uniform(0, 12), rng.uniform(-1, 3), rng.randint(4, 6)
    turns = [(n + 0.6 * rng.random()) / count * math.tau for n in range(count)]
    radii = [rng.uniform(1, 4) for _ in turns]
    return [[round(x + r * math.cos(t), 2), round(y + r * math.sin(t), 2)] for t, r in zip(turns, radii, strict=True)]


# -- recipes -----------------------------------------------------------------------------------------------------------

_OFTEN = (
    *("filter", "derive", "derive", "assign", "assign", "assign", "smooth", "smooth", "hulls", "levels", "peers"),
    *("derive", "loose"),
)
"""More of those that have an update of their own kind."""

_BEFORE = {"assign": "shapes", "smooth": "shapes", "dissolve": "shapes", "hulls": "places", "levels": "codes"}
"""What makes the table that a ready-made recipe needs: made instead, where nobody does."""

_AFTER = {"places": "hulls", "codes": "levels"}
"""What is likely to be next, for nothing else needs such a table."""

_BY_ROWS = (*TABLE_BODIES, "shapes", "places", "loose")


def make_recipe(world: World, rng: random.Random) -> Recipe:
    """A recipe that reads what the world has."""
    likely = [_AFTER[r.body] for r in world.recipes.values() if r.body in _AFTER] * 5
    body = rng.choice([*TABLE_BODIES, *NARROW_BODIES, *READY_BODIES, *VALUE_BODIES, *_OFTEN, *likely])
    body = body if _readable(world, body) else _instead(world, body)
    recipe = Recipe(world.fresh("r"), body, [], rng.randint(1, 9))
    first = rng.choice(_readable(world, body))
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
    if body not in (*READY_BODIES, "codes") and world.is_standard(first) and not reads.gather and rng.random() < 0.2:
        reads.where = make_where(world, first, rng)
    recipe.is_frame = body in FRAMES or rng.random() < 0.6
    recipe.reads = [reads]
    _add_second(world, recipe, rng)
    _add_grain(world, recipe, rng)
    _add_moods(recipe, rng)
    return recipe


def _readable(world: World, body: str) -> list[str]:
    """Who makes what a recipe of this kind goes by."""
    owners = [*world.sources, *world.recipes]
    if body in ("smooth", "dissolve"):
        return [o for o in owners if world.has_regions(o)]
    if body == "hulls":
        return [n for n, r in world.recipes.items() if r.body == "places"]
    if body == "levels":
        codes = [r for r in world.recipes.values() if r.body == "codes" and not r.reads[0].gather]
        return [r.reads[0].owner for r in codes if not world.family_of(r.name)]
    tables = [o for o in owners if world.is_standard(o)]
    keyed = [o for o in tables if _is_keyed(world, o)]
    if body == "assign":
        return keyed if _regions(world) else []
    if body in ("codes", "shapes"):
        some = keyed if body == "shapes" else tables
        return [o for o in some if not world.family_of(o)] or tables
    return tables if body in FRAMES else owners


def _instead(world: World, body: str) -> str:
    """What is made where nobody makes the table that this needs."""
    is_keyed = any(_is_keyed(world, o) and not world.family_of(o) for o in _readable(world, "filter"))
    return "count" if body == "assign" and (_regions(world) or not is_keyed) else _BEFORE[body]


def _regions(world: World) -> list[str]:
    """Who makes one table of regions that has a key."""
    owners = [*world.sources, *world.recipes]
    return [o for o in owners if world.has_regions(o) and _is_keyed(world, o) and not world.family_of(o)]


def make_where(world: World, owner: str, rng: random.Random) -> tuple[str, Any]:
    """A column and a value of it, mostly of a row that is there."""
    column = rng.choice(["id", "a", "b", "b"])
    contents = world.sources[owner].files.values() if owner in world.sources else ()
    rows = [r for c in contents if isinstance(c, Table) for r in c.rows]
    if rows and rng.random() < 0.8:
        return column, rng.choice(rows)[COLUMNS.index(column)]
    return column, rng.choice([*WORDS, "ASH", "OAK"]) if column == "b" else rng.randrange(20)


def _add_second(world: World, recipe: Recipe, rng: random.Random) -> None:
    """Give a recipe the second table that it needs, or let it do something that needs none."""
    if recipe.body == "levels":
        # Codes that come of the very table which is counted, for others would not be in it.
        codes = [r for r in world.recipes.values() if r.body == "codes" and r.reads[0].owner == recipe.reads[0].owner]
        chosen = rng.choice([r for r in codes if not r.reads[0].gather and not world.family_of(r.name)])
        recipe.reads = [copy.copy(chosen.reads[0]), Reads(chosen.name)]
        return
    tables = [o for o in (*world.sources, *world.recipes) if world.is_standard(o) and not world.family_of(o)]
    found = {"join": tables, "assign": _regions(world)}.get(recipe.body, [])
    if found:
        other = rng.choice(found)
        recipe.reads.append(Reads(other, _output(world, other, rng)))
    elif recipe.body == "join":
        recipe.body = "filter"


def _add_grain(world: World, recipe: Recipe, rng: random.Random) -> None:
    """Say what names a recipe's rows, and which of them depend on which."""
    reads = recipe.reads[0]
    is_by_key = not reads.gather and _is_keyed(world, reads.owner)
    if recipe.body in _BY_ROWS:
        # A gather has the ids of all members; only with its parameter would they be a key.
        recipe.is_keyed = is_by_key and rng.random() < 0.8
        recipe.grain = rng.choice(["rows", "rows", "rows", ""]) if not reads.gather else ""
    if recipe.body in ("smooth", "hulls", "dissolve"):
        recipe.is_keyed = is_by_key or recipe.body != "smooth"
    if recipe.body == "codes":
        recipe.is_keyed = rng.random() < 0.8
    if recipe.body == "grouped":
        recipe.is_keyed, recipe.grain = rng.random() < 0.9, "" if reads.gather else rng.choice(["groups", ""])
    if recipe.body == "head":
        recipe.is_keyed = is_by_key
    if recipe.body == "peers":
        recipe.is_keyed, recipe.grain = is_by_key and rng.random() < 0.9, "" if reads.gather else "groups"
    if recipe.body == "derive" and is_by_key and not recipe.each and rng.random() < 0.4:
        recipe.grain, recipe.patience = "update", 1 if recipe.const % 3 == 0 else None
    recipe.is_declared = recipe.body in ("filter", "derive", "join") and rng.random() < 0.35
    recipe.is_lookup = recipe.body == "join" and recipe.grain == "rows" and _is_keyed(world, recipe.reads[1].owner)


def _add_moods(recipe: Recipe, rng: random.Random) -> None:
    """Give a recipe now and then what makes it fail, run again, run whole, or be published otherwise."""
    is_own = recipe.body not in READY_BODIES
    recipe.trap = rng.randrange(3) if rng.random() < 0.08 and is_own else None
    recipe.limit = rng.randint(2, 6) if rng.random() < 0.08 and is_own and recipe.body != "split" else None
    recipe.retries = 1 if rng.random() < 0.08 else 0
    recipe.is_pure = rng.random() > 0.04
    recipe.policy = "full" if rng.random() < 0.06 else "auto"
    recipe.publish = rng.choice([True, False]) if rng.random() < 0.15 else None


def _is_keyed(world: World, owner: str) -> bool:
    return world.sources[owner].is_keyed if owner in world.sources else world.recipes[owner].is_keyed


def _output(world: World, owner: str, rng: random.Random) -> str:
    return rng.choice(world.recipes[owner].outputs) if owner in world.recipes else ""
