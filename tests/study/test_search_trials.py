"""The trials of a search without training: composed, failed, given up; a launcher of the test's own says how they end."""

import csv

import pytest

from fer_ablate.cli.command_line import parse
from fer_ablate.errors import UserError
from fer_ablate.execution.job import JobResult
from fer_ablate.execution.search.plan import read_search
from fer_ablate.execution.search.trials import run_trials
from fer_ablate.tracking.disk.run_state import RunState


@pytest.fixture
def search(search_address, tmp_path, cache_dir, small_run):
    """Run a search whose runs all fail; gives the exit code, or the message instead, and the rows of trials.csv."""
    places = (f"runs_dir={tmp_path}", f"data.cache_dir={cache_dir}", "tracking=none", "tracking.pictures=false")
    words = ("-m", "hydra/sweeper=optuna", "hydra/sweeper/sampler=grid", f"hydra.sweeper.storage={search_address}")

    def fail(specs):
        return [JobResult(RunState.failed, spec.key, "The loss became nan.") for spec in specs]

    def run(*more):
        prepared, _ = read_search(parse([*words, *small_run, *places, *more]))
        try:
            code = run_trials(prepared, fail)
        except UserError as error:
            code = str(error)
        with (prepared.folder / "trials.csv").open(newline="") as stream:
            return code, list(csv.DictReader(stream))

    return run


def test_values_without_images_fail_their_trial(search):
    words = ("data.roles=drawn", "data.synthetic.val=7", "data.synthetic.test=7", "data.synthetic.train=choice(70,14)")
    code, rows = search(*words)
    assert code == 1
    problems = {row["data.synthetic.train"]: row["problem"] for row in rows}
    assert [row["state"] for row in rows] == ["failed", "failed"]
    assert problems["70"] == "The loss became nan."
    assert problems["14"].startswith("No image could be drawn for val")
    assert search(*words) == (0, rows)


def test_a_search_given_up_shows_its_trials(search):
    said, rows = search("optimizer.lr=choice(0.1,0.2,0.3)", "hydra.sweeper.max_failure_rate=0.5")
    assert said.startswith("1 of 1 trials failed, more than hydra.sweeper.max_failure_rate=0.5 allows.")
    assert [row["state"] for row in rows] == ["failed"]
