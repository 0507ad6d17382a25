import pytest
from PIL import Image

from fer_ablate.report.plots.search import history_figure, importance_figure, pareto_figure, save_search_figures
from fer_ablate.search.trials import SearchSummary, TrialRecord


def trial(number, *values, state="done", last=None):
    return TrialRecord(number, state, {"optimizer.lr": 0.1}, values, last=last)


@pytest.fixture
def single():
    """Two trials done, one pruned, one failed, one done behind them."""
    trials = (
        trial(0, 0.5),
        trial(1, 0.4),
        trial(2, state="pruned", last=(1, 0.2)),
        trial(3, state="failed"),
        trial(4, 0.7),
        trial(5, 0.6),
    )
    importances = {"val/acc": {"optimizer.lr": 0.75, "model.width": 0.25}}
    return SearchSummary("depth", ("val/acc",), ("maximize",), trials, (trials[4],), importances)


@pytest.fixture
def several():
    trials = (trial(0, 0.5, 1e4), trial(1, 0.7, 2e6), trial(2, 0.6, 3e6))
    return SearchSummary("both", ("val/acc", "run/parameters"), ("maximize", "minimize"), trials, (trials[1], trials[0]), {})


def drawn(axes):
    """Label -> points, of everything in a panel."""
    lines = {line.get_label(): list(zip(line.get_xdata(), line.get_ydata(), strict=True)) for line in axes.lines}
    return lines | {dots.get_label(): [tuple(point) for point in dots.get_offsets()] for dots in axes.collections}


def test_the_history_shows_trials_and_best_so_far(single):
    picture = history_figure(single)
    found = drawn(picture.axes[0])
    assert found["done"] == [(0, 50), (1, 40), (4, 70), (5, 60)]
    assert found["best so far"] == [(0, 50), (1, 50), (4, 70), (5, 70), (5, 70)]
    assert found["pruned: last value"] == [(2, 20)]
    assert [point[0] for point in found["failed"]] == [3]
    assert picture.axes[0].get_title() == "depth: 4 done, 1 pruned, 1 failed"


def test_less_may_be_better(single):
    lower = SearchSummary("loss", ("val/loss",), ("minimize",), single.trials, single.best, {})
    assert drawn(history_figure(lower).axes[0])["best so far"] == [(0, 0.5), (1, 0.4), (4, 0.4), (5, 0.4), (5, 0.4)]


def test_the_front_is_joined_in_order_of_cost(several):
    axes = pareto_figure(several).axes[0]
    assert drawn(axes)["not beaten"] == [(1e4, 50), (2e6, 70)]
    assert drawn(axes)["beaten"] == [(3e6, 60)]
    assert [text.get_text() for text in axes.texts] == ["0", "1"]
    assert (axes.get_xscale(), axes.get_xlabel(), axes.get_ylabel()) == ("log", "parameters", "val acc, %")


def test_the_weightiest_parameter_stands_on_top(single):
    axes = importance_figure(single).axes[0]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["model.width", "optimizer.lr"]
    assert [text.get_text() for text in axes.texts] == ["25 %", "75 %"]


@pytest.mark.long
def test_only_what_there_is_is_drawn(single, several, tmp_path):
    empty = SearchSummary("empty", ("val/acc",), ("maximize",), (trial(0, state="failed"),), (), {})
    assert save_search_figures(tmp_path / "empty", empty) == []
    assert [file.name for file in save_search_figures(tmp_path, single)] == ["history.png", "importance.png"]
    files = save_search_figures(tmp_path, several)
    assert [file.name for file in files] == ["history.png", "pareto.png"]
    for file in files:
        with Image.open(file) as image:
            assert max(image.size) <= 1300
