"""What a plan says of runs with more epochs than finished ones: which of those they continue, or why they do not."""

import pytest

from fer_ablate.execution.planning import continuing_facts, lost_states
from fer_ablate.study.plan import seconds_left
from fer_ablate.tracking.disk.run_state import RunState

from .conftest import finish

LONGER = "trainer.max_epochs=4"


def keep(cell, save_last=True, epochs=2, **header):
    """Leave what a finished run of a cell leaves that kept its state."""
    folder = finish(cell, **header)
    folder.write_config(
        f"model:\n  name: stages\ntrainer:\n  callbacks:\n  - save_last: true\n  save_last: {str(save_last).lower()}\n"
    )
    folder.write_result(_with_epochs(folder.result, epochs))
    folder.checkpoints.mkdir()
    folder.last_checkpoint.write_bytes(b"state")
    return folder


def _with_epochs(result, epochs):
    result.epochs, result.seconds = epochs, 5.0 * epochs
    return result


def test_a_kept_state_is_continued(planned):
    folder = keep(planned().runs[0].cell)
    plan = planned(LONGER)
    first, other = plan.runs[0], plan.runs[1]
    assert (first.state, first.reason) == (RunState.missing, f"continues from epoch 2 of {folder.path.name}")
    assert first.continues.folder.path == folder.path
    assert first.to_train
    assert other.continues is None
    assert seconds_left(plan) == (2 * 5.0 + 3 * 4 * 5.0, 2)
    assert continuing_facts(plan) == [f"1 run from the last epoch of a shorter one; all, seed 0: {first.reason}"]


def test_the_longest_kept_run_wins(planned):
    keep(planned().runs[0].cell)
    longest = keep(planned("trainer.max_epochs=3").runs[0].cell, epochs=3, name="by hand", experiment="other")
    keep(planned("trainer.max_epochs=5").runs[0].cell, epochs=5)
    assert planned(LONGER).runs[0].reason == f"continues from epoch 3 of {longest.path.name}"


def test_a_run_that_stopped_early_is_continued(planned):
    keep(planned("trainer.max_epochs=3").runs[0].cell)
    plan = planned(LONGER)
    assert plan.runs[0].reason.endswith("-s0-" + plan.runs[0].continues.folder.header.key[:10] + ", which stopped early")
    assert seconds_left(plan)[0] == 3 * 4 * 5.0


def test_a_lost_state_is_a_line(planned):
    finish(planned().runs[0].cell)
    would = "trainer.save_last=true would have let this run continue it"
    assert planned(LONGER).runs[0].reason == f"trainer.max_epochs 2 -> 4; {would}"
    plan = planned(LONGER, "study.select=[less]")
    assert lost_states(plan) == []
    finish(planned().runs[2].cell, name="by hand")
    plan = planned(LONGER)
    assert (plan.runs[2].state, plan.runs[2].reason) == (RunState.missing, f"by hand with 2 epochs is finished; {would}")
    assert lost_states(plan) == [plan.runs[2].reason]
    assert all(planned(LONGER, other).runs[0].shorter is None for other in ("optimizer.lr=0.5", "seed=3", "study.force=true"))


def test_a_leftover_state_is_not_continued(planned):
    keep(planned().runs[0].cell, save_last=False)
    assert planned(LONGER).runs[0].continues is None


def test_the_schedule_may_forbid_it(planned):
    folder = keep(planned("scheduler=cosine").runs[0].cell)
    plan = planned(LONGER, "scheduler=cosine")
    assert plan.runs[0].continues is None
    assert plan.runs[0].reason.startswith("trainer.max_epochs 2 -> 4; this one starts anew, since scheduler=cosine is stretched")
    assert folder.last_checkpoint.is_file()


@pytest.mark.parametrize("fields", [{"data_digest": "before"}, {"code_digest": "before"}])
def test_other_data_or_code_are_not_continued(planned, fields):
    keep(planned().runs[0].cell, key="0123456789abcdef", **fields)
    assert planned(LONGER).runs[0].shorter is None


def test_other_starting_weights_are_not_continued(planned, conf):
    file = conf / "study" / "depth.yaml"
    file.write_text(file.read_text() + "  - {label: tuned, start_from: all}\n")
    keep(planned().runs[4].cell)
    tuned = planned(LONGER).runs[4]
    assert (tuned.cell.row.label, tuned.shorter) == ("tuned", None)
    # Its own length alone, with the same weights to begin with.
    file.write_text(file.read_text().replace("start_from: all}", "start_from: all, overrides: [trainer.max_epochs=3]}"))
    assert planned().runs[4].reason.startswith("continues from epoch 2 of tuned")


def test_a_state_of_its_own_comes_first(planned):
    keep(planned().runs[0].cell)
    folder = planned(LONGER).runs[0].folder
    folder.append_epoch(1, {"val/acc": 0.5, "seconds": 1.0}, 1000)
    folder.checkpoints.mkdir()
    folder.last_checkpoint.write_bytes(b"state")
    assert planned(LONGER).runs[0].reason == "resumes after epoch 1"


def test_accepted_stale_runs_stay_as_they_are(planned):
    keep(planned().runs[0].cell)
    run = planned(LONGER, "study.accept_stale=true").runs[0]
    assert (run.state, run.reason, run.to_train) == (RunState.stale, "trainer.max_epochs 2 -> 4", False)


def test_finished_runs_without_a_state_are_counted(planned):
    finish(planned().runs[0].cell)
    note = "1 finished run kept no last.ckpt when trained, so no run with more epochs can continue from there."
    assert lost_states(planned("trainer.save_last=true")) == [note]
    assert lost_states(planned()) == []
