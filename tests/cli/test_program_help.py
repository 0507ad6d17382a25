"""The help of the program, which is put together without Hydra."""

import os

import pytest

from fer_ablate.cli.main import SPEED, main
from fer_ablate.cli.program_help import asks_for_help_alone, program_help
from fer_ablate.cli.run_spec import run_hydra


@pytest.mark.long
def test_the_help_is_what_hydra_composes(capsys):
    with pytest.raises(SystemExit):
        run_hydra(["--help"], lambda spec: 0)
    assert f"{program_help()}\n" == capsys.readouterr().out


def test_words_beside_the_help_are_left_to_hydra():
    assert [asks_for_help_alone(words) for words in (["-h"], ["--help", "-h"], ["--help", "model=pisa"], [])] == [
        True, True, False, False,
    ]  # fmt: skip


@pytest.mark.parametrize("given", [None, "0"])
@pytest.mark.parametrize("name", list(SPEED))
def test_the_environment_sets_threads_and_memory(name, given, monkeypatch):
    monkeypatch.setenv(name, given or "")
    if given is None:
        monkeypatch.delenv(name)
    main(["table", "study=nosuch"])
    assert os.environ[name] == (given or SPEED[name])
