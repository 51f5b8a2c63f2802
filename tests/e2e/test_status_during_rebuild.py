"""Reports answer while a rebuild runs: they take no lock."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

RECIPES = """
    import os, time

    @b.recipe()
    def done():
        return {{"x": 1}}

    @b.recipe(inputs={{"done": "done"}})
    def slow(done):
        open("{here}/begun", "w").close()
        while not os.path.exists("{here}/open"):
            time.sleep(0.02)
        return {{"x": 2}}
"""


def test_reports_answer_while_a_rebuild_runs_and_see_what_it_has_committed(site: Any, tmp_path: Path) -> None:
    site.recipe(RECIPES.format(here=tmp_path))
    command = [sys.executable, "-m", "builder", "rebuild", "-j", "1", "--json"]
    running = subprocess.Popen(command, cwd=site.root, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        end_s = time.monotonic() + 60
        while not (tmp_path / "begun").exists():
            assert running.poll() is None and time.monotonic() < end_s
            time.sleep(0.02)
        status = site.command_json("status")
        states = {t["name"]: t["state"] for t in status["targets"]}
        assert states["done"] == "fresh" and states["slow"] in ("stale", "missing", "pending")
        for report in (["plan"], ["explain", "slow"], ["show", "done"], ["history"], ["graph"]):
            assert site.command(*report).returncode == 0, report
        assert site.load("done") == {"x": 1}
        refused = site.command("rebuild", "--inline", "--json")
        assert refused.returncode == 2 and json.loads(refused.stdout)["error"]["code"] == "locked"
        assert running.poll() is None, "the rebuild was at work all the time"
    finally:
        (tmp_path / "open").touch()
        out, _ = running.communicate(timeout=60)
    assert json.loads(out)["outcome"] == "built" and site.load("slow") == {"x": 2}
    assert set(site.states().values()) == {"fresh"}
