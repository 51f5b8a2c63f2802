"""The benchmark of increments runs; that its results have the digests of a build from nothing, it asserts itself."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

FIGURES = {
    "intake": ("full intake, in key order", "0.1 % of the rows changed, shuffled"),
    "days": ("days, written on the first day", "days, reading after 2"),
}


@pytest.mark.slow
@pytest.mark.parametrize("part", FIGURES)
def test_a_part_prints_its_figures(part, tmp_path):
    words = (part, "--rows", "3000", "--repeat", "1", "--days", "2", "--dir", str(tmp_path))
    command = [sys.executable, str(ROOT / "benchmarks" / "increments.py"), *words]
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [label for label in FIGURES[part] if label not in done.stdout] == []
