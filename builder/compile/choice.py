"""Whether a step is brought up to date from what changed, or runs whole: by predicted cost. Pure.

Decides by what this project's own runs took; before a step has run both ways, by how the cost of its rule grows with
the share of rows that changed. Whether an update is allowed at all, `plan.basis` says.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from builder.compile.amounts import Seen
from builder.compile.predict import Choice, History, Measured, median
from builder.graph.grains import PIECE_ROWS, PIECEWISE
from builder.nouns import dataclass

CROSSING = {"rows": 0.4, "groups": 0.1, "fold": 0.3, "spatial": 0.3, "update": 0.4, "where": 0.5}
"""The share of changed rows at which an update by a rule takes as long as a full run, until it was measured."""

WORTH = 0.9
"""An update is taken where it is predicted to cost less than this share of a full run."""
FIXED_S = 0.05
"""What an update costs however little changed, until it was measured; also what is lost without regret on a small
table: there the share decides, so that the same change goes the same way each time."""

MOST_HELD_BYTES = 512 << 20
"""What an update may have to hold at once, where a full run goes in pieces, and on all workers."""

SLOWER = "a full run is predicted to be faster"
TOO_MUCH = "so much changed that it goes through memory in pieces"

_APART = 3
"""How many times larger one update must have been than another, for the two to tell what a row costs."""

always = False
"""Whether an update is taken wherever one is allowed, whatever it costs: for tests, whose tables are small."""


class Tried(Seen, Protocol):
    """What one attempt took, and how many rows it looked at where it was an update."""

    @property
    def rows_tested(self) -> int:
        """The rows that an update looked at."""


@dataclass(frozen=True, slots=True)
class Read:
    """What a full run reads: the bytes of all inputs, and the rows and bytes of the one that its rule goes by."""

    bytes: int
    rows: int
    main_bytes: int = 0


def choose(
    rule: str, rows: int, of: Read, whole: Sequence[Tried], updates: Sequence[Tried], *, is_required: bool = False
) -> Choice:
    """The cheaper way to bring a step up to date.

    Parameters
    ----------
    rows
        How many rows of its input an update has to look at.
    of
        All that a full run reads.
    whole, updates
        The latest attempts of either way.
    is_required
        Whether an update is taken whatever it costs.
    """
    full_s = whole_s(whole, of)
    slope_s = (full_s or 0.0) / CROSSING[rule] / max(1, of.rows)
    update_s = _update_s(updates, rows, slope_s)
    share = rows / max(1, of.rows)
    largest = max((t.rows_tested for t in updates), default=0)
    is_far = share > CROSSING[rule] and rows > _APART * largest  # many rows cost more each than the few that were seen
    if full_s is not None and (update_s is None or is_far):
        update_s = max(update_s or 0.0, FIXED_S + slope_s * rows)
    if update_s is None or full_s is None:
        is_update = share < WORTH * CROSSING[rule]
    else:
        is_as_good = share < CROSSING[rule] and update_s - full_s < FIXED_S
        is_update = is_as_good or update_s < WORTH * full_s
    is_in_pieces = rule in PIECEWISE and of.rows >= 2 * PIECE_ROWS
    is_too_much = is_in_pieces and share * of.main_bytes > MOST_HELD_BYTES
    if always or is_required or (is_update and not is_too_much):
        return Choice(True, update_s, full_s, rows)
    return Choice(False, update_s, full_s, rows, TOO_MUCH if is_update else SLOWER)


def whole_s(whole: Sequence[Tried], of: Read) -> float | None:
    """Seconds of a full run: as it took before, scaled to what it reads now; None where none was measured."""
    seen = [Measured(t.wall_s, t.bytes_in, t.rows_in) for t in whole]
    found = History({"": seen}).predict("", "", of.bytes, of.rows) if seen else None
    return None if found is None else found.s


def _update_s(updates: Sequence[Tried], rows: int, slope_s: float) -> float | None:
    """Seconds of an update: what it costs however little changed, and so much for each row.

    What a row costs is seen where updates of different sizes were; else it is `slope_s`, or all that one took.
    """
    if not updates:
        return None
    small, large = (pick(updates, key=lambda t: t.rows_tested) for pick in (min, max))
    if large.rows_tested > _APART * max(1, small.rows_tested):
        slope_s = max(0.0, large.wall_s - small.wall_s) / (large.rows_tested - small.rows_tested)
    slope_s = min([slope_s, *(t.wall_s / t.rows_tested for t in updates if t.rows_tested)])
    return slope_s * rows + median(max(0.0, t.wall_s - slope_s * t.rows_tested) for t in updates)
