import numpy as np
import pytest
from PIL import Image

from fer_ablate.labels import EMOTIONS
from fer_ablate.report.plots.canvas import save_figure
from fer_ablate.report.plots.run import run_confusion_figure, run_curves_figure, run_faces_figure, shown_faces

from ..cases import cases


def words(picture):
    """All text of a figure, in drawing order."""
    return [text.get_text() for text in picture.findobj(lambda artist: hasattr(artist, "get_text")) if text.get_text()]


def sample(n=60):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 7, n)
    probabilities = rng.dirichlet(np.ones(7), n).astype(np.float32)
    return rng.integers(0, 256, (n, 1, 48, 48)).astype(np.uint8), labels, probabilities


def test_confusion_shows_counts_and_percentages_of_the_truth():
    picture = run_confusion_figure([[3, 1], [0, 4]], ["happy", "sad"])
    cells = [text.get_text() for text in picture.axes[0].texts]
    assert cells == ["75 %\n3", "25 %\n1", "0", "100 %\n4"]
    assert picture.axes[0].get_title() == "87.50 % of 8 images right"
    assert [tick.get_text() for tick in picture.axes[0].get_yticklabels()] == ["happy (4)", "sad (4)"]


def test_an_absent_class_has_zero_percent_confusion():
    picture = run_confusion_figure([[0, 0], [0, 4]], ["happy", "sad"])
    assert [text.get_text() for text in picture.axes[0].texts] == ["0", "0", "0", "100 %\n4"]


def test_curves_mark_the_epoch_with_the_best_accuracy():
    history = [{"epoch": epoch, "lr": 0.1, "val/acc": acc, "val/loss": 1.0} for epoch, acc in ((1, 0.2), (2, 0.5), (3, 0.4))]
    assert "best epoch 2" in words(run_curves_figure(history))
    assert "best epoch 3" in words(run_curves_figure(history, best_epoch=3))
    line = run_curves_figure(history).axes[1].lines[0]
    assert line.get_ydata() == pytest.approx([20, 50, 40])


@pytest.mark.parametrize("history", [[], [{"epoch": 1, "lr": 0.1, "train/loss": 1.0}]], ids=["no epoch", "one without val"])
def test_curves_of_a_short_run_can_be_drawn(history, tmp_path):
    save_figure(run_curves_figure(history), tmp_path / "curves.png")


def test_captions_show_prediction_and_probability_of_faces():
    faces, _, _ = sample(2)
    picture = run_faces_figure(faces, np.array([0, 1]), np.array([[0.9, 0.1], [0.8, 0.2]], np.float32), ["happy", "sad"])
    assert [text.get_text() for axes in picture.axes for text in axes.texts] == ["happy 90 %", "happy 80 %\ntruth: sad"]


def test_colour_faces_keep_their_colours_and_their_shape():
    faces = np.zeros((1, 3, 40, 56), np.uint8)
    faces[0, 0] = 200
    axes = run_faces_figure(faces, np.array([0]), np.array([[0.9, 0.1]], np.float32), ["happy", "sad"]).axes[0]
    (shown,) = axes.images
    assert shown.get_array().shape == (40, 56, 3)
    assert shown.get_array()[0, 0].tolist() == [200, 0, 0]
    left, right, lower, upper = shown.get_extent()
    assert (right - left) / (lower - upper) == pytest.approx(56 / 40)
    assert axes.texts[0].get_position()[1] == pytest.approx(upper - 0.04)  # right above the face, not above a square


def test_long_class_names_are_shown_where_they_fit():
    said = words(run_confusion_figure([[3, 1], [0, 4]], ["a $b$ class", "quite the longest name of all"]))
    assert r"a \$b\$ class" in said
    assert "quite the lo…name of all" in said


@pytest.mark.slow
def test_a_hundred_classes_fit_a_screen(tmp_path):
    picture = run_confusion_figure(np.eye(100, dtype=int), [f"person {number}" for number in range(100)])
    assert not picture.axes[0].texts
    assert picture.axes[0].get_yticklabels()[99].get_text() == "person 99 (1)"
    save_figure(picture, tmp_path / "confusion.png")
    with Image.open(tmp_path / "confusion.png") as image:
        assert max(image.size) <= 2100


def test_the_shown_faces_alone_make_the_same_picture():
    faces, labels, probabilities = sample(300)
    chosen = shown_faces(labels, probabilities)
    assert len(chosen) == 32
    whole, part = (
        run_faces_figure(faces[rows], labels[rows], probabilities[rows], EMOTIONS) for rows in (np.arange(300), chosen)
    )
    assert words(whole) == words(part)
    for one, other in zip(whole.axes, part.axes, strict=True):
        for shown, again in zip(one.images, other.images, strict=True):
            np.testing.assert_array_equal(shown.get_array(), again.get_array())


def test_the_surest_faces_of_each_class_come_first():
    faces = np.zeros((40, 48, 48), np.uint8)
    labels = np.array([0] * 20 + [1] * 20)
    sure = np.linspace(0.6, 0.98, 20, dtype=np.float32)
    probabilities = np.concatenate([np.stack([sure, 1 - sure], 1), np.stack([1 - sure, sure], 1)])
    picture = run_faces_figure(faces, labels, probabilities, ["happy", "sad"])
    captions = [text.get_text() for text in picture.axes[0].texts]
    assert captions[:4] == ["happy 98 %", "sad 98 %", "happy 96 %", "sad 96 %"]


PICTURES = {
    "confusion": lambda: run_confusion_figure(np.eye(7, dtype=int) * 100, EMOTIONS),
    "faces": lambda: run_faces_figure(*sample(), EMOTIONS),
    "curves": lambda: run_curves_figure(
        [{"epoch": epoch, "lr": 0.1, "val/acc": 0.5, "train/loss": 1.0} for epoch in range(1, 50)]
    ),
}


@pytest.mark.parametrize("draw", cases(PICTURES, slow=...))
def test_pictures_are_the_same_every_time_and_small(draw, tmp_path):
    first, second = tmp_path / "first.png", tmp_path / "second.png"
    for file in (first, second):
        save_figure(draw(), file)
    assert first.read_bytes() == second.read_bytes()
    assert first.stat().st_size < 300_000
    with Image.open(first) as image:
        assert max(image.size) <= 1300
