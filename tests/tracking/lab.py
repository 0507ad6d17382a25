"""A laboratory's MLflow server with users, on a PostgreSQL of its own that is made from Debian's package, and what it has."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import requests

MEASURED = ("seconds", "memory", "finished_at", "date")
"""Parts of the names of what differs from one time to the next."""

UNLIKE = ("mlflow.parentRunId", "attempt", "mlflow.note.content", "command", "runs_dir", "tracking.experiment", "tracking.parent")
"""Tags and parameters with ids or places."""

ADMIN = ("admin", "Quince-and-Medlar-4")
ADA, EVE = ("ada", "Damson:Plum@5/x?y"), ("eve", "Bullace-and-Sloe-6")
"""Users with their passwords. Ada may make experiments, and in those of others may both of them only read."""

PORT_SECONDS = 240
"""How long a server may take to start where other work keeps the cores busy."""


def missing():
    """Why there can be no such server here; empty if there can."""
    if not _programs():
        return "needs Debian's postgresql: no /usr/lib/postgresql/*/bin/initdb"
    if os.geteuid() == 0 and (shutil.which("runuser") is None or "postgres:" not in Path("/etc/passwd").read_text()):
        return "PostgreSQL does not start as root, and there is no user postgres"
    lacks = [name for name in ("psycopg2", "flask_wtf") if find_spec(name) is None]
    return f"the extra server brings {' and '.join(lacks)}" if lacks else ""


def _programs():
    return max(Path("/usr/lib/postgresql").glob("*/bin/initdb"), default=None)


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def until(condition, seconds=900.0):
    """Wait for a condition, and return what it gave."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.1)
    return found


class Lab:
    """PostgreSQL, and an MLflow server with users whose artifacts pass through it.

    Args:
        folder: for everything; others may read it, since PostgreSQL runs as another user where the test runs as root.
    """

    def __init__(self, folder):
        self.folder = folder
        self.database_port, self.port = free_port(), free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self.log = (folder / "server.txt").open("a")
        self.server = None
        (folder / "database").mkdir()
        if os.geteuid() == 0:
            shutil.chown(folder / "database", "postgres")
        self._database("initdb", "--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8")
        self.start_database()
        self.sql("CREATE DATABASE mlflow", base="postgres")
        self.sql("CREATE DATABASE users", base="postgres")
        store = f"postgresql+psycopg2://postgres@127.0.0.1:{self.database_port}"
        settings = folder / "users.ini"
        lines = ("[mlflow]", "default_permission = READ", f"database_uri = {store}/users", "auth_cache_ttl_seconds = 300")
        settings.write_text("\n".join(lines))
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
        self.environment |= {
            "MLFLOW_AUTH_CONFIG_PATH": str(settings),
            "MLFLOW_AUTH_ADMIN_USERNAME": ADMIN[0],
            "MLFLOW_AUTH_ADMIN_PASSWORD": ADMIN[1],
            "MLFLOW_FLASK_SERVER_SECRET_KEY": "only for this test",
            "MLFLOW_BACKEND_STORE_URI": f"{store}/mlflow",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
        }
        self.start()
        for user, password in (ADA, EVE):
            words = {"username": user, "password": password}
            requests.post(f"{self.address}/api/2.0/mlflow/users/create", json=words, auth=ADMIN, timeout=60).raise_for_status()

    def start(self):
        """Start the server, and wait for its first answer."""
        words = ["--app-name", "basic-auth", "--port", str(self.port), "--workers", "2"]
        # Uvicorn ends workers that have not answered after 5 s, which importing MLflow alone takes on busy cores.
        words += ["--uvicorn-opts", "--timeout-worker-healthcheck 120"]
        words += ["--serve-artifacts", "--artifacts-destination", str(self.folder / "artifacts")]
        command = [sys.executable, "-m", "mlflow", "server", *words]
        # A session of its own: its workers have to die with it.
        self.server = subprocess.Popen(
            command, env=self.environment, stdout=self.log, stderr=self.log, cwd=self.folder, start_new_session=True
        )
        until(self._answers, PORT_SECONDS)

    def _answers(self):
        try:
            return requests.get(f"{self.address}/health", timeout=5).ok
        except requests.RequestException:
            assert self.server.poll() is None, (self.folder / "server.txt").read_text()[-2000:]
            return False

    def kill(self):
        """SIGKILL for the server and its workers."""
        os.killpg(self.server.pid, signal.SIGKILL)
        self.server.wait()

    def start_database(self):
        """Start PostgreSQL, and wait until it takes connections."""
        words = f"-p {self.database_port} -h 127.0.0.1 -k {self.folder / 'database'}"
        self._database("pg_ctl", "-w", "-t", str(PORT_SECONDS), "-o", words, "-l", str(self.folder / "database" / "log"), "start")

    def stop_database(self, how):
        """Stop PostgreSQL: `fast`, or `immediate` as after a loss of power."""
        self._database("pg_ctl", "-w", "-m", how, "stop")

    def _database(self, program, *words):
        user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        command = [*user, str(_programs().with_name(program)), "-D", str(self.folder / "database" / "data"), *words]
        # Into a file: PostgreSQL would keep a pipe open.
        subprocess.run(command, check=True, stdout=self.log, stderr=self.log, cwd=self.folder)

    def sql(self, *statements, base="mlflow"):
        """Start statements in one session; returns what they print."""
        words = [word for statement in statements for word in ("-c", statement)]
        place = ["-h", "127.0.0.1", "-p", str(self.database_port), "-U", "postgres", "-At", base]
        return subprocess.run(["psql", *place, *words], check=True, capture_output=True, text=True).stdout

    def close(self):
        """Stop everything."""
        if self.server is not None and self.server.poll() is None:
            self.kill()
        self.stop_database("immediate")
        self.log.close()


def contents(client, experiment):
    """What a server has of an experiment, by kind, name and place of the runs, without ids and times."""
    from mlflow.entities import ViewType  # slow to import, and most collections of tests leave these out

    number = client.get_experiment_by_name(experiment).experiment_id
    runs = {run.info.run_id: run for run in client.search_runs([number], run_view_type=ViewType.ALL)}
    found, names = {}, Counter()
    for run_id, run in runs.items():
        tags = run.data.tags
        above = runs.get(tags.get("mlflow.parentRunId", ""))
        own = f"{tags.get('kind', 'run')} {run.info.run_name}, seed {tags.get('seed')}, below {above and above.info.run_name}"
        names[own] += 1
        curves = [] if "kind" in tags else ["epoch/seconds", "train/loss", "val/acc", "test/acc"]
        found[f"{own} ({names[own]})"] = {
            "status": (run.info.status, run.info.lifecycle_stage),
            "tags": _lasting(tags),
            "note": re.sub(r"(runs|experiments)=[^&]*&", "", tags.get("mlflow.note.content", "")),
            "params": _lasting(run.data.params),
            "metrics": _lasting(run.data.metrics),
            "measured": sorted(name for name in run.data.metrics if any(part in name for part in MEASURED)),
            "steps": {name: [one.step for one in client.get_metric_history(run_id, name)] for name in curves},
            "inputs": len(run.inputs.dataset_inputs),
            "files": sorted(_files(client, run_id)),
        }
    return found


def _lasting(values):
    return {name: value for name, value in values.items() if name not in UNLIKE and not any(part in name for part in MEASURED)}


def _files(client, run_id, folder=None):
    for one in client.list_artifacts(run_id, folder):
        if one.is_dir:
            yield from _files(client, run_id, one.path)
        else:
            yield one.path
