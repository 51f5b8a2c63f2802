"""Compiled loops are kept between processes, made again when anything they are made of changes, and once for all."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[3]
BELOW = """
from builder.transforms.compiling import njit

STEP = {step}

@njit(cache=True)
def below(x):
    return x + STEP
"""
ABOVE = """
from below import below
from builder.transforms.compiling import njit

@njit(cache=True)
def above(x):
    return 10 * later(x) + later(2)

@njit(cache=True)
def later(x):
    return below(x)
"""
ASK = """
import sys, time
from above import above, later
until = float(sys.argv[1])
time.sleep(max(0.0, until - time.time()))
print(above(1), sum(above.stats.cache_misses.values()), sum(above.stats.cache_hits.values()), len(later.signatures))
"""


def written(folder: Path) -> Path:
    (folder / "above.py").write_text(ABOVE)
    (folder / "below.py").write_text(BELOW.format(step=1))
    return folder


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """A folder with loops, and what the first process that used them said."""
    folder = written(tmp_path_factory.mktemp("loops"))
    return folder, answer(started(folder))


def started(folder: Path, until_s: float = 0.0, **environment: str) -> subprocess.Popen:
    environment = {"PYTHONPATH": f"{folder}:{PROJECT}", "NUMBA_CACHE_DIR": str(folder / "kept")} | environment
    command = [sys.executable, "-B", "-c", ASK, str(until_s)]
    return subprocess.Popen(command, env=os.environ | environment, stdout=subprocess.PIPE, text=True)


def answer(process: subprocess.Popen) -> list[int]:
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    return [int(word) for word in out.split()]


def test_a_loop_is_compiled_once_whatever_constants_it_is_given(first) -> None:
    assert first[1] == [23, 1, 0, 1]


def test_only_what_python_calls_is_kept(first) -> None:
    assert {p.name.split("-")[0] for p in (first[0] / "kept").rglob("*.nbc")} == {"above.above"}


def test_the_next_process_reads_a_loop_until_a_constant_in_another_file_that_it_reaches_changes(first) -> None:
    folder, _ = first
    assert answer(started(folder))[:3] == [23, 0, 1]
    (folder / "below.py").write_text(BELOW.format(step=5))
    assert answer(started(folder))[:3] == [67, 1, 0]  # numba's own cache would still say 23


def test_of_two_processes_that_need_a_loop_at_once_one_compiles_it(tmp_path) -> None:
    start_s = time.time() + 4.0  # both have imported numba by then
    found = [answer(process) for process in [started(written(tmp_path), start_s) for _ in range(2)]]
    assert sorted(misses for _, misses, _, _ in found) == [0, 1]


def test_without_a_folder_to_write_to_loops_work(tmp_path) -> None:
    written(tmp_path)
    nowhere = "from numba.core import caching; caching.CacheImpl._locator_classes = []"
    code = f"{nowhere}; from above import above; print(above(1))"
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}:{PROJECT}"}
    done = subprocess.run([sys.executable, "-B", "-c", code], env=environment, capture_output=True, text=True)
    assert done.stdout.split() == ["23"], done.stderr
