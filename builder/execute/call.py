"""Calling a recipe on a worker: load its code by digest, bring the inputs, run it guarded, write what it returned.

Decides how a recipe's failure is told. Recipes are loaded once per bundle and process.
"""

from __future__ import annotations

import errno
import inspect
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import current_thread, main_thread
from typing import Any

from builder.authoring.guard import guarding
from builder.authoring.load import Bundle, load
from builder.authoring.prints import recipe_print
from builder.authoring.ready_call import INDEX, ReadyCall
from builder.digests import Digest
from builder.errors import BuilderError, error
from builder.execute import workspace
from builder.execute.indexes import index_of
from builder.execute.inputs import Arrival, check_crs
from builder.execute.nested import placed
from builder.execute.results import Results
from builder.execute.spec import AttemptSpec, InputSpec, RecipeSpec
from builder.graph.declare import RecipeDecl
from builder.sense.tokens import token_of
from builder.sources import LOG_ENDING
from builder.store import disk
from builder.store.manifest import Manifest
from builder.store.parts import PartFolder


@dataclass(frozen=True, slots=True)
class Callee:
    """A recipe of a bundle, proven to be the code that was planned with, and what its function takes."""

    decl: RecipeDecl
    fingerprint: Digest
    annotations: Mapping[str, Any]
    takes_all: bool
    recipes_py: frozenset[str]


class Bundled:
    """The recipes of one bundle, as loaded by this process."""

    def __init__(self, store: str, recipes: str, project: str, digest: Digest) -> None:
        path = Path(store) / "bundles" / f"{digest}.zip"
        bundle = Bundle.from_zip(path.read_bytes())
        if bundle.digest != digest:
            hint = "remove it: builder rebuild packs the recipes anew"
            said = "the packed recipes are not those that were planned with"
            raise error("store-damaged", said, place=str(path), hint=hint)
        self.loaded = load(bundle, Path(recipes), Path(project))
        self.recipes_py = self.loaded.recipes_py
        self.decls = {d.name: d for d in self.loaded.declarations if isinstance(d, RecipeDecl)}
        self._callees: dict[str, Callee] = {}

    def callee(self, name: str) -> Callee | None:
        """A recipe by its name; None where the bundle has none."""
        if name not in self._callees and name in self.decls:
            self._callees[name] = self._prepared(self.decls[name])
        return self._callees.get(name)

    def _prepared(self, decl: RecipeDecl) -> Callee:
        parameters = inspect.signature(decl.function).parameters
        if isinstance(decl.function, ReadyCall):
            decl.function.warm()
        return Callee(
            decl,
            recipe_print(decl, self.loaded).digest,
            {name: p.annotation for name, p in parameters.items()},
            any(p.kind is p.VAR_KEYWORD for p in parameters.values()),
            self.recipes_py,
        )


_bundles: dict[tuple[str, str], Bundled] = {}


class Call:
    """One step's recipe on this worker: what arrives at it, its function under guard, its results."""

    def __init__(self, spec: AttemptSpec, work: RecipeSpec, folder: PartFolder, scratch: Path) -> None:
        self.spec = spec
        self.work = work
        self.store = Path(spec.store)
        self.scratch = scratch
        self.folder = folder
        self.callee = load_callee(spec, work)
        self.decl = self.callee.decl.of_member(work.params)
        self.place = str(self.decl.place)
        check_crs(list(work.inputs), spec.step, self.place)
        self._own = scratch / "workspace"
        self.arrival = Arrival(self.store, scratch, spec.step)
        self.results = Results(self.decl, spec.step, folder, scratch, self._own)
        self._indexes: dict[str, Any] = {}

    def annotation(self, given: InputSpec) -> Any:
        """How an input is to arrive."""
        return self.callee.annotations.get(given.parameter)

    def arrived(self, given: InputSpec) -> Any:
        """What arrives by one input; a ready-made recipe gets regions as the index of them, where it asks for that."""
        if not self.is_indexed(given):
            return self.arrival.value(given, self.annotation(given))
        if given.parameter not in self._indexes:
            with self.placed():
                self._indexes[given.parameter] = index_of(
                    self.store, given, self.region_id, lambda: self.arrival.value(given, "gpd.GeoDataFrame")
                )
        return self._indexes[given.parameter]

    def is_indexed(self, given: InputSpec) -> bool:
        """Whether an input of regions arrives as the index of them, which each piece of a table may share."""
        return self.annotation(given) == INDEX and isinstance(self.callee.decl.function, ReadyCall)

    def run(self, arrived: Mapping[str, Any]) -> dict[str, Any]:
        """What the function makes of what arrived, by output; ``""`` names the only one."""
        callee = self.callee
        given = {k: v for k, v in self.work.params if callee.takes_all or k in callee.annotations}
        return self.results.split(self.guarded(partial(callee.decl.function, **arrived, **given)))

    def guarded(self, function: Callable[[], Any]) -> Any:
        """What a function of the recipe returns, while it may open only what it was given."""
        return _guarded(self.spec, self.work, self.callee, function, self._own)

    @property
    def ready(self) -> ReadyCall:
        """The function of a ready-made recipe."""
        function = self.callee.decl.function
        assert isinstance(function, ReadyCall)
        return function

    @property
    def region_id(self) -> str:
        """The column of the regions' ids, of a ready-made recipe that assigns."""
        return self.ready.column("id_column", dict(self.work.params))

    @property
    def lon_lat(self) -> tuple[str, str]:
        """The columns of the points' coordinates, of a ready-made recipe that assigns."""
        params = dict(self.work.params)
        return self.ready.column("lon", params), self.ready.column("lat", params)

    def counters(self, **rest: Any) -> Any:
        """Counters of no rows yet: of a ready-made recipe that counts."""
        return self.ready.counters(dict(self.work.params), **rest)

    def merge(self, *parts: Any) -> Any:
        """The counters of a whole from those of its parts: of a ready-made recipe that counts."""
        return self.ready.merge(parts, dict(self.work.params))

    def check(self, pieces: Mapping[str, Any]) -> None:
        """Apply the recipe's own check to a whole result."""
        _check(self.decl, self.spec.step, dict(pieces) if self.decl.outputs else pieces[""])

    @contextmanager
    def placed(self) -> Iterator[None]:
        """Errors that arise here are the step's, at the place of its declaration where they have none."""
        try:
            yield
        except BuilderError as caught:
            caught.place = caught.place or self.place
            raise caught.about(self.spec.step) from None


def call_recipe(call: Call) -> dict[str, Manifest]:
    """The manifest of each target that a step makes, run whole."""
    pieces = call.run({given.parameter: call.arrived(given) for given in call.work.inputs})
    check_moved(call.work, call.spec.step)
    call.check(pieces)
    return {target: call.results.write(pieces[output]) for output, target in call.work.outputs}


def load_callee(spec: AttemptSpec, work: RecipeSpec) -> Callee:
    """The recipe from its bundle, proven to be the code that was planned with."""
    for _ in range(2):
        found = load_recipes(spec.store, spec.recipes, spec.project, work.bundle).callee(work.recipe)
        if found is not None and found.fingerprint == work.fingerprint:
            return found
        del _bundles[spec.project, work.bundle]
    raise error(
        "source-moved",
        f"recipe '{work.recipe}' is not the one that was planned with",
        target=spec.step,
        hint="a file or variable read while it loads changed during the run, or differs on the worker: rebuild again",
    )


def load_recipes(store: str, recipes: str, project: str, bundle: Digest) -> Bundled:
    """The recipes of a bundle, loaded once; those of another one are forgotten."""
    place = (project, bundle)
    if place not in _bundles:
        _bundles.clear()
        _bundles[place] = Bundled(store, recipes, project, bundle)
    return _bundles[place]


def _guarded(spec: AttemptSpec, work: RecipeSpec, callee: Callee, function: Callable[[], Any], own: Path) -> Any:
    """What a function of the recipe returns, while it may open only what it was given."""
    decl = callee.decl
    files = {f.path for i in work.inputs for item in i.items for f in item.files or ()}
    workspace.enter(own)
    try:
        with (
            guarding(
                Path(spec.project), files, (str(Path(spec.scratch)), str(Path(spec.store) / "parts")), callee.recipes_py
            ) as watch,
            placed(spec, work.bundle),
        ):
            result = function()
    except BuilderError as caught:
        caught.place = caught.place or str(decl.place)
        raise caught.about(spec.step) from None
    except (SystemExit, KeyboardInterrupt, Exception) as caught:
        # Signals reach the main thread alone: there it is a person's Ctrl-C, elsewhere the recipe's own doing.
        is_from_terminal = isinstance(caught, KeyboardInterrupt) and current_thread() is main_thread()
        if is_from_terminal or isinstance(caught, MemoryError):
            raise
        traceback.print_exc()
        if isinstance(caught, OSError) and caught.errno in (errno.ENOSPC, errno.EDQUOT):
            raise disk.store_error(caught, own).about(spec.step) from caught
        raise _recipe_error(spec, decl, caught) from caught
    finally:
        workspace.leave()
    if watch.violations:
        raise watch.violations[0].about(spec.step)
    return result


def _recipe_error(spec: AttemptSpec, decl: RecipeDecl, caught: BaseException) -> BuilderError:
    """The error of a recipe that raised, with the innermost of its own lines."""
    root = str(Path(spec.project).resolve()) + "/"
    own = [f for f in traceback.extract_tb(caught.__traceback__) if f.filename.startswith((spec.recipes, root))]
    place = str(decl.place)
    facts = []
    if own:
        place = f"{own[-1].filename.removeprefix(root)}:{own[-1].lineno}"
        facts = [("line", own[-1].line or "")] if own[-1].line else []
    kind = type(caught).__name__
    said = str(caught).strip()
    return error(
        "recipe-error",
        f"'{spec.step}' raised {kind}" + (f": {said.splitlines()[0][:300]}" if said else ""),
        place=place,
        facts=facts,
        hint=f"builder log {spec.step} shows the traceback and what it printed",
        target=spec.step,
    )


def check_moved(work: RecipeSpec, step: str) -> None:
    """Refuse a result that was made while a file among its inputs moved."""
    for item in (item for i in work.inputs for item in i.items):
        for file in item.files or ():
            if file.token is not None and _at_rest(file.path, token_of(file.path)) != _at_rest(file.path, file.token):
                raise error(
                    "source-moved",
                    f"'{file.shown}' changed while '{step}' read it",
                    place=file.shown,
                    target=step,
                    hint="rebuild again when the file is at rest",
                )


def _at_rest(path: str, token: tuple[int, ...] | None) -> tuple[int, ...] | None:
    """What of a file's token stands while it is read: SQLite may give a log's owner anew, which changes its ctime."""
    return token if token is None or not path.endswith(LOG_ENDING) else (*token[:2], *token[3:])


def _check(decl: RecipeDecl, step: str, value: Any) -> None:
    """Apply the recipe's own check to its result.

    Raises
    ------
    RecipeError
        ``check-failed`` where it raises or returns False.
    """
    if decl.check is None:
        return
    reason = "it returned False"
    try:
        if hasattr(decl.check, "validate"):
            decl.check.validate(value)
            return
        if not _is_false(decl.check(value)):
            return
    except Exception as caught:
        traceback.print_exc()
        reason = f"{type(caught).__name__}: {str(caught).strip()[:1000]}"
    raise error(
        "check-failed",
        f"the output of '{step}' fails its check",
        place=str(decl.place),
        facts=[("check", reason)],
        target=step,
        hint="the last good output stays; mend the recipe, the check or the data",
    )


def _is_false(answer: Any) -> bool:
    """Whether a check said no: with False, or with numpy's."""
    is_numpy = type(answer).__module__ == "numpy" and getattr(answer, "shape", None) == ()
    return (answer.item() if is_numpy else answer) is False
