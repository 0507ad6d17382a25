"""What a plan says of runs that are finished, interrupted, failed, stale or in other hands."""

import pytest

from fer_ablate.config.key import relevant
from fer_ablate.errors import FaultyConfigError
from fer_ablate.judgement.gather import gathered
from fer_ablate.study.plan import State, seconds_left

from .conftest import finish, folder_of, header_of


def states(plan):
    return [(planned.cell.row.label, planned.cell.config.seed, planned.state.value) for planned in plan.runs]


def test_nothing_is_there_at_first(planned):
    plan = planned()
    assert states(plan) == [("all", 0, "to run"), ("all", 1, "to run"), ("less", 0, "to run"), ("less", 1, "to run")]
    assert len(plan.wanted) == 4
    assert seconds_left(plan) == (None, 0)


def test_runs_carry_the_row_s_label_and_the_study_s_experiment(planned):
    config = planned().runs[2].cell.config
    assert (config.name, config.tracking.experiment, config.model.conv_layers) == ("less", "depth", 4)


def test_what_differs_is_what_differs_from_the_baseline(planned):
    assert planned().runs[2].cell.changed == {"model.conv_layers": "4"}


def test_a_finished_run_is_cached(planned):
    finish(planned().runs[0].cell)
    plan = planned()
    assert plan.runs[0].state is State.cached
    assert len(plan.wanted) == 3


def test_a_finished_run_is_cached_under_any_label(planned):
    finish(planned().runs[0].cell, name="by hand", experiment="fer_ablate")
    assert planned().runs[0].state is State.cached


def test_a_changed_comment_and_a_renamed_path_make_nothing_stale(planned, conf, tmp_path):
    finish(planned().runs[0].cell)
    file = conf / "study" / "depth.yaml"
    file.write_text("# another comment\n" + file.read_text())
    (tmp_path / "runs").rename(tmp_path / "moved")
    plan = planned(f"runs_dir={tmp_path / 'moved'}")
    assert plan.runs[0].state is State.cached


def test_a_changed_value_makes_its_run_stale_and_says_so(planned):
    finish(planned().runs[0].cell)
    plan = planned("optimizer.lr=0.5")
    assert (plan.runs[0].state, plan.runs[0].reason) == (State.stale, "optimizer.lr 0.001 -> 0.5")
    assert plan.runs[0].wanted
    assert states(plan)[1:] == [("all", 1, "to run"), ("less", 0, "to run"), ("less", 1, "to run")]


def test_an_edited_row_alone_is_trained(planned, conf):
    for run in planned().runs:
        finish(run.cell)
    file = conf / "study" / "depth.yaml"
    file.write_text(file.read_text().replace("conv_layers=4", "conv_layers=3"))
    assert [(run.cell.row.label, run.reason) for run in planned().wanted] == [("less", "model.conv_layers 4 -> 3")] * 2


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"code_digest": "before"}, "code changed"),
        ({"data_digest": "before"}, "data changed"),
        ({"code_digest": "before", "data_digest": "before"}, "data changed, code changed"),
    ],
)
def test_other_code_or_data_make_a_run_stale(planned, fields, reason):
    finish(planned().runs[0].cell, key="0123456789abcdef", **fields)
    assert planned().runs[0].reason == reason


def test_keys_that_later_code_brought_are_no_changed_settings(planned):
    cell = planned().runs[0].cell
    settings = {key: value for key, value in relevant(cell.config).items() if key != "trainer.accumulate"}
    settings["model.stages"] = [
        {key: value for key, value in stage.items() if key != "inner"} for stage in settings["model.stages"]
    ]
    finish(cell, key="0123456789abcdef", code_digest="before", settings=settings)
    assert planned().runs[0].reason == "code changed"
    finish(cell, key="1123456789abcdef", settings=settings, started_at="2026-01-03T03:04:05+00:00")
    assert planned().runs[0].reason == "model.stages ... -> ..., trainer.accumulate absent -> 1"


def test_stale_runs_may_be_accepted(planned):
    finish(planned().runs[0].cell, key="0123456789abcdef", code_digest="before")
    plan = planned("study.accept_stale=true")
    assert plan.runs[0].state is State.stale
    assert not plan.runs[0].wanted


def test_a_failed_run_says_why_and_is_tried_again(planned):
    cell = planned().runs[0].cell
    folder = folder_of(cell)
    folder.write_header(header_of(cell))
    folder.write_failure("The loss became nan.\nLower optimizer.lr.", "Traceback ...")
    run = planned().runs[0]
    assert (run.state, run.reason, run.wanted) == (State.failed, "The loss became nan.", True)


def test_an_interrupted_run_says_where_it_resumes(planned):
    cell = planned().runs[0].cell
    folder_of(cell).write_header(header_of(cell))
    folder_of(cell).append_epoch(1, {"val/acc": 0.5, "seconds": 1.0}, 1000)
    assert planned().runs[0].reason == "resumes behind epoch 1"


def test_a_run_in_other_hands_is_running_elsewhere(planned):
    cell = planned().runs[0].cell
    folder_of(cell).write_header(header_of(cell))
    with folder_of(cell).lock():
        run = planned().runs[0]
    assert run.state is State.running
    assert "process" in run.reason


def test_only_failed_and_only_missing(planned):
    cells = [run.cell for run in planned().runs]
    finish(cells[0])
    folder_of(cells[1]).write_header(header_of(cells[1]))
    folder_of(cells[1]).write_failure("broken", "")
    assert [run.cell.key for run in planned("study.only=failed").wanted] == [cells[1].key]
    assert [run.cell.key for run in planned("study.only=missing").wanted] == [cells[2].key, cells[3].key]


def test_chosen_rows(planned):
    assert {run.cell.row.label for run in planned("study.select=[less]").runs} == {"less"}


def test_chosen_rows_keep_all_of_a_grid(planned):
    plan = planned("study.select=[less]", "optimizer=adam,adamw")
    assert {run.cell.row.label for run in plan.runs} == {"less optimizer=adam", "less optimizer=adamw"}


def test_force_wants_finished_runs_as_well(planned):
    finish(planned().runs[0].cell)
    assert len(planned("study.force=true").wanted) == 4


def test_rows_that_are_the_same_run_are_trained_once(planned):
    plan = planned("model.conv_layers=2")
    assert len(plan.runs) == 4
    assert len(plan.wanted) == 2


def test_cost_is_that_of_finished_runs(planned):
    finish(planned().runs[0].cell)  # 5 s per epoch, 2 epochs
    assert seconds_left(planned()) == (30.0, 2)  # its other seed, and two runs of a row judged by it
    assert seconds_left(planned("trainer.max_epochs=4")) == (80.0, 2)  # stale runs tell as well


def test_the_faults_of_all_rows_are_told_at_once(planned, conf):
    file = conf / "study" / "depth.yaml"
    file.write_text(file.read_text().replace("{label: all}", "{label: all, overrides: [optimizer.lr=-1]}").replace("=4", "=9"))
    with pytest.raises(FaultyConfigError, match=r"(?s)2 faults.*\[all\] optimizer.lr.*\[less\] model.conv_layers: 9"):
        planned()


def test_a_fault_of_every_row_is_told_once(planned):
    with pytest.raises(FaultyConfigError, match=r"1 fault in the config:\n  trainer.max_epochs: 0"):
        planned("trainer.max_epochs=0")


def test_a_study_s_protocol_holds_for_the_command_line(planned, conf):
    file = conf / "study" / "depth.yaml"
    file.write_text(file.read_text() + "protocol: {roles: official, tta: none}\n")
    assert len(planned().runs) == 4
    with pytest.raises(FaultyConfigError, match="tta is flip, the study wants none"):
        planned("evaluation.tta=flip")


def test_a_row_that_starts_from_another_has_a_key_of_its_own(planned, conf):
    file = conf / "study" / "depth.yaml"
    file.write_text(file.read_text() + "  - {label: tuned, start_from: all}\n")
    plan = planned()
    tuned, start = plan.runs[5], plan.runs[1]
    assert (tuned.cell.row.label, tuned.cell.config.seed) == ("tuned", 1)
    assert tuned.cell.start_key == tuned.cell.config.init_from == start.cell.key
    assert tuned.cell.key != start.cell.key


def test_plugins_of_a_study_s_file_must_be_allowed_by_hand(planned, conf):
    file = conf / "study" / "depth.yaml"
    file.write_text(file.read_text().replace("base: [", "base: ['plugins=[stranger]', "))
    with pytest.raises(FaultyConfigError, match=r"plugins: \[stranger\] comes from a file"):
        planned()


AUXILIARY = """
  - {label: first, overrides: [trainer.max_epochs=1], auxiliary: true}
  - {label: second, start_from: first, overrides: [optimizer.lr=1e-4]}
"""


def test_an_auxiliary_row_comes_with_the_row_that_starts_from_it_and_stands_in_no_table(planned, conf):
    file = conf / "study" / "depth.yaml"
    file.write_text(file.read_text() + AUXILIARY)
    plan = planned("study.select=[second]")
    assert [(run.cell.row.label, run.cell.config.seed) for run in plan.wanted] == [
        ("first", 0),
        ("first", 1),
        ("second", 0),
        ("second", 1),
    ]
    assert [row.label for row in gathered(planned())] == ["all", "less", "second"]
    assert {run.cell.row.label for run in planned("study.select=[less]").runs} == {"less"}


def test_pooled_columns_ask_for_pooled_epochs_before_anything_is_trained(planned):
    with pytest.raises(FaultyConfigError, match=r"study.columns: test_pooled/acc would not be measured"):
        planned("study.columns=[test/acc,test_pooled/acc]")
    assert planned("study.columns=[test_pooled/acc]", "evaluation.pool_epochs=true").wanted
