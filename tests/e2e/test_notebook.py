"""The notebook runs from top to bottom, and shows what its text says."""

import importlib.util
import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[2] / "notebooks/explore.ipynb"


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """The notebook with its outputs, run by this interpreter with this builder."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    package = Path(importlib.util.find_spec("builder").origin).parents[1]
    folder = tmp_path_factory.mktemp("notebook")
    environment = os.environ | {
        "PYTHONPATH": str(package),
        "TMPDIR": str(folder),
        "IPYTHONDIR": str(folder / "ipython"),
    }
    client = NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(folder)}})
    client.execute(env=environment)
    return notebook


def texts_of(notebook, source):
    """Everything that the cells with this piece of source put out as plain text."""
    cells = [c for c in notebook.cells if c.cell_type == "code" and source in c.source]
    assert cells, source
    found = []
    for output in (o for c in cells for o in c.outputs):
        found.append(output.get("text") or output.get("data", {}).get("text/plain", ""))
    return "\n".join(found)


def test_the_county_with_most_airports_comes_first(executed):
    assert "02170" in texts_of(executed, "nlargest").splitlines()[1]


def test_94_counters_differ(executed):
    counts = texts_of(executed, 'counties["change"].value_counts()').splitlines()
    changes = {int(line.split()[0]): int(line.split()[1]) for line in counts if line.split()[0].lstrip("-").isdigit()}
    assert sum(n for change, n in changes.items() if change != 0) == 94


def test_the_map_is_a_picture(executed):
    cell = next(c for c in executed.cells if ".plot(" in c.source)
    assert any("image/png" in output.get("data", {}) for output in cell.outputs)


def test_every_view_says_something(executed):
    for source in ("p.status()", "p.plan()", "p.explain(", "p.diff(", "first = p.rebuild"):
        assert texts_of(executed, source).strip() != ""


SENTENCE = "184 of 12,579 rows changed (59 added, 53 removed, 72 changed)"
BACK = "184 of 12,573 rows changed (53 added, 59 removed, 72 changed)"


@pytest.mark.parametrize(
    ("source", "text", "html"),
    [
        ("p.status(read=True)", f"12,573 → 12,579 rows · {SENTENCE}", f">{SENTENCE}</td>"),
        ("p.plan()", f"  airports: {SENTENCE}", f"<p>airports: {SENTENCE}</p>"),
        ('"earlier/airports.csv.gz", folder / "data")\np.rebuild()', BACK, f"<p>airports: restored · {BACK}</p>"),
    ],
)
def test_what_changed_is_said_in_records_as_stored_and_as_run(executed, source, text, html):
    for notebook in (executed, nbformat.read(NOTEBOOK, as_version=4)):
        assert text in texts_of(notebook, source)
        (cell,) = [c for c in notebook.cells if c.cell_type == "code" and source in c.source]
        assert any(html in o.get("data", {}).get("text/html", "") for o in cell.outputs)


def test_the_stored_outputs_are_of_one_run_and_name_no_folder_of_a_machine():
    stored = nbformat.read(NOTEBOOK, as_version=4)
    cells = [c for c in stored.cells if c.cell_type == "code"]
    assert [c.execution_count for c in cells] == list(range(1, len(cells) + 1))
    said = "".join(str(o) for c in cells for o in c.outputs)
    assert [place for place in ("/tmp", "/home", "/opt", "/root", "/usr", "/work") if place + "/" in said] == []
