"""Calling a recipe on a worker: load its code by digest, bring the inputs, run it guarded, write what it returned.

Decides how a recipe's failure is told. Recipes are loaded once per bundle and process.
"""

from __future__ import annotations

import errno
import inspect
import traceback
from collections.abc import Mapping
from pathlib import Path
from threading import current_thread, main_thread
from typing import Any

from builder.authoring.guard import guarding
from builder.authoring.load import Bundle, Loaded, load
from builder.authoring.prints import recipe_print
from builder.digests import Digest
from builder.errors import BuilderError, error
from builder.execute import workspace
from builder.execute.inputs import Arrival, check_crs
from builder.execute.results import Results
from builder.execute.spec import AttemptSpec, RecipeSpec
from builder.graph.declare import RecipeDecl
from builder.sense.tokens import token_of
from builder.store import disk
from builder.store.manifest import Manifest
from builder.store.parts import PartFolder

_loaded: dict[tuple[str, str], tuple[Loaded, dict[str, Digest]]] = {}


def call_recipe(
    spec: AttemptSpec, work: RecipeSpec, folder: PartFolder, scratch: Path, warnings: list[str]
) -> dict[str, Manifest]:
    """The manifest of each target that the step makes."""
    loaded, decl = _recipe(spec, work)
    place = str(decl.place)
    check_crs(list(work.inputs), spec.step, place)
    own = scratch / "workspace"
    disk.make_folder(own)
    arrival = Arrival(Path(spec.store), scratch, spec.step)
    signature = inspect.signature(decl.function)
    values = {i.parameter: arrival.value(i, _annotation(signature, i.parameter)) for i in work.inputs}
    takes_all = any(p.kind is p.VAR_KEYWORD for p in signature.parameters.values())
    values |= {k: v for k, v in work.params if takes_all or k in signature.parameters}
    result = _guarded(spec, work, decl, loaded, values, own)
    _check_moved(work, spec.step)
    results = Results(decl, spec.step, folder, scratch, own)
    pieces = results.split(result)
    _check(decl, spec.step, pieces if decl.outputs else result)
    return {target: results.write(pieces[output]) for output, target in work.outputs}


def _recipe(spec: AttemptSpec, work: RecipeSpec) -> tuple[Loaded, RecipeDecl]:
    """The recipe's declaration from its bundle, proven to be the code that was planned with."""
    place = (spec.project, work.bundle)
    for is_last in (False, True):
        if place not in _loaded:
            zipped = (Path(spec.store) / "bundles" / f"{work.bundle}.zip").read_bytes()
            loaded = load(Bundle.from_zip(zipped), Path(spec.recipes), Path(spec.project))
            _loaded.clear()
            _loaded[place] = (loaded, {})
        loaded, prints = _loaded[place]
        decl = next((d for d in loaded.declarations if isinstance(d, RecipeDecl) and d.name == work.recipe), None)
        if decl is not None:
            if work.recipe not in prints:
                prints[work.recipe] = recipe_print(decl, loaded).digest
            if prints[work.recipe] == work.fingerprint:
                return loaded, decl
        if is_last:
            break
        _loaded.pop(place, None)
    raise error(
        "source-moved",
        f"recipe '{work.recipe}' is not the one that was planned with",
        target=spec.step,
        hint="a file or variable read while it loads changed during the run, or differs on the worker: rebuild again",
    )


def _annotation(signature: inspect.Signature, name: str) -> Any:
    parameter = signature.parameters.get(name)
    return None if parameter is None else parameter.annotation


def _guarded(
    spec: AttemptSpec, work: RecipeSpec, decl: RecipeDecl, loaded: Loaded, values: Mapping[str, Any], own: Path
) -> Any:
    """What the recipe's function returns, while it may open only what it was given."""
    files = {f.path for i in work.inputs for item in i.items for f in item.files or ()}
    workspace.enter(own)
    try:
        with guarding(
            Path(spec.project), files, (str(Path(spec.scratch)), str(Path(spec.store) / "parts")), loaded.recipes_py
        ) as watch:
            result = decl.function(**values)
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


def _check_moved(work: RecipeSpec, step: str) -> None:
    """Refuse a result that was made while a file among its inputs moved."""
    for item in (item for i in work.inputs for item in i.items):
        for file in item.files or ():
            if file.token is not None and token_of(file.path) != file.token:
                raise error(
                    "source-moved",
                    f"'{file.shown}' changed while '{step}' read it",
                    place=file.shown,
                    target=step,
                    hint="rebuild again when the file is at rest",
                )


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
        if decl.check(value) is not False:
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
