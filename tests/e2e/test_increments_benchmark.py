"""The benchmark of increments runs; that its results have the digests of a build from nothing, it asserts itself."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "benchmarks"

FIGURES = {
    "intake": ("full intake, in key order", "0.1 % of the rows changed, shuffled"),
    "rows": ("rows, 5 % changed", "rows, 0.1 % changed"),
    "counters": ("counters, 5 % changed", "counters, 50 % changed"),
    "regions": ("regions, one region changed", "regions, 300 regions changed", "regions, 5 % of the points changed"),
    "days": (
        "days, written on the first day",
        "days, read whole after 2",
        "days, read 3 columns after 2",
        "days, read by 500 keys after 2",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("part", FIGURES)
def test_a_part_prints_its_figures_and_exits_by_them(part, tmp_path):
    words = (part, "--rows", "3000", "--repeat", "1", "--days", "2", "--dir", str(tmp_path))
    _look_at(_python(str(FOLDER / "increments.py"), *words), FIGURES[part])


FEW_CHOICES = """
import increments, increments_choice as part
part.KINDS = {"own update": part.KINDS["own update"]}
part.SHARES = {10: (0.1,)}
increments.main()
"""


@pytest.mark.slow
def test_choices_are_compared_in_each_way(tmp_path):
    done = _python("-c", FEW_CHOICES, "choice", "--rows", "3000", "--dir", str(tmp_path))
    _look_at(done, ("own update, 300 rows", "95 % of the choices within"))


def _look_at(done, labels):
    assert [label for label in labels if label not in done.stdout] == [], done.stdout + done.stderr
    assert "failed" not in done.stderr and "Error" not in done.stderr
    assert done.returncode == (1 if "DOES NOT HOLD" in done.stdout else 0)


@pytest.mark.parametrize(("value", "code"), [(0.5, 0), (0.5000001, 1)])
def test_it_exits_1_where_a_figure_is_over_its_limit(value, code):
    part = f"type('Part', (), {{'run': staticmethod(lambda *_: ('', {{}}, [increments.Line('', {value}, 0.5)]))}})"
    done = _python("-c", f"import sys, increments; sys.modules['increments_days'] = {part}; increments.main()", "days")
    assert (done.returncode, "DOES NOT HOLD" in done.stdout) == (code, bool(code)), done.stderr


MOVED = """
import shapely
from tessellation import regions
before, after = (regions(200, changes).geometry.to_numpy() for changes in ([], [(5, 1)]))
changed = before[~shapely.equals_identical(before, after)], after[~shapely.equals_identical(before, after)]
print(len(changed[0]), shapely.coverage_is_valid(after), shapely.is_valid(after).all())
print(shapely.equals(*map(shapely.coverage_union_all, (before, after))))
print((shapely.area(changed[0]) != shapely.area(changed[1])).all())
"""


def test_moved_corners_change_three_regions_each_and_leave_no_gap():
    assert _python("-c", MOVED).stdout.split() == ["15", "True", "True", "True", "True"]


def _python(*words):
    path = os.pathsep.join([str(ROOT), str(FOLDER), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": path}
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, env=environment, check=False)
