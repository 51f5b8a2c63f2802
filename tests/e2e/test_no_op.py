"""A look at a project in which nothing changed imports nothing heavy, whatever its size."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("pandas", "pyarrow", "numpy", "numba", "geopandas", "shapely", "dask", "distributed", "asyncio", "rich")
LOOK = """
import sys
from builder.cli import main
sys.argv = ["builder", *sys.argv[1:]]
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
print("imported:", *(m for m in {heavy!r} if m in sys.modules))
"""


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """The reference DAG of 1,245 tasks, built once."""
    import builder as b

    file = Path(__file__).parents[2] / "benchmarks" / "reference_dag.py"
    spec = importlib.util.spec_from_file_location("reference_dag", file)
    reference_dag = sys.modules["reference_dag"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reference_dag)
    folder = tmp_path_factory.mktemp("reference")
    dag = reference_dag.make_dag(1245)
    reference_dag.write_project(dag, folder)
    report = b.open(folder).rebuild(inline=True).to_json()
    assert report["totals"]["built"] == 1245
    return folder


def look(folder: Path, *command: str) -> list[str]:
    """The lines that a command prints, and the heavy modules it imported as the last one."""
    code = LOOK.format(heavy=HEAVY)
    done = subprocess.run(
        [sys.executable, "-c", code, "-C", folder, *command], text=True, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_the_reference_dag_is_the_one_of_the_tables(reference):
    import builder as b

    situation = b.open(reference).situation()
    assert len(situation.graph.sources) == 100
    assert len(situation.graph.steps) == 1245
    assert sum(len(step.reads) for step in situation.graph.steps.values()) == 7014
    assert max(len(step.reads) for step in situation.graph.steps.values()) == 50


@pytest.mark.parametrize("command", [("status",), ("status", "--json"), ("rebuild",), ("plan",), ("history",)])
def test_an_unchanged_project_is_looked_at_without_heavy_imports(reference, command):
    assert look(reference, *command)[-1] == "imported:"


def test_an_unchanged_project_is_all_fresh_and_rebuilds_nothing(reference):
    assert "all 1,245 targets fresh" in look(reference, "status")[0]
    assert "nothing to do" in look(reference, "rebuild")[0]


def test_the_check_for_heavy_imports_sees_one(reference):
    code = LOOK.replace("import sys\n", "import sys, pyarrow\n", 1).format(heavy=HEAVY)
    done = subprocess.run(
        [sys.executable, "-c", code, "-C", reference, "status"], text=True, capture_output=True, check=False
    )
    assert "pyarrow" in done.stdout.splitlines()[-1]


def test_each_output_is_the_checksums_of_its_inputs(reference):
    import json
    import zlib

    import builder as b

    dag = json.loads((reference / "dag.json").read_text())
    project = b.open(reference)
    texts: dict[str, bytes] = {}
    for name in dag["sources"]:
        lines = (reference / "data" / f"{name}.csv").read_bytes().splitlines(True)
        texts[name] = b"".join(line for line in lines if not line.startswith(b"#"))
    for kind in sorted(dag["kinds"])[:30]:
        for task, needs in dag["kinds"][kind].items():
            body = "".join(f"{zlib.crc32(texts[n]):08x} {n}\n" for n in needs)
            texts[f"{kind}[task={task}]"] = f"{task} {kind} 0\n{body}END\n".encode()
    for name in [n for n in texts if "[" in n][::40]:
        assert project.load(name) == texts[name]
