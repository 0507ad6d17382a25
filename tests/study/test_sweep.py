"""A sweep goes on whatever becomes of its runs, its workers and its launcher."""

import threading

import pytest

from fer_ablate.execution.job import JobResult
from fer_ablate.execution.launching import train_planned
from fer_ablate.execution.sweep import _unfinished
from fer_ablate.tracking.disk.run_state import RunState

from .conftest import finish, folder_of, header_of


class Reports:
    """What a person would have read."""

    def __init__(self):
        self.waited, self.lost_runs = [], []

    def waiting(self, runs):
        self.waited += [run.cell.row.label for run in runs]

    def launcher_broke(self, problem, runs):
        self.lost_runs.append((problem, [run.cell.config.seed for run in runs]))


def finished(runs):
    return [JobResult(RunState.finished, run.cell.key) for run in runs]


def test_every_wanted_run_is_launched_once(planned):
    batches = []
    outcomes = train_planned(planned(), lambda runs: batches.append(len(runs)) or finished(runs), Reports())
    assert batches == [4]
    assert {outcome.state for outcome in outcomes.values()} == {RunState.finished}


def test_rows_are_launched_after_their_start_rows(planned, conf):
    file = conf / "study" / "depth.yaml"
    file.write_text(file.read_text().replace("{label: all}", "{label: all, start_from: less}"))
    batches = []
    train_planned(planned(), lambda runs: batches.append([run.cell.row.label for run in runs]) or finished(runs), Reports())
    assert batches == [["less", "less"], ["all", "all"]]


def test_a_row_whose_start_failed_is_not_trained(planned, conf):
    file = conf / "study" / "depth.yaml"
    file.write_text(file.read_text().replace("{label: all}", "{label: all, start_from: less}"))

    def launch(runs):
        ended = {0: RunState.failed, 1: RunState.finished}
        return [JobResult(ended[run.cell.config.seed], run.cell.key) for run in runs]

    plan = planned()
    outcomes = train_planned(plan, launch, Reports())
    problems = [outcomes[run.cell.key].problem for run in plan.runs if run.cell.row.label == "all"]
    assert problems == ["not trained: the row it starts from, 'less', failed", ""]


@pytest.mark.slow
def test_a_busy_run_is_launched_again_later(planned):
    plan, reports = planned(), Reports()
    cell = plan.runs[0].cell
    folder_of(cell).write_header(header_of(cell))
    held = folder_of(cell).lock()
    held.__enter__()
    threading.Timer(0.2, lambda: (finish(cell), held.__exit__(None, None, None))).start()
    rounds = []

    def launch(runs):
        rounds.append(len(runs))
        return [JobResult(RunState.running if run.folder.in_training else RunState.finished, run.cell.key) for run in runs]

    outcomes = train_planned(plan, launch, reports)
    assert rounds == [4, 1]
    assert reports.waited == ["all"]
    assert outcomes[cell.key].state is RunState.finished


def test_a_broken_launcher_costs_only_its_runs(planned):
    plan, reports, rounds = planned(), Reports(), []
    first, second = plan.runs[0].cell, plan.runs[1].cell

    def launch(runs):
        rounds.append(len(runs))
        if len(rounds) == 1:
            finish(first)
            folder_of(second).write_header(header_of(second))  # begun, then its worker was killed
            raise RuntimeError("a worker died")
        return finished(runs)

    outcomes = train_planned(plan, launch, reports)
    assert rounds == [4, 2]
    assert reports.lost_runs == [("RuntimeError: a worker died", [1])]
    assert [outcomes[run.cell.key].state.value for run in plan.runs] == ["finished", "failed", "finished", "finished"]
    assert "the same command resumes it" in outcomes[second.key].problem


def test_a_launcher_that_never_works_does_not_loop(planned):
    def launch(runs):
        raise OSError("no cluster")

    outcomes = train_planned(planned(), launch, Reports())
    assert {(outcome.state, outcome.problem) for outcome in outcomes.values()} == {(RunState.failed, "OSError: no cluster")}


def test_a_broken_launcher_leaves_forced_runs_untrained(planned):
    for run in planned().runs:
        finish(run.cell)

    def launch(runs):
        raise OSError("a worker died while it imported torch")

    plan = planned("study.force=true")
    outcomes = train_planned(plan, launch, Reports())
    assert {outcome.state for outcome in outcomes.values()} == {RunState.failed}
    assert len(_unfinished(plan.to_train, planned(), outcomes)) == 4


def test_a_forced_run_counts_with_its_new_result(planned):
    for run in planned().runs:
        finish(run.cell)
    plan = planned("study.force=true")
    assert _unfinished(plan.to_train, planned(), train_planned(plan, finished, Reports())) == []


def test_disk_decides_about_runs_not_forced(planned):
    plan = planned()
    outcomes = train_planned(plan, finished, Reports())
    finish(plan.runs[0].cell)
    assert len(_unfinished(plan.to_train, planned(), outcomes)) == 3
