"""What a run did, target by target, as plain values. The JSON of `builder rebuild` is made from this alone."""

from __future__ import annotations

from typing import Any

from builder.errors import BuilderError
from builder.nouns import dataclass, replace
from builder.plan.verdict import Reason

OUTCOMES = ("built", "updated", "unchanged", "restored", "failed", "blocked")


@dataclass(frozen=True, slots=True)
class TargetReport:
    """What a run did to one target."""

    name: str
    outcome: str
    via: str | None = None
    wall_s: float = 0.0
    cpu_s: float = 0.0
    peak_rss_bytes: int = 0
    rows: int | None = None
    difference: tuple[int, int, int] | None = None
    reasons: tuple[Reason, ...] = ()
    error: BuilderError | None = None
    tested: int | None = None

    def to_json(self) -> dict[str, Any]:
        """The fields of the report's JSON."""
        return {
            "name": self.name,
            "outcome": self.outcome,
            "via": self.via,
            "wall_s": round(self.wall_s, 4),
            "cpu_s": round(self.cpu_s, 4),
            "peak_rss_bytes": self.peak_rss_bytes,
            "rows": self.rows,
            **_changed(self.difference),
            **({} if self.tested is None else {"rows_tested": self.tested}),
            "reasons": [r.to_json() for r in self.reasons],
            "error": self.error and self.error.to_json(),
        }


@dataclass(frozen=True, slots=True)
class SourceReport:
    """What a run did to one source: a table taken in, found equal, restored, or failed."""

    name: str
    outcome: str
    rows: int | None = None
    difference: tuple[int, int, int] | None = None
    wall_s: float = 0.0
    cpu_s: float = 0.0
    error: BuilderError | None = None

    def to_json(self) -> dict[str, Any]:
        """The fields of the report's JSON."""
        return {
            "name": self.name,
            "outcome": self.outcome,
            "rows": self.rows,
            **_changed(self.difference),
            "wall_s": round(self.wall_s, 4),
            "cpu_s": round(self.cpu_s, 4),
            "error": self.error and self.error.to_json(),
        }


def _changed(difference: tuple[int, int, int] | None) -> dict[str, Any]:
    """``rows_changed`` and its parts; an update of a row counts once."""
    if difference is None:
        return {"rows_changed": None}
    added, removed, changed = difference
    return {"rows_changed": added + removed + changed, "rows_added": added, "rows_removed": removed}


@dataclass(frozen=True, repr=False)
class Run:
    """What one rebuild did."""

    name: str
    outcome: str
    wall_s: float
    targets: tuple[TargetReport, ...] = ()
    sources: tuple[SourceReport, ...] = ()
    fresh: int = 0
    retired: tuple[str, ...] = ()
    published: tuple[str, ...] = ()
    warnings: tuple[tuple[str, str], ...] = ()
    is_complete: bool = False
    project: str = ""
    unpublished: tuple[BuilderError, ...] = ()
    """Why targets that were built did not get into ``out/``."""

    def with_rest(self, rest: Run) -> Run:
        """This run and another that brought to its end what this one left, as one: of each target the later word."""
        earlier = tuple(t for t in self.targets if t.name not in {r.name for r in rest.targets})
        good = sum(t.outcome not in ("failed", "blocked") for t in earlier)
        done = {*rest.published, *(r.target for r in rest.unpublished)}
        return replace(
            rest,
            outcome=self.outcome if rest.outcome == "nothing" else rest.outcome,
            wall_s=self.wall_s + rest.wall_s,
            targets=(*earlier, *rest.targets),
            sources=(*(s for s in self.sources if s.name not in {r.name for r in rest.sources}), *rest.sources),
            fresh=max(0, rest.fresh - good),
            retired=(*self.retired, *rest.retired),
            published=tuple(dict.fromkeys((*self.published, *rest.published))),
            warnings=(*self.warnings, *rest.warnings),
            unpublished=(*(e for e in self.unpublished if e.target not in done), *rest.unpublished),
        )

    @property
    def totals(self) -> dict[str, int]:
        """How many targets came out how."""
        counts = dict.fromkeys(OUTCOMES, 0)
        for target in self.targets:
            counts[target.outcome] += 1
        return counts | {"fresh": self.fresh}

    @property
    def errors(self) -> list[BuilderError]:
        """The errors of all that failed, sources first, publishing last."""
        rows: list[SourceReport | TargetReport] = [*self.sources, *self.targets]
        return [*(r.error for r in rows if r.error is not None and r.outcome == "failed"), *self.unpublished]

    def to_json(self) -> dict[str, Any]:
        """The document that ``builder rebuild --json`` prints."""
        return {
            "format": 1,
            "run": self.name,
            "outcome": self.outcome,
            "wall_s": round(self.wall_s, 4),
            "targets": [t.to_json() for t in self.targets],
            "sources": [s.to_json() for s in self.sources],
            "totals": self.totals,
            "retired": list(self.retired),
            "published": list(self.published),
            "unpublished": [e.to_json() for e in self.unpublished],
            "warnings": [{"code": code, "message": text} for code, text in self.warnings],
        }

    def _repr_html_(self) -> str:
        from builder.report.html import run_html

        return run_html(self)

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        from builder.report.text import run_text

        return run_text(self)
