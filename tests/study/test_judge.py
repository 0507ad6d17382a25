import math
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar

from fer_ablate.config.study_rows import Repeat
from fer_ablate.errors import UserError
from fer_ablate.judgement.evidence import SeedEvidence
from fer_ablate.judgement.image_scores import from_probabilities
from fer_ablate.judgement.judge import build_table
from fer_ablate.judgement.judged_table import Failure, JudgedTable, Published, Verdict
from fer_ablate.judgement.row_runs import RowRuns
from fer_ablate.judgement.split_images import split_images
from fer_ablate.judgement.statistics import image_difference, image_mean
from fer_ablate.judgement.table_spec import TableSpec
from fer_ablate.judgement.verdicts import compared
from fer_ablate.judgement.wording import possible
from fer_ablate.labels import PRIVATE, PUBLIC, TRAINING, USAGES
from fer_ablate.metrics import SplitResult
from fer_ablate.metrics.scores import score
from fer_ablate.report.table.formats import table_frame
from fer_ablate.report.table.shown_table import shown_table
from fer_ablate.tracking.disk.run_folder import RunFolder, StoredPredictions

from ..finished_runs import finish_run, make_header

CLASSES = ("angry", "happy", "sad")
N = 60
"""Images of either test split, a third of each class."""

LABELS = np.arange(N) % 3
OFFICIAL = {"val": (PUBLIC,), "test": (PRIVATE,), "public": (PUBLIC,), "private": (PRIVATE,)}


def guesses(right, seed=0):
    """(n, 3) probabilities whose likeliest class is the true one where it should be right, of images labelled 0, 1, 2, 0, ..."""
    labels, best = np.arange(len(right)) % 3, np.random.default_rng(seed).uniform(0.5, 0.9, len(right))
    shown = np.where(right, labels, (labels + 1) % 3)
    probabilities = np.full((len(right), 3), 0.0)
    probabilities[np.arange(len(right)), (shown + 2) % 3] = 0.4 * (1 - best)
    probabilities[np.arange(len(right)), (shown + 1) % 3] = 0.6 * (1 - best)
    probabilities[np.arange(len(right)), shown] = best
    return probabilities.astype(np.float32)


def scored(probabilities, labels):
    """The few scores needed here, in a fraction of the time that all of them take."""
    predicted = probabilities.argmax(axis=1)
    confusion = np.bincount(3 * labels + predicted, minlength=9).reshape(3, 3)
    metrics = {
        "acc": (predicted == labels).mean(dtype=np.float32),
        "loss": -np.log(probabilities[np.arange(len(labels)), labels]).mean(),
        "macro_f1": (2 * confusion.diagonal() / (confusion.sum(axis=0) + confusion.sum(axis=1))).mean(),
    }
    metrics = {name: float(value) for name, value in metrics.items()}
    return SplitResult(n=len(labels), metrics=metrics, per_class={}, confusion=confusion.tolist())


@pytest.fixture
def finished(tmp_path):
    """Leave a finished run that is right about these images, equally many of each split of `usage`."""
    count = iter(range(10**6))

    def leave(right, seed=0, parts=OFFICIAL, digest="d", usage=(PUBLIC, PRIVATE), rows_from=100, **protocol):
        folder, half = RunFolder(tmp_path / str(next(count))), len(right) // len(usage)
        labels, probabilities = np.arange(len(right)) % 3, guesses(right, seed)
        codes = np.repeat([USAGES.index(name) for name in usage], half)
        splits = {}
        for name, official in parts.items():
            mask = np.isin(codes, [USAGES.index(part) for part in official])
            splits[name] = scored(probabilities[mask], labels[mask])
        predictions = StoredPredictions(rows_from + np.arange(len(right)), codes, labels, probabilities)
        protocol = {"source": "fer2013", "roles": "official", "tta": "none", **protocol}
        header = make_header(key=folder.path.name, seed=seed, data_digest=digest)
        result = {"splits": splits, "classes": list(CLASSES), "protocol": protocol, "seconds": 10.0 + seed}
        return finish_run(folder, header, predictions, **result)

    return leave


@pytest.fixture
def row_of(finished):
    """A row whose runs are right about `share` of the images each, every run about others."""

    def row(label, share, seeds=(0, 1, 2), draw=0, published=None, **run):
        generator = np.random.default_rng([draw, *label.encode()])
        runs = [finished(generator.random(2 * N) < share, seed, **run) for seed in seeds]
        return RowRuns(label, tuple(seeds), tuple(runs), published={name: Published(v) for name, v in (published or {}).items()})

    return row


def right_of(row, metric_rows=slice(N, None)):
    """(S, N) whether each image of PrivateTest was right, read from the probabilities."""
    stored = [run.folder.predictions for run in row.runs]
    return np.array([(one.probabilities.argmax(axis=1) == one.labels)[metric_rows] for one in stored])


def losses_of(run):
    """(N,) cross entropy of each image of both splits."""
    stored = run.folder.predictions
    return -np.log(stored.probabilities[np.arange(len(stored.labels)), stored.labels].astype(float))


def judge(rows, columns=("test/acc",), baseline="base", **options):
    return build_table(TableSpec(study="depth", baseline=baseline, columns=columns, **options), rows)


def scores_of(table, column="test/acc"):
    return {row.label: row.scores[column] for row in table.rows if column in row.scores}


def test_a_row_is_judged_over_images_and_seeds(row_of):
    base, more = row_of("base", 0.4), row_of("more", 0.9)
    table = judge([base, more])
    found = scores_of(table)["more"]
    estimate, against = image_mean(right_of(more)), image_difference(right_of(more), right_of(base))
    assert (found.n, found.images, found.over_images) == (3, N, True)
    assert found.mean == pytest.approx(right_of(more).mean())
    assert found.sd == pytest.approx(right_of(more).mean(axis=1).std(ddof=1))
    assert (found.low, found.high) == pytest.approx(estimate.interval())
    assert (found.difference.low, found.difference.high) == pytest.approx(against.interval())
    assert found.difference.p == found.difference.p_holm == pytest.approx(against.p)
    low, high = (100 * end for end in against.interval())
    assert found.difference.verdict == f"better by {low:.1f} to {high:.1f} points"
    assert scores_of(table)["base"].difference is None
    assert table.notes == ()


def test_worse_rows_and_noise_are_called_so(row_of):
    found = scores_of(judge([row_of("base", 0.9), row_of("worse", 0.4), row_of("same", 0.9)]))
    near, far = sorted(abs(100 * end) for end in (found["worse"].difference.low, found["worse"].difference.high))
    assert found["worse"].difference.verdict == f"worse by {near:.1f} to {far:.1f} points"
    low, high = (100 * end for end in (found["same"].difference.low, found["same"].difference.high))
    assert found["same"].difference.verdict.startswith(f"within noise (could be {low:+.1f} to {high:+.1f}")


def test_less_loss_is_better_and_has_no_points(row_of):
    more, base = row_of("more", 0.95), row_of("base", 0.3)
    table = judge([base, more], ["test/loss", "test/macro_f1"])
    found = scores_of(table, "test/loss")["more"]
    losses = [np.array([losses_of(run)[N:] for run in row.runs]) for row in (more, base)]
    low, high = image_difference(*losses).interval()
    assert (found.difference.low, found.difference.high) == pytest.approx((low, high))
    assert found.difference.verdict == f"better by {-high:.3f} to {-low:.3f}"
    assert found.over_images
    assert found.mean == pytest.approx(np.mean([run.result.splits["test"].metrics["loss"] for run in more.runs]))
    assert table.notes == ()


def test_words_and_correction_never_contradict_each_other(row_of):
    rows = [row_of("base", 0.5)] + [row_of(f"row {number}", 0.5 + number / 24, draw=number) for number in range(10)]
    found = [score.difference for score in scores_of(judge(rows)).values() if score.difference]
    words = [one.verdict.split(" by ")[0].split(" (")[0] for one in found]
    assert words == ["better" if one.p_holm < 0.05 else "within noise" for one in found]
    assert {"better", "within noise"} == set(words)
    widened = [one for one in found if one.p < 0.05 <= one.p_holm]
    assert widened  # the interval by itself leaves out 0
    for one in widened:
        assert one.low > 0
        low, high = one.verdict.removeprefix("within noise (could be ").split(";")[0].split(" to ")
        assert float(low) <= 0 < 100 * one.high < float(high)
    notes = judge(rows).notes
    assert notes[0] == "Verdicts and their p are corrected for the number of comparisons (Holm: 10 rows); intervals are not."
    assert "leaves out 0, the corrected one in the verdict does not" in notes[1]


@pytest.mark.parametrize("seeds", [((0,), (0,)), ((1,), (0, 1, 2)), ((0, 1, 2), (2,)), ((5,), (0, 1))], ids=str)
def test_one_seed_is_said_to_compare_two_networks(row_of, seeds):
    row, base = row_of("row", 0.75, seeds[0]), row_of("base", 0.5, seeds[1])
    table = judge([base, row])
    common = sorted(set(seeds[0]) & set(seeds[1]))
    one, other = (right_of(each)[had.index(common[0]) if common else 0] for each, had in zip((row, base), seeds, strict=True))
    p = mcnemar([[0, (one & ~other).sum()], [(~one & other).sum(), 0]], exact=True).pvalue
    found = scores_of(table)["row"].difference
    assert found.p == pytest.approx(p)
    assert found.value == pytest.approx(right_of(row).mean() - right_of(base).mean())
    assert math.isnan(found.low)
    assert (
        found.verdict
        == f"n=1: these two networks only (p {'< 0.001' if p < 0.001 else f'= {p:.3f}' if p < 0.01 else f'= {p:.2f}'})"
    )
    assert table.notes[0].startswith("n=1 (")


def test_a_single_run_has_no_spread(row_of):
    found = scores_of(judge([row_of("base", 0.5, [0], published={"test/acc": 50.0})]))["base"]
    assert math.isnan(found.sd)
    assert found.low < found.mean < found.high
    assert (found.published.value, found.agrees) == (50.0, None)
    assert found.gap == pytest.approx(100 * found.mean - 50.0)


def test_a_published_number_agrees_within_prediction_interval(row_of):
    base = row_of("base", 0.6)
    values = 100 * right_of(base).mean(axis=1)
    half = stats.t.isf(0.025, 2) * values.std(ddof=1) * math.sqrt(1 + 1 / 3)
    for value, agrees in ((values.mean() + 0.99 * half, True), (values.mean() + 1.01 * half, False)):
        found = scores_of(judge([replace(base, published={"test/acc": Published(value)})]))["base"]
        assert found.agrees is agrees
        assert found.gap == pytest.approx(values.mean() - value)


def test_mixed_protocols_are_refused_with_remedy(row_of):
    rows = [row_of("base", 0.5), row_of("turned", 0.5, roles="swapped"), row_of("mirrored", 0.5, tta="flip")]
    with pytest.raises(UserError) as caught:
        judge(rows)
    lines = str(caught.value).splitlines()
    assert lines[1] == "  data.roles: official in base, mirrored; swapped in turned"
    assert lines[2] == "  evaluation.tta: none in base, turned; flip in mirrored"
    assert "study.mixed_protocols=true" in lines[3]


def test_allowed_mixed_protocols_are_not_compared(row_of):
    rows = [row_of("base", 0.2), row_of("like", 0.9), row_of("mirrored", 0.9, tta="flip")]
    table = judge(rows, mixed_protocols=True)
    found = scores_of(table)
    assert found["like"].difference is not None
    assert found["mirrored"].difference is None
    assert table.protocol == {"source": "fer2013", "roles": "official", "tta": "none / flip"}
    assert (
        table.notes[0]
        == "The rows used different evaluation protocols (evaluation.tta): mirrored not compared with the baseline."
    )


@pytest.mark.parametrize(
    ("other", "tested", "reason"),
    [
        ({"digest": "other"}, {}, "trained or tested on other data"),
        ({"digest": "other"}, {"base": {"test": "a"}, "moved": {"test": "a"}}, "trained or tested on other data"),
        ({"digest": "other"}, {"base": {"test": "a"}, "moved": {"test": "b"}}, "tested on other images"),
        ({"rows_from": 7}, {}, "tested on other images"),
    ],
    ids=["other data", "other training images", "other data to test", "other images"],
)
def test_other_images_are_not_compared(row_of, other, tested, reason):
    rows = [row_of("base", 0.2), row_of("moved", 0.9, **other)]
    table = judge(rows, ["test/acc", "test/macro_f1"], tested=tested)
    assert scores_of(table)["moved"].difference is None
    assert scores_of(table, "test/macro_f1")["moved"].difference is None
    assert f"test/acc, test/macro_f1: {reason} than the baseline, so not compared with it: moved." in table.notes


def test_old_predictions_get_the_split_of_their_role(finished):
    """The files of earlier versions do not say which images form a split."""
    generator = np.random.default_rng(0)
    right = [generator.random(3 * N) < share for share in (0.5, 0.6, 0.7)]
    presets = {
        "swapped": {"val": (PRIVATE,), "test": (PUBLIC,)},
        "holdout": {"val": (TRAINING,), "test": (PUBLIC, PRIVATE)},
        "combined": {"val": (PUBLIC,), "test": (PRIVATE,)},
        "auto": {"val": (TRAINING,), "test": (PUBLIC, PRIVATE)},
    }
    thirds = {TRAINING: slice(0, N), PUBLIC: slice(N, 2 * N), PRIVATE: slice(2 * N, 3 * N)}
    columns = ["val/acc", "test/acc", "public/acc", "private/acc"]
    for roles, parts in presets.items():
        every = {**parts, "public": (PUBLIC,), "private": (PRIVATE,)}
        runs = [finished(one, seed, every, usage=(TRAINING, PUBLIC, PRIVATE), roles=roles) for seed, one in enumerate(right)]
        table = judge([RowRuns("base", (0, 1, 2), tuple(runs))], columns)
        for column in columns:
            found = scores_of(table, column)["base"]
            expected = np.mean([[one[thirds[part]].mean() for part in every[column.split("/")[0]]] for one in right])
            assert (found.mean, found.over_images) == (pytest.approx(expected), True), (roles, column)
        assert table.notes == ()


def test_stored_splits_are_read_as_they_are(finished):
    """Drawn val and test come from one split of the set, and no two rules would show them apart."""
    right = np.tile([True, False, True], 2 * N // 3)
    run = finished(right, parts={}, usage=(TRAINING,))
    stored = run.folder.predictions
    odd = np.arange(2 * N) // 3 % 2 == 1
    inside = {"val": ~odd, "test": odd}
    run.folder.write_predictions(replace(stored, splits=inside))
    splits = {name: scored(stored.probabilities[mask], stored.labels[mask]) for name, mask in inside.items()}
    run = replace(run, result=replace(run.result, splits=splits))
    assert splits["val"].confusion == splits["test"].confusion
    found = split_images(run, [("val", "acc"), ("test", "acc")])
    assert {split: images.rows.tolist() for (split, _), images in found.items()} == {
        name: stored.rows[mask].tolist() for name, mask in inside.items()
    }


def test_predictions_of_another_run_are_refused(finished):
    run, other = finished(np.arange(2 * N) >= N), finished(np.arange(2 * N) >= N + N // 2)
    stored = other.folder.predictions
    run.folder.write_predictions(replace(stored, splits={"test": np.isin(stored.usage, [USAGES.index(PRIVATE)])}))
    with pytest.raises(UserError, match=r"predictions\.npz does not fit the scores of test in result\.json beside it"):
        split_images(run, [("test", "acc")])


def test_old_predictions_of_folders_get_splits_by_score(finished):
    # In a folder the splits are numbered in its own order, here the test split first.
    right = np.random.default_rng(0).random(2 * N) < np.repeat([0.9, 0.4], N)
    run = finished(right, parts={"test": (TRAINING,), "val": (PRIVATE,)}, usage=(TRAINING, PRIVATE), source="folder")
    found = judge([RowRuns("base", (0,), (run,))], ["val/acc", "test/acc", "public/acc"])
    assert scores_of(found, "test/acc")["base"].mean == right[:N].mean()
    assert scores_of(found, "val/acc")["base"].mean == right[N:].mean()
    assert "public/acc: not measured by the runs of base." in found.notes


def with_split(row, name, accuracies, n=2 * N):
    """A row whose runs have one more split, of which nothing but scores is known."""
    runs = []
    for run, acc in zip(row.runs, accuracies, strict=True):
        split = SplitResult(n=n, metrics={"acc": acc, "macro_f1": acc}, per_class={}, confusion=[])
        runs.append(replace(run, result=replace(run.result, splits={name: split, **run.result.splits})))
    return replace(row, runs=tuple(runs))


def test_training_scores_are_judged_over_seeds(row_of):
    values = {"base": (0.7, 0.72, 0.71), "more": (0.8, 0.83, 0.82)}
    rows = [with_split(row_of(label, 0.5), "train", accuracies) for label, accuracies in values.items()]
    table = judge(rows, ["train/acc", "test/acc"])
    found = scores_of(table, "train/acc")["more"]
    reference = stats.ttest_ind(values["more"], values["base"], equal_var=False)
    assert (found.mean, found.sd) == (pytest.approx(np.mean(values["more"])), pytest.approx(np.std(values["more"], ddof=1)))
    assert (found.images, found.over_images) == (2 * N, False)
    assert found.difference.p == pytest.approx(reference.pvalue)
    assert (found.difference.low, found.difference.high) == pytest.approx(tuple(reference.confidence_interval()))
    assert scores_of(table, "test/acc")["more"].over_images
    assert table.notes == ("train/acc: interval over seeds alone, not over images: measured while training.",)


def test_pooled_epochs_need_no_stored_predictions(row_of):
    base = with_split(row_of("base", 0.5), "test_pooled", (0.5, 0.52, 0.51))
    for run in base.runs:
        run.folder.predictions_file.unlink()
    table = judge([base], ["test_pooled/acc", "test_pooled/macro_f1"])
    low, high = stats.t.interval(0.95, 2, 0.51, 0.01 / math.sqrt(3))
    found = scores_of(table, "test_pooled/acc")["base"]
    assert (found.low, found.high) == pytest.approx((low, high))
    assert table.notes == (
        "test_pooled/acc, test_pooled/macro_f1: interval over seeds alone, not over images: "
        "every image counts once per epoch, so images are not independent.",
    )


def test_copied_test_images_are_judged_over_seeds(row_of):
    rows = [row_of("base", 0.2, balance="copies 10"), row_of("more", 0.9, balance="copies 10")]
    table = judge(rows, ["val/acc", "test/acc"])
    found, alone = scores_of(table, "test/acc")["more"], scores_of(table, "val/acc")["more"]
    values = [[run.result.splits["test"].metrics["acc"] for run in row.runs] for row in rows]
    assert (found.over_images, alone.over_images) == (False, True)
    assert found.difference.p == pytest.approx(stats.ttest_ind(*values, equal_var=False).pvalue)
    assert table.notes == (
        "test/acc: interval over seeds alone, not over images: some of its test images are copies of each other.",
    )


def test_a_problem_of_some_rows_names_them(row_of):
    table = judge([row_of("base", 0.2), row_of("copied", 0.9, balance="copies 10")], mixed_protocols=True)
    assert "test/acc of copied: interval over seeds alone, not over images: some of its test" in "\n".join(table.notes)
    assert scores_of(table)["base"].over_images


def test_one_run_without_images_has_a_value_alone(row_of):
    rows = [with_split(row_of(label, 0.5, (0,)), "train", [acc]) for label, acc in (("base", 0.7), ("more", 0.8))]
    table = judge(rows, ["train/acc"])
    found = scores_of(table, "train/acc")["more"]
    assert (found.mean, found.difference.value) == (0.8, pytest.approx(0.1))
    assert all(math.isnan(value) for value in (found.sd, found.low, found.high, found.difference.p))
    assert found.difference.verdict == "n=1: these two networks only"
    assert table.notes[1:] == ("n=1 (all rows): no interval and no test, since one run does not show what the seed contributes.",)


def test_top2_is_the_metric_of_the_run(row_of):
    base = row_of("base", 0.5)
    expected = []
    for run in base.runs:
        stored = run.folder.predictions
        true = score(torch.from_numpy(stored.probabilities[N:]), torch.from_numpy(stored.labels[N:]), CLASSES).metrics["top2"]
        run.result.splits["test"].metrics["top2"] = true
        expected.append(true)
    found = scores_of(judge([base], ["test/top2"]), "test/top2")["base"]
    assert found.mean == pytest.approx(np.mean(expected))
    assert found.over_images


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_equal_probabilities_are_ordered_as_by_torch(classes):
    # Multiples of a quarter, so that many are equal; and images whose scores are all the same, or no numbers.
    draw = np.random.default_rng(0)
    probabilities = (draw.integers(0, 5, (3000, classes)) / 4).astype(np.float32)
    probabilities[:20], probabilities[20:30] = 0, np.nan
    labels = draw.integers(0, classes, len(probabilities))
    likeliest = torch.from_numpy(probabilities).topk(2, dim=1).indices.numpy()
    assert np.array_equal(from_probabilities("top2", labels, probabilities), (likeliest == labels[:, None]).any(axis=1))


@pytest.mark.parametrize("damage", ["gone", "cut", "bits flipped", "of another run"])
def test_one_damaged_file_changes_its_row_alone(row_of, damage):
    base, more, hurt = row_of("base", 0.3), row_of("more", 0.9), row_of("hurt", 0.9)
    whole = judge([base, more])
    file = hurt.runs[1].folder.predictions_file
    if damage == "gone":
        file.unlink()
    elif damage == "cut":
        file.write_bytes(file.read_bytes()[:200])
    elif damage == "bits flipped":
        with zipfile.ZipFile(file) as archive:
            start = archive.getinfo("predicted.npy").header_offset + 60
        content = bytearray(file.read_bytes())
        content[start : start + 20] = bytes(255 - one for one in content[start : start + 20])
        file.write_bytes(content)
    else:
        file.write_bytes(base.runs[0].folder.predictions_file.read_bytes())
    table = judge([base, more, hurt])
    found = scores_of(table)
    values = [[run.result.splits["test"].metrics["acc"] for run in row.runs] for row in (hurt, base)]
    assert not found["hurt"].over_images
    assert found["hurt"].difference.p == pytest.approx(stats.ttest_ind(*values, equal_var=False).pvalue, rel=1e-4)
    assert found["more"].difference.p == scores_of(whole)["more"].difference.p
    assert sum(str(file) in note and note.startswith("hurt: judged over seeds alone") for note in table.notes) == 1


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (
            "test/accu",
            r"study\.columns: test/accu .* Did you mean 'acc'\? Choices: acc, top2, .*loss, .*support/<class>\. "
            r"Examples: test/acc, test/recall/fear\.",
        ),
        (
            "tset/acc",
            r"study\.columns: tset/acc .* Did you mean 'test'\? "
            r"Choices: train, val, test, public, private, train_eval, train_pooled, test_pooled\.",
        ),
        ("acc", r"study\.columns: acc does not begin with a split"),
    ],
)
def test_an_unknown_column_is_named_with_the_choices(row_of, column, message):
    with pytest.raises(UserError, match=message):
        judge([row_of("base", 0.5)], ["test/acc", column])


def test_an_unknown_baseline_is_named_with_the_rows(row_of):
    with pytest.raises(UserError, match=r"there is no row 'bass'\. Did you mean 'base'\? Choices: base, more\."):
        judge([row_of("base", 0.5), row_of("more", 0.5)], baseline="bass")


def test_rows_not_yet_run_show_published_and_failed(row_of, tmp_path):
    failure = Failure(1, "out of memory", tmp_path / "log.txt")
    waiting = RowRuns("waiting", (0, 1), (), (failure,), {"test/acc": Published(70.0)}, 4)
    table = judge([row_of("base", 0.5, (2, 0)), waiting], factor="model.conv_layers")
    base, row = table.rows
    assert (row.scores, row.finished, row.failures, row.factor, row.parameters) == ({}, (), (failure,), 4, None)
    assert row.published["test/acc"].value == 70.0
    assert (base.baseline, base.finished, base.parameters, base.macs, base.seconds) == (
        True,
        (Repeat(0), Repeat(2)),
        1234,
        5678,
        11.0,
    )
    assert (table.factor, table.study, table.columns) == ("model.conv_layers", "depth", ("test/acc",))


def test_without_baseline_the_other_scores_stay(row_of):
    table = judge([RowRuns("base", (0, 1), ()), row_of("more", 0.9)])
    assert scores_of(table)["more"].difference is None
    assert table.rows[0].scores == {}


def test_nothing_finished_makes_an_empty_table():
    table = judge([RowRuns("base", (0, 1), ()), RowRuns("more", (0, 1), ())])
    assert [row.scores for row in table.rows] == [{}, {}]
    assert (table.protocol, table.notes) == ({}, ())


def test_stale_runs_are_counted(row_of):
    base = row_of("base", 0.5)
    runs = (replace(base.runs[0], stale=True), *base.runs[1:])
    assert judge([replace(base, runs=runs)]).rows[0].stale == 1


def test_intervals_of_fractions_stay_within_bounds(row_of):
    rows = {"base": (0.2, 0.8), "wild": (0.1, 0.95)}
    base, wild = (with_split(row_of(label, 0.5, seeds=(0, 1)), "train", values) for label, values in rows.items())
    difference = scores_of(judge([base, wild], ["train/acc"]), "train/acc")["wild"].difference
    assert (difference.low, difference.high) == (-1, 1)
    assert difference.verdict.startswith("within noise (could be -100.0 to +100.0")


def test_intervals_hold_possible_values_only():
    assert possible("acc", (-0.1, 1.2)) == (0.0, 1.0)
    assert possible("auc", (0.7, 1.009)) == (0.7, 1.0)
    assert possible("kappa", (-1.2, 0.3)) == (-1.0, 0.3)
    assert possible("loss", (-4.0, 12.5)) == (0.0, 12.5)
    assert possible("mine", (-4.0, 12.5)) == (-4.0, 12.5)
    assert all(map(math.isnan, possible("auc", (math.nan, math.nan))))


@pytest.mark.parametrize(("row", "baseline"), [([math.nan, 0.4], [0.5, 0.6]), ([math.nan, math.nan], [0.5, 0.5])])
def test_a_metric_without_a_number_is_not_compared(row, baseline):
    one, other = (SeedEvidence((0, 1), np.array(values), 40, None, None, "") for values in (row, baseline))
    found = compared(one, other, None)
    assert math.isnan(found.p)
    assert (found.estimate, found.without_estimate) == (None, "no number in some run")


def test_rows_with_the_same_runs_are_not_compared(row_of):
    base, more = row_of("base", 0.5), row_of("more", 0.9)
    twin = replace(base, label="twin")
    table = judge([base, more, twin])
    found = scores_of(table)
    assert (found["twin"].difference.verdict, found["twin"].difference.kind) == ("the same runs as base", Verdict.same_runs)
    assert math.isnan(found["twin"].difference.low)
    assert table.notes[0].startswith("twin has the same runs as base")
    # The correction counts the other row alone.
    assert found["more"].difference.p_holm == found["more"].difference.p


def test_rows_that_share_some_runs_are_compared(row_of):
    base, other = row_of("base", 0.5, (0, 1, 2)), row_of("other", 0.9, (0, 1, 2))
    mixed = replace(other, label="mixed", runs=(base.runs[0], *other.runs[1:]))
    table = judge([base, mixed])
    assert scores_of(table)["mixed"].difference.kind is not Verdict.same_runs
    assert not any("same runs" in note for note in table.notes)


@pytest.mark.parametrize(
    ("column", "value", "shown", "question", "remedy"),
    [
        ("test/acc", 0.6262, "0.6262 (a fraction?)", "of 0.6262 a fraction?", "write 62.62 for 62.62 %"),
        ("test/auc", 90.0, "90 (percent?)", "of 90 in percent?", "write 0.9 for 90 %"),
        ("test/kappa", 55.5, "55.5 (percent?)", "of 55.5 in percent?", "write 0.555 for 55.5 %"),
    ],
)
def test_a_published_number_of_another_unit_is_doubted(row_of, column, value, shown, question, remedy):
    rows = [row_of("base", 0.5, (0, 1), published={column: value}), row_of("more", 0.9, (0, 1))]
    table = judge(rows, columns=[column])
    score = scores_of(table, column)["base"]
    assert (score.published.value, score.gap, score.agrees) == (value, None, None)
    assert table.notes[0].startswith(f"base: is the published {column} {question}")
    assert remedy in table.notes[0]
    (cells,) = (one.cells for one in shown_table(table).columns if one.name == "published")
    assert cells[0] == shown
    assert shown == f"{value:g} ({table_frame(table)['published_unit'][0]})"


def test_a_margin_makes_sameness_a_verdict(row_of):
    rows = [row_of("base", 0.5, range(6)), row_of("equal", 0.5, range(6)), row_of("more", 0.95, range(6))]
    verdicts = {margin: scores_of(judge(rows, margin=margin)) for margin in (None, 1.0, 25.0)}
    assert {margin: found["equal"].difference.kind for margin, found in verdicts.items()} == {
        None: Verdict.noise,
        1.0: Verdict.noise,
        25.0: Verdict.same,
    }
    assert verdicts[25.0]["equal"].difference.verdict.startswith("the same within 25 points (")
    assert {found["more"].difference.kind for found in verdicts.values()} == {Verdict.better}
    table = judge(rows, margin=25.0)
    assert any(note.startswith("Margin of 25 points: ") for note in table.notes)
    assert JudgedTable.from_json(table.to_json()) == table


def test_noise_says_how_many_seeds_it_takes(row_of):
    rows = [row_of("base", 0.5)] + [row_of(f"row {number}", 0.5 + 0.03 * number, draw=number) for number in range(5)]
    within = [
        score.difference
        for score in scores_of(judge(rows)).values()
        if score.difference and score.difference.kind is Verdict.noise
    ]
    needed = [one.seeds_needed for one in within if one.seeds_needed is not None]
    assert needed
    assert min(needed) > 3
    words = {f"about {number} seeds would show" for number in needed}
    assert all(any(word in one.verdict for word in words) for one in within if one.seeds_needed is not None)
    assert all("would show" in one.verdict for one in within if float(f"{100 * abs(one.value):.1f}"))


def test_one_seed_beside_many_has_the_usual_spread(row_of):
    rows = [
        row_of("base", 0.5, range(4)),
        row_of("one", 0.6, (0,)),
        *(row_of(f"row {number}", 0.5, range(4)) for number in range(3)),
    ]
    table, alone = judge(rows), judge([rows[0], rows[1]])
    found, two = scores_of(table)["one"], scores_of(alone)["one"]
    assert found.high - found.low >= two.high - two.low  # equal, since these seeds differ by their images alone
    assert not math.isnan(found.difference.low)
    assert "n=1 (one): the spread between its seeds is taken to be the usual one of this table." in table.notes
    assert two.difference.verdict.startswith("n=1: these two networks only")


def test_images_of_a_person_count_together(row_of):
    """Ten images of each of six persons: the interval is that of six draws, not of sixty."""
    base, more = row_of("base", 0.5), row_of("more", 0.8)
    single = scores_of(judge([base, more]))["more"].difference
    for run in (*base.runs, *more.runs):
        stored = run.folder.predictions
        run.folder.write_predictions(replace(stored, groups=np.arange(2 * N) // 10))
    table = judge([base, more])
    found = scores_of(table)["more"].difference
    assert found.value == pytest.approx(single.value)
    assert (found.low, found.high) != pytest.approx((single.low, single.high))
    assert any("over the 6 groups (data.group)" in note for note in table.notes)


def test_unlike_machines_are_named(row_of):
    """Runs of one key may differ in threads, number format and machine, so the table names what differs."""
    rows = [row_of("base", 0.5), row_of("more", 0.5, draw=1)]
    for row, threads in zip(rows, ("1", "2"), strict=True):
        for run in row.runs:
            run.result.environment.update(threads=threads, precision="32-true", hardware="EPYC")
    notes = judge(rows).notes
    (note,) = [text for text in notes if "computed" in text]
    assert note.startswith("The runs were computed with different numbers of threads: 1 (3 runs), 2 (3 runs).")
