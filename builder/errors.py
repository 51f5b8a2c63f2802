"""What can go wrong, as values: one base class, eight groups by what the reader does next, a stable code each.

Decides the shape of every message. Never prints; the command line and notebooks render what stands here.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

Facts = tuple[tuple[str, str], ...]


class BuilderError(Exception):
    """An error with a stable code, the place it points at, facts, and a remedy.

    Parameters
    ----------
    code
        One of the closed set in `CODES`.
    message
        One sentence that names the subject in quotes.
    place
        Where to look: ``file:line``, ``file, row 12``, a URL; None where there is none.
    facts
        Pairs of a label and a text, shown under the message in this order.
    hint
        What the reader can do about it.
    target
        The source or target concerned.
    """

    group: ClassVar[str] = "internal"

    def __init__(
        self,
        code: str,
        message: str,
        *,
        place: str | None = None,
        facts: Iterable[tuple[str, str]] = (),
        hint: str | None = None,
        target: str | None = None,
    ) -> None:
        super().__init__(message)
        if code not in CODES:
            raise ValueError(f"unknown error code {code!r}")
        self.code = code
        self.message = message
        self.place = place
        self.facts: Facts = tuple((str(k), str(v)) for k, v in facts)
        self.hint = hint
        self.target = target

    @property
    def exit_code(self) -> int:
        """The process exit code this error leads to: 1 data or build, 2 usage or project, 3 internal."""
        return CODES[self.code][1]

    def __str__(self) -> str:
        return self.render()

    def __reduce__(self) -> tuple[Any, ...]:
        return (from_json, (self.to_json(),))

    def render(self) -> str:
        """The error as text: a headline, aligned facts, the hint last."""
        is_named = self.target is None or f"'{self.target}'" in self.message or self.target in dict(self.facts).values()
        rows = [] if is_named else [("of", str(self.target))]
        rows += [("at", self.place)] if self.place else []
        rows += [*self.facts]
        if self.hint:
            rows.append(("hint", self.hint))
        width = max((len(label) for label, _ in rows), default=0)
        indent = "\n" + " " * (width + 4)
        lines = [f"error[{self.code}]: {self.message}"]
        lines += [f"  {label:<{width}}  {indent.join(str(text).splitlines() or [''])}" for label, text in rows]
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """A plain mapping that `from_json` turns back into an equal error."""
        return {
            "code": self.code,
            "message": self.message,
            "place": self.place,
            "facts": [list(f) for f in self.facts],
            "hint": self.hint,
            "target": self.target,
        }

    def about(self, target: str) -> BuilderError:
        """This error, said of `target` where it names none yet."""
        if self.target is None:
            self.target = target
        return self


class ConfigError(BuilderError):
    """The project or the call is wrong: mend it and call again."""

    group = "config"


class GraphError(BuilderError):
    """Recipes and sources do not fit together."""

    group = "graph"


class SourceError(BuilderError):
    """A source cannot be read as declared."""

    group = "source"


class RecipeError(BuilderError):
    """A recipe failed, or returned what cannot be an output."""

    group = "recipe"


class DataError(BuilderError):
    """Rows, values, keys or geometries are not as promised."""

    group = "data"


class StoreError(BuilderError):
    """The store cannot be used as it is."""

    group = "store"


class LaneError(BuilderError):
    """Workers, lanes or memory stood in the way."""

    group = "lane"


class InternalError(BuilderError):
    """A fault of builder itself."""

    group = "internal"


CODES: dict[str, tuple[type[BuilderError], int]] = {
    **dict.fromkeys(
        ("config", "recipe-syntax", "recipe-declaration", "unknown-target", "plan-moved", "no-cluster"),
        (ConfigError, 2),
    ),
    **dict.fromkeys(("cycle", "duplicate-name", "unknown-input", "unknown-lane"), (GraphError, 2)),
    **dict.fromkeys(("locked", "store-version"), (StoreError, 2)),
    **dict.fromkeys(
        ("source-missing", "source-unreadable", "source-moved", "source-empty", "schema-drift"),
        (SourceError, 1),
    ),
    **dict.fromkeys(
        (
            "bad-row",
            "bad-value",
            "bad-encoding",
            "bad-geometry",
            "crs-missing",
            "crs-mismatch",
            "key-null",
            "key-duplicate",
        ),
        (DataError, 1),
    ),
    **dict.fromkeys(
        (
            "recipe-error",
            "result-type",
            "check-failed",
            "undeclared-read",
            "timed-out",
            "not-a-row-recipe",
            "not-deterministic",
        ),
        (RecipeError, 1),
    ),
    **dict.fromkeys(("out-of-memory", "worker-died", "no-worker"), (LaneError, 1)),
    **dict.fromkeys(("store-read-only", "store-full", "store-damaged"), (StoreError, 1)),
    "internal": (InternalError, 3),
}


def error(code: str, message: str, **rest: Any) -> BuilderError:
    """An error of the class that `code` belongs to; keywords as in `BuilderError`."""
    return CODES[code][0](code, message, **rest)


def from_json(value: dict[str, Any]) -> BuilderError:
    """The error that `BuilderError.to_json` described."""
    facts = tuple((k, v) for k, v in value.get("facts") or ())
    rest = {k: value.get(k) for k in ("place", "hint", "target")}
    return error(value["code"], value["message"], facts=facts, **rest)


def not_available(what: str, place: str | None = None) -> BuilderError:
    """The error for a declared feature that this version cannot run yet."""
    return error("recipe-declaration", f"{what} is not available yet", place=place, hint="leave it out in this version")
