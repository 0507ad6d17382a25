"""What a plan says of runs that are finished, interrupted, failed, pruned, stale or running."""

import re
from collections import Counter

import pytest

from fer_ablate.errors import FaultyConfigError, UserError
from fer_ablate.execution.added_seeds import due_seeds
from fer_ablate.execution.study_output import judged_study
from fer_ablate.execution.sweep import Growth, run_plan
from fer_ablate.judgement.planned_rows import rows_with_runs
from fer_ablate.study.cells import compose_cells
from fer_ablate.study.plan import seconds_left
from fer_ablate.study.spec import study_spec
from fer_ablate.tracking.disk.run_folder import RunFolder
from fer_ablate.tracking.disk.run_state import RunState

from .conftest import finish, folder_of, header_of


def states(plan):
    return [(planned.cell.row.label, planned.cell.config.seed, planned.state.value) for planned in plan.runs]


def test_nothing_is_there_at_first(planned):
    plan = planned()
    assert states(plan) == [("all", 0, "missing"), ("all", 1, "missing"), ("less", 0, "missing"), ("less", 1, "missing")]
    assert len(plan.to_train) == 4
    assert seconds_left(plan) == (None, 0)


def test_runs_carry_row_label_and_experiment(planned):
    config = planned().runs[2].cell.config
    assert (config.name, config.tracking.experiment, config.model.conv_layers) == ("less", "depth", 4)


def test_what_differs_is_what_differs_from_the_baseline(planned):
    assert planned().runs[2].cell.changed == {"model.conv_layers": "4"}


def test_a_finished_run_is_not_trained_again(planned):
    finish(planned().runs[0].cell)
    plan = planned()
    assert plan.runs[0].state is RunState.finished
    assert len(plan.to_train) == 3


def test_a_finished_run_counts_under_any_label(planned):
    finish(planned().runs[0].cell, name="by hand", experiment="fer_ablate")
    assert planned().runs[0].state is RunState.finished


def test_comments_and_paths_make_nothing_stale(planned, conf, tmp_path):
    finish(planned().runs[0].cell)
    file = conf / "study" / "depth.yaml"
    file.write_text("# another comment\n" + file.read_text())
    (tmp_path / "runs").rename(tmp_path / "moved")
    plan = planned(f"runs_dir={tmp_path / 'moved'}")
    assert plan.runs[0].state is RunState.finished


def test_a_changed_value_makes_its_run_stale(planned):
    finish(planned().runs[0].cell)
    plan = planned("optimizer.lr=0.5")
    assert (plan.runs[0].state, plan.runs[0].reason) == (RunState.stale, "optimizer.lr 0.001 -> 0.5")
    assert plan.runs[0].to_train
    assert states(plan)[1:] == [("all", 1, "missing"), ("less", 0, "missing"), ("less", 1, "missing")]


def test_an_edited_row_alone_is_trained(planned, conf):
    for run in planned().runs:
        finish(run.cell)
    file = conf / "study" / "depth.yaml"
    file.write_text(file.read_text().replace("conv_layers=4", "conv_layers=3"))
    assert [(run.cell.row.label, run.reason) for run in planned().to_train] == [("less", "model.conv_layers 4 -> 3")] * 2


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


def test_keys_of_later_code_are_no_changes(planned):
    cell = planned().runs[0].cell
    settings = {key: value for key, value in cell.identity.settings.items() if key != "trainer.accumulate"}
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
    assert plan.runs[0].state is RunState.stale
    assert not plan.runs[0].to_train


def test_a_failed_run_is_tried_again(planned):
    cell = planned().runs[0].cell
    folder = folder_of(cell)
    folder.write_header(header_of(cell))
    folder.write_failure("The loss became nan.\nLower optimizer.lr.", "Traceback ...")
    run = planned().runs[0]
    assert (run.state, run.reason, run.to_train) == (RunState.failed, "The loss became nan.", True)


def test_an_interrupted_run_says_where_it_resumes(planned):
    cell = planned().runs[0].cell
    folder_of(cell).write_header(header_of(cell))
    folder_of(cell).append_epoch(1, {"val/acc": 0.5, "seconds": 1.0}, 1000)
    assert planned().runs[0].reason == "resumes after epoch 1"


def test_a_pruned_run_is_trained_to_its_end(planned):
    cell = planned().runs[0].cell
    folder_of(cell).write_header(header_of(cell))
    folder_of(cell).append_epoch(1, {"val/acc": 0.5, "seconds": 1.0}, 1000)
    folder_of(cell).write_pruned(1, 0.5, "val/acc")
    run = planned().runs[0]
    assert (run.state, run.reason, run.to_train) == (RunState.pruned, "resumes after epoch 1", True)


def test_a_run_with_damaged_header_is_retrained(planned):
    finish(planned().runs[0].cell).header_file.write_text("{")
    plan = planned()
    assert (plan.runs[0].state, plan.runs[0].to_train, len(plan.damaged)) == (RunState.missing, True, 1)


@pytest.mark.parametrize("text", ["", "{"], ids=["missing", "damaged"])
def test_a_run_with_lost_header_is_cleared(planned, text):
    file = finish(planned().runs[0].cell).header_file
    file.write_text(text) if text else file.unlink()
    runs = planned().runs
    assert [run.cell.config.force for run in runs] == [True, False, False, False]
    assert (runs[0].to_train, runs[0].reason) == (True, "its run.json is missing or damaged; it is trained anew")


@pytest.mark.parametrize("kept", [0, 40])
def test_a_run_with_cut_result_is_trained_anew(planned, kept):
    file = finish(planned().runs[0].cell).result_file
    file.write_bytes(file.read_bytes()[:kept])
    plan = planned()
    assert (plan.runs[0].state, plan.runs[0].to_train) == (RunState.missing, True)
    assert plan.runs[0].reason == "its result.json is missing or damaged; it is trained anew"
    assert plan.runs[0].cell.config.force
    assert seconds_left(plan)[0] is None
    file.parent.rename(file.parents[1] / "an-earlier-version")
    finish(planned().runs[0].cell, key="0123456789abcdef").result_file.write_bytes(b"")
    assert planned().runs[0].stale is None


def test_a_damaged_failure_blocks_no_study(planned):
    cell = planned().runs[0].cell
    folder_of(cell).write_header(header_of(cell))
    folder_of(cell).failure_file.write_text('{"problem": "The lo')
    assert (planned().runs[0].state, planned().runs[0].to_train) == (RunState.failed, True)


def test_the_finished_of_two_equal_runs_counts(planned):
    cell = planned().runs[0].cell
    done = finish(cell)
    other = RunFolder(done.path.with_name(f"zz-{done.path.name}"))
    other.write_header(header_of(cell))
    assert planned().runs[0].state is RunState.finished
    done.path.rename(done.path.with_name(f"zzz-{done.path.name}"))
    assert planned().runs[0].state is RunState.finished


def test_a_header_of_another_version_costs_no_result(planned):
    finish(planned().runs[0].cell).header_file.write_text('{"written_by": "a later version"}')
    assert not planned().runs[0].cell.config.force


def test_an_unreadable_header_costs_no_result(planned):
    folder = finish(planned().runs[0].cell)
    folder.header_file.unlink()
    folder.header_file.mkdir()  # stands for a disk that does not answer, since nothing is forbidden to root
    assert not planned().runs[0].cell.config.force


def test_a_run_that_another_process_trains_is_running(planned):
    cell = planned().runs[0].cell
    folder_of(cell).write_header(header_of(cell))
    with folder_of(cell).lock():
        run = planned().runs[0]
    assert run.state is RunState.running
    assert "process" in run.reason


def test_only_failed_and_only_missing(planned):
    cells = [run.cell for run in planned().runs]
    finish(cells[0])
    folder_of(cells[1]).write_header(header_of(cells[1]))
    folder_of(cells[1]).write_failure("broken", "")
    assert [run.cell.key for run in planned("study.only=failed").to_train] == [cells[1].key]
    assert [run.cell.key for run in planned("study.only=missing").to_train] == [cells[2].key, cells[3].key]


def test_chosen_rows(planned):
    assert {run.cell.row.label for run in planned("study.select=[less]").runs} == {"less"}


def test_chosen_rows_keep_all_of_a_grid(planned):
    plan = planned("study.select=[less]", "optimizer=adam,adamw")
    assert {run.cell.row.label for run in plan.runs} == {"less optimizer=adam", "less optimizer=adamw"}


def test_a_longer_label_is_another_row(planned, conf):
    file = conf / "study" / "depth.yaml"
    file.write_text(file.read_text() + "  - {label: less lr=0.01, overrides: [optimizer.lr=0.01]}\n")
    assert {run.cell.row.label for run in planned("study.select=[less]").runs} == {"less"}
    plan = planned("study.select=[less]", "optimizer=adam,adamw")
    assert {run.cell.row.label for run in plan.runs} == {"less optimizer=adam", "less optimizer=adamw"}


def test_force_wants_finished_runs_as_well(planned):
    finish(planned().runs[0].cell)
    assert len(planned("study.force=true").to_train) == 4


def test_equal_rows_are_trained_once(planned):
    plan = planned("model.conv_layers=2")
    assert len(plan.runs) == 4
    assert len(plan.to_train) == 2


def test_cost_is_that_of_finished_runs(planned):
    finish(planned().runs[0].cell)  # 5 s per epoch, 2 epochs
    assert seconds_left(planned()) == (30.0, 2)  # its other seed, and two runs of a row judged by it
    assert seconds_left(planned("trainer.max_epochs=4")) == (80.0, 2)  # stale runs tell as well


def test_faults_of_all_rows_come_at_once(planned, conf):
    file = conf / "study" / "depth.yaml"
    file.write_text(file.read_text().replace("{label: all}", "{label: all, overrides: [optimizer.lr=-1]}").replace("=4", "=9"))
    with pytest.raises(FaultyConfigError, match=r"(?s)2 faults.*\[all\] optimizer.lr.*\[less\] model.conv_layers: 9"):
        planned()


def test_a_fault_of_every_row_is_told_once(planned):
    with pytest.raises(FaultyConfigError, match=r"1 fault in the config:\n  trainer.max_epochs: 0"):
        planned("trainer.max_epochs=0")


def test_the_studys_protocol_holds_for_typed_words(planned, conf):
    file = conf / "study" / "depth.yaml"
    file.write_text(file.read_text() + "protocol: {roles: official, tta: none}\n")
    assert len(planned().runs) == 4
    with pytest.raises(FaultyConfigError, match="tta is flip, the study states none"):
        planned("evaluation.tta=flip")


def test_a_started_row_has_its_own_key(planned, conf):
    file = conf / "study" / "depth.yaml"
    file.write_text(file.read_text() + "  - {label: tuned, start_from: all}\n")
    plan = planned()
    tuned, start = plan.runs[5], plan.runs[1]
    assert (tuned.cell.row.label, tuned.cell.config.seed) == ("tuned", 1)
    assert tuned.cell.start_key == tuned.cell.config.init_from == start.cell.key
    assert tuned.cell.key != start.cell.key


def test_plugins_of_study_files_must_be_allowed(planned, conf):
    file = conf / "study" / "depth.yaml"
    file.write_text(file.read_text().replace("base: [", "base: ['plugins=[stranger]', "))
    with pytest.raises(FaultyConfigError, match=r"plugins: \[stranger\] comes from a file"):
        planned()


AUXILIARY = """
  - {label: first, overrides: [trainer.max_epochs=1], auxiliary: true}
  - {label: second, start_from: first, overrides: [optimizer.lr=1e-4]}
"""


def test_an_auxiliary_row_is_trained_but_not_shown(planned, conf):
    file = conf / "study" / "depth.yaml"
    file.write_text(file.read_text() + AUXILIARY)
    plan = planned("study.select=[second]")
    assert [(run.cell.row.label, run.cell.config.seed) for run in plan.to_train] == [
        ("first", 0),
        ("first", 1),
        ("second", 0),
        ("second", 1),
    ]
    assert [row.label for row in rows_with_runs(planned())] == ["all", "less", "second"]
    assert {run.cell.row.label for run in planned("study.select=[less]").runs} == {"less"}


@pytest.mark.parametrize(
    ("grid", "way_out"),
    [([], "such as \"study.rows=['second']\"; or leave"), (["optimizer=adam,adamw"], "which trains them as well; or leave")],
)
def test_auxiliary_rows_alone_make_no_table(planned, conf, grid, way_out):
    file = conf / "study" / "depth.yaml"
    file.write_text(file.read_text() + AUXILIARY)
    plan = planned("study.select=[first]", *grid)
    assert len(plan.to_train) == 2 * max(1, 2 * len(grid))
    with pytest.raises(UserError, match=f"(?s)The chosen rows are auxiliary.*{re.escape(way_out)}"):
        judged_study(plan)


def test_trained_auxiliary_rows_alone_are_no_failure(planned, conf, capsys):
    file = conf / "study" / "depth.yaml"
    file.write_text(file.read_text() + AUXILIARY)
    for run in planned("study.select=[first]").runs:
        finish(run.cell)
    plan = planned("study.select=[first]")
    assert run_plan(plan, [], None, Growth(lambda: plan, grows=False)) == 0
    printed = capsys.readouterr()
    assert "note: The chosen rows are auxiliary" in printed.out
    assert "fer_ablate:" not in printed.err  # a slow machine tells what it is doing there


def test_auxiliary_rows_alone_get_no_more_seeds(planned, conf):
    file = conf / "study" / "depth.yaml"
    file.write_text(file.read_text() + AUXILIARY)
    plan = due_seeds(planned("study.select=[first]", "study.seeds_until=decided", "study.max_seeds=5"))
    assert [run.cell.config.seed for run in plan.runs] == [0, 1]
    assert plan.seeds_added == "the chosen rows stand in no table, so no seeds are added"


def test_pooled_columns_need_pooled_epochs(planned):
    with pytest.raises(FaultyConfigError, match=r"study.columns: test_pooled/acc would not be measured"):
        planned("study.columns=[test/acc,test_pooled/acc]")
    assert planned("study.columns=[test_pooled/acc]", "evaluation.pool_epochs=true").to_train
    with pytest.raises(FaultyConfigError, match=r"train_eval/acc would not be measured.\n.*evaluation.train=true"):
        planned("study.columns=[train_eval/acc]")


def counted(monkeypatch, *functions):
    """Count calls of functions under the names that these modules know them by."""
    calls = Counter()
    for module, name in functions:
        inner = getattr(module, name)
        monkeypatch.setattr(
            module, name, lambda *given, inner=inner, name=name, **more: calls.update([name]) or inner(*given, **more)
        )
    return calls


def test_a_command_composes_keys_and_reads_everything_once(conf, tmp_path, cache_dir, monkeypatch):
    from fer_ablate.config import diagnosis
    from fer_ablate.execution import planning
    from fer_ablate.study import cells, plan

    file = conf / "study" / "depth.yaml"
    file.write_text(file.read_text() + "folds: 3\n")
    functions = [
        (cells, "diagnose"),
        (cells, "to_config"),
        (cells, "run_identity"),
        (cells, "identity_of_repeat"),
        (cells, "load_faces"),
        (plan, "scan"),
    ]
    calls = counted(monkeypatch, *functions, (diagnosis, "composed"))
    words = ["study=depth", f"runs_dir={tmp_path / 'runs'}", f"data.cache_dir={cache_dir}", "--config-dir", str(conf)]
    planned, composed_cells, _ = planning.plan_of(words)
    # 2 rows x 2 seeds x 3 folds of one data set; the study itself and the words of the command line are composed as well.
    assert len(composed_cells) == 12
    expected = {
        "composed": 4,
        "diagnose": 2,
        "to_config": 2,
        "run_identity": 2,
        "identity_of_repeat": 10,
        "load_faces": 1,
        "scan": 1,
    }
    assert calls == expected
    plan.make_plan(planned.spec, composed_cells)  # as after training
    assert calls == {**expected, "scan": 2}


def test_interpolated_seeds_are_resolved_for_each_seed(planned, tmp_path):
    plan = planned("data.split_seed=${seed}")
    assert [run.cell.config.data.split_seed for run in plan.runs] == [0, 1] * 2


def test_a_study_has_one_folder(planned, tmp_path):
    with pytest.raises(FaultyConfigError, match=r"runs_dir: the runs of a study have 2 of them: .*/0, .*/1\."):
        planned(f"runs_dir={tmp_path}/${{seed}}")
    with pytest.raises(FaultyConfigError, match=r"tracking\.experiment: the runs of a study have 2 of them: e-0, e-1"):
        planned("tracking.experiment=e-${seed}")
    with pytest.raises(FaultyConfigError, match="name: several names"):
        planned("name=a,b")
    with pytest.raises(FaultyConfigError, match=r"there is no key optimizer\.lrr\.\n.*Did you mean 'optimizer\.lr'"):
        planned("study.factor=optimizer.lrr")


def test_a_study_file_names_its_experiment(tmp_path):
    file = tmp_path / "study" / "mine.yaml"
    file.parent.mkdir()
    file.write_text("base: [data=synthetic, tracking.experiment=thesis]\nrows: [{label: a}]")
    for typed, experiment in ([], "thesis"), (["++tracking.experiment=paper"], "paper"):
        (cell,) = compose_cells(study_spec(["study=mine", *typed], tmp_path), tmp_path)
        assert cell.config.tracking.experiment == experiment
