"""One task, one session: `nox -s tests`. With `--no-venv` they use the environment at hand."""

import nox

nox.options.sessions = ["lint", "types", "tests"]
nox.options.default_venv_backend = "venv"
nox.options.reuse_existing_virtualenvs = True

VENV = ".venv"
"""One environment for all sessions and for the person who started them: torch is large."""


def install(session: nox.Session) -> None:
    """Install the package and its development tools in the tested versions, unless told to use what is there."""
    if session.virtualenv.venv_backend == "none":
        return
    # torch first and by its exact version: an open range pulls gigabytes of CUDA where a CPU build would do.
    session.install("torch==2.13.0", "-c", "constraints.txt")
    session.install("-e", ".[dev]", "-c", "constraints.txt")


@nox.session(venv_location=VENV)
def tests(session: nox.Session) -> None:
    """The default tests: minutes, no network, no GPU; those on FER2013 run where FER_ABLATE_DATA names its folder."""
    install(session)
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session(venv_location=VENV)
def slow(session: nox.Session) -> None:
    """The slow tests: whole trainings, kills and resumes."""
    install(session)
    session.run("python", "-m", "pytest", "-m", "slow", *session.posargs)


@nox.session(venv_location=VENV)
def lint(session: nox.Session) -> None:
    """Style: ruff."""
    install(session)
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session(venv_location=VENV)
def types(session: nox.Session) -> None:
    """Types: mypy, strict."""
    install(session)
    session.run("mypy")


@nox.session(venv_location=VENV)
def quickstart(session: nox.Session) -> None:
    """The main job on the embedded data."""
    install(session)
    session.run("python", "-m", "fer_ablate", "model.conv_layers=4", *session.posargs)
