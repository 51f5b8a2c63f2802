"""The ways in which a world changes: edits of data, recipes and parameters, and the way back.

Each edit changes the world, says in words what it did, and gives None where there is nothing to do. Knows nothing of
how a project is built.
"""

from __future__ import annotations

import copy
import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import shapely
from bodies import READY_BODIES
from making import free_ids, make_content, make_recipe, make_row, make_where
from worlds import COLUMNS, Recipe, Regions, Source, Table, World

Edit = Callable[["Site", random.Random], str | None]


@dataclass
class Site:
    """A world laid out in a folder, with the states it went through."""

    root: Path
    world: World
    past: list[World] = field(default_factory=list)

    def keep(self) -> None:
        """Remember the present state, to come back to it."""
        self.past = [*self.past[-5:], copy.deepcopy(self.world)]


def _files(site: Site, *, of_table: bool | None = None) -> Iterator[tuple[Source, str]]:
    for source in site.world.sources.values():
        for member, content in source.files.items():
            if of_table is None or isinstance(content, Table) == of_table:
                yield source, member


def _pick_table(site: Site, rng: random.Random, kind: type[Table] = Table) -> tuple[Source, str, Table] | None:
    found = [(s, m, c) for s, m in _files(site, of_table=True) if isinstance(c := s.files[m], kind)]
    return rng.choice(found) if found else None


def change_cells(site: Site, rng: random.Random) -> str | None:
    picked = _pick_table(site, rng)
    if picked is None or not picked[2].rows:
        return None
    source, member, csv = picked
    at = rng.randrange(len(csv.rows))
    row = list(csv.rows[at])
    column = rng.randrange(1, len(row))
    row[column] = make_row(source, rng)[column]
    csv.rows[at] = tuple(row)
    name = COLUMNS[column] if source.is_table else ("id", "b", "the geometry")[column]
    return f"change {name} of row {at} of {source.path(member)}"


def move_vertex(site: Site, rng: random.Random) -> str | None:
    """Move a vertex of a region: a little, or to where the one after it was, so that the border may cross itself."""
    picked = _pick_table(site, rng, Regions)
    found = [n for n, row in enumerate(picked[2].rows) if row[2]] if picked else []
    if picked is None or not found:
        return None
    source, member, regions = picked
    at = rng.choice(found)
    number, b, ring = regions.rows[at]
    ring, vertex = copy.deepcopy(ring), rng.randrange(len(ring))
    if rng.random() < 0.1:
        ring[vertex], ring[vertex - 1] = ring[vertex - 1], ring[vertex]
    else:
        ring[vertex] = [round(v + rng.uniform(-0.6, 0.6), 2) for v in ring[vertex]]
    regions.rows[at] = (number, b, ring)
    return f"move vertex {vertex} of region {at} of {source.path(member)}"


def change_all(site: Site, rng: random.Random) -> str | None:
    picked = _pick_table(site, rng)
    if picked is None or not picked[2].rows:
        return None
    source, member, csv = picked
    csv.rows = [make_row(source, rng, row[0]) for row in csv.rows]
    return f"change all rows of {source.path(member)}"


def move_key(site: Site, rng: random.Random) -> str | None:
    picked = _pick_table(site, rng)
    if picked is None or not picked[2].rows:
        return None
    source, member, csv = picked
    at = rng.randrange(len(csv.rows))
    (number,) = free_ids(source, rng, 1)
    csv.rows[at] = (number, *csv.rows[at][1:])
    return f"let row {at} of {source.path(member)} have the id {number}"


def empty_table(site: Site, rng: random.Random) -> str | None:
    picked = _pick_table(site, rng)
    if picked is None:
        return None
    picked[2].rows = []
    return f"delete all rows of {picked[0].path(picked[1])}"


def change_schema(site: Site, rng: random.Random) -> str | None:
    """Let a table have another column or one less, another order of columns, other dtypes, or dtypes to be inferred."""
    found = [s for s in site.world.sources.values() if s.is_table]
    if not found:
        return None
    source = rng.choice(found)
    match rng.choice(["column", "order", "dtype", "declaration"]):
        case "column":
            is_there = "d" in source.columns
            source.columns = [c for c in source.columns if c != "d"] if is_there else [*source.columns, "d"]
            return f"{'take the column d from' if is_there else 'add the column d to'} {source.name}"
        case "order":
            source.columns = rng.sample(source.columns, len(source.columns))
            return f"let {source.name} have the columns {source.columns}"
        case "dtype":
            source.a_dtype = "float64" if source.a_dtype == "Int64" else "Int64"
            return f"declare a of {source.name} as {source.a_dtype}"
        case _:
            source.is_declared = not source.is_declared
            return f"{'declare' if source.is_declared else 'infer'} the dtypes of {source.name}"


def change_file(site: Site, rng: random.Random) -> str | None:
    found = list(_files(site, of_table=False))
    if not found:
        return None
    source, member = rng.choice(found)
    source.files[member] = make_content(source, rng)
    return f"rewrite {source.path(member)}"


def insert_row(site: Site, rng: random.Random) -> str | None:
    picked = _pick_table(site, rng)
    if picked is None:
        return None
    source, member, csv = picked
    number = free_ids(source, rng, 1)[0] if source.is_keyed else None
    csv.rows.insert(rng.randint(0, len(csv.rows)), make_row(source, rng, number))
    return f"insert a row into {source.path(member)}"


def delete_row(site: Site, rng: random.Random) -> str | None:
    picked = _pick_table(site, rng)
    if picked is None or not picked[2].rows:
        return None
    source, member, csv = picked
    del csv.rows[rng.randrange(len(csv.rows))]
    return f"delete a row of {source.path(member)}"


def sort_rows(site: Site, rng: random.Random) -> str | None:
    picked = _pick_table(site, rng)
    if picked is None:
        return None
    rng.shuffle(picked[2].rows)
    return f"shuffle {picked[0].path(picked[1])}"


def respell(site: Site, rng: random.Random) -> str | None:
    picked = _pick_table(site, rng)
    if picked is None:
        return None
    csv = picked[2]
    csv.quotes_all, csv.ends = not csv.quotes_all, rng.choice(["\n", "\r\n"])
    if csv.quotes_all:
        csv.ends = "\n"
    return f"re-quote {picked[0].path(picked[1])}"


def duplicate_key(site: Site, rng: random.Random) -> str | None:
    picked = _pick_table(site, rng)
    if picked is None or not picked[2].rows:
        return None
    picked[2].rows.append(rng.choice(picked[2].rows))
    return f"repeat a row of {picked[0].path(picked[1])}"


def break_csv(site: Site, rng: random.Random) -> str | None:
    picked = _pick_table(site, rng)
    if picked is None:
        return None
    picked[2].is_broken = True
    return f"break {picked[0].path(picked[1])}"


def mend_csv(site: Site, rng: random.Random) -> str | None:
    broken = [(s, m) for s, m in _files(site, of_table=True) if s.files[m].is_broken]  # type: ignore[union-attr]
    for source, member in broken:
        source.files[member].is_broken = False  # type: ignore[union-attr]
    return f"mend {len(broken)} broken files" if broken else None


def touch(site: Site, rng: random.Random) -> str | None:
    source, member = rng.choice(list(_files(site)) or [(None, "")])  # type: ignore[list-item]
    if source is None:
        return None
    path = site.root / source.path(member)
    if path.exists():
        os.utime(path, ns=(0, path.stat().st_mtime_ns - 10_000_000_000))
    return f"touch {source.path(member)}"


def rewrite(site: Site, rng: random.Random) -> str | None:
    source, member = rng.choice(list(_files(site)) or [(None, "")])  # type: ignore[list-item]
    if source is None:
        return None
    path = site.root / source.path(member)
    if path.exists():
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content)
    return f"write {source.path(member)} again"


def delete_file(site: Site, rng: random.Random) -> str | None:
    found = list(_files(site))
    if not found:
        return None
    source, member = rng.choice(found)
    source.lost[member] = source.files.pop(member)
    return f"delete {source.path(member)}"


def restore_file(site: Site, rng: random.Random) -> str | None:
    lost = [(s, m) for s in site.world.sources.values() for m in s.lost if m not in s.files]
    for source, member in lost:
        source.files[member] = source.lost.pop(member)
    return f"put {len(lost)} files back" if lost else None


def rename_file(site: Site, rng: random.Random) -> str | None:
    found = [(s, m) for s, m in _files(site) if s.kind != "one"]
    if not found:
        return None
    source, member = rng.choice(found)
    new = rng.choice("uvwxyz") + rng.choice(["", "1", " b", "%c"])
    if new in source.files:
        return None
    source.files[new] = source.files.pop(member)
    return f"rename {source.path(member)} to {source.path(new)}"


def add_file(site: Site, rng: random.Random) -> str | None:
    found = [s for s in site.world.sources.values() if s.kind != "one"]
    new = rng.choice("uvwxyz") + "2"
    if not found:
        return None
    source = rng.choice(found)
    if new in source.files or len(source.files) > 4:
        return None
    source.files[new] = make_content(source, rng)
    return f"add {source.path(new)}"


def revert(site: Site, rng: random.Random) -> str | None:
    if not site.past:
        return None
    site.world = copy.deepcopy(rng.choice(site.past))
    return "go back to an earlier state"


def revert_data(site: Site, rng: random.Random) -> str | None:
    if not site.past:
        return None
    site.world.sources = copy.deepcopy(rng.choice(site.past).sources)
    return "go back to earlier data"


def change_constant(site: Site, rng: random.Random) -> str | None:
    recipe = _any_recipe(site, rng)
    recipe.const += rng.randint(1, 2)
    return f"change a constant in {recipe.name}"


def change_update(site: Site, rng: random.Random) -> str | None:
    found = [r for r in site.world.recipes.values() if r.grain == "update"]
    if not found:
        return None
    recipe = rng.choice(found)
    recipe.patience = rng.choice([p for p in (None, 0, 1, 3) if p != recipe.patience])
    return f"let the update of {recipe.name} ask for a full run beyond {recipe.patience} rows"


def change_where(site: Site, rng: random.Random) -> str | None:
    found = [(r, x) for r in site.world.recipes.values() for x in r.reads if x.where is not None]
    if not found:
        return None
    recipe, reads = rng.choice(found)
    reads.where = make_where(site.world, reads.owner, rng)
    return f"let {recipe.name} read rows where {reads.where}"


def change_policy(site: Site, rng: random.Random) -> str | None:
    grains = ("rows", "groups", "update")
    found = [r for r in site.world.recipes.values() if r.grain in grains or r.body in READY_BODIES]
    if not found:
        return None
    recipe = rng.choice(found)
    policies = ("auto", "require", "require", "full") if recipe.is_pure else ("auto", "full")
    recipe.policy = rng.choice([p for p in policies if p != recipe.policy])
    return f'let {recipe.name} have the policy "{recipe.policy}"'


def change_declaration(site: Site, rng: random.Random) -> str | None:
    found = [r for r in site.world.recipes.values() if r.body in ("filter", "derive", "join")]
    if not found:
        return None
    recipe = rng.choice(found)
    recipe.is_declared = not recipe.is_declared
    return f"{'declare' if recipe.is_declared else 'infer'} the dtypes of {recipe.name}"


def change_helper(site: Site, rng: random.Random) -> str | None:
    site.world.step += 1
    return "change a constant two calls away"


def unused_helper(site: Site, rng: random.Random) -> str | None:
    site.world.unused += 1
    return "change a helper that nobody calls"


def comment(site: Site, rng: random.Random) -> str | None:
    recipe = _any_recipe(site, rng)
    recipe.comment += 1
    return f"change a comment in {recipe.name}"


def change_parameters(site: Site, rng: random.Random) -> str | None:
    found = [r for r in site.world.recipes.values() if r.each == "list"]
    if not found:
        return None
    recipe = rng.choice(found)
    recipe.values = rng.sample(range(1, 6), rng.randint(1, 3))
    return f"let {recipe.name} have {recipe.values}"


def rename_recipe(site: Site, rng: random.Random) -> str | None:
    world = site.world
    recipe = _any_recipe(site, rng)
    old, recipe.name = recipe.name, world.fresh("r")
    for reader in world.recipes.values():
        reader.each = recipe.name if reader.each == old else reader.each
        for reads in reader.reads:
            reads.owner = recipe.name if reads.owner == old else reads.owner
    world.recipes = {r.name: r for r in world.recipes.values()}
    return f"rename {old} to {recipe.name}"


def set_trap(site: Site, rng: random.Random) -> str | None:
    recipe = _any_recipe(site, rng)
    if recipe.body in READY_BODIES:
        return None
    recipe.trap = rng.randrange(3)
    return f"let {recipe.name} fail for some data"


def lift_traps(site: Site, rng: random.Random) -> str | None:
    for recipe in site.world.recipes.values():
        recipe.trap = recipe.limit = None
    return "mend all recipes"


def is_ill(world: World) -> bool:
    """Whether something is broken, lost, repeated or made to fail."""
    tables = [(s, c) for s in world.sources.values() for c in s.files.values() if isinstance(c, Table)]
    is_broken = any(c.is_broken for _, c in tables) or any(s.lost for s in world.sources.values())
    is_repeated = any(s.is_keyed and len({r[0] for r in c.rows}) < len(c.rows) for s, c in tables)
    is_tangled = any(_is_tangled(r) for _, c in tables if isinstance(c, Regions) for r in c.rows)
    is_set = any(r.trap is not None or r.limit is not None for r in world.recipes.values())
    return is_broken or is_repeated or is_tangled or is_set


def _is_tangled(row: tuple[int, str | None, list[list[float]] | None]) -> bool:
    return row[2] is not None and not shapely.Polygon(row[2]).is_valid


def mend_all(site: Site) -> str:
    for source in site.world.sources.values():
        source.files |= {m: c for m, c in source.lost.items() if m not in source.files}
        source.lost = {}
        for content in source.files.values():
            if isinstance(content, Table):
                content.is_broken = False
                if isinstance(content, Regions):
                    content.rows = [row for row in content.rows if not _is_tangled(row)]
                if source.is_keyed:
                    content.rows = list({r[0]: r for r in content.rows}.values())
    for recipe in site.world.recipes.values():
        recipe.trap = recipe.limit = None
    return "mend everything"


def set_limit(site: Site, rng: random.Random) -> str | None:
    recipe = _any_recipe(site, rng)
    if recipe.body in READY_BODIES:
        return None
    recipe.limit = rng.randint(1, 6) if recipe.body != "split" else None
    return f"check {recipe.name}"


def set_version(site: Site, rng: random.Random) -> str | None:
    recipe = _any_recipe(site, rng)
    recipe.version = rng.randint(0, 2)
    return f"give {recipe.name} the version {recipe.version}"


def set_publish(site: Site, rng: random.Random) -> str | None:
    recipe = _any_recipe(site, rng)
    recipe.publish = rng.choice([None, True, False])
    return f"publish {recipe.name}: {recipe.publish}"


def publish_all(site: Site, rng: random.Random) -> str | None:
    site.world.publish = "all" if site.world.publish == "leaves" else "leaves"
    return f"publish {site.world.publish}"


def add_recipe(site: Site, rng: random.Random) -> str | None:
    if len(site.world.recipes) > 9:
        return None
    recipe = make_recipe(site.world, rng)
    site.world.recipes[recipe.name] = recipe
    return f"add {recipe.name}"


def drop_recipe(site: Site, rng: random.Random) -> str | None:
    world = site.world
    read = {r.owner for x in world.recipes.values() for r in x.reads} | {r.each for r in world.recipes.values()}
    unread = [n for n in world.recipes if n not in read]
    if len(world.recipes) < 3 or not unread:
        return None
    name = rng.choice(unread)
    del world.recipes[name]
    return f"drop {name}"


def swap_outputs(site: Site, rng: random.Random) -> str | None:
    """Let one recipe do something else; its name stays, the kind of its result may change."""
    world = site.world
    read = {r.owner for x in world.recipes.values() for r in x.reads}
    found = [r for r in world.recipes.values() if r.body in ("json", "bytes") and r.name not in read]
    if not found:
        return None
    recipe = rng.choice(found)
    recipe.body = "bytes" if recipe.body == "json" else "json"
    return f"let {recipe.name} return {recipe.body}"


def no_edit(site: Site, rng: random.Random) -> str | None:
    return "nothing"


def _any_recipe(site: Site, rng: random.Random) -> Recipe:
    return rng.choice(list(site.world.recipes.values()))


CHANCES: dict[int, list[Edit]] = {
    10: [change_cells],
    5: [insert_row, restore_file, revert, move_vertex],
    4: [change_file, delete_row, mend_csv, change_constant, change_parameters, lift_traps],
    3: [sort_rows, respell, delete_file, revert_data, set_trap, move_key, change_update, change_policy],
    2: [break_csv, touch, rewrite, rename_file, add_file, rename_recipe, add_recipe, swap_outputs, change_all,
        empty_table, change_schema, change_where],
    1: [duplicate_key, change_helper, unused_helper, comment, set_limit, set_version, set_publish, publish_all,
        drop_recipe, no_edit, change_declaration],
}  # fmt: skip
EDITS = [(weight, edit) for weight, edits in CHANCES.items() for edit in edits]


def edit(site: Site, rng: random.Random) -> str:
    """Change the world in one random way and lay it out; what was done, in words."""
    site.keep()
    # Without this most of a chain would be blocked.
    said = mend_all(site) if is_ill(site.world) and rng.random() < 0.35 else None
    while said is None:
        (chosen,) = rng.choices([e for _, e in EDITS], [w for w, _ in EDITS])
        said = chosen(site, rng)
    site.world.write(site.root)
    return said
