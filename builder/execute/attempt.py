"""One attempt on a worker: read inputs by reference, do the work, write parts under fresh names, send a record back.

Decides nothing about success of the build: it never commits, never raises, and returns no data.
"""

from __future__ import annotations

import os
import resource
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from builder.errors import BuilderError, error
from builder.execute.spec import AttemptRecord, AttemptSpec, IntakeSpec, Output, RecipeSpec
from builder.store import disk
from builder.store.manifest import empty_table
from builder.store.parts import PartFolder


def run_attempt(raw: bytes, in_worker: bool = True) -> bytes:
    """The record of an attempt, as bytes, whatever happens in it.

    Parameters
    ----------
    raw
        `AttemptSpec.to_bytes`.
    in_worker
        Whether this process is a worker's own: then all it prints, also from C, goes to the attempt's log.
    """
    spec = AttemptSpec.from_bytes(raw)
    started, cpu = time.perf_counter(), time.process_time()
    outputs: tuple[Output, ...] = ()
    problem: dict[str, Any] | None = None
    warnings: list[str] = []
    peak = [0]
    try:
        with _logged(Path(spec.log), in_worker), _peak_memory() as peak:
            outputs, problem = _outcome(spec, warnings)
    except OSError as caught:  # the log itself cannot be written
        problem = problem or disk.store_error(caught, Path(spec.log)).to_json()
    record = AttemptRecord(
        id=spec.id,
        outputs=outputs,
        error=problem,
        wall_s=time.perf_counter() - started,
        cpu_s=time.process_time() - cpu,
        peak_rss_bytes=peak[0],
        warnings=tuple(warnings),
    )
    return record.to_bytes()


def run_pack(raws: list[bytes]) -> list[bytes]:
    """The records of attempts that travel together, run one after the other.

    Each record is also kept beside the attempt's scratch folder at once, so that the death of a later one loses none.
    """
    records = []
    for raw in raws:
        record = run_attempt(raw)
        if len(raws) > 1:
            kept_record(AttemptSpec.from_bytes(raw)).write_bytes(record)
        records.append(record)
    return records


def kept_record(spec: AttemptSpec) -> Path:
    """Where the record of an attempt that travels with others is kept until all have ended."""
    return Path(spec.scratch + ".record")


def _outcome(spec: AttemptSpec, warnings: list[str]) -> tuple[tuple[Output, ...], dict[str, Any] | None]:
    """The outputs of the attempt's work, or why there are none."""
    try:
        return _run(spec, warnings), None
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


def _run(spec: AttemptSpec, warnings: list[str]) -> tuple[Output, ...]:
    """The outputs of the attempt's work."""
    folder = PartFolder(spec.store)
    scratch = Path(spec.scratch)
    disk.make_folder(scratch)
    try:
        if isinstance(spec.work, IntakeSpec):
            from builder.formats.family import infer_family
            from builder.formats.intake import take_in

            if spec.work.is_inference:
                return (Output(spec.step, empty_table(infer_family(spec.work, scratch))),)
            manifest, _ = take_in(spec.work, folder, scratch)
            made = {spec.step: manifest}
        else:
            from builder.execute.call import call_recipe

            made = call_recipe(spec, spec.work, folder, scratch, warnings)
        return tuple(_counted(spec, name, manifest) for name, manifest in made.items())
    finally:
        disk.remove(scratch)


def _counted(spec: AttemptSpec, name: str, manifest: Any) -> Output:
    """An output with the number of rows that differ from its last version."""
    previous = spec.previous.get(name)
    if manifest.kind != "table" or (previous is not None and previous.digest == manifest.digest):
        return Output(name, manifest, (0, 0, 0) if previous and previous.digest == manifest.digest else None)
    if previous is None or previous.kind != "table":
        return Output(name, manifest, (manifest.rows, 0, 0))
    from builder.tables.diff import count_changes

    difference = count_changes(Path(spec.store), previous, manifest)
    return Output(name, manifest, (difference.added, difference.removed, difference.changed))


@contextmanager
def _logged(log: Path, in_worker: bool) -> Iterator[None]:
    """Send all that is printed to the attempt's log."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        target = stack.enter_context(open(log, "ab", buffering=0))
        if in_worker:
            stack.enter_context(_descriptors(target.fileno()))
        text = stack.enter_context(open(log, "a", encoding="utf-8", errors="backslashreplace", buffering=1))
        stack.callback(setattr, sys, "stdout", sys.stdout)
        stack.callback(setattr, sys, "stderr", sys.stderr)
        sys.stdout = sys.stderr = text
        yield


@contextmanager
def _descriptors(log: int) -> Iterator[None]:
    """Point the process's own standard output and error at a file, for what C code and children print."""
    kept = os.dup(1), os.dup(2)
    os.dup2(log, 1)
    os.dup2(log, 2)
    try:
        yield
    finally:
        for number, descriptor in zip((1, 2), kept, strict=True):
            os.dup2(descriptor, number)
            os.close(descriptor)


@contextmanager
def _peak_memory(every_s: float = 0.05) -> Iterator[list[int]]:
    """The largest resident size of this process while inside, in bytes: sampled, or its own new peak."""
    peak = [_resident_bytes()]
    high_before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    done = threading.Event()

    def sample() -> None:
        while not done.wait(every_s):
            peak[0] = max(peak[0], _resident_bytes())

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        done.set()
        thread.join()
        high = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        peak[0] = max(peak[0], _resident_bytes(), high * 1024 if high > high_before else 0)


def _resident_bytes() -> int:
    """The resident size of this process."""
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


__all__ = ["RecipeSpec", "kept_record", "run_attempt", "run_pack"]
