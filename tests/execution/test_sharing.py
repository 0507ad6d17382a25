"""How many runs at once a machine gets, with how many threads, and what they need."""

import pytest

from fer_ablate import machine
from fer_ablate.execution.sharing import Machine, estimated_mb, share, this_machine

LAPTOP = Machine(cores=8, memory_mb=16_000)


@pytest.fixture
def runs(config_of):
    """Configs of this many runs of one row."""

    def make(number, *words):
        config = config_of(*words)
        config.name = "row"
        return [config] * number

    return make


def shared(sharing):
    return sharing.at_once, sharing.threads


def test_each_core_gets_a_run(runs):
    sharing = share(runs(20), LAPTOP, {"row": 600.0})
    assert shared(sharing) == (8, 1)
    assert sharing.described == "8 runs at once, one thread each (8 cores, 0.6 GB a run)"
    assert sharing.with_threads(runs(1)[0]).trainer.num_threads == 1


def test_cores_are_divided_among_few_runs(runs):
    assert shared(share(runs(3), LAPTOP, {"row": 600.0})) == (3, 2)


def test_memory_limits_the_number_of_runs(runs):
    sharing = share(runs(20), Machine(cores=8, memory_mb=2000), {"row": 600.0})
    assert shared(sharing) == (3, 2)
    assert share(runs(20), Machine(cores=8, memory_mb=100), {"row": 600.0}).at_once == 1


def test_a_lone_run_keeps_the_machine(runs):
    sharing = share(runs(1), LAPTOP, {})
    assert sharing.at_once == 1
    assert sharing.with_threads(runs(1)[0]).trainer.num_threads is None
    assert share(runs(20), Machine(cores=1), {}).described.startswith("one run after another, one thread each (1 core, ")


def test_typed_threads_and_devices_win(runs):
    assert share(runs(20, "trainer.num_threads=4"), LAPTOP, {}).at_once == 2
    assert share(runs(20, "trainer.num_threads=64"), LAPTOP, {}).at_once == 1
    two = share(runs(20, "trainer.devices=2"), LAPTOP, {})
    assert shared(two) == (4, 2)
    assert two.with_threads(runs(1, "trainer.devices=2")[0]).trainer.num_threads == 1
    assert two.need(runs(1, "trainer.devices=2")[0]).cores == 2


def test_the_launcher_can_be_told_fewer(runs):
    assert shared(share(runs(20), LAPTOP, {}, most=2)) == (2, 4)


def test_each_card_gets_a_run(runs):
    station = Machine(cores=8, gpus=("2", "3"), memory_mb=64_000)
    sharing = share(runs(20, "trainer.accelerator=auto"), station, {"row": 9000.0})
    assert shared(sharing) == (2, 4)
    assert sharing.need(runs(1, "trainer.accelerator=auto")[0]).gpus == 1
    assert share(runs(20), station, {"row": 600.0}).need(runs(1)[0]).gpus == 0  # trainer=cpu


def test_the_estimate_grows_with_network_and_batch(runs):
    small, large = runs(1)[0], runs(1, "model.width=2", "trainer.batch_size=512")[0]
    assert 600 < estimated_mb(small) < 800
    assert estimated_mb(large) > 1.2 * estimated_mb(small)  # most of the memory are the libraries
    assert share([small], LAPTOP, {}).described.endswith("GB a run, estimated)")


@pytest.mark.parametrize(("visible", "cards"), [(None, ("0", "1")), ("3,GPU-5f", ("3", "GPU-5f"))])
def test_cards_keep_the_names_they_were_given(monkeypatch, visible, cards):
    monkeypatch.setattr(machine, "cuda_gpus", lambda: [machine.Gpu(number, "card", (9, 0), 80_000) for number in (0, 1)])
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert this_machine().gpus == cards
