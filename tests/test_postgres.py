"""A data folder whose runs Dagster records in PostgreSQL, so that several people see them in one place.

The server is a real one, of a cluster that is made for these tests and ends with them; without its programs they are skipped.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from sft_assets import verbs
from sft_assets.errors import SftError
from sft_assets.folder import Folder
from sft_assets.runs import instance_config, open_instance
from sft_assets.verbs import Workspace
from tests.conftest import NO_MODELS
from tests.served import LAUNCH, PATIENCE, Served, free_port, served, sources, wait_for

pytestmark = pytest.mark.xdist_group("postgres")
pytest.importorskip("dagster_postgres", reason="dagster-postgres is not installed (extra `postgres`)")
PASSWORD = "lantern-keeper"
RUNS = "{ runsOrError { ... on Runs { results { runId status jobName tags { key value } } } } }"
SWITCH = """mutation($s: SensorSelector!) { startSensor(sensorSelector: $s) { __typename
    ... on Sensor { sensorState { status } } ... on PythonError { message } } }"""


@dataclass
class Postgres:
    port: int
    psql: str

    def database(self) -> str:
        """A new one; its name."""
        name = f"d{uuid.uuid4().hex}"
        self.sql(f"CREATE DATABASE {name}")
        return name

    def sql(self, query: str, database: str = "postgres") -> list[str]:
        command = [self.psql, "-h", "127.0.0.1", "-p", str(self.port), "-U", "sft", "-d", database, "-Atc", query]
        environment = {**os.environ, "PGPASSWORD": PASSWORD}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
        return done.stdout.splitlines()

    def config(self, database: str, **more: Any) -> dict[str, Any]:
        """Where a dagster.yaml finds it."""
        at = {"username": "sft", "password": {"env": "SFT_POSTGRES_PASSWORD"}, "hostname": "127.0.0.1", "port": self.port}
        scheme = "postgresql+psycopg2"
        return {"postgres": {"postgres_db": {**at, "db_name": database, "scheme": scheme} | more}}


def program(name: str) -> str | None:
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return shutil.which(name) or next((str(p / name) for p in places if (p / name).exists()), None)


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    initdb, server, psql = (program(name) for name in ("initdb", "postgres", "psql"))
    if not (initdb and server and psql):
        pytest.skip("there is no PostgreSQL server on this machine (initdb, postgres and psql)")
    user = "nobody" if os.geteuid() == 0 else None  # the server does not run as root
    with tempfile.TemporaryDirectory(prefix="pg") as place:
        root = Path(place)
        (root / "password").write_text(PASSWORD)
        if user:
            root.chmod(0o755)
            shutil.chown(root, user)
        make = [initdb, "-D", place + "/data", "-U", "sft", "-A", "scram-sha-256", "--pwfile", place + "/password", "--no-sync"]
        subprocess.run(make, check=True, capture_output=True, user=user, cwd=place)
        port = free_port()
        settings = {"listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": "", "fsync": "off"}
        command = [server, "-D", place + "/data", *(x for k, v in settings.items() for x in ("-c", f"{k}={v}"))]
        with (root / "log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, user=user, cwd=place)
        try:
            found = Postgres(port, psql)
            wait_for(lambda: b"ready to accept connections" in (root / "log").read_bytes(), PATIENCE, "PostgreSQL to start")
            yield found
        finally:
            process.send_signal(signal.SIGINT)  # fast: connections are cut
            process.wait(PATIENCE)


@pytest.fixture(autouse=True)
def password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SFT_POSTGRES_PASSWORD", PASSWORD)


def shared(root: Path, storage: dict[str, Any]) -> Folder:
    """A data folder with rows, whose dagster.yaml names a storage."""
    folder = verbs.init(root)
    folder.recipe.write_text(json.dumps(NO_MODELS))
    sources(folder, "first.jsonl", 20)
    (folder.root / "dagster.yaml").write_text(yaml.safe_dump(instance_config(folder) | {"storage": storage}))
    return folder


def sft(folder: Folder, *args: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "sft_assets", *args, "--data", str(folder.root)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def said(process: subprocess.Popen[str]) -> str:
    try:
        out = process.communicate(timeout=PATIENCE)[0]
    finally:
        process.kill()
    assert process.returncode == 0, out
    return out


def runs(server: Served) -> list[dict[str, Any]]:
    return server.graphql(RUNS)["runsOrError"]["results"]  # type: ignore[no-any-return]


def succeeded(server: Served, count: int) -> bool:
    """Whether there are so many runs, or more (`sft run` makes one for each wave of stale assets), and all are through."""
    states = [run["status"] for run in runs(server)]
    assert "FAILURE" not in states
    return len(states) >= count and set(states) == {"SUCCESS"}


def of_sensor(server: Served) -> list[str]:
    wanted = {"key": "dagster/sensor_name", "value": "new_sources"}
    return [run["runId"] for run in runs(server) if wanted in run["tags"]]


def built(folder: Folder) -> dict[str, int]:
    return {name: version.number for name, version in Workspace.open(folder.root).versions().items()}


def test_two_people_run_at_the_same_time_and_each_state_is_built_once(postgres: Postgres, tmp_path: Path) -> None:
    database = postgres.database()
    folder = shared(tmp_path / "data", postgres.config(database))
    outputs = [said(process) for process in [sft(folder, "run"), sft(folder, "run")]]
    assert sorted("nothing is stale" in out for out in outputs) == [False, True]
    assert set(built(folder).values()) == {1}
    assert postgres.sql("SELECT status FROM runs", database) == ["SUCCESS"]
    assert not list(folder.dagster.rglob("*.db"))  # nothing of it is in the folder
    assert Workspace.open(folder.root).plan() == {}
    sources(folder, "second.jsonl", 5, start=100)
    assert set(Workspace.open(folder.root).plan()) == {"raw", "report"}  # both read the files


def test_runs_of_the_command_line_the_ui_and_a_sensor_are_in_one_list(postgres: Postgres, tmp_path: Path) -> None:
    folder = shared(tmp_path / "data", postgres.config(postgres.database()))
    with served(folder) as server:
        launched = server.launch()
        wait_for(lambda: succeeded(server, 1), PATIENCE, "the run that the UI started")
        sources(folder, "second.jsonl", 5, start=100)
        said(sft(folder, "run", "raw"))
        assert succeeded(server, 2)
        assert "raw" not in Workspace.open(folder.root).plan()
        assert launched in [run["runId"] for run in runs(server)]
        selector = {**server.repository(), "sensorName": "new_sources"}
        assert server.graphql(SWITCH, {"s": selector})["startSensor"]["sensorState"]["status"] == "RUNNING"
        assert not of_sensor(server)
        sources(folder, "third.jsonl", 5, start=200)
        wait_for(lambda: of_sensor(server), PATIENCE, "the sensor to see the file")
        wait_for(lambda: succeeded(server, 3), PATIENCE, "the run that the sensor asked for")
    assert Workspace.open(folder.root).plan() == {}


@contextmanager
def deployed(folder: Folder) -> Iterator[Served]:
    """A code server, a webserver and a daemon of plain Dagster, each a process of its own."""
    environment = {**os.environ, "DAGSTER_HOME": str(folder.root), "SFT_DATA": str(folder.root)}
    code, port, log = free_port(), free_port(), folder.root.parent / "deployment.log"
    workspace = folder.root.parent / "workspace.yaml"
    workspace.write_text(f"load_from: [grpc_server: {{host: 127.0.0.1, port: {code}, location_name: sft_assets}}]\n")
    commands = [
        ["dagster", "api", "grpc", "-m", "sft_assets.definitions", "-h", "127.0.0.1", "-p", str(code)],
        ["dagster_webserver", "-h", "127.0.0.1", "-p", str(port), "-w", str(workspace)],
        ["dagster._daemon", "run", "-w", str(workspace)],
    ]
    with ExitStack() as stack:
        out = stack.enter_context(log.open("wb"))
        started: list[subprocess.Popen[bytes]] = []

        def end() -> None:
            for process in reversed(started):
                process.terminate()
            for process in started:
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:  # the code server does not always end so
                    process.kill()
                    process.wait(PATIENCE)

        stack.callback(end)
        for command in commands:
            full = [sys.executable, "-m", *command]
            started.append(subprocess.Popen(full, stdout=out, stderr=out, env=environment, cwd=folder.root.parent))
        server = Served(started[1], port, log)

        def loaded() -> bool:
            assert all(process.poll() is None for process in started), log.read_text()
            return bool(server.repository())

        wait_for(lambda: answers(loaded), PATIENCE, "the deployment to load the graph")
        yield server


def answers(look: Callable[[], bool]) -> bool:
    try:
        return look()
    except IndexError:  # the location is still being loaded
        return False


def test_a_deployment_of_plain_dagster_runs_the_same_folder(postgres: Postgres, tmp_path: Path) -> None:
    folder = shared(tmp_path / "data", postgres.config(postgres.database()))
    with deployed(folder) as server:
        selector = {**server.repository(), "jobName": "dataset"}
        started = server.graphql(LAUNCH, {"p": {"selector": selector, "runConfigData": {}, "mode": "default"}})
        assert started["launchRun"]["__typename"] == "LaunchRunSuccess", started
        wait_for(lambda: succeeded(server, 1), PATIENCE, "the run")
        assert Workspace.open(folder.root).plan() == {}
        sources(folder, "second.jsonl", 5, start=100)
        said(sft(folder, "run", "raw"))
        assert succeeded(server, 2)
    assert built(folder)["raw"] == 2


def test_a_database_that_tells_of_another_folder_is_refused(postgres: Postgres, tmp_path: Path) -> None:
    storage = postgres.config(postgres.database())
    one, other = (shared(tmp_path / name, storage) for name in ("one", "other"))
    open_instance(one).dispose()
    with pytest.raises(SftError, match=f"tells of the data folder .*:{one.root}; each data folder needs a database of its own"):
        open_instance(other)
    moved = one.root.rename(tmp_path / "moved")
    open_instance(Folder.at(moved)).dispose()


def test_two_folders_have_schemas_of_one_database(postgres: Postgres, tmp_path: Path) -> None:
    database = postgres.database()
    for name in ("one", "other"):
        postgres.sql(f"CREATE SCHEMA {name}", database)
        storage = postgres.config(database, params={"options": f"-csearch_path={name}"})
        folder = shared(tmp_path / name, storage)
        said(sft(folder, "run", "raw"))
        assert postgres.sql(f"SELECT status FROM {name}.runs", database) == ["SUCCESS"]
        assert set(Workspace.open(folder.root).plan()) & {"raw", "combined"} == {"combined"}


@pytest.mark.parametrize(
    ("more", "environment", "says"),
    [
        ({"port": 1}, PASSWORD, "port 1 failed: Connection refused"),
        ({}, "wrong", 'password authentication failed for user "sft"'),
        ({}, None, 'environment variable "SFT_POSTGRES_PASSWORD" which is not set'),
        ({"db_name": "nowhere"}, PASSWORD, 'database "nowhere" does not exist'),
    ],
)
def test_a_storage_that_cannot_be_used_is_said_in_a_line_without_the_password(
    postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: Any, environment: str | None, says: str
) -> None:
    folder = shared(tmp_path / "data", postgres.config("postgres", **more))
    if environment is None:
        monkeypatch.delenv("SFT_POSTGRES_PASSWORD")
    else:
        monkeypatch.setenv("SFT_POSTGRES_PASSWORD", environment)
    with pytest.raises(SftError) as error:
        open_instance(folder)
    assert str(error.value).startswith(f"{folder.root}/dagster.yaml: Dagster's storage cannot be used: ")
    assert says in str(error.value)
    assert PASSWORD not in str(error.value) and "\n" not in str(error.value)


def test_without_the_scheme_it_is_said_which(postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)  # what SQLAlchemy would take
    folder = shared(tmp_path / "data", postgres.config("postgres", scheme="postgresql"))
    with pytest.raises(SftError, match=r"say `scheme: postgresql\+psycopg2` under postgres_db"):
        open_instance(folder)


def test_a_missing_package_is_named_by_the_extra_that_brings_it(
    postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "dagster_postgres", None)
    folder = shared(tmp_path / "data", postgres.config("postgres"))
    with pytest.raises(SftError, match=r"pip install 'sft-assets\[postgres\]'"):
        open_instance(folder)
