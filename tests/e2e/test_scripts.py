"""Programs that build: a plain script runs once, however many workers its build starts."""

import os
import subprocess
import sys
from pathlib import Path


def test_a_script_without_a_guard_builds_on_workers_and_runs_once(site):
    site.recipe(
        """
        @b.recipe
        def answer() -> bytes:
            import os, sys
            main = sys.modules["__main__"]
            return f"{os.getpid()} {hasattr(main, 'MARK')}".encode()
        """
    )
    script = site.write(
        "script.py",
        """
        import os
        import builder as b

        MARK = 1
        with open("runs.txt", "a") as file:
            file.write(f"{os.getpid()}\\n")
        run = b.open(".").rebuild(workers=1)
        print(run.outcome)
        """,
    )
    done = subprocess.run(
        [sys.executable, script], cwd=site.root, capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "built\n", "")
    (driver,) = Path(site.root, "runs.txt").read_text().split()
    worker, has_mark = site.load("answer").decode().split()
    assert worker != driver and has_mark == "False"


def test_processes_of_the_script_itself_still_find_what_it_defines(site):
    site.recipe("@b.recipe\ndef answer() -> bytes:\n    return b'42'\n")
    script = site.write(
        "script.py",
        """
        import multiprocessing
        import builder as b

        def double(x):
            return 2 * x

        if __name__ == "__main__":
            b.open(".").rebuild(workers=1)
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                print(pool.map(double, [21]))
        """,
    )
    done = subprocess.run(
        [sys.executable, script], cwd=site.root, capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stdout) == (0, "[42]\n"), done.stderr


def test_a_rebuild_leaves_no_variables_of_its_workers_behind(site, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("GDAL_NUM_THREADS", raising=False)
    site.recipe(
        """
        import os

        @b.recipe
        def t():
            return {n: os.environ[n] for n in ("OMP_NUM_THREADS", "GDAL_NUM_THREADS")}
        """
    )
    before = dict(os.environ)
    assert site.rebuild(inline=False, workers=1)["outcome"] == "built"
    assert dict(os.environ) == before
    assert site.load("t") == {"OMP_NUM_THREADS": "7", "GDAL_NUM_THREADS": "1"}, "what is set here stays"
