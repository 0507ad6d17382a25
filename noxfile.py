"""One task, one session: `nox -s tests`. With `--no-venv` they use the environment that nox itself is in, and no network."""

import os
import sys
from typing import TextIO

import nox

nox.options.sessions = ["lint", "types", "tests", "long"]
nox.options.default_venv_backend = "venv"
nox.options.reuse_existing_virtualenvs = True


def run(session: nox.Session, *command: str, stdout: TextIO | None = None) -> None:
    """Run a Python module in the session's environment, with the package and its tools installed in the tested versions."""
    if session.virtualenv.venv_backend == "none":
        session.run(sys.executable, "-m", *command, external=True, stdout=stdout)
        return
    # The constraints name torch exactly: an open range pulls gigabytes of CUDA where a CPU build would do.
    session.install("-e", ".[dev]", "-c", "constraints.txt")
    session.run("python", "-m", *command, stdout=stdout)


@nox.session
def tests(session: nox.Session) -> None:
    """The default tests: two minutes, no network, no GPU."""
    run(session, "pytest", *session.posargs)


@nox.session
def long(session: nox.Session) -> None:
    """Tests of a second or more each, hostile inputs too; those on FER2013 run where FER_ABLATE_DATA names its folder."""
    run(session, "pytest", "-m", "long", *session.posargs)


@nox.session
def slow(session: nox.Session) -> None:
    """The slow tests: whole trainings, kills and resumes."""
    run(session, "pytest", "-m", "slow", "-n", "0", *session.posargs)  # they time out where others take the cores


@nox.session
def fuzz(session: nox.Session) -> None:
    """10,000 hostile inputs; FER_ABLATE_FUZZ gives another number, FER_ABLATE_FUZZ_SEED draws others."""
    os.environ.setdefault("FER_ABLATE_FUZZ", "10000")
    run(session, "pytest", "-n", "0", "tests/fuzz", *session.posargs)


@nox.session
def chaos(session: nox.Session) -> None:
    """Kills studies at 100 seeded random moments, for hours on two cores; `-- moments=20 seed=7 launchers=joblib` for others."""
    run(session, "tests.chaos", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Style: ruff."""
    run(session, "ruff", "check", ".")
    run(session, "ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Types: mypy, strict."""
    run(session, "mypy")


@nox.session
def behaviour(session: nox.Session) -> None:
    """Lists the digest of the present code: golden runs must be unchanged, or `-- <reason>` makes a new behaviour."""
    run(session, "pytest", "-n", "0", "-m", "", "tests/training/test_golden.py", "tests/commands/test_golden_runs.py")
    run(session, "fer_ablate.config.behaviour", *session.posargs)


@nox.session
def reference(session: nox.Session) -> None:
    """Writes docs/config.md, the reference of every key, and docs/schema/ for editors, from the schema and conf/."""
    with open("docs/config.md", "w", encoding="utf-8") as file:
        run(session, "fer_ablate.config.reference", stdout=file)
    run(session, "fer_ablate.config.editor_schema", "docs/schema")


@nox.session
def quickstart(session: nox.Session) -> None:
    """The main job on the embedded data."""
    run(session, "fer_ablate", "-m", "study=quickstart", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """The documentation as a site in build/docs, without a warning; needs nothing of the package."""
    if session.virtualenv.venv_backend != "none":
        session.install("mkdocs-material>=9.6")
    session.run("mkdocs", "build", "--strict", env={"NO_MKDOCS_2_WARNING": "1"}, external=True)
