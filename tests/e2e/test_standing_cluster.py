"""A Dask cluster that stands already, with TLS: what is refused, what is built, and what comes and goes in mid-run."""

import dataclasses
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from builder.errors import BuilderError
from builder.execute.settings import PRESPAWN, all_variables

WITHIN_S = 60.0
FAMILY = """
    import os, time
    from . import _helper

    @b.recipe(each={"i": list(range(9))})
    def t(i):
        time.sleep(0.1)  # too long to travel packed, so that every worker gets some
        print("ran in", os.getpid())
        return {"value": _helper.value(i)}
"""


def until(found: Callable[[], Any], what: str) -> Any:
    """What `found` gives as soon as it is true; other processes make it so."""
    end_s = time.monotonic() + WITHIN_S
    while time.monotonic() < end_s:
        if value := found():
            return value
        time.sleep(0.02)
    raise AssertionError(f"{what} did not come within {WITHIN_S:g} s")


def make_certificates(folder: Path, name: str) -> dict[str, str]:
    """A CA and a certificate that it signed, with its key, as paths of PEM files."""
    if shutil.which("openssl") is None:
        pytest.skip("certificates are made with openssl")
    folder.mkdir(exist_ok=True)
    new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    ca, key, request, cert = (str(folder / f"{name}-{n}") for n in ("ca.pem", "key.pem", "request.pem", "cert.pem"))
    ca_key = str(folder / f"{name}-ca-key.pem")
    for command in (
        ["req", "-x509", *new_key, "-keyout", ca_key, "-out", ca, "-days", "2", "-subj", f"/CN={name} CA"],
        ["req", *new_key, "-keyout", key, "-out", request, "-subj", f"/CN={name}"],
        ["x509", "-req", "-in", request, "-CA", ca, "-CAkey", ca_key, "-CAcreateserial", "-days", "2", "-out", cert],
    ):
        subprocess.run(["openssl", *command], check=True, capture_output=True)
    return {"ca": ca, "cert": cert, "key": key}


def free_port() -> int:
    with socket.socket() as plain:
        plain.bind(("127.0.0.1", 0))
        return int(plain.getsockname()[1])


class Standing:
    """A scheduler and workers in processes of their own, set as the documentation says."""

    def __init__(self, folder: Path, certificates: dict[str, str] | None = None) -> None:
        self.folder = folder
        self.certificates = certificates
        self.port = free_port()
        self.processes: list[subprocess.Popen[bytes]] = []
        self.scheduler = self.start_scheduler()

    @property
    def address(self) -> str:
        return f"{'tls' if self.certificates else 'tcp'}://127.0.0.1:{self.port}"

    def _start(self, *command: str, env: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
        tls = self.certificates
        options = ["--tls-ca-file", tls["ca"], "--tls-cert", tls["cert"], "--tls-key", tls["key"]] if tls else []
        variables = dict(line.split("=", 1) for line in all_variables().splitlines())
        own = {n: v for n, v in os.environ.items() if n not in PRESPAWN}  # as nannies of other tests may have left them
        with open(self.folder / "cluster.log", "ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "dask", *command, *options], stdout=log, stderr=log, cwd=self.folder,
                env=own | variables | (env or {}), start_new_session=True,
            )  # fmt: skip
        self.processes.append(process)
        return process

    def start_scheduler(self) -> subprocess.Popen[bytes]:
        """A scheduler at the same port each time, listening."""
        process = self._start("scheduler", "--host", self.address, "--no-dashboard")

        def listens() -> bool:
            with socket.socket() as plain:
                return plain.connect_ex(("127.0.0.1", self.port)) == 0

        until(listens, "the scheduler")
        return process

    def start_workers(self, count: int, *options: str, env: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
        """Workers below one process; they join when they are up."""
        return self._start(
            "worker", self.address, "--nworkers", str(count), "--nthreads", "1", "--no-dashboard",
            "--preload", "builder.execute.preload", "--local-directory", str(self.folder), *options, env=env,
        )  # fmt: skip

    def end(self, process: subprocess.Popen[bytes]) -> None:
        """Kill a process with all below it."""
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        self.processes.remove(process)

    def close(self) -> None:
        for process in list(self.processes):
            self.end(process)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return make_certificates(tmp_path_factory.mktemp("certificates"), "own")


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory, certificates: dict[str, str]) -> Iterator[Standing]:
    """A TLS cluster of two workers, shared by the tests that do not harm it."""
    made = Standing(tmp_path_factory.mktemp("cluster"), certificates)
    made.start_workers(2)
    yield made
    made.close()


@pytest.fixture
def plain(tmp_path: Path) -> Iterator[Standing]:
    """A scheduler without TLS, for one test alone."""
    made = Standing(tmp_path)
    yield made
    made.close()


def configure(site: Any, scheduler: str, certificates: dict[str, str] | None = None, **more: Any) -> None:
    keys = {"scheduler": scheduler, **(certificates or {}), **more}
    site.write("builder.toml", "[cluster]\n" + "".join(f"{k} = {json.dumps(v)}\n" for k, v in keys.items()))


def refusal(site: Any, **options: Any) -> BuilderError:
    """The error of a rebuild that is refused before anything runs."""
    began_s = time.monotonic()
    with pytest.raises(BuilderError) as caught:
        site.rebuild(inline=False, **options)
    assert time.monotonic() - began_s < 15, "refused quickly"
    assert caught.value.exit_code == 2 and caught.value.hint and caught.value.place
    return caught.value


def pids(site: Any, names: list[str]) -> set[str]:
    return {site.project.log(name).split()[-1] for name in names}


# -- building on it ----------------------------------------------------------------------------------------------------


def test_an_edited_helper_counts_on_every_worker_old_and_new(
    site: Any, secure: Standing, certificates: dict[str, str], tmp_path: Path
) -> None:
    configure(site, secure.address, certificates)
    site.recipe(FAMILY)
    site.write("recipes/_helper.py", "def value(i):\n    return i + 1\n")
    names = [f"t[i={i}]" for i in range(9)]
    assert site.ran(inline=False) == set(names)
    first = pids(site, names)
    assert len(first) == 2, "both workers ran some"

    site.write("recipes/_helper.py", "def value(i):\n    return i * 100\n")
    joined = secure.start_workers(1)
    try:
        until(lambda: len(workers_of(secure)) == 3, "the third worker")
        assert site.ran(inline=False) == set(names)
        assert len(pids(site, names)) == 3 and pids(site, names) > first, "the new worker ran some as well"
        assert [site.load(n) for n in names] == [{"value": i * 100} for i in range(9)]
    finally:
        secure.end(joined)
    digests = site.digests()
    shutil.rmtree(site.root / ".builder")
    site.built(inline=True)
    assert site.digests() == digests, "what a build from nothing in one process gives"


def test_a_module_of_the_project_outside_of_its_recipes_counts_on_workers_that_know_the_old_one(
    site: Any, plain: Standing
) -> None:
    paths = {"PYTHONPATH": os.pathsep.join([str(site.root), *filter(None, [os.environ.get("PYTHONPATH")])])}
    plain.start_workers(1, env=paths)
    configure(site, plain.address)
    site.recipe("import ours\n\n@b.recipe()\ndef t():\n    return {'value': ours.value()}")
    for value in (1, 2, 30):
        site.write("ours.py", f"def value():\n    return {value}\n")
        done = site.command("rebuild", env=paths)
        assert done.returncode == 0, done.stderr
        assert site.load("t") == {"value": value}


def workers_of(standing: Standing) -> dict[str, Any]:
    """The workers that the scheduler knows."""
    from distributed import Client
    from distributed.security import Security

    tls = standing.certificates
    security = tls and Security(
        tls_ca_file=tls["ca"], tls_client_cert=tls["cert"], tls_client_key=tls["key"], require_encryption=True
    )
    with Client(standing.address, security=security, set_as_default=False) as client:
        return dict(client.scheduler_info(n_workers=-1)["workers"])


# -- what is refused ---------------------------------------------------------------------------------------------------


def test_a_client_without_tls_is_refused_by_a_scheduler_with_it(site: Any, secure: Standing) -> None:
    configure(site, secure.address.replace("tls:", "tcp:"))
    site.recipe("@b.recipe()\ndef t():\n    return {}")
    caught = refusal(site)
    assert caught.code == "no-cluster" and "without TLS" in caught.message and "tls://" in str(caught.hint)


def test_a_wrong_ca_is_refused_and_the_command_says_so_without_a_traceback(
    site: Any, secure: Standing, certificates: dict[str, str], tmp_path: Path
) -> None:
    other = make_certificates(tmp_path / "other", "other")
    configure(site, "", certificates | {"ca": other["ca"]})
    site.recipe("@b.recipe()\ndef t():\n    return {}")
    done = site.command("rebuild", "--scheduler", secure.address, "--json")
    assert done.returncode == 2
    told = json.loads(done.stdout)["error"]
    assert told["code"] == "no-cluster" and "not signed by the CA" in told["message"] and told["hint"]
    assert "Traceback" not in done.stderr
    secrets = {
        line for name in certificates.values() for line in Path(name).read_text().splitlines() if "-" not in line
    }
    said = done.stderr + done.stdout + "".join(p.read_text() for p in site.root.rglob("*.log"))
    assert not [s for s in secrets if s in said], "no key material in messages or logs"


def test_a_certificate_of_another_ca_is_refused(
    site: Any, secure: Standing, certificates: dict[str, str], tmp_path: Path
) -> None:
    other = make_certificates(tmp_path / "other", "other")
    configure(site, secure.address, other | {"ca": certificates["ca"]})
    site.recipe("@b.recipe()\ndef t():\n    return {}")
    caught = refusal(site)
    assert caught.code == "no-cluster" and "does not accept our certificate" in caught.message


def test_a_tls_address_of_a_scheduler_without_tls_is_refused(
    site: Any, plain: Standing, certificates: dict[str, str]
) -> None:
    configure(site, plain.address.replace("tcp:", "tls:"), certificates)
    site.recipe("@b.recipe()\ndef t():\n    return {}")
    assert "does not speak TLS" in refusal(site).message


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"key": "nowhere.pem"}, "the file of 'key' cannot be read"),
        ({"ca": "builder.toml"}, "holds no certificate"),
        ({"key": "locked.pem"}, "locked with a passphrase"),
        ({"key": "other.pem"}, "not a certificate and its key"),
    ],
)
def test_wrong_files_are_named_and_no_passphrase_is_asked_for(
    site: Any, certificates: dict[str, str], change: dict[str, str], said: str
) -> None:
    site.recipe("@b.recipe()\ndef t():\n    return {}")
    lock = ["ec", "-in", certificates["key"], "-aes128", "-passout", "pass:secret"]
    subprocess.run(["openssl", *lock, "-out", str(site.root / "locked.pem")], check=True, capture_output=True)
    other = make_certificates(site.root.parent / "other", "other")
    shutil.copy(other["key"], site.root / "other.pem")
    configure(site, "tls://127.0.0.1:1", certificates | change)
    caught = refusal(site)
    assert caught.code == "config" and said in caught.message and caught.place == f"[cluster] {next(iter(change))}"


def test_tls_without_any_file_named_says_which_to_name(site: Any) -> None:
    configure(site, "tls://127.0.0.1:1")
    site.recipe("@b.recipe()\ndef t():\n    return {}")
    caught = refusal(site)
    assert caught.code == "config" and "needs 'ca'" in caught.message


def test_an_address_where_nobody_listens_is_refused(site: Any) -> None:
    configure(site, f"tcp://127.0.0.1:{free_port()}")
    site.recipe("@b.recipe()\ndef t():\n    return {}")
    caught = refusal(site)
    assert caught.code == "no-cluster" and "no Dask cluster answers" in caught.message


def test_a_cluster_without_workers_is_refused_after_the_wait(site: Any, plain: Standing) -> None:
    configure(site, plain.address, wait=0.5)
    site.recipe("@b.recipe()\ndef t():\n    return {}")
    caught = refusal(site)
    assert caught.code == "no-cluster" and "no worker joined" in caught.message


# -- how it must be set ------------------------------------------------------------------------------------------------


def test_a_cluster_that_is_set_otherwise_is_refused_with_what_to_set(site: Any) -> None:
    import dask
    from distributed import LocalCluster

    site.recipe("@b.recipe()\ndef t():\n    return {}")
    options: dict[str, Any] = {"n_workers": 1, "threads_per_worker": 2, "processes": False}
    options |= {"host": "127.0.0.1", "protocol": "tcp", "worker_dashboard_address": None}
    options |= {"dashboard_address": "127.0.0.1:0", "scheduler_kwargs": {"dashboard": False}}
    with LocalCluster(**options) as cluster:
        configure(site, cluster.scheduler_address)
        caught = refusal(site)
    assert caught.code == "no-cluster" and "not set for builds" in caught.message
    said = " ".join(text for _, text in caught.facts)
    for wrong in ("allowed-failures is 3, not 0", "work-stealing is True, not False", "saturation is 1.1, not inf"):
        assert wrong in said
    variables = dict(word.split("=") for word in str(caught.hint).removeprefix("start it with ").split())

    told = dask.config.merge(dask.config.config, dask.config.collect_env(variables))
    with dask.config.set(told), LocalCluster(**options) as cluster:
        configure(site, cluster.scheduler_address)
        caught = refusal(site)
    assert "1 of 1 workers" in caught.message
    (fault,) = [text for _, text in caught.facts]
    assert "2 threads: start it with --nthreads 1" in fault and "no nanny" in fault
    assert "DASK_DISTRIBUTED__WORKER__MEMORY__SPILL=False" in fault


# -- coming and going --------------------------------------------------------------------------------------------------

GATED = """
    import os, time

    def gate(name):
        open(f"{HERE}/{name}-{os.getpid()}", "w").close()
        while not os.path.exists(f"{HERE}/open"):
            time.sleep(0.02)

    @b.recipe()
    def first():
        gate("first")
        return {"x": 1}

    @b.recipe(inputs={"first": "first"}, needs=NEEDS)
    def second(first):
        return {"x": first["x"] + 1}

    @b.recipe(each={"i": [1, 2]})
    def filler(i):
        open(f"{HERE}/filler-{os.getpid()}", "w").close()
        return {"i": i}
"""


class Stage:
    """A project whose step ``first`` waits for the test, while a rebuild runs in another thread."""

    def __init__(self, site: Any, marks: Path) -> None:
        self.site = site
        self.marks = marks
        self.events: list[tuple[str, str, dict[str, Any]]] = []
        marks.mkdir()

    def lay(self, needs: tuple[str, ...] = ()) -> None:
        self.site.recipe(GATED.replace("{HERE}", str(self.marks)).replace("NEEDS", repr(needs)))

    def event(self, kind: str, name: str, **facts: Any) -> None:
        self.events.append((kind, name, facts))

    def findings(self) -> list[str]:
        return [facts["finding"] for kind, _, facts in self.events if kind == "health"]

    def begin(self, **options: Any) -> None:
        self.pool = ThreadPoolExecutor(1)
        self.future = self.pool.submit(self.site.rebuild, inline=False, observer=self, **options)

    def mark(self, name: str, but: Collection[Path] = ()) -> Path:
        """The file that a step leaves when it begins."""
        return self.until(lambda: next((p for p in self.marks.glob(f"{name}-*") if p not in but), None), name)

    def until(self, found: Callable[[], Any], what: str) -> Any:
        """What `found` gives as soon as it is true, while the rebuild goes on."""

        def looked() -> Any:
            if self.future.done():
                raise AssertionError(self.future.result())
            return found()

        return until(looked, what)

    def open(self) -> None:
        (self.marks / "open").touch()

    def end(self) -> dict[str, Any]:
        """The report of the rebuild."""
        report = self.future.result(timeout=WITHIN_S)
        self.pool.shutdown()
        return report

    def outcomes(self) -> dict[str, str]:
        return {t["name"]: t["outcome"] for t in self.end()["targets"]}


@pytest.fixture
def stage(site: Any, tmp_path: Path) -> Iterator[Stage]:
    made = Stage(site, tmp_path / "marks")
    yield made
    made.open()


ALL = {"first": "built", "second": "built", "filler[i=1]": "built", "filler[i=2]": "built"}


def test_a_worker_that_joins_in_mid_run_takes_work_and_brings_its_abilities(stage: Stage, plain: Standing) -> None:
    plain.start_workers(1)
    configure(stage.site, plain.address)
    stage.lay(needs=("gpu",))
    stage.begin(targets=["second", "filler"], first=["first"])
    began = stage.mark("first")
    plain.start_workers(1, "--resources", "gpu=1")
    filled = stage.mark("filler")
    stage.open()
    assert stage.outcomes() == ALL
    assert began.name.split("-")[1] != filled.name.split("-")[1]


def test_a_step_that_needs_what_no_worker_has_fails_at_once_with_what_they_have(stage: Stage, plain: Standing) -> None:
    plain.start_workers(1, "--resources", "big=1")
    configure(stage.site, plain.address)
    stage.lay(needs=("gpu",))
    stage.open()
    stage.begin()
    report = stage.end()
    errors = {t["name"]: t["error"] for t in report["targets"] if t["error"]}
    assert set(errors) == {"second"} and errors["second"]["code"] == "no-worker"
    assert ["workers have", "big"] in errors["second"]["facts"]


def test_a_host_that_goes_away_costs_no_step_and_an_unfit_one_that_joins_is_left_out(
    stage: Stage, plain: Standing
) -> None:
    host = plain.start_workers(1)
    configure(stage.site, plain.address)
    stage.lay()
    stage.begin()
    began = stage.mark("first")
    plain.end(host)
    plain.start_workers(1, "--nthreads", "2", "--name", "unfit")
    stage.until(lambda: any("2 threads" in f for f in stage.findings()), "the finding about the unfit worker")
    plain.start_workers(1)
    stage.mark("first", but=[began])
    stage.open()
    assert stage.outcomes() == ALL


def test_a_machine_whose_nanny_does_not_answer_is_given_up(stage: Stage, plain: Standing) -> None:
    host = plain.start_workers(1)
    configure(stage.site, plain.address)
    stage.site.recipe(
        """
        import time

        @b.recipe(timeout=1)
        def stuck():
            time.sleep(600)
            return {}
        """
    )
    stage.begin()
    stage.until(lambda: any(k == "started" for k, _, _ in stage.events), "the start")
    os.kill(host.pid, signal.SIGSTOP)
    report = stage.end()
    (error,) = [t["error"] for t in report["targets"]]
    assert error["code"] == "timed-out"
    assert any("its nanny gave no answer in 5 s" in text for _, text in error["facts"]), error["facts"]


def test_a_worker_that_restarts_at_its_old_address_is_another_process(stage: Stage, plain: Standing) -> None:
    plain.start_workers(1, "--worker-port", str(free_port()))
    configure(stage.site, plain.address)
    stage.site.recipe(
        """
        import os, time

        @b.recipe()
        def dies():
            os._exit(3)

        @b.recipe(timeout=1)
        def stuck():
            print("ran in", os.getpid())
            time.sleep(600)
            return {}

        @b.recipe()
        def after():
            print("ran in", os.getpid())
            return {}
        """
    )
    stage.begin(targets=["dies", "stuck", "after"], first=["dies", "stuck"])
    report = stage.end()
    assert {t["name"]: t["error"]["code"] for t in report["targets"] if t["error"]} == {
        "dies": "worker-died",
        "stuck": "timed-out",
    }
    assert {t["name"] for t in report["targets"] if t["outcome"] == "built"} == {"after"}
    assert not any("no answer" in finding for finding in stage.findings())
    pids = {stage.site.project.log(name).split()[-1] for name in ("stuck", "after")}
    assert len(pids) == 2, "the one that ran too long was killed"


SILENT = """
import time

def dask_setup(worker):
    def hold():
        if worker.status.name == "running":
            open({mark!r}, "w").close()
            time.sleep(600)
        worker.loop.call_later(0.002, hold)

    if hasattr(worker, "scheduler_delay"):
        worker.loop.call_later(0.002, hold)
"""


def test_a_new_worker_that_does_not_answer_keeps_no_other_from_work(
    stage: Stage, plain: Standing, tmp_path: Path
) -> None:
    plain.start_workers(1)
    configure(stage.site, plain.address)
    stage.lay()
    stage.begin(targets=["second", "filler"], first=["first"])
    began = stage.mark("first")
    mark, preload = tmp_path / "silent", tmp_path / "hold.py"
    preload.write_text(SILENT.replace("{mark!r}", repr(str(mark))))
    plain.start_workers(1, "--preload", str(preload))
    stage.until(mark.exists, "the silent worker")
    plain.start_workers(1)
    filled = stage.mark("filler")
    stage.open()
    assert stage.outcomes() == ALL
    assert began.name.split("-")[1] != filled.name.split("-")[1]


# -- the scheduler goes away -------------------------------------------------------------------------------------------


def test_a_scheduler_that_comes_back_is_waited_for_and_the_step_is_not_blamed(stage: Stage, plain: Standing) -> None:
    plain.start_workers(1)
    configure(stage.site, plain.address)
    stage.lay()
    stage.begin()
    began = stage.mark("first")
    epoch = stage.site.project.ledger().epoch()
    plain.end(plain.scheduler)
    plain.start_scheduler()
    plain.start_workers(1)
    stage.mark("first", but=[began])
    stage.open()
    assert stage.outcomes() == ALL
    assert stage.site.project.ledger().epoch() == epoch + 1, "what runs on the old workers can commit no more"


def test_a_scheduler_that_says_nothing_for_a_while_after_a_loss_is_waited_for(
    plain: Standing, monkeypatch: pytest.MonkeyPatch
) -> None:
    from builder.execute import standing, tls

    monkeypatch.setattr(tls, "ANSWER_S", 0.2)
    plain.end(plain.scheduler)
    with socket.socket() as busy, ThreadPoolExecutor(1) as pool:
        busy.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        busy.bind(("127.0.0.1", plain.port))
        busy.listen()
        with pytest.raises(BuilderError, match="does not talk without TLS"):
            standing._connected(plain.address, tls.Certificates(), 0.0)
        future = pool.submit(standing._connected, plain.address, tls.Certificates(), WITHIN_S)
        for _ in range(3):  # one of before, one that was met with silence, and one more
            with busy.accept()[0] as connection:
                connection.recv(1)
        busy.close()
        plain.start_scheduler()
        future.result(WITHIN_S).close()


def test_a_scheduler_that_stays_away_ends_the_run_within_the_wait(stage: Stage, plain: Standing) -> None:
    plain.start_workers(1)
    until(lambda: workers_of(plain), "the worker")
    configure(stage.site, plain.address, wait=1)
    stage.lay()
    stage.begin()
    stage.mark("first")
    plain.end(plain.scheduler)
    began_s = time.monotonic()
    report = stage.end()
    assert time.monotonic() - began_s < 20
    assert report["outcome"] == "failed"
    errors = {t["name"]: t["error"] for t in report["targets"] if t["error"]}
    assert {e["code"] for e in errors.values()} == {"no-worker"} and "first" in errors
    assert any("no Dask cluster answers" in text for _, text in errors["first"]["facts"])


def test_an_embedded_scheduler_that_ends_is_replaced_and_no_process_is_left(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    from multiprocessing.resource_tracker import _resource_tracker, ensure_running

    import distributed
    import psutil

    from builder.execute import embedded

    made: list[Any] = []
    before = {p.pid for p in psutil.Process().children(recursive=True)}
    ensure_running()
    before.add(_resource_tracker._pid)  # Python's own, started once for all spawned processes

    def kept(**options: Any) -> Any:
        made.append(distributed.LocalCluster(**options))
        return made[-1]

    monkeypatch.setattr(embedded, "LocalCluster", kept)
    stage.lay()
    stage.begin(workers=1)
    began = stage.mark("first")
    old = psutil.Process(int(began.name.split("-")[1]))
    made[0].sync(made[0].scheduler.close)
    stage.mark("first", but=[began])
    assert not old.is_running() or old.status() == psutil.STATUS_ZOMBIE, (
        "the old worker ended before the step again ran"
    )
    stage.open()
    assert stage.outcomes() == ALL
    assert len(made) == 2
    assert {p.pid for p in psutil.Process().children(recursive=True)} - before == set()


# -- deaths ------------------------------------------------------------------------------------------------------------


def test_the_cause_of_a_death_on_another_machine_is_what_its_nanny_says(site: Any, plain: Standing) -> None:
    plain.start_workers(1)
    configure(site, plain.address)
    site.recipe("import os\n\n@b.recipe()\ndef t():\n    os._exit(3)\n\n@b.recipe()\ndef other():\n    return {}")
    targets = {t["name"]: t for t in site.rebuild(inline=False)["targets"]}
    assert targets["t"]["error"]["code"] == "worker-died"
    assert "exited with status 3" in targets["t"]["error"]["message"], targets["t"]["error"]
    assert targets["other"]["outcome"] == "built", "who stood beside it is not blamed"


def attempt_at(tmp_path: Path, source: Path) -> Any:
    """An attempt that takes a file in."""
    from builder.digests import digest_of
    from builder.execute.spec import AttemptSpec, IntakeSpec
    from builder.sources import SourceFile

    folders = {"project": str(tmp_path), "recipes": str(tmp_path), "store": str(tmp_path)}
    files = {"log": str(tmp_path / "log"), "scratch": str(tmp_path / "scratch" / "a")}
    file = SourceFile(source.name, str(source), source.name, 1, digest_of("content"))
    return AttemptSpec("s-1-1-1", "s", **folders, **files, work=IntakeSpec("s", "csv", (file,)))


@pytest.fixture
def runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A runner with one embedded worker."""
    from builder.execute import cluster, wire
    from builder.execute.embedded import EmbeddedCluster

    monkeypatch.setattr(wire, "CONNECT_WITHIN_S", 0.2)
    made = cluster.DaskRunner(lambda causes: EmbeddedCluster(1, str(tmp_path / "dask"), 0, causes))
    yield made
    made.close()


@pytest.mark.parametrize("is_there", [False, True])
def test_an_attempt_sent_to_where_no_worker_takes_it_comes_back_unblamed(
    tmp_path: Path, runner: Any, is_there: bool
) -> None:
    address = "tcp://127.0.0.1:1"
    if is_there:  # another worker that has come to the address, and was not met
        runner.cluster.client.run(lambda dask_worker: dask_worker.handlers.pop("builder_run") and None)
        address = runner.places()[0].name
    runner.start([attempt_at(tmp_path, tmp_path / "no file")], address)
    (ended,) = until(lambda: runner.wait(0.1), "the end")
    assert ended.is_lost and ended.is_innocent and ended.record.error["code"] == "worker-died"


def test_a_connection_that_breaks_is_told_as_the_end_only_when_the_worker_is_dead(tmp_path: Path, runner: Any) -> None:
    import psutil

    from builder.execute.presence import presence_file, read_presence

    os.mkfifo(tmp_path / "never.csv")  # who reads it waits for a writer
    spec, address = attempt_at(tmp_path, tmp_path / "never.csv"), runner.places()[0].name
    runner.start([spec], address)
    process = until(lambda: read_presence(presence_file(spec)), "the first line").process
    until(lambda: runner.is_begun(spec.id), "its log")
    worker = psutil.Process(process.pid)
    runner._wire.drop(address)
    (ended,) = until(lambda: runner.wait(0.1), "the end")
    assert ended.is_lost and not ended.is_innocent
    assert not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE
    assert not presence_file(spec).exists()


def test_a_machine_that_is_lost_holds_up_nobody_else(tmp_path: Path, runner: Any) -> None:
    from builder.execute.presence import presence_file, read_presence

    os.mkfifo(tmp_path / "never.csv")
    lost, other = attempt_at(tmp_path, tmp_path / "never.csv"), attempt_at(tmp_path, tmp_path / "no file")
    other = dataclasses.replace(other, id="other-1-1-1", step="other", scratch=str(tmp_path / "scratch" / "b"))
    runner.start([lost], runner.places()[0].name)
    file = presence_file(lost)
    process = until(lambda: read_presence(file), "the first line").process
    elsewhere = dataclasses.replace(process, machine="elsewhere/1")
    os.kill(process.pid, signal.SIGSTOP)  # it beats no more
    file.write_text(file.read_text().replace(str(process), str(elsewhere), 1))
    os.kill(process.pid, signal.SIGKILL)
    first = runner._packs[lost.id].worker
    place = until(lambda: next((p.name for p in runner.places() if p.name != first), None), "another worker")
    runner.start([other], place)
    (ended,) = until(lambda: runner.wait(0.1), "the end of the other")
    assert ended.record.id == other.id, "whose end is not yet proven is not yet told"
    file.unlink()
    (ended,) = until(lambda: runner.wait(0.1), "the end of the lost one")
    assert ended.record.id == lost.id and ended.is_lost and not ended.is_innocent


def test_what_comes_late_to_a_worker_that_was_given_up_never_begins(tmp_path: Path) -> None:
    from builder.execute.attempt import run_pack
    from builder.execute.presence import presence_file, revoke
    from builder.execute.spec import AttemptRecord

    spec = attempt_at(tmp_path, tmp_path / "no file")
    revoke(spec)
    (record,) = map(AttemptRecord.from_bytes, run_pack([spec.to_bytes()], in_worker=False))
    assert record.error is not None and record.error["code"] == "locked"
    assert not os.path.exists(spec.log) and not presence_file(spec).exists()
