import pytest

from fer_ablate.config.compose import composed, composer, to_config
from fer_ablate.config.key import RESULT_CODE, _code_digest, _meaning, code_digest, relevant, run_key

DATA, CODE = "d" * 64, "c" * 16


@pytest.mark.parametrize(
    "override",
    [
        "data.path=elsewhere",
        "trainer.devices=2",
        "trainer.num_threads=1",
        "tracking.uri=http://server",
        "name=other",
        "force=true",
        "init_from=some.ckpt",
        "search.trial=3",
        "tracking.parent=abc",
    ],
)
def test_where_and_how_a_run_happens_leaves_its_key(config_of, override):
    assert run_key(config_of(override), DATA, CODE) == run_key(config_of(), DATA, CODE)


@pytest.mark.parametrize(
    "override",
    ["seed=1", "optimizer.lr=0.1", "model.conv_layers=3", "data.roles=swapped", "evaluation.tta=flip", "trainer.precision=fp32"],
)
def test_what_can_change_a_result_changes_the_key(config_of, override):
    assert run_key(config_of(override), DATA, CODE) != run_key(config_of(), DATA, CODE)


def test_data_and_code_change_the_key(config_of):
    keys = {run_key(config_of(), DATA, CODE), run_key(config_of(), "e" * 64, CODE), run_key(config_of(), DATA, "f" * 16)}
    assert len(keys) == 3


def test_the_weights_to_begin_with_change_the_key(config_of):
    keys = [run_key(config_of(), DATA, CODE, start) for start in (None, "a" * 32, "b" * 32)]
    assert len(set(keys)) == 3
    assert run_key(config_of(), DATA, CODE) == keys[0]


def test_a_key_is_what_it_always_was():
    """A change of this one makes every finished run of everybody stale: only a changed default may do that, meant so."""
    with composer():
        config = to_config(composed(["model.conv_layers=3", "seed=7"]))
    assert run_key(config, DATA, CODE) == "df3b042a74db28b07754c6453a81bab5"


def test_the_synthetic_drawing_does_not_matter_for_other_data(config_of):
    assert "data.synthetic.seed" in relevant(config_of())
    assert "data.synthetic.seed" not in relevant(config_of("data=folder"))


def test_comments_docstrings_and_layout_mean_nothing():
    assert _meaning('def f(a):\n    """Say."""\n    # why\n    return a+1\n') == _meaning("def f(a): return (a + 1)")
    assert _meaning("def f(a): return a + 1") != _meaning("def f(a): return a + 2")


def test_the_code_digest_covers_files_that_exist():
    assert len(code_digest()) == 16
    assert code_digest() == code_digest()
    assert "training" in RESULT_CODE


def test_a_plugins_code_counts(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "my_nets.py").write_text("A = 1\n")
    first = code_digest(["my_nets"])
    (tmp_path / "my_nets.py").write_text("A = 2\n")
    _code_digest.cache_clear()  # as in another process
    assert len({code_digest(), first, code_digest(["my_nets"])}) == 3


def test_code_edited_while_a_process_runs_is_not_the_code_of_its_runs(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "edited_nets.py").write_text("A = 1\n")
    first = code_digest(["edited_nets"])
    (tmp_path / "edited_nets.py").write_text("A = 2\n")
    assert code_digest(["edited_nets"]) == first
