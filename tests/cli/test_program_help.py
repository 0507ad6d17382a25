"""The help of the program, which is put together without Hydra."""

import os

import pytest

from fer_ablate.cli.command_line import run_hydra
from fer_ablate.cli.main import main
from fer_ablate.cli.program_help import asks_for_help_alone, program_help


def test_the_help_is_what_hydra_composes(capsys):
    with pytest.raises(SystemExit):
        run_hydra(["--help"], lambda spec: 0)
    assert f"{program_help()}\n" == capsys.readouterr().out


def test_words_beside_the_help_are_left_to_hydra():
    assert [asks_for_help_alone(words) for words in (["-h"], ["--help", "-h"], ["--help", "model=pisa"], [])] == [
        True, True, False, False,
    ]  # fmt: skip


@pytest.mark.parametrize(("given", "policy"), [(None, "passive"), ("active", "active")])
def test_waiting_threads_sleep_unless_told_to_spin(given, policy, monkeypatch):
    monkeypatch.setenv("OMP_WAIT_POLICY", given or "")
    if given is None:
        monkeypatch.delenv("OMP_WAIT_POLICY")
    main(["table", "study=nosuch"])
    assert os.environ["OMP_WAIT_POLICY"] == policy
