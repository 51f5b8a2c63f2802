"""Upkeep of a project: accept a source's new schema, verify against a full build, gc, fsck.

Decides nothing about staleness; joins the store's own checks with the project.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from builder.errors import BuilderError, error
from builder.names import parse_reference
from builder.store.commits import Committer
from builder.store.disk import writing
from builder.store.gc import ASIDE, collect
from builder.store.ledger import FILE, Ledger
from builder.store.lock import locked
from builder.store.recall import Recall

if TYPE_CHECKING:
    from builder.project import Project


@dataclass(frozen=True)
class Accepted:
    """What became of a source's pinned schema: pairs of a column and its dtype before and after."""

    source: str
    before: Mapping[str, str]
    after: Mapping[str, str]

    @property
    def changes(self) -> dict[str, tuple[str | None, str | None]]:
        """Columns whose dtype differs, with both."""
        names = dict.fromkeys((*self.after, *self.before))
        found = {n: (self.before.get(n), self.after.get(n)) for n in names}
        return {n: pair for n, pair in found.items() if pair[0] != pair[1]}

    def to_json(self) -> dict[str, Any]:
        """The document that ``builder accept --json`` prints."""
        return {
            "format": 1,
            "source": self.source,
            "columns": dict(self.after),
            "changes": [{"column": c, "before": b, "after": a} for c, (b, a) in self.changes.items()],
        }

    def __str__(self) -> str:
        if not self.changes:
            return f"{self.source}: its schema is as pinned"
        lines = [f"  {c}  {b or 'not there'} → {a or 'not there'}" for c, (b, a) in self.changes.items()]
        return "\n".join([f"{self.source}: new schema in schemas/{self.source}.json", *lines])


def accept(project: Project, name: str) -> Accepted:
    """Take a source's present columns and dtypes as its schema; an error where there is no file to read them from."""
    from builder.execute.work import intake_spec
    from builder.formats.family import infer_family
    from builder.sense.pins import write_pin
    from builder.sense.sense import missing_source
    from builder.store.disk import make_folder, remove

    base = parse_reference(name).base
    with locked(project.config.store):
        situation = project.situation()
        declared = situation.declarations.get(base)
        if declared is None or not declared.is_table:
            known = ", ".join(b for b, d in situation.declarations.items() if d.is_table)
            raise error(
                "unknown-target",
                f"'{name}' is no source that is a table",
                place=name,
                facts=[("sources", known)],
                hint="name one of the sources",
            )
        members = [n for n, s in situation.sources.items() if s.base == base]
        if not members:
            raise missing_source(base, declared)
        for member in members:
            problem = situation.sources[member].problem
            if problem is not None:
                raise problem
        files = tuple(f for m in members for f in situation.sources[m].files)
        pinned = situation.pins.get(base)
        spec = replace(
            intake_spec(situation, members[0], project.config.root),
            source=base,
            files=files,
            pinned=None,
            is_inference=True,
        )
        scratch = project.config.store / "scratch" / "accept"
        make_folder(scratch)
        try:
            schema = infer_family(spec, scratch)
        finally:
            remove(scratch)
        if schema != pinned:
            write_pin(project.config.root, base, schema)
    before = {c.name: c.dtype for c in pinned.columns} if pinned else {}
    return Accepted(base, before, {c.name: c.dtype for c in schema.columns})


@dataclass(frozen=True)
class Verified:
    """Each target with whether a build from nothing gave the same digest."""

    targets: tuple[tuple[str, bool, str], ...]

    @property
    def is_equal(self) -> bool:
        """Whether all are."""
        return all(equal for _, equal, _ in self.targets)

    def to_json(self) -> dict[str, Any]:
        """The document that ``builder verify --json`` prints."""
        return {"format": 1, "targets": [{"name": n, "equal": e, "detail": d} for n, e, d in self.targets]}

    def __str__(self) -> str:
        wrong = [(n, d) for n, e, d in self.targets if not e]
        if not wrong:
            return f"all {len(self.targets)} targets equal a build from nothing"
        return "\n".join([f"{len(wrong)} of {len(self.targets)} targets differ", *(f"  {n}  {d}" for n, d in wrong)])


def verify(project: Project, targets: Iterable[str] | None = None, **options: Any) -> Verified:
    """Rebuild from nothing beside the store and compare digests; the store stays as it was."""
    from builder.building import rebuild
    from builder.project import Project

    ledger = project.ledger()
    before = ledger.currents()
    ledger.close()
    parent = project.config.store
    with writing(parent):
        parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=ASIDE, dir=parent))
    try:
        with locked(aside):  # so that gc sees that it is in use
            config = replace(project.config, store=aside / "store", out=aside / "out", publish=())
            clean = Project(config)
            run = rebuild(clean, targets, **options)
            fresh = Ledger.open(config.store)
            after = fresh.currents()
            fresh.close()
        failed = {t.name: t.error for t in run.targets if t.outcome in ("failed", "blocked")}
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    wanted = [t.name for t in run.targets]
    rows = []
    for name in wanted:
        if name in failed:
            cause = failed[name]
            rows.append((name, False, f"failed: {cause.code}" if cause else "blocked by a failure"))
        elif name not in before:
            rows.append((name, True, "not built yet in this store"))
        else:
            equal = before[name].digest == after[name].digest
            rows.append(
                (
                    name,
                    equal,
                    "" if equal else f"{before[name].digest[:12]} here, {after[name].digest[:12]} from nothing",
                )
            )
    return Verified(tuple(rows))


@dataclass(frozen=True)
class Removed:
    """What gc removed, or would remove."""

    paths: tuple[str, ...]
    bytes: int
    is_dry: bool

    def to_json(self) -> dict[str, Any]:
        """The document that ``builder gc --json`` prints."""
        return {"format": 1, "removed": list(self.paths), "bytes": self.bytes, "dry_run": self.is_dry}

    def __str__(self) -> str:
        from builder.sizes import bytes_text, count_text

        verb = "would remove" if self.is_dry else "removed"
        inside = sum(p.startswith("inline/") for p in self.paths)
        small = f" and {count_text(inside, 'small output')}" if inside else ""
        return f"{verb} {count_text(len(self.paths) - inside, 'file')}{small}, {bytes_text(self.bytes)}"


def gc(project: Project, keep: int, dry_run: bool) -> Removed:
    """Remove what the last `keep` versions of each target, and the last complete build, do not need."""
    if keep < 1:
        raise error("config", f"--keep is {keep}", place="--keep", hint="keep at least the present version: --keep 1")
    store = project.config.store
    with locked(store):
        ledger = Ledger.open(store, create=True)
        try:
            paths, size = collect(ledger, Committer.take(ledger), store, keep, is_dry=dry_run)
        finally:
            ledger.close()
    return Removed(tuple(paths), size, dry_run)


@dataclass(frozen=True)
class Checked:
    """What fsck found: (what, where, whether it was mended)."""

    problems: tuple[tuple[str, str, bool], ...]

    @property
    def is_sound(self) -> bool:
        """Whether nothing was found, or all was mended."""
        return all(mended for _, _, mended in self.problems)

    def to_json(self) -> dict[str, Any]:
        """The document that ``builder fsck --json`` prints."""
        return {"format": 1, "problems": [{"problem": p, "place": w, "repaired": m} for p, w, m in self.problems]}

    def __str__(self) -> str:
        if not self.problems:
            return "the store is sound"
        lines = [f"  {what}  {where}" + ("  repaired" if mended else "") for what, where, mended in self.problems]
        tail = [] if self.is_sound else ["builder fsck --repair mends them"]
        return "\n".join([*lines, *tail])


def fsck(project: Project, repair: bool, **options: Any) -> Checked:
    """Check ledger, parts and published files; with `repair` set aside what is broken and build it anew.

    `options` are those of `Project.rebuild`.
    """
    from builder.building import rebuild
    from builder.store.fsck import damaged_parts, forget, set_ledger_aside

    store = project.config.store
    problems: list[tuple[str, str]] = []
    try:
        ledger = Ledger.open(store)
        for (answer,) in ledger.rows("PRAGMA quick_check"):
            if answer != "ok":
                raise error(
                    "store-damaged",
                    "the store's ledger cannot be read",
                    place=str(store / FILE),
                    hint="builder fsck --repair",
                )
        ledger.currents(), ledger.runs(), list(ledger.part_paths())
    except BuilderError as cause:
        if cause.code != "store-damaged":
            raise
        problems.append(("the ledger cannot be read", FILE))
        if repair:
            with locked(store):
                set_ledger_aside(store)
            rebuild(project, **options)
        return _checked(project, problems, repair)
    problems += damaged_parts(ledger, store)
    recall = Recall(ledger)
    problems += _published_problems(project, recall)
    broken = [w for p, w in problems if p.startswith("part")]
    ledger.close()
    if repair and problems:
        if broken:
            with locked(store):
                opened = Ledger.open(store, create=True)
                forget(opened, Committer.take(opened), broken)
                opened.close()
        rebuild(project, **options)
    return _checked(project, problems, repair)


def _checked(project: Project, problems: list[tuple[str, str]], is_repaired: bool) -> Checked:
    """What was found; after a repair, a second look says what is left of it."""
    if not problems or not is_repaired:
        return Checked(tuple((what, where, False) for what, where in problems))
    left = {(what, where) for what, where, _ in fsck(project, False).problems}
    return Checked(tuple((what, where, (what, where) not in left) for what, where in problems))


def _published_problems(project: Project, recall: Recall) -> list[tuple[str, str]]:
    """Published files that are missing or were changed since."""
    from builder.store.publish import file_token

    found = []
    for _, path, token in recall.ledger.published().values():
        now = file_token(project.config.out / path)
        if now != token:
            found.append(
                ("published file missing" if not now else "published file changed", f"{project.config.out.name}/{path}")
            )
    return found
