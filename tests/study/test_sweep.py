"""A sweep goes on whatever becomes of its runs, its workers and its launcher."""

import threading

import pytest

from fer_ablate.execution.launching import train_wanted
from fer_ablate.execution.outcome import Ended, RunOutcome

from .conftest import finish, folder_of, header_of


class Told:
    """What a person would have read."""

    def __init__(self):
        self.waited, self.lost_runs = [], []

    def waits(self, runs):
        self.waited += [run.cell.row.label for run in runs]

    def lost(self, problem, runs):
        self.lost_runs.append((problem, [run.cell.config.seed for run in runs]))


def finished(runs):
    return [RunOutcome(Ended.finished, run.cell.key) for run in runs]


def test_every_wanted_run_is_launched_once(planned):
    batches = []
    outcomes = train_wanted(planned(), lambda runs: batches.append(len(runs)) or finished(runs), Told())
    assert batches == [4]
    assert {outcome.ended for outcome in outcomes.values()} == {Ended.finished}


def test_rows_are_launched_behind_the_rows_they_start_from(planned, conf):
    file = conf / "study" / "depth.yaml"
    file.write_text(file.read_text().replace("{label: all}", "{label: all, start_from: less}"))
    batches = []
    train_wanted(planned(), lambda runs: batches.append([run.cell.row.label for run in runs]) or finished(runs), Told())
    assert batches == [["less", "less"], ["all", "all"]]


def test_a_row_whose_start_failed_is_not_trained(planned, conf):
    file = conf / "study" / "depth.yaml"
    file.write_text(file.read_text().replace("{label: all}", "{label: all, start_from: less}"))

    def launch(runs):
        ended = {0: Ended.failed, 1: Ended.finished}
        return [RunOutcome(ended[run.cell.config.seed], run.cell.key) for run in runs]

    plan = planned()
    outcomes = train_wanted(plan, launch, Told())
    problems = [outcomes[run.cell.key].problem for run in plan.runs if run.cell.row.label == "all"]
    assert problems == ["not trained: the row it starts from, 'less', failed", ""]


@pytest.mark.slow
def test_a_busy_run_comes_again_when_it_is_free(planned):
    plan, told = planned(), Told()
    cell = plan.runs[0].cell
    folder_of(cell).write_header(header_of(cell))
    held = folder_of(cell).lock()
    held.__enter__()
    threading.Timer(0.2, lambda: (finish(cell), held.__exit__(None, None, None))).start()
    rounds = []

    def launch(runs):
        rounds.append(len(runs))
        return [RunOutcome(Ended.busy if run.folder.in_training else Ended.finished, run.cell.key) for run in runs]

    outcomes = train_wanted(plan, launch, told)
    assert rounds == [4, 1]
    assert told.waited == ["all"]
    assert outcomes[cell.key].ended is Ended.finished


def test_a_broken_launcher_costs_only_the_runs_it_was_at(planned):
    plan, told, rounds = planned(), Told(), []
    first, second = plan.runs[0].cell, plan.runs[1].cell

    def launch(runs):
        rounds.append(len(runs))
        if len(rounds) == 1:
            finish(first)
            folder_of(second).write_header(header_of(second))  # begun, then its worker was killed
            raise RuntimeError("a worker died")
        return finished(runs)

    outcomes = train_wanted(plan, launch, told)
    assert rounds == [4, 2]
    assert told.lost_runs == [("RuntimeError: a worker died", [1])]
    assert [outcomes[run.cell.key].ended.value for run in plan.runs] == ["finished", "failed", "finished", "finished"]
    assert "the same command resumes it" in outcomes[second.key].problem


def test_a_launcher_that_never_works_does_not_loop(planned):
    def launch(runs):
        raise OSError("no cluster")

    outcomes = train_wanted(planned(), launch, Told())
    assert {(outcome.ended, outcome.problem) for outcome in outcomes.values()} == {(Ended.failed, "OSError: no cluster")}
