import numpy as np
import pytest
import torch
from sklearn import metrics as sklearn_metrics

from fer_ablate.labels import EMOTIONS
from fer_ablate.metrics.scores import build_metrics, epoch_metrics, from_confusion, score


@pytest.fixture
def predictions():
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 7, (400,), generator=generator)
    scores = torch.randn(400, 7, generator=generator) + 2 * torch.nn.functional.one_hot(labels, 7)
    return scores.double().softmax(1), labels


def test_scores_agree_with_sklearn(predictions):
    probabilities, labels = predictions
    found = score(probabilities, labels, EMOTIONS).metrics
    guess = probabilities.argmax(1)
    expected = {
        "acc": sklearn_metrics.accuracy_score(labels, guess),
        "top2": sklearn_metrics.top_k_accuracy_score(labels, probabilities, k=2, labels=range(7)),
        "loss": sklearn_metrics.log_loss(labels, probabilities.double(), labels=range(7)),
    }
    for average in ("macro", "weighted"):
        numbers = sklearn_metrics.precision_recall_fscore_support(labels, guess, average=average)
        expected |= {f"{average}_{name}": value for name, value in zip(("precision", "recall", "f1"), numbers, strict=False)}
    assert found.keys() == {*expected, "ece"}
    assert {name: found[name] for name in expected} == pytest.approx(expected, rel=1e-5)


def test_per_class_and_confusion_agree_with_sklearn(predictions):
    probabilities, labels = predictions
    found = score(probabilities, labels, EMOTIONS)
    report = sklearn_metrics.classification_report(labels, probabilities.argmax(1), target_names=EMOTIONS, output_dict=True)
    for name in EMOTIONS:
        assert list(found.per_class[name].values()) == pytest.approx(list(report[name].values()))
    assert found.confusion == sklearn_metrics.confusion_matrix(labels, probabilities.argmax(1)).tolist()
    assert found.n == 400


def test_confusion_has_truth_in_rows():
    found = score(torch.tensor([[0.1, 0.9]]), torch.tensor([0]), ("no", "yes"))
    assert found.confusion == [[0, 1], [0, 0]]


def test_calibration_error_by_hand():
    probabilities = torch.tensor([[0.9, 0.1], [0.9, 0.1], [0.35, 0.65]])
    labels = torch.tensor([0, 1, 1])
    # Two images at 0.9, half of them right; one at 0.65, right.
    assert score(probabilities, labels, "ab").metrics["ece"] == pytest.approx(2 / 3 * 0.4 + 1 / 3 * 0.35, rel=1e-5)


def test_a_class_never_predicted_or_absent_scores_0():
    probabilities = torch.eye(3)[[0, 0, 1, 0]]
    found = score(probabilities, torch.tensor([0, 2, 0, 0]), "abc")
    assert list(found.per_class["b"].values()) == [0, 0, 0, 0]  # predicted once, absent
    assert list(found.per_class["c"].values()) == [0, 0, 0, 1]  # present once, never predicted
    assert all(np.isfinite(value) for value in found.metrics.values())
    assert found.metrics["macro_f1"] == pytest.approx((2 / 3) / 3)


def test_absent_classes_are_left_out_of_macro_means():
    probabilities, labels = torch.eye(3)[[0, 1]], torch.tensor([0, 1])
    expected = sklearn_metrics.f1_score(labels, probabilities.argmax(1), average="macro")
    assert score(probabilities, labels, "abc").metrics["macro_f1"] == expected == 1


def test_one_certain_mistake_leaves_the_loss_finite():
    assert score(torch.tensor([[1.0, 0.0]]), torch.tensor([1]), "ab").metrics["loss"] == pytest.approx(12 * np.log(10))


def test_batches_add_up_to_the_whole(predictions):
    probabilities, labels = predictions
    collection = build_metrics(7, prefix="val/")
    for start in range(0, 400, 150):
        collection.update(probabilities[start : start + 150], labels[start : start + 150])
    found = collection.compute()
    confusion = found.pop("val/confusion")
    whole = score(probabilities, labels, EMOTIONS)
    assert confusion.tolist() == whole.confusion
    assert {name.removeprefix("val/"): float(value) for name, value in found.items()} == pytest.approx(
        {name: value for name, value in whole.metrics.items() if name != "loss"}
    )


def test_metrics_of_training_are_those_of_tests(predictions):
    probabilities, labels = predictions
    watched = epoch_metrics(7).clone(prefix="val/")
    watched.update(probabilities.log() + 3, labels)
    final = score(probabilities, labels, EMOTIONS).metrics
    assert {name: float(value) for name, value in watched.compute().items()} == pytest.approx(
        {f"val/{name}": final[name] for name in ("acc", "top2", "macro_f1")}
    )


@pytest.mark.parametrize("classes", [range(7), [0, 2, 3]], ids=["all present", "some neither present nor predicted"])
def test_scores_of_counts_agree_with_sklearn(predictions, classes):
    probabilities, labels = predictions
    guess = probabilities[:, list(classes)].argmax(1).apply_(lambda index: classes[index])
    kept = torch.isin(labels, torch.tensor(list(classes)))
    labels, guess = labels[kept], guess[kept]
    confusion = sklearn_metrics.confusion_matrix(labels, guess, labels=range(7)).tolist()
    found = from_confusion(confusion, EMOTIONS, {"top2": 0.9, "loss": 1.5})
    expected = {"acc": sklearn_metrics.accuracy_score(labels, guess), "top2": 0.9, "loss": 1.5}
    for average in ("macro", "weighted"):
        numbers = sklearn_metrics.precision_recall_fscore_support(labels, guess, average=average)
        expected |= {f"{average}_{name}": value for name, value in zip(("precision", "recall", "f1"), numbers, strict=False)}
    assert found.metrics == pytest.approx(expected)
    assert (found.n, found.confusion) == (len(labels), confusion)


def test_counts_tell_what_the_predictions_tell(predictions):
    probabilities, labels = predictions
    whole = score(probabilities, labels, EMOTIONS)
    extra = {name: whole.metrics[name] for name in ("top2", "loss", "ece")}
    counted = from_confusion(whole.confusion, EMOTIONS, extra)
    assert counted.metrics == pytest.approx(whole.metrics, rel=1e-5)
    assert (counted.n, counted.per_class, counted.confusion) == (whole.n, whole.per_class, whole.confusion)
