"""The way each step goes: an update from its last outputs, or a full run.

Decides what an update starts from: the present outputs, and the versions of the inputs that they were built from, as
far as the store still has them whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path

from builder.compile.expected import FORCED, REFUTED, choice_of, share_between, weight
from builder.compile.predict import Choice
from builder.errors import BuilderError, error
from builder.execute.nodes import Node
from builder.execute.spec import UpdateSpec
from builder.graph.graph import Step
from builder.nouns import dataclass
from builder.plan.basis import Basis, basis_of
from builder.plan.keys import key_of, read_apart
from builder.plan.plan import Plan, Version
from builder.store.manifest import Manifest
from builder.store.recall import Recall

AUDITED = 100
"""Of so many updates one is followed by a full run, to compare; which, its key says."""


@dataclass(frozen=True, slots=True)
class Way:
    """An update with what it was chosen over, or None and why there is none."""

    update: UpdateSpec | None
    why: str
    choice: Choice | None = None


def must_update(step: str, place: str, why: str) -> BuilderError:
    """The error of a step that would have to run whole though its policy requires an update."""
    return error(
        "recipe-error",
        f"'{step}' cannot be updated: {why}",
        place=place,
        hint=f'policy="auto" lets it run whole; builder rebuild --all {step} runs it whole once',
        target=step,
    )


class Ways:
    """Finds the way of each step of one run."""

    def __init__(self, plan: Plan, store: Path, recall: Recall, versions: Mapping[str, Version]) -> None:
        self.plan = plan
        self.graph = plan.situation.graph
        self.store = store
        self.recall = recall
        self.versions = versions

    @cached_property
    def read_apart(self) -> dict[str, tuple[str, ...]]:
        """The columns of each dataset that some step depends on alone."""
        return read_apart(self.graph)

    def update(self, node: Node, step: Step, previous: Mapping[str, Manifest]) -> UpdateSpec | None:
        """How a step is brought up to date from what changed; None where it runs whole."""
        if node.attempts > 1 and self.graph.recipes[step.recipe].policy != "require":
            return None  # what failed once is not tried by the same rule again
        return self.way(step, node.fields, previous).update

    def previous(self, names: Iterable[str]) -> dict[str, Manifest]:
        """The present manifests of these names."""
        found = {n: self.recall.currents[n] for n in names if n in self.recall.currents}
        return {n: self.recall.manifest(c.manifest_id) for n, c in found.items()}

    def refusal(self, node: Node, step: Step) -> BuilderError | None:
        """Why a step whose policy requires an update must not run; None where it may."""
        recipe = self.graph.recipes[step.recipe]
        previous = self.previous(step.targets) if recipe.policy == "require" else {}
        if not previous or self.plan.is_forced:
            return None
        way = self.way(step, node.fields, previous)
        return None if way.update is not None else must_update(step.name, recipe.place, way.why)

    def way(self, step: Step, fields: list[tuple[str, str, str]], previous: Mapping[str, Manifest]) -> Way:
        """The way of a step that is to be built under a key of these fields."""
        recipe = self.graph.recipes[step.recipe]
        if self.plan.is_forced:
            return Way(None, FORCED)
        basis = basis_of(step, recipe, fields, self.recall)
        if isinstance(basis, str):
            return Way(None, basis)
        if self.recall.ledger.is_distrusted(recipe.name, recipe.fingerprint + recipe.update):
            return Way(None, REFUTED)
        before = self._before(basis, step, previous)
        if before is None:
            return Way(None, "it was built by another grain, or the store no longer has what it was built from")
        is_audited = int(key_of(fields)[:8], 16) % AUDITED == 0
        apart = {name: self.read_apart[name] for name in step.targets if name in self.read_apart}
        choice = self._choice(step, basis, before, is_required=recipe.policy == "require")
        spec = UpdateSpec(basis.rule, before, is_audited, apart) if choice.is_update else None
        return Way(spec, choice.why, choice)

    def _before(self, basis: Basis, step: Step, previous: Mapping[str, Manifest]) -> dict[str, Manifest] | None:
        """The versions of the changed inputs that the present outputs were built from; None where one is not whole."""
        known = self.recall.ledger.inputs(basis.key, self.graph.recipes[step.recipe].grain.text)
        if len(previous) < len(step.targets) or any(name not in known for name in basis.changed):
            return None
        before = {name: self.recall.manifest(known[name]) for name in basis.changed}
        parts = (part for m in (*before.values(), *previous.values()) for part in m.files)
        return before if all((self.store / part.path).exists() for part in parts) else None

    def _choice(self, step: Step, basis: Basis, before: Mapping[str, Manifest], *, is_required: bool) -> Choice:
        """The cheaper way, by what changed in each input and by what either way took."""
        ledger = self.recall.ledger
        shares = {name: share_between(ledger, old, self._now(name))[0] for name, old in before.items()}
        share = sum(found * weight(step, basis, name) for name, found in shares.items())
        held = {n: self._now(n) for n in step.reads if n in self.versions}
        tried = ledger.ways([step.name])[step.name]
        return choice_of(step, basis, min(1.0, share), held, tried, is_required=is_required)

    def _now(self, name: str) -> Manifest:
        """The present version of a dataset; one of no rows where it is no table."""
        version = self.versions[name]
        if version.manifest is None:
            return Manifest("files", version.digest, ())
        return self.recall.manifest(version.manifest)
