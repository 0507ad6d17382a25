"""The commands of the README and of docs/ are commands."""

import re
import shlex
from functools import cache
from itertools import pairwise

import pytest

from fer_ablate.cli.main import VERBS
from fer_ablate.config.compose import to_config
from fer_ablate.config.diagnosis import diagnose
from fer_ablate.execution.planning import as_keys
from fer_ablate.study.documents import documents, study_names
from fer_ablate.study.spec import study_spec
from fer_ablate.training.checks import run_faults

from .snippets import text_of

DOCUMENTS = ("README.md", "docs/studies.md", "docs/training.md", "docs/documents.md", "docs/networks.md")
TEXTS = map(text_of, DOCUMENTS)
COMMANDS = [found for text in TEXTS for found in re.findall(r"^(?:.*&& \S*)?python -m fer_ablate +([^#\n]*)", text, re.M)]
OF_THE_READER = ("data.path", "data.ferplus_path")
"""Keys whose faults say only that this machine has no such files."""

OF_VERBS = (
    "run=",
    "format=",
    "output=",
    "folder=",
    "trial=",
    "source=",
    "quantise=",
    "register=",
    "select=",
    "show=",
    "state=",
    "sort=",
    "what=",
    "yes=",
    "to=",
    "reverse=",
    "plan=",
    "detect=",
)
"""What single verbs understand beside overrides."""


def test_the_commands_are_found():
    assert len(COMMANDS) > 10


@cache
def faults_of(words):
    """Faults of a command; several verbs are shown with the same words."""
    if any(word.startswith("study=") for word in words):
        return [] if study_spec(as_keys(words)).rows else ["no rows"]
    searches = any(
        word.startswith("hydra.sweeper.") for word in words
    )  # also without naming the sweeper: an experiment file may list what is searched
    found = diagnose([*(["hydra/sweeper=optuna"] if searches and "hydra/sweeper=optuna" not in words else []), *words])
    faults = [*found.faults, *run_faults(to_config(found.tree))]
    return [str(fault) for fault in faults if fault.key not in OF_THE_READER]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_has_no_faults(command):
    words = [word for word in shlex.split(command) if word not in (*VERBS, "-m") and not word.startswith(OF_VERBS)]
    if command.startswith("across"):  # each data= begins a column
        starts = [place for place, word in enumerate(words) if word.startswith("data=")]
        assert [word for start, end in pairwise([*starts, None]) for word in diagnose(words[start:end]).faults] == []
        return
    if command.startswith("reproduce"):
        named = [word for word in words if "=" not in word]
        assert "/".join(named) in ("", *study_names(documents()), *documents())
        words = [word for word in words if "=" in word]
    assert faults_of(tuple(words)) == []


def test_every_verb_of_the_readme_exists():
    typed = {command.split()[0] for command in COMMANDS if "=" not in command.split()[0] and command.split()[0] != "-m"}
    assert typed <= set(VERBS)
