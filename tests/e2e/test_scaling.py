"""A Dask cluster object grows and shrinks with the ready work, and is given back as it was."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask
import pytest
from distributed import Nanny, Scheduler, SpecCluster

from builder.errors import BuilderError
from builder.execute import scaling
from builder.execute.settings import EMBEDDED


class Recorded(SpecCluster):
    """A cluster that notes what it is asked for."""

    def __init__(self, **options: Any) -> None:
        self.asked: list[int] = []
        self.let_go: list[Any] = []
        super().__init__(**options)

    def scale(self, n: int = 0, **more: Any) -> Any:
        self.asked.append(n)
        return super().scale(n, **more)

    async def scale_down(self, workers: Any) -> None:
        self.let_go += workers
        await super().scale_down(workers)


def make_cluster(folder: Path, workers: int = 0) -> Recorded:
    quiet = {"dashboard_address": None, "local_directory": str(folder), "silence_logs": 50}
    worker = {"cls": Nanny, "options": {"nthreads": 1, "host": "127.0.0.1", **quiet}}
    scheduler = {
        "cls": Scheduler,
        "options": {"host": "127.0.0.1", "dashboard": False, "dashboard_address": "127.0.0.1:0"},
    }
    made = Recorded(workers={}, worker=worker, scheduler=scheduler, silence_logs=50)
    if workers:
        made.scale(workers)
    return made


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Recorded]:
    with dask.config.set(EMBEDDED):
        made = make_cluster(tmp_path)
        yield made
        made.close()


def test_a_cluster_grows_with_the_ready_work_and_is_given_back_as_it_was(site: Any, cluster: Recorded) -> None:
    site.recipe(
        """
        @b.recipe(each={"i": list(range(12))})
        def t(i):
            return {"i": i}

        @b.recipe(inputs={"ts": "t[*]"})
        def last(ts):
            return {"sum": sum(t["i"] for t in ts.values())}
        """
    )
    report = site.built(inline=False, cluster=cluster, workers=2)
    assert report["totals"]["built"] == 13 and site.load("last") == {"sum": 66}
    assert max(cluster.asked) == 2, "never more than it may"
    assert cluster.asked[0] == 1 and cluster.asked[-1] == 0, "one to begin with; at the end as few as before"


def test_only_idle_workers_are_given_back(
    site: Any, cluster: Recorded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scaling, "IDLE_S", 0.0)
    monkeypatch.setattr(scaling, "LOOK_EVERY_S", 0.0)
    gate = tmp_path / "gone"
    site.recipe(
        f"""
        import os, time

        @b.recipe()
        def slow():
            print("ran in", os.getpid())
            while not os.path.exists({str(gate)!r}):
                time.sleep(0.02)
            return {{}}

        @b.recipe(slots=2)
        def wide():
            return {{}}
        """
    )

    class Watch:
        def event(self, kind: str, name: str, **facts: Any) -> None:
            """Nothing."""

    kept = Recorded.scale_down

    async def scale_down(self: Recorded, workers: Any) -> None:
        await kept(self, workers)
        gate.touch()

    monkeypatch.setattr(Recorded, "scale_down", scale_down)
    report = site.built(inline=False, cluster=cluster, workers=2, first=["wide"], observer=Watch())
    assert {t["name"]: t["outcome"] for t in report["targets"]} == {"slow": "built", "wide": "built"}
    assert len(cluster.let_go) == 1
    assert len(site.project.log("slow").split("ran in")) == 2, "the busy one was not touched"


def test_a_factory_named_in_the_project_makes_the_cluster_and_it_is_closed(site: Any, tmp_path: Path) -> None:
    site.write("builder.toml", '[cluster]\nworkers = 1\nfactory = "clusters.py:local"\n')
    site.write(
        "clusters.py",
        """
        from distributed import LocalCluster

        def local():
            return LocalCluster(
                n_workers=1, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0",
                worker_dashboard_address=None, scheduler_kwargs={"dashboard": False},
            )
        """,
    )
    site.recipe(
        """
        import os

        @b.recipe()
        def t():
            print("ran in", os.getpid())
            return {}
        """
    )
    assert site.ran(inline=False) == {"t"}
    pid = int(site.project.log("t").split()[-1])
    assert pid != os.getpid() and not Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def make():\n    return 7\n", "it returned nothing that has scale()"),
        ("def make():\n    raise OSError('no queue')\n", "OSError: no queue"),
        ("", "KeyError"),
    ],
)
def test_a_factory_that_makes_no_cluster_is_refused(site: Any, text: str, said: str) -> None:
    site.write("builder.toml", '[cluster]\nfactory = "clusters.py:make"\n')
    site.write("clusters.py", text)
    site.recipe("@b.recipe()\ndef t():\n    return {}")
    with pytest.raises(BuilderError) as caught:
        site.rebuild(inline=False)
    assert caught.value.code == "config" and said in dict(caught.value.facts)["reason"]


def test_a_cluster_object_that_brings_no_worker_is_refused_within_the_wait(site: Any, cluster: Recorded) -> None:
    site.write("builder.toml", "[cluster]\nwait = 1\n")
    site.recipe("@b.recipe()\ndef t():\n    return {}")
    cluster.scale = lambda n=0: None  # type: ignore[method-assign, misc, assignment]
    began_s = time.monotonic()
    with pytest.raises(BuilderError) as caught:
        site.rebuild(inline=False, cluster=cluster)
    assert caught.value.code == "no-cluster" and time.monotonic() - began_s < 10
