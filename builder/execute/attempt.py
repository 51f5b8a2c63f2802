"""One attempt on a worker: read inputs by reference, do the work, write parts under fresh names, send a record back.

Decides nothing about success of the build: it never commits, never raises, and returns no data.
"""

from __future__ import annotations

import importlib
import resource
import sys
import time
import traceback
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from builder.errors import BuilderError, error
from builder.execute.contents import brought_back
from builder.execute.logs import logged
from builder.execute.peak import peak_memory
from builder.execute.presence import present
from builder.execute.spec import AttemptRecord, AttemptSpec, IntakeSpec, Output, RecipeSpec, SumsSpec
from builder.nouns import replace
from builder.store import disk
from builder.store.manifest import Manifest, empty_table
from builder.store.parts import INLINE_BYTES, PartFolder, drop_parts

if TYPE_CHECKING:  # at run time only where a recipe runs
    from builder.execute.call import Call


# What a full run of a recipe imports, at once or where it needs it: one that reads tables, gives some, has a grain.
_READING = ("builder.tables.frames", "builder.tables.read", "pyarrow.pandas_compat")
_WRITING = (
    "builder.tables.diff",
    "builder.tables.kernels",
    "builder.tables.matchkernels",
    "builder.tables.parquet_parts",
    "builder.tables.write",
    "pyarrow.parquet",
)
_TRYING = ("builder.execute.piecewise", "builder.execute.proving", "builder.tables.search")


_MUCH_BYTES = 256 << 20
"""A process that was larger than this may keep freed memory that is worth giving back."""


def run_attempt(raw: bytes, in_worker: bool = True) -> bytes:
    """The record of an attempt, as bytes, whatever happens in it.

    Parameters
    ----------
    raw
        `AttemptSpec.to_bytes`.
    in_worker
        Whether this process is a worker's own: then all it prints, also from C, goes to the attempt's log.
    """
    return _attempt(AttemptSpec.from_bytes(raw), in_worker).to_bytes()


def _attempt(spec: AttemptSpec, in_worker: bool) -> AttemptRecord:
    """The record of one attempt."""
    started, cpu_s = time.perf_counter(), _cpu_s()
    outputs: tuple[Output, ...] = ()
    problem: dict[str, Any] | None = None
    peak = [0]
    try:
        with logged(Path(spec.log), in_worker), peak_memory() as peak:
            load(spec)
            started, cpu_s = time.perf_counter(), _cpu_s()
            outputs, problem = _outcome(spec)
        if peak[0] > _MUCH_BYTES and "pyarrow" in sys.modules:
            sys.modules["pyarrow"].default_memory_pool().release_unused()  # else the next step does, at its cost
    except OSError as caught:  # the log itself cannot be written
        problem = problem or disk.store_error(caught, Path(spec.log)).to_json()
    spread = sys.modules.get("builder.execute.spread")
    others_s, others_bytes = spread.elsewhere.take() if spread else (0.0, 0)
    return AttemptRecord(
        id=spec.id,
        outputs=outputs,
        error=problem,
        wall_s=time.perf_counter() - started,
        cpu_s=_cpu_s() - cpu_s + others_s,
        peak_rss_bytes=max(peak[0], others_bytes),
    )


def load(spec: AttemptSpec) -> None:
    """Load a recipe's code, or a parser, where this process has not: it serves all later attempts, so it is no cost
    of this one.

    What goes wrong here goes wrong again, and is told, when the recipe is called.
    """
    with suppress(Exception, SystemExit):
        if isinstance(spec.work, SumsSpec):
            importlib.import_module("builder.tables.update")
        elif isinstance(spec.work, RecipeSpec):
            from builder.execute.call import load_callee

            decl = load_callee(spec, spec.work).decl
            if spec.update is not None:
                from builder.execute.updating import load_rule

                load_rule(spec.update.rule)
            else:
                gives = decl.key or decl.columns or any(m.kind == "table" for m in spec.previous.values())
                later = (_READING if gives or _reads_tables(spec.work) else ()) + (_WRITING if gives else ())
                for name in later + (_TRYING if decl.grain.kind != "whole" else ()):
                    importlib.import_module(name)
        else:
            from builder.formats.intake import load_parser

            load_parser(spec.work.format)


def _reads_tables(work: RecipeSpec) -> bool:
    """Whether any input is a table."""
    return any(item.manifest is not None and item.manifest.kind == "table" for g in work.inputs for item in g.items)


def _cpu_s() -> float:
    """The CPU seconds of this process, and of its children that ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def run_pack(raws: Iterable[bytes], in_worker: bool = True) -> Iterator[bytes]:
    """The records of attempts that travel together, run one after the other, each as it ends."""
    left = deque(map(AttemptSpec.from_bytes, raws))
    try:
        with present(left[0]):
            while left:
                record = _attempt(left[0], in_worker)
                left.popleft()
                yield record.to_bytes()
    except BuilderError as refused:  # by a later builder, or by a disk that takes no file
        for spec in left:
            yield AttemptRecord(spec.id, error=refused.to_json()).to_bytes()


def _outcome(spec: AttemptSpec) -> tuple[tuple[Output, ...], dict[str, Any] | None]:
    """The outputs of the attempt's work, or why there are none."""
    try:
        return _run(spec), None
    except BuilderError as caught:
        sys.stderr.write(caught.render() + "\n")
        return (), caught.to_json()
    except MemoryError:
        problem = error(
            "out-of-memory",
            f"'{spec.step}' ran out of memory",
            target=spec.step,
            hint="give the recipe more memory, or let it read less",
        )
        return (), problem.to_json()
    except (disk_crash, KeyboardInterrupt):
        raise
    except OSError as caught:
        return (), disk.store_error(caught, Path(spec.store)).to_json()
    except BaseException as caught:
        traceback.print_exc()
        return (), error("internal", f"the attempt at '{spec.step}' failed: {caught!r}", target=spec.step).to_json()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


class disk_crash(BaseException):  # noqa: N801 - stands for a kill, in tests only
    """Raised by tests from `disk.on_write` to stand for a kill of the process; never caught here."""


def _run(spec: AttemptSpec) -> tuple[Output, ...]:
    """The outputs of the attempt's work."""
    folder = PartFolder(spec.store, INLINE_BYTES)
    scratch = Path(spec.scratch)  # made by what needs it: most steps do not
    try:
        spec = brought_back(spec)
        if isinstance(spec.work, SumsSpec):
            from builder.tables.update import with_sums

            return (Output(spec.step, with_sums(Path(spec.store), spec.work.manifest, spec.work.columns)),)
        if isinstance(spec.work, IntakeSpec):
            from builder.formats.family import infer_family
            from builder.formats.intake import take_in

            disk.make_folder(scratch)
            if spec.work.is_inference:
                return (Output(spec.step, empty_table(infer_family(spec.work, scratch))),)
            taken = take_in(spec.work, folder, scratch)
            if taken.difference is not None:
                return (Output(spec.step, taken.manifest, taken.difference, taken.via),)
            made = {spec.step: taken.manifest}
        else:
            from builder.execute.call import Call

            call = Call(spec, spec.work, folder, scratch)
            outputs = _updated(call, spec)
            if outputs is not None and not _is_audited(call, spec):
                return outputs
            made, in_pieces = _whole(call)
            counted = _counted(spec, made) if outputs is None else _compared(spec, outputs, made)
            return tuple(replace(output, in_pieces=in_pieces) for output in counted)
        return _counted(spec, made)
    except Exception:
        folder.discard()
        raise
    finally:
        if scratch.exists():
            disk.remove(scratch)


def piece_of(spec: AttemptSpec, scratch: str, span: range) -> dict[str, Manifest]:
    """What a step makes of some parts of its large table, for another worker that runs the step; in files of its own.

    Raises
    ------
    BuilderError
        What the recipe raises.
    """
    from builder.execute.call import Call
    from builder.execute.piecewise import piece

    spec = replace(brought_back(spec), scratch=scratch)
    assert isinstance(spec.work, RecipeSpec)
    folder = PartFolder(spec.store)
    try:
        return piece(Call(spec, spec.work, folder, Path(scratch)), span)
    except BaseException:
        folder.discard()
        raise


def _updated(call: Call, spec: AttemptSpec) -> tuple[Output, ...] | None:
    """The outputs made from the last ones and what changed; None where that was not asked for, or cannot be."""
    if spec.update is None:
        return None
    from builder.execute.updating import updated

    return updated(call, spec.update)


def _is_audited(call: Call, spec: AttemptSpec) -> bool:
    """Whether a full run has to confirm an update: by chance, or where no earlier one could try the grain."""
    if spec.update is None or spec.update.is_audited:
        return spec.update is not None
    from builder.execute.proving import is_unproven

    return is_unproven(call, spec.update)


def _compared(spec: AttemptSpec, outputs: tuple[Output, ...], made: dict[str, Manifest]) -> tuple[Output, ...]:
    """The outputs of an update that a full run confirms; where it does not, those of the full run, which say so."""
    if all(made[o.name].digest == o.manifest.digest for o in outputs):
        for output in outputs:
            drop_parts(Path(spec.store), made[output.name], output.manifest)
        return tuple(replace(output, is_audited=True) for output in outputs)
    for output in outputs:
        drop_parts(Path(spec.store), output.manifest, spec.previous[output.name])
    rule = spec.update.rule if spec.update is not None else ""
    return tuple(replace(output, refuted=rule, is_audited=True) for output in _counted(spec, made))


def _whole(call: Call) -> tuple[dict[str, Manifest], bool]:
    """The outputs of a full run, and whether it went in pieces."""
    from builder.execute.call import call_recipe

    if call.decl.grain.kind == "whole":
        return call_recipe(call), False
    from builder.execute.piecewise import run_in_pieces
    from builder.execute.proving import check_grain

    pieces = run_in_pieces(call)
    made = pieces or call_recipe(call)
    check_grain(call, made)
    return made, pieces is not None


def _counted(spec: AttemptSpec, made: Mapping[str, Manifest]) -> tuple[Output, ...]:
    """Each output with the number of rows that differ from its last version."""
    return tuple(_output(spec, name, manifest) for name, manifest in made.items())


def _output(spec: AttemptSpec, name: str, manifest: Manifest) -> Output:
    """An output with the number of rows that differ from its last version."""
    previous = spec.previous.get(name)
    if manifest.kind != "table" or (previous is not None and previous.digest == manifest.digest):
        return Output(name, manifest, (0, 0, 0) if previous and previous.digest == manifest.digest else None)
    if previous is None or previous.kind != "table":
        return Output(name, manifest, (manifest.rows, 0, 0))
    from builder.tables.diff import count_changes

    try:
        difference = count_changes(Path(spec.store), previous, manifest)
    except BuilderError as cause:
        if cause.code != "store-damaged":
            raise
        return Output(name, manifest)  # nothing of the new version is in doubt
    return Output(name, manifest, (difference.added, difference.removed, difference.changed))


__all__ = ["RecipeSpec", "run_attempt", "run_pack"]
