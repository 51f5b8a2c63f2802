"""The benchmark of regions runs, compares every peer's pairs, and says what it leaves out."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def benchmark(tmp_path):
    """The benchmark run with some words: what it printed, and all figures."""

    def run(*words):
        command = [sys.executable, str(ROOT / "benchmarks" / "regions.py"), *words, "--json", str(tmp_path / "figures")]
        environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout, json.loads((tmp_path / "figures").read_text())

    return run


def test_peers_are_timed_and_their_pairs_compared(benchmark):
    peers = ("builder pairs", "builder assign", "STRtree xy")
    words = ("--sets", "eighths", "--side", "9", "--points", "3000", "--repeat", "2", "--peers", ",".join(peers))
    text, figures = benchmark("snapped", *words)
    assert set(figures["eighths"]) == set(peers)
    for name, line in figures["eighths"].items():
        assert line["differing"] == 0
        assert [turn["cpu_s"] > 0 for turn in line["turns"]] == [True, True]
        assert name in text


def test_hard_sets_are_asked_under_other_seeds(benchmark):
    text, figures = benchmark("exact", "--sets", "donuts,slivers", "--seeds", "2", "--most", "30")
    assert {name: line["differing"] for name, line in figures.items()} == {"donuts": 0, "slivers": 0}
    assert "donuts" in text


def test_a_set_that_cannot_be_made_is_left_out_with_a_sentence(benchmark, tmp_path):
    text, figures = benchmark("queries", "--sets", "counties", "--data", str(tmp_path), "--peers", "builder pairs")
    assert "counties is left out: no counties-10m.json" in text
    assert figures == {}
