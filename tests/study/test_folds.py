"""Studies over folds: what is planned, what counts as done, and how the table compares."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from fer_ablate.config.study_rows import Repeat, repeats
from fer_ablate.data.load import load_faces
from fer_ablate.ensemble.average import build_ensemble
from fer_ablate.ensemble.members import ensemble_candidates
from fer_ablate.errors import FaultyConfigError, UserError
from fer_ablate.judgement.judge import build_table
from fer_ablate.judgement.judged_table import Published
from fer_ablate.judgement.planned_rows import rows_with_runs
from fer_ablate.judgement.row_runs import RowRuns, ScoredRun
from fer_ablate.judgement.table_spec import TableSpec
from fer_ablate.metrics import SplitResult
from fer_ablate.study.cells import compose_cells
from fer_ablate.study.plan import make_plan, seconds_left
from fer_ablate.study.spec import study_spec
from fer_ablate.tracking.disk.run_folder import RunFolder, StoredPredictions
from fer_ablate.tracking.disk.run_state import RunState
from fer_ablate.training.role_set import role_set

from ..finished_runs import finish_run, make_header
from .conftest import finish, folder_of, header_of

FOLDS = 3
TESTED, TRAINED = 20, 32
"""Images of one fold, and those that a run trains on: eight of the others are its val."""


def test_every_row_is_planned_for_every_fold(planned):
    plan = planned("study.folds=3")
    assert [(run.cell.row.label, run.cell.repeat.short) for run in plan.runs[:7]] == [
        ("all", "0/0"), ("all", "0/1"), ("all", "0/2"), ("all", "1/0"), ("all", "1/1"), ("all", "1/2"), ("less", "0/0"),
    ]  # fmt: skip
    assert len({run.cell.key for run in plan.runs}) == len(plan.to_train) == 12
    cell = plan.runs[4].cell
    assert cell.name == "all, seed 1, fold 1"
    assert cell.overrides[-3:] == ("seed=1", "data.folds=3", "data.fold=1")
    assert (cell.config.data.folds, cell.config.data.fold, cell.changed) == (3, 1, {})


def test_a_finished_fold_is_only_that_fold(planned):
    finish(planned("study.folds=3").runs[4].cell)
    plan = planned("study.folds=3")
    assert [run.cell.repeat for run in plan.runs if run.state is RunState.finished] == [Repeat(1, 1)]
    assert seconds_left(plan) == (110.0, 6)  # eleven runs of two epochs of 5 s, six of them judged by the other row


def test_stale_runs_share_the_seed_and_fold(planned):
    finish(planned("study.folds=3").runs[4].cell)
    plan = planned("study.folds=3", "optimizer.lr=0.5")
    assert [(run.cell.repeat, run.reason) for run in plan.runs if run.stale] == [(Repeat(1, 1), "optimizer.lr 0.001 -> 0.5")]


def test_three_folds_are_no_version_of_five(planned):
    finish(planned("study.folds=3").runs[4].cell)
    assert {run.state for run in planned("study.folds=5", "study.accept_stale=true").runs} == {RunState.missing}
    assert {run.state for run in planned().runs} == {RunState.missing}


def test_rows_start_from_their_seed_and_fold(planned, conf):
    file = conf / "study" / "depth.yaml"
    file.write_text(file.read_text() + "  - {label: tuned, start_from: all}\n")
    plan = planned("study.folds=3")
    cells = {(run.cell.row.label, run.cell.repeat): run.cell for run in plan.runs}
    for repeat in repeats((0, 1), 3):
        assert cells["tuned", repeat].start_key == cells["all", repeat].key


def test_gathered_runs_know_their_fold(planned):
    cells = [run.cell for run in planned("study.folds=3").runs]
    finish(cells[1])
    folder_of(cells[2]).write_header(header_of(cells[2]))
    folder_of(cells[2]).write_failure("no room\nTraceback", "")
    row = rows_with_runs(planned("study.folds=3"))[0]
    assert (row.seeds, row.folds, row.expected) == ((0, 1), 3, 6)
    assert [run.header.repeat for run in row.runs] == [Repeat(0, 1)]
    assert [str(failure.repeat) for failure in row.failures] == ["seed 0, fold 2"]


@pytest.mark.long
@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("study.folds=3", "data.fold=1"), "data.fold: data.fold=1: the study trains each of its 3 folds"),
        (("study.folds=3", "data.folds=5"), "Give study.folds=5 for another number"),
        (("study.folds=3", "data.fold=0,1"), "the study trains each of its 3 folds"),
        (("study.folds=1",), "study.folds: 1 is below 2"),
        (("study.folds=3", "study.columns=[test/acc,public/acc]"), "public/acc would not be measured: folds unite"),
        (("study.folds=3", "+study.protocol.roles=official"), "roles is drawn, the study states official"),
        (
            ("study.folds=3", "data.group=null", "+study.protocol.folds='5 by class'"),
            "folds is 3 by class, the study states 5",
        ),
    ],
)
def test_words_against_the_folds_are_refused(planned, words, told):
    with pytest.raises(FaultyConfigError) as error:
        planned(*words)
    assert told in str(error.value)


def test_folds_are_not_scored_on_official_splits(planned):
    config = planned("study.folds=3").runs[1].cell.config
    data = role_set(config, load_faces(config.data))
    assert list(data.tested) == ["val", "test"]
    assert sum(len(rows) for rows in data.roles.values()) == len(data.faces)


def test_folds_without_a_study_are_grid_rows(tmp_path, cache_dir):
    words = ["data.fold=0,1,2", "data.folds=3", f"runs_dir={tmp_path}", f"data.cache_dir={cache_dir}", "tracking=none"]
    wanted = study_spec([*words, "data.synthetic.train=70", "data.synthetic.val=35", "data.synthetic.test=35"])
    plan = make_plan(wanted, compose_cells(wanted))
    assert [run.cell.name for run in plan.runs] == [f"fold={fold}, seed 0, fold {fold}" for fold in range(3)]
    assert [row.folds for row in rows_with_runs(plan)] == [None] * 3


@pytest.fixture
def run_of(tmp_path):
    """A finished run of a fold that is right about so many of its images."""

    def run(label, repeat, right, first_row=None, scheme="3 by group", loss=0.5, digest="d"):
        folder = RunFolder(tmp_path / f"{label}-{repeat.seed}-{repeat.fold}")
        rows = TESTED * repeat.fold + np.arange(TESTED) if first_row is None else first_row + np.arange(TESTED)
        predicted = (np.arange(TESTED) >= right).astype(np.int64)
        probabilities = np.where(np.eye(2)[predicted] > 0, 0.9, 0.1).astype(np.float32)
        labels = np.zeros(TESTED, np.int64)
        inside = {"test": np.ones(TESTED, bool)}
        predictions = StoredPredictions(rows, np.zeros(TESTED, np.int64), labels, probabilities, inside)
        metrics = {"acc": right / TESTED, "loss": loss, "macro_f1": right / TESTED}
        split = SplitResult(n=TESTED, metrics=metrics, per_class={}, confusion=[[right, TESTED - right], [0, 0]])
        settings = {"data.folds": 3, "data.fold": repeat.fold}
        header = make_header(
            key=f"{label} {repeat}",
            name=label,
            seed=repeat.seed,
            data_digest=digest,
            dataset={"train": TRAINED},
            settings=settings,
        )
        protocol = {"source": "folder", "folds": scheme}
        return finish_run(folder, header, predictions, splits={"test": split, "train": split}, protocol=protocol)

    return run


@pytest.fixture
def row_of(run_of):
    """A row from the number of right images of each seed and fold; None where the run is missing."""

    def row(label, *seeds, published=None, **run):
        runs = [
            run_of(label, Repeat(seed, fold), right, **run)
            for seed, folds in enumerate(seeds)
            for fold, right in enumerate(folds)
            if right is not None
        ]
        known = {"test/acc": Published(published)} if published is not None else {}
        return RowRuns(label, tuple(range(len(seeds))), tuple(runs), published=known, folds=FOLDS)

    return row


def judge(*rows, columns=("test/acc",), **options):
    return build_table(TableSpec(study="faces", baseline="base", columns=columns, **options), rows)


def found(table, label, column="test/acc"):
    return next(row.scores[column] for row in table.rows if row.label == label)


def test_folds_are_compared_pair_by_pair(row_of):
    table = judge(row_of("base", (10, 12, 14)), row_of("more", (15, 16, 20)))
    gains = np.array([5, 4, 6]) / TESTED
    scale = math.sqrt((1 / FOLDS + TESTED / TRAINED) * gains.var(ddof=1))
    half = stats.t.ppf(0.975, FOLDS - 1) * scale
    score = found(table, "more")
    assert (score.n, score.images) == (FOLDS, FOLDS * TESTED)
    assert score.difference.value == pytest.approx(0.25)
    assert (score.difference.low, score.difference.high) == pytest.approx((0.25 - half, 0.25 + half))
    assert score.difference.p == pytest.approx(2 * stats.t.sf(0.25 / scale, FOLDS - 1))
    assert score.difference.verdict == f"better by {100 * (0.25 - half):.1f} to {100 * (0.25 + half):.1f} points"
    assert table.notes == (
        "Folds: 3 by group; corrected resampled t test over folds (Nadeau and Bengio 2003); the folds together are the 60 images "
        "of the set.",
    )


def test_seeds_of_a_fold_count_as_mean(row_of):
    apart = judge(row_of("base", (10, 12, 14), (12, 14, 16)), row_of("more", (15, 16, 20), (17, 14, 18)))
    means = judge(row_of("base", (11, 13, 15)), row_of("more", (16, 15, 19)))
    one, other = found(apart, "more"), found(means, "more")
    assert (one.mean, one.sd, one.low, one.high) == pytest.approx((other.mean, other.sd, other.low, other.high))
    assert (one.difference.low, one.difference.p) == pytest.approx((other.difference.low, other.difference.p))
    assert "each the mean of its 2 seeds, which share its images" in apart.notes[0]
    assert (apart.rows[1].expected, len(apart.rows[1].finished), apart.folds) == (6, 6, 3)


def test_balancing_copies_are_no_further_training_images(run_of, row_of):
    def copied(row):
        runs = [ScoredRun(run.folder, replace(run.header, dataset={"train": 10**6}), run.result) for run in row.runs]
        return replace(row, runs=tuple(runs))

    table = judge(copied(row_of("base", (10, 12, 14))), copied(row_of("more", (15, 16, 20))))
    gains = np.array([5, 4, 6]) / TESTED
    scale = math.sqrt((1 / FOLDS + 1 / (FOLDS - 1)) * gains.var(ddof=1))
    assert found(table, "more").difference.p == pytest.approx(2 * stats.t.sf(0.25 / scale, FOLDS - 1))


def test_missing_folds_are_left_out_on_both_sides(row_of):
    table = judge(row_of("base", (10, 12, 14)), row_of("more", (15, None, 20)), row_of("whole", (11, 13, 17)))
    assert found(table, "more").difference.value == pytest.approx((5 + 6) / 2 / TESTED)
    assert found(table, "whole").difference.value == pytest.approx((1 + 1 + 3) / 3 / TESTED)
    assert "Compared over the folds that the row and the baseline both have: more 2 of 3." in table.notes


def test_missing_seeds_of_a_fold_are_said(row_of):
    table = judge(row_of("base", (10, 12, 14), (12, None, 16)), row_of("more", (15, 16, 20), (17, 14, 18)))
    assert found(table, "base").mean == pytest.approx((11 + 12 + 15) / 3 / TESTED)
    assert "Some folds lack seeds and count with those that they have: base." in table.notes


@pytest.mark.parametrize(
    ("folds", "verdict"),
    [
        ((15, None, None), "n=1: this fold only"),
        ((11, 13, 15), "no test: no spread between folds"),
    ],
)
def test_the_verdict_says_when_nothing_is_testable(row_of, folds, verdict):
    table = judge(row_of("base", (10, 12, 14)), row_of("more", folds))
    difference = found(table, "more").difference
    assert difference.verdict == verdict
    assert math.isnan(difference.low)


def test_rows_without_common_folds_are_not_compared(row_of):
    table = judge(row_of("base", (10, None, None)), row_of("more", (None, 15, 20)))
    assert found(table, "more").difference.verdict == "no fold in common"
    assert "n=1 (base): one fold, hence no interval and no test." in table.notes


def test_other_images_of_a_fold_are_not_compared(row_of):
    table = judge(row_of("base", (10, 12, 14)), row_of("more", (15, 16, 20), first_row=7))
    assert found(table, "more").difference is None
    assert any("tested on other images than the baseline, so not compared with it: more" in note for note in table.notes)


def test_different_fold_schemes_share_no_column(row_of):
    rows = row_of("base", (10, 12, 14)), row_of("more", (15, 16, 20), scheme="3 by group, split_seed 1")
    with pytest.raises(UserError, match=r"data\.folds: 3 by group in base; 3 by group, split_seed 1 in more"):
        judge(*rows)


def test_all_metrics_are_judged_over_folds(row_of):
    table = judge(row_of("base", (10, 12, 14)), row_of("more", (15, 16, 20)), columns=("test/weighted_recall", "test/acc"))
    one, other = found(table, "more", "test/weighted_recall").difference, found(table, "more").difference
    assert (one.low, one.p, one.verdict) == (pytest.approx(other.low), pytest.approx(other.p), other.verdict)
    assert not any("seeds alone" in note for note in table.notes)


def test_training_scores_of_folds_have_no_interval(row_of):
    table = judge(row_of("base", (10, 12, 14)), row_of("more", (15, 16, 20)), columns=("train/acc",))
    score = found(table, "more", "train/acc")
    assert score.difference.verdict == "no test: folds share training images"
    assert math.isnan(score.low)
    assert any(note.startswith("train/acc: no interval and no test") for note in table.notes)


def test_a_published_number_has_an_unjudged_gap(row_of):
    table = judge(row_of("base", (10, 12, 14), published=61.0))
    score = found(table, "base")
    assert (score.gap, score.agrees) == (pytest.approx(60 - 61), None)
    assert any(note.startswith("Published numbers are not judged") for note in table.notes)


def test_damaged_predictions_of_folds_are_named(row_of):
    whole = judge(row_of("base", (10, 12, 14)), row_of("more", (15, 16, 20)))
    more = row_of("more", (15, 16, 20))
    more.runs[0].folder.predictions_file.write_bytes(b"")
    table = judge(row_of("base", (10, 12, 14)), more)
    assert found(table, "more").difference.p == pytest.approx(found(whole, "more").difference.p)
    assert any(note.startswith("more: whether its folds were tested on the same images was not checked.") for note in table.notes)


def test_networks_of_several_folds_are_not_averaged(row_of):
    with pytest.raises(UserError, match=r"data\.fold: 0 in base, seed 0, fold 0; 1 in base, seed 0, fold 1"):
        build_ensemble(ensemble_candidates([row_of("base", (10, 12, None))]))
