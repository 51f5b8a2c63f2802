"""A graph four times as large costs four times as much to load, plan, schedule and tell of: nothing is quadratic."""

import cProfile
import importlib.util
import pstats
import sys
from pathlib import Path

import pytest

import builder as b
from builder.compile.predict import Forecast
from builder.compile.schedule import make_schedule
from builder.plan.plan import make_plan
from builder.store.recall import Recall

SMALL, LARGE = 200, 800


@pytest.fixture(scope="module")
def projects(tmp_path_factory):
    """The reference DAG in two sizes, with the same types of tasks, not built."""
    file = Path(__file__).parents[2] / "benchmarks" / "reference_dag.py"
    spec = importlib.util.spec_from_file_location("reference_dag", file)
    reference_dag = sys.modules["reference_dag"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reference_dag)
    found = []
    for size in (SMALL, LARGE):
        folder = tmp_path_factory.mktemp("linear")
        reference_dag.write_project(reference_dag.make_dag(size), folder)
        found.append(b.open(folder))
    return found


def calls(work) -> int:
    """How many function calls some work makes: a cost that no other load on the machine changes."""
    profile = cProfile.Profile()
    profile.runcall(work)
    return pstats.Stats(profile).total_calls


def growth(projects, work) -> float:
    """How much more the larger project costs than the smaller one, after a first go that imports and caches."""
    for project in projects:
        work(project)()
    small, large = (calls(work(project)) for project in projects)
    return large / small


def loaded(project):
    (project.config.store / "graph.json").unlink(missing_ok=True)
    return project.situation


def planned(project):
    return make_plan(project.situation(), Recall(project.ledger()))


def scheduled(project):
    plan = planned(project)
    return lambda: make_schedule(plan, dict.fromkeys(plan.steps, Forecast(1.0, 1.0, 1.0)), {}, 4)


@pytest.mark.parametrize(
    "work",
    [
        pytest.param(loaded, id="loading and expanding"),
        pytest.param(lambda p: lambda: planned(p), id="planning"),
        pytest.param(scheduled, id="scheduling"),
        pytest.param(lambda p: p.status, id="status"),
        pytest.param(lambda p: p.status().__str__, id="its text"),
        pytest.param(lambda p: p.plan().__str__, id="the text of a plan"),
    ],
)
def test_cost_grows_with_the_graph_and_no_faster(projects, work):
    assert growth(projects, work) < 1.5 * LARGE / SMALL
