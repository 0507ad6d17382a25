import re
from dataclasses import replace

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.text import Annotation
from PIL import Image

from fer_ablate.report.plots.canvas import GRAY, GREEN, ORANGE, save_figure
from fer_ablate.report.plots.cost import cost_figure
from fer_ablate.report.plots.study import differences_figure, factor_figure, save_study_figures, study_curves_figure

from ..cases import cases
from .example_tables import difference, fer_kd_table, long_table, odd_tables, row, score, table, unfinished_table

ODD = odd_tables()


def swept(values):
    rows = [row(str(value), {"test/acc": score(0.6 + place / 100)}, factor=value) for place, value in enumerate(values)]
    return table(rows, factor="optimizer.lr")


def points(axes):
    """Markers of single points, as (x, y)."""
    return [(line.get_xdata()[0], line.get_ydata()[0]) for line in axes.lines if line.get_marker() in ("o", "s")]


def histories(given, epochs=(8, 6, 7)):
    return {
        one.label: [
            [{"epoch": epoch, "time_ms": 0, "val/acc": 0.1 * place + 0.05 * epoch} for epoch in range(1, count + 1)]
            for place, count in enumerate(epochs[: len(one.finished)])
        ]
        for one in given.rows
    }


def test_the_factor_plot_shows_every_row_in_percent():
    axes = factor_figure(swept([4, 2, 3]), "test/acc").axes[0]
    assert points(axes) == [(2, pytest.approx(61)), (3, pytest.approx(62)), (4, pytest.approx(60))]
    assert axes.get_xlabel() == "optimizer.lr"
    assert axes.get_ylabel() == "test acc, %"
    assert axes.get_xscale() == "linear"


@pytest.mark.parametrize(
    ("values", "scale"), [([0.0001, 0.001, 0.1], "log"), ([1, 50], "linear"), ([0, 1000], "linear"), ([-1, 500], "linear")]
)
def test_two_decades_get_a_logarithmic_axis(values, scale):
    axes = factor_figure(swept(values), "test/acc").axes[0]
    assert axes.get_xscale() == scale
    assert [text.get_text() for text in axes.get_xticklabels()] == [f"{value:g}" for value in values]


def test_words_keep_the_order_of_the_study():
    axes = factor_figure(swept(["sgd", "adam", "lion"]), "test/acc").axes[0]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["sgd", "adam", "lion"]
    assert [x for x, _ in points(axes)] == [0, 1, 2]


def test_without_factor_or_score_nothing_is_plotted():
    assert factor_figure(unfinished_table(), "test/acc") is None
    assert factor_figure(table([row("a", factor=1.0)], factor="k"), "test/acc") is None


def test_differences_in_points_are_coloured_by_verdict():
    rows = [row("base", {"test/acc": score(0.6)}, baseline=True)]
    for label, value in (("up", 0.03), ("down", -0.03), ("same", 0.002)):
        rows.append(row(label, {"test/acc": score(0.6 + value, difference=difference(value, 0.01))}))
    axes = differences_figure(table(rows), "test/acc").axes[0]
    assert points(axes) == [(pytest.approx(3), 0), (pytest.approx(-3), 1), (pytest.approx(0.2), 2)]
    markers = [line for line in axes.lines if line.get_marker() == "o"]
    assert [to_hex(marker.get_color()) for marker in markers] == [GREEN, ORANGE, GRAY]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["up", "down", "same"]
    assert "better by 2.0 to 4.0 points" in [text.get_text() for text in axes.texts]


def test_differences_of_one_seed_have_no_interval():
    axes = differences_figure(fer_kd_table(1), "test/acc").axes[0]
    assert {line.get_markerfacecolor() for line in axes.lines if line.get_marker() == "o"} == {"white"}
    assert not axes.collections


@pytest.mark.long
def test_two_panels_show_the_costs_of_rows():
    picture = cost_figure(fer_kd_table(), "test/acc")
    labels = {one.label for one in fer_kd_table().rows}
    assert [axes.get_xlabel() for axes in picture.axes] == ["parameters", "training time, min"]
    for axes in picture.axes:
        assert len(points(axes)) == 8
        assert {text.get_text() for text in axes.texts} == labels


@pytest.mark.parametrize("given", cases({"14 x 1": long_table(14), "8 x 3": fer_kd_table(), "8 x 1": fer_kd_table(1)}, slow=...))
def test_names_in_the_cost_plot_do_not_overlap(given):
    picture = cost_figure(given, "test/acc")
    picture.canvas.draw()
    for axes in picture.axes:
        names = [text for text in axes.texts if isinstance(text, Annotation)]
        boxes = [mpl.text.Text.get_window_extent(name) for name in names]
        assert len(boxes) == len(given.rows)
        assert not [(a, b) for a, one in enumerate(boxes) for b, other in enumerate(boxes) if a < b and one.overlaps(other)]


def test_many_rows_are_numbered_with_a_key():
    picture = cost_figure(long_table(14), "test/acc")
    assert {text.get_text() for text in picture.axes[0].texts} == {str(place) for place in range(1, 15)}
    key = [text.get_text() for text in picture.legends[0].get_texts()]
    assert key[1] == "2  optimizer=adam scheduler=plateau"


def test_equally_large_networks_are_compared_by_time():
    assert [axes.get_xlabel() for axes in cost_figure(long_table(14), "test/acc").axes] == ["training time, min"]


def test_the_mean_curve_ends_with_its_shortest_seed():
    runs = [[{"epoch": epoch, "val/acc": value} for epoch in range(1, count + 1)] for count, value in ((5, 0.2), (3, 0.4))]
    axes = study_curves_figure({"a": runs}).axes[0]
    lengths = {len(line.get_xdata()): line for line in axes.lines if line.get_linewidth() > 1}
    assert list(lengths) == [3]
    assert lengths[3].get_ydata() == pytest.approx([30, 30, 30])
    assert sorted(len(line.get_xdata()) for line in axes.lines if line.get_linewidth() < 1) == [3, 5]


def test_curves_leave_out_what_was_not_measured():
    assert study_curves_figure({}) is None
    assert study_curves_figure({"a": [[]], "b": [[{"epoch": 1, "train/loss": 1.0}]]}) is None
    gaps = [{"epoch": 1, "val/acc": 0.1}, {"epoch": 2}, {"epoch": 3, "val/acc": float("nan")}, {"epoch": 4, "val/acc": 0.4}]
    assert list(study_curves_figure({"a": [gaps]}).axes[0].lines[0].get_xdata()) == [1, 4]


def test_rows_beyond_the_colours_differ_by_dashes():
    lines = study_curves_figure(histories(long_table(20))).axes[0].lines
    assert len({(line.get_color(), line.get_linestyle()) for line in lines}) == 20


@pytest.mark.slow
def test_plots_are_small_and_written_reproducibly(tmp_path):
    given = replace(fer_kd_table(), columns=("test/acc",))
    first, second = (save_study_figures(tmp_path / name, given, histories(given)) for name in ("first", "second"))
    assert {path.stem for path in first} == {"factor-test-acc", "differences-test-acc", "cost-test-acc", "curves"}
    assert {path.suffix for path in first} == {".png", ".svg"}
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes()
        assert one.stat().st_size < 300_000
        if one.suffix == ".png":
            with Image.open(one) as image:
                assert max(image.size) <= 1600


def test_svgs_keep_their_text(tmp_path):
    save_figure(differences_figure(fer_kd_table(), "test/acc"), tmp_path / "differences.svg")
    text = (tmp_path / "differences.svg").read_text()
    words = [re.sub(r"&#x2212;", "-", found) for found in re.findall(r"<text[^>]*>([^<]*)</text>", text)]
    assert {"+1 Conv", "-4 Conv", "worse by 15.6 to 18.0 points"} <= set(words)
    assert "<dc:date>" not in text


def test_pictures_that_are_no_longer_drawn_go_away(tmp_path):
    save_study_figures(tmp_path, table([row("a", {"test/acc": score(0.6)}, baseline=True)]), {})
    assert save_study_figures(tmp_path, table([row("a", baseline=True)]), {}) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.long
@pytest.mark.parametrize(
    "name", cases({name: name for name in ODD}, slow=["one row", "no baseline finished", "no spread", "thirty rows"])
)
def test_odd_tables_are_drawn_or_left_out(name, tmp_path):
    written = save_study_figures(tmp_path, ODD[name], histories(ODD[name]))
    finished = any(np.isfinite(one.mean) for each in ODD[name].rows for one in each.scores.values())
    assert bool(written) == finished or name == "not numbers"
    assert {path.name for path in written} == {path.name for path in tmp_path.iterdir()}
