"""One step's pieces on several workers at once: a full run of a large table on slots that are idle.

Decides who does which piece: the step's own worker and its helpers each take the next as they come free, a span of the
parts of the table that the step goes by. A piece that fails on a helper, for whatever reason, is done again by the
step's own worker, whose error counts. Pieces travel as JSON and lie in the store; what they made is put together by
their keys.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any

from builder.errors import BuilderError
from builder.execute.spec import AttemptSpec, RecipeSpec
from builder.store import disk
from builder.store.manifest import Manifest, Part

AHEAD = 2
"""Pieces that a helper has at once, so that none waits for the step's own worker to look up from its piece."""

_PIECES_A_SLOT = 4
"""So many pieces for each slot keep all busy to the end, though they take different times."""

Made = dict[str, Manifest]
"""What a piece made, by target; with no files but its own."""


@dataclass
class Elsewhere:
    """What the pieces of the running attempt cost on other workers."""

    cpu_s: float = 0.0
    peak_bytes: list[int] = field(default_factory=list)

    def take(self) -> tuple[float, int]:
        """CPU seconds and the largest peak since the last call."""
        found = self.cpu_s, max(self.peak_bytes, default=0)
        self.cpu_s, self.peak_bytes = 0.0, []
        return found


elsewhere = Elsewhere()


def spans_of(parts: Sequence[Part], slots: int) -> list[range]:
    """Consecutive parts in groups of about equal rows, a few for each slot."""
    share = sum(part.rows for part in parts) / (slots * _PIECES_A_SLOT)
    spans, start, rows = [], 0, 0
    for number, part in enumerate(parts):
        rows += part.rows
        if rows >= share or number == len(parts) - 1:
            spans.append(range(start, number + 1))
            start, rows = number + 1, 0
    return spans


def spread(spec: AttemptSpec, spans: Sequence[range], own: Callable[[range], Made]) -> list[Made]:
    """What each span of parts becomes, in their order: by the helpers of a step, and by `own` in this process.

    Raises
    ------
    BuilderError
        What a piece raises that was done here.
    """
    from distributed import as_completed, get_client

    client = get_client()
    left, made = deque(enumerate(spans)), dict[int, Made]()
    futures: dict[Any, tuple[int, range, str]] = {}
    raw = replace(spec, helpers=()).to_bytes()
    given = dict.fromkeys(spec.helpers, 0)
    ended = as_completed()

    def collect(future: Any) -> None:
        number, span, helper = futures.pop(future)
        given[helper] -= 1
        done = _result(future)
        if done is None:
            left.appendleft((number, span))
            given[helper] = AHEAD  # it died, or cannot: it gets no more
        else:
            made[number] = done

    try:
        while left or futures:
            for helper in spec.helpers:
                while left and given[helper] < AHEAD:
                    number, span = left.popleft()
                    future = client.submit(
                        run_piece, raw, number, span.start, span.stop,
                        workers=[helper], allow_other_workers=False, pure=False, retries=0, priority=1,
                    )  # fmt: skip
                    futures[future] = number, span, helper
                    given[helper] += 1
                    ended.add(future)
            if left:
                number, span = left.popleft()
                made[number] = own(span)
            elif futures:
                collect(next(ended))
            while futures and ended.has_ready():
                collect(next(ended))
    except BaseException:
        for future in futures:  # what runs cannot be called back, and its worker is not free before
            found = _result(future)
            with suppress(BuilderError, OSError):
                drop(Path(spec.store), [found or {}])
        with suppress(BuilderError, OSError):
            drop(Path(spec.store), made.values())
        raise
    return [made[number] for number in range(len(spans))]


def _result(future: Any) -> Made | None:
    """What a helper made of a piece; None where it failed."""
    try:
        said = json.loads(future.result())
    except Exception:  # whatever it was, the step's own worker tries the piece again and says what it meets
        return None
    if "made" not in said:
        return None
    elsewhere.cpu_s += said["cpu_s"]
    elsewhere.peak_bytes.append(said["peak_bytes"])
    return {target: Manifest.from_json(manifest) for target, manifest in said["made"].items()}


def run_piece(raw: bytes, number: int, start: int, stop: int) -> bytes:
    """One piece of a step, on a helper: what it made of a span of parts, and what that cost, as JSON."""
    from builder.execute.attempt import load, piece_of
    from builder.execute.logs import logged
    from builder.execute.peak import peak_memory
    from builder.execute.presence import present

    spec = AttemptSpec.from_bytes(raw)
    assert isinstance(spec.work, RecipeSpec)
    own = replace(spec, scratch=f"{spec.scratch}-{number}")
    try:
        with present(own), logged(Path(spec.log), in_worker=True), peak_memory() as peak:
            load(spec)
            began_s = time.process_time()
            made = piece_of(spec, own.scratch, range(start, stop))
    except BuilderError as caught:
        return json.dumps({"error": caught.to_json()}).encode()
    finally:
        with suppress(OSError):
            disk.remove(Path(own.scratch))
    said = {"made": {t: m.to_json() for t, m in made.items()}, "cpu_s": time.process_time() - began_s}
    return json.dumps(said | {"peak_bytes": peak[0]}).encode()


def drop(store: Path, pieces: Iterable[Made]) -> None:
    """Remove the parts of pieces that nothing is made of."""
    for manifest in chain.from_iterable(made.values() for made in pieces):
        for part in manifest.files:
            disk.remove(store / part.path)
