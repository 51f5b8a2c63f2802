"""Reading what was built: values, versions, differences, logs, from the ledger and the parts alone, never recipes.

Decides which version a name and a run mean.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from builder.errors import BuilderError, error
from builder.names import file_segments, names_meant, parse_reference, path_segment
from builder.sizes import bytes_text, count_text, seconds_text
from builder.store.disk import write_whole
from builder.store.ledger import Ledger
from builder.store.manifest import Manifest
from builder.store.parts import check_file, content_of
from builder.store.records import run_name, run_number

if TYPE_CHECKING:
    from builder.project import Project


def load(project: Project, target: str, run: str | None) -> Any:
    """The value of a target or source, or a lazy mapping of a family's members."""
    from builder.execute.inputs import LazyMapping

    ledger = project.ledger()
    names = _names(ledger, target, run)
    numbers = {n: _manifest_number(ledger, n, run) for n in names}
    manifests = {n: ledger.manifest(number) for n, number in numbers.items()}
    ledger.close()
    if len(names) == 1 and _is_one(target, names[0]):
        return value_of(project, names[0], manifests[names[0]])
    return LazyMapping({n: _loader(project, n, m) for n, m in manifests.items()})


def _is_one(target: str, name: str) -> bool:
    """Whether a written name means this one dataset, not a family that has one member at present."""
    written = parse_reference(target)
    return not written.rest and len(written.fixed) == len(parse_reference(name).fixed)


def _loader(project: Project, name: str, manifest: Manifest) -> Any:
    return lambda: value_of(project, name, manifest)


def value_of(project: Project, name: str, manifest: Manifest) -> Any:
    """The value that a manifest stands for."""
    store = project.config.store
    if manifest.kind == "table":
        from builder.tables.frames import to_frame
        from builder.tables.read import read_table

        assert manifest.schema is not None
        return to_frame(read_table(store, manifest), manifest.schema)
    from builder.execute.inputs import plain_value

    return plain_value(store, manifest, lambda m: _linked(project, m))


def _linked(project: Project, manifest: Manifest) -> dict[str, Path]:
    """Paths of an output of files, with the names they were made with, in a folder of the store made for reading."""
    folder = project.config.store / "views" / manifest.digest[:40]
    found = {}
    for part in manifest.parts:
        path = folder.joinpath(*file_segments(part.name))
        path.parent.mkdir(parents=True, exist_ok=True)
        if part.content is not None:
            write_whole(path, content_of(part), is_durable=False)
        else:
            check_file(project.config.store, part)
            if not path.exists():
                path.unlink(missing_ok=True)
                path.symlink_to(project.config.store / part.path)
        found[part.name] = path
    return found


def _run_of(ledger: Ledger, run: str) -> int:
    """The number of a run by name, or of the last complete build."""
    if run != "complete":
        named = run_number(run)
        if not ledger.rows("SELECT 1 FROM runs WHERE id = ?", named):
            raise error("unknown-target", f"there was no run {run}", place=run, hint="builder history lists the runs")
        return named
    number = ledger.complete_run()
    if number is None:
        raise error(
            "unknown-target", "there was no complete build yet", place=run, hint="builder rebuild until all is fresh"
        )
    return number


def _names(ledger: Ledger, target: str, run: str | None) -> list[str]:
    """The target itself, or the members of the family it names."""
    known = list(ledger.currents()) if run is None else ledger.names_at(_run_of(ledger, run))
    found = names_meant(target, sorted(known))
    if found:
        return found
    if run is None and ledger.rows("SELECT 1 FROM versions WHERE name = ? LIMIT 1", target):
        raise error(
            "unknown-target",
            f"'{target}' is no longer part of the project",
            place=target,
            hint=f"builder history {target} lists the runs that built it; load(name, run=…) reads what one left",
        )
    import difflib

    near = difflib.get_close_matches(target, known, n=3, cutoff=0.5)
    raise error(
        "unknown-target",
        f"'{target}' was not built" + (f" by run {run}" if run else ""),
        place=target,
        facts=[("nearest", ", ".join(near))] if near else [],
        hint="builder status lists all; builder rebuild builds them",
    )


def _one_name(target: str, known: Iterable[str]) -> str:
    """The one name among `known` that a written name means; as written where it means none.

    Raises
    ------
    ConfigError
        ``unknown-target`` where it means several.
    """
    found = names_meant(target, known)
    if len(found) > 1:
        raise error(
            "unknown-target",
            f"'{target}' is a family of {len(found)} members",
            place=target,
            facts=[("members", ", ".join(found[:3]) + (" …" if len(found) > 3 else ""))],
            hint=f"name one of them: {found[0]}",
        )
    return found[0] if found else target


def _manifest_number(ledger: Ledger, name: str, run: str | None) -> int:
    if run is None:
        current = ledger.current(name)
        assert current is not None
        return current.manifest_id
    found = ledger.version_at(name, _run_of(ledger, run))
    assert found is not None
    return found[0]


def published(project: Project, target: str) -> Path:
    """Where a published target, or a family's folder, lies in ``out/``.

    Raises
    ------
    ConfigError
        ``unknown-target`` where it is not published.
    """
    ledger = project.ledger()
    standing = ledger.published()
    ledger.close()
    found = names_meant(target, standing)
    if len(found) == 1 and _is_one(target, found[0]):
        return project.config.out / standing[found[0]][1]
    if any(n.partition("[")[0] == target for n in standing):
        return project.config.out / path_segment(target)
    raise error(
        "unknown-target",
        f"'{target}' is not published",
        place=target,
        hint="publish= in builder.toml or in the recipe says what is; project.load reads any target",
    )


@dataclass(frozen=True, repr=False)
class Shown:
    """What is known of one version of a target."""

    name: str
    run: str
    manifest: Manifest
    via: str
    built_at: str
    wall_s: float
    inputs: dict[str, str]
    head: Any = None
    members: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The document that ``builder show --json`` prints."""
        schema = self.manifest.schema
        return {
            "format": 1,
            "name": self.name,
            "run": self.run,
            "kind": self.manifest.kind,
            "rows": self.manifest.rows if schema else None,
            "bytes": self.manifest.bytes,
            "digest": self.manifest.digest,
            "columns": {c.name: c.dtype for c in schema.columns} if schema else {},
            "key": list(schema.key) if schema else [],
            "via": self.via,
            "built_at": self.built_at,
            "wall_s": self.wall_s,
            "inputs": self.inputs,
            "members": list(self.members),
        }

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        value = self.to_json()
        size = bytes_text(value["bytes"])
        lines = [f"{count_text(len(self.members), 'target')} meant; this is the first"] if self.members else []
        lines += [
            f"{self.name} · {value['kind']}"
            + (f" · {count_text(value['rows'], 'row')}" if value["columns"] else "")
            + f" · {size} · {self.via} in {seconds_text(self.wall_s)} · {self.run} · {self.built_at}"
        ]
        width = max((len(c) for c in value["columns"]), default=0)
        for name, dtype in value["columns"].items():
            lines.append(f"  {name:<{width}}  {dtype}" + ("  key" if name in value["key"] else ""))
        lines += [f"  from {n} {d[:12]}" for n, d in self.inputs.items()]
        if self.head is not None:
            lines += ["", self.head if isinstance(self.head, str) else self.head.to_string(max_colwidth=32)]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        from builder.report.html import preformatted

        return preformatted(str(self))


def show(project: Project, target: str) -> Shown:
    """What is known of the present version of a target or source; of several, of the first."""
    ledger = project.ledger()
    name, *others = _names(ledger, target, None)
    current = ledger.current(name)
    assert current is not None
    manifest = ledger.manifest(current.manifest_id)
    cost = ledger.cost(current.key)
    fields = ledger.fields(current.key)
    ledger.close()
    built_at = datetime.fromtimestamp(cost.built_at if cost else 0, UTC).isoformat(timespec="seconds")
    inputs = {s: v for k, s, v in fields if k in ("source", "upstream")}
    return Shown(
        name,
        run_name(current.run),
        manifest,
        cost.via if cost else "full",
        built_at,
        cost.wall_s if cost else 0.0,
        inputs,
        _head(project, name, manifest),
        (name, *others) if others else (),
    )


def _head(project: Project, name: str, manifest: Manifest) -> Any:
    """The first rows of a table, the beginning of a JSON value; None for other kinds."""
    if manifest.kind == "table":
        from dataclasses import replace

        from builder.tables.frames import to_frame
        from builder.tables.read import read_parts

        first = next(iter(read_parts(project.config.store, manifest)), None)
        return (
            None if first is None or manifest.schema is None else to_frame(first.slice(0, 5), replace(manifest.schema))
        )
    if manifest.kind == "json":
        import json

        text = json.dumps(value_of(project, name, manifest), indent=1, ensure_ascii=False)
        return text if len(text) < 1500 else text[:1500] + " …"
    return None


@dataclass(frozen=True, repr=False)
class Diff:
    """What differs between two versions of a target."""

    name: str
    old: str
    new: str
    added: int
    removed: int
    changed: int
    examples: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """The document that ``builder diff --json`` prints."""
        return {
            "format": 1,
            "name": self.name,
            "old": self.old,
            "new": self.new,
            "added": self.added,
            "removed": self.removed,
            "changed": self.changed,
            "examples": dict(self.examples),
        }

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        counts = f"{self.added:,} added, {self.removed:,} removed, {self.changed:,} changed"
        lines = [f"{self.name} · {self.old} → {self.new} · {counts}"]
        for sign, kind in (("+", "added"), ("-", "removed")):
            lines += [f"  {sign} " + _row_text(row) for row in self.examples.get(kind, ())]
        for row in self.examples.get("changed", ()):
            values = ", ".join(f"{c}: {_value(b)} → {_value(row['after'][c])}" for c, b in row["before"].items())
            lines.append(f"  ~ {_row_text(row['key'])}: {values}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        from builder.report.html import preformatted

        return preformatted(str(self))


def _row_text(row: Mapping[str, Any]) -> str:
    return ", ".join(f"{k}={_value(v)}" for k, v in list(row.items())[:8])


def _value(value: Any) -> str:
    text = "null" if value is None else str(value)
    return text if len(text) <= 40 else text[:39] + "…"


def diff(project: Project, target: str, old: str | None, new: str | None) -> Diff:
    """What differs between two versions of a target: two runs', or a run's and the present, or the last two."""
    ledger = project.ledger()
    target = _one_name(target, ledger.currents())
    before, after = _two_versions(ledger, target, old, new)
    manifests = [ledger.manifest(m) if m is not None else None for _, m in (before, after)]
    ledger.close()
    names = (run_name(before[0]), run_name(after[0]))
    first, second = manifests
    if second is None or (first is not None and first.kind != "table") or second.kind != "table":
        is_same = first is not None and second is not None and first.digest == second.digest
        return Diff(target, *names, int(first is None), int(second is None), int(not is_same and first is not None), {})
    from builder.tables.diff import count_changes, example_changes

    counts = count_changes(project.config.store, first, second)
    examples = example_changes(project.config.store, first, second) if first is not None else {}
    return Diff(target, *names, counts.added, counts.removed, counts.changed, examples)


def _two_versions(
    ledger: Ledger, target: str, old: str | None, new: str | None
) -> tuple[tuple[int, int | None], tuple[int, int | None]]:
    """(run, manifest) of the two versions meant."""
    versions = ledger.versions(target)
    if not versions:
        raise _unknown(target)
    if old is None:
        different = [
            v for i, v in enumerate(versions) if i == 0 or _digest(ledger, v) != _digest(ledger, versions[i - 1])
        ]
        after = different[-1]
        return (different[-2] if len(different) > 1 else (0, None)), after
    ends = []
    for run in (old, new):
        if run is None:
            ends.append(versions[-1])
            continue
        number = _run_of(ledger, run)
        found = ledger.version_at(target, number)
        ends.append((number, found[0] if found else None))
    return ends[0], ends[1]


def _digest(ledger: Ledger, version: tuple[int, int | None]) -> str | None:
    return None if version[1] is None else ledger.manifest(version[1]).digest


def _unknown(target: str) -> BuilderError:
    return error(
        "unknown-target",
        f"'{target}' was never built",
        place=target,
        hint="builder status lists all; builder rebuild builds them",
    )


@dataclass(frozen=True, repr=False)
class History:
    """Runs, oldest first."""

    runs: tuple[Mapping[str, Any], ...]

    def to_json(self) -> dict[str, Any]:
        """The document that ``builder history --json`` prints."""
        return {"format": 1, "runs": list(self.runs)}

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        if not self.runs:
            return "no runs yet"
        lines = []
        for run in self.runs:
            counts = ", ".join(f"{n:,} {k}" for k, n in run["totals"].items() if n and k != "fresh") or "nothing"
            when = run["started_at"].replace("T", " ").removesuffix("+00:00")
            complete = " · complete" if run["complete"] else ""
            lines.append(
                f"{run['run']:>5}  {when}  {run['outcome']:<11} {counts} · {seconds_text(run['wall_s'] or 0)}{complete}"
            )
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        from builder.report.html import preformatted

        return preformatted(str(self))


def history(project: Project, target: str | None) -> History:
    """All runs, or those that gave a target a new version."""
    ledger = project.ledger()
    runs = ledger.runs()
    if target is not None:
        names = names_meant(target, ledger.currents()) or [target]
        touched = {run for name in names for run, _ in ledger.versions(name)}
        if not touched:
            raise _unknown(target)
        runs = [r for r in runs if r.id in touched]
    ledger.close()
    return History(
        tuple(
            {
                "run": run_name(r.id),
                "started_at": datetime.fromtimestamp(r.started_at, UTC).isoformat(timespec="seconds"),
                "outcome": r.outcome,
                "wall_s": r.wall_s,
                "totals": r.totals,
                "complete": r.is_complete,
            }
            for r in runs
        )
    )


def log(project: Project, target: str) -> str:
    """What the last attempt at a target printed.

    Raises
    ------
    ConfigError
        ``unknown-target`` where it never ran.
    """
    ledger = project.ledger()
    known = [step for (step,) in ledger.rows("SELECT DISTINCT step FROM attempts ORDER BY step")]
    step = _one_name(target, known)
    if step not in known:
        step = _one_name(re.sub(r"\.[\w-]+(?=\[|$)", "", target), known)  # an output's log is that of its step
    rows = ledger.logs(step)
    ledger.close()
    if not rows:
        raise error("unknown-target", f"'{target}' never ran", place=target, hint="builder status lists all")
    run, number, outcome, path = rows[-1]
    head = f"{step} · {run_name(run)} · attempt {number} · {outcome}\n"
    try:
        return head + (project.config.store / path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return head + "(its log is gone)\n"
