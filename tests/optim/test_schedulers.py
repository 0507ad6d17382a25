import io
from pathlib import Path

import pytest
import torch

from fer_ablate.optim.schedulers import build_schedulers, steps
from fer_ablate.optim.schedules import SCHEDULES, scheduler_faults

CONF = sorted(path.stem for path in (Path(__file__).parents[2] / "conf" / "scheduler").rglob("*.yaml"))


class Run:
    """A run of 4 steps an epoch with a rate of 1, driven as Lightning would."""

    def __init__(self, config, epochs, monitored=lambda epoch: 0.0):
        self.optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0, momentum=0.9)
        self.entries = build_schedulers(config, self.optimizer, steps_per_epoch=4, max_epochs=epochs)
        self.epochs, self.monitored = epochs, monitored

    @property
    def lr(self):
        return self.optimizer.param_groups[0]["lr"]

    def rates(self, start=0, stop=None):
        """Rate of each step, and the rate after the last one."""
        used = []
        for epoch in range(start, self.epochs if stop is None else stop):
            for _ in range(4):
                used.append(self.lr)
                self.optimizer.step()
                for entry in self.entries:
                    if entry["interval"] == "step":
                        entry["scheduler"].step()
            for entry in self.entries:
                if entry["interval"] == "epoch":
                    entry["scheduler"].step(self.monitored(epoch))
        return [*used, self.lr]


def rates(config, epochs=2, **options):
    return pytest.approx(Run(config, epochs, **options).rates(), abs=1e-12)


WARM = [0.1, 0.325, 0.55, 0.775]
"""One epoch of linear warm-up from a tenth."""


def test_schedules_and_files_match_one_to_one(load):
    assert set(CONF) >= set(SCHEDULES)
    assert {load("scheduler", choice)["name"] for choice in CONF} == set(SCHEDULES)


@pytest.mark.parametrize("name", CONF)
def test_every_stored_schedule_is_sound(load, name):
    assert scheduler_faults(load("scheduler", name), 20, {"val/acc", "val/loss"}) == []
    assert len(Run(load("scheduler", name), 20).rates()) == 81


@pytest.mark.parametrize(("epochs", "expected"), [(0, 0), (1, 449), (0.5, 224), (2.5, 1122), (0.0001, 1), (300, 134_700)])
def test_steps_of_a_duration(epochs, expected):
    assert steps(epochs, 449) == expected


def test_constant():
    assert build_schedulers({"name": "constant"}, torch.optim.SGD([torch.zeros(1)], lr=1.0), 4, 2) == []
    assert [*WARM, *[1.0] * 5] == rates({"name": "constant", "warmup_epochs": 1, "warmup_start": 0.1})


def test_cosine_ends_at_its_least_rate():
    config = {"name": "cosine", "eta_min": 0.2}
    half = [1.0, 0.9695518, 0.8828427, 0.7530734, 0.6, 0.4469266, 0.3171573, 0.2304482, 0.2]
    assert half == pytest.approx(Run(config, 2).rates(), abs=1e-7)


def test_cosine_takes_the_epochs_after_warmup():
    config = {"name": "cosine", "warmup_epochs": 1, "warmup_start": 0.1}
    assert [*WARM, 1.0, 0.8535533905932737, 0.5, 0.1464466094067262, 0.0] == rates(config)


def test_cosine_rises_again_in_its_second_period():
    assert rates({"name": "cosine", "period_epochs": 0.5}, epochs=1) == [1.0, 0.5, 0.0, 0.5, 1.0]


def test_warm_restarts_double_their_period():
    first, second = [1.0, 0.5], [1.0, 0.8535533905932737, 0.5, 0.1464466094067262]
    config = {"name": "warm_restarts", "period_epochs": 0.5, "multiplier": 2}
    assert [*first, *second, 1.0] == pytest.approx(Run(config, 2).rates()[:7])
    assert [*WARM, *first, 1.0] == pytest.approx(Run({**config, "warmup_epochs": 1, "warmup_start": 0.1}, 2).rates()[:7])


def test_step_halves_every_epoch():
    config = {"name": "step", "every_epochs": 1, "gamma": 0.5}
    assert rates(config) == [1.0] * 4 + [0.5] * 4 + [0.25]
    assert [*WARM, *[1.0] * 4, *[0.5] * 4, 0.25] == rates({**config, "warmup_epochs": 1, "warmup_start": 0.1}, epochs=3)


def test_exponential_has_multiplied_by_gamma_after_each_epoch():
    found = Run({"name": "exponential", "gamma": 0.81}, 2).rates()
    assert found[::2] == pytest.approx([1.0, 0.9, 0.81, 0.729, 0.6561])
    warm = Run({"name": "exponential", "gamma": 0.81, "warmup_epochs": 1, "warmup_start": 0.1}, 2).rates()
    assert warm[::2] == pytest.approx([0.1, 0.55, 1.0, 0.9, 0.81])


def test_onecycle_hits_its_corners():
    found = Run({"name": "onecycle", "pct_start": 0.25, "div_factor": 10.0, "final_div_factor": 100.0}, 2).rates()
    assert found[0] == pytest.approx(0.1)  # max_lr / div_factor
    assert found[1] == pytest.approx(1.0)  # step 0.25 * 8 - 1
    assert found[4] == pytest.approx((1 + 0.001) / 2)  # half of the six steps down
    assert found[7] == pytest.approx(0.001)  # 0.1 / final_div_factor, at the last step


def test_onecycle_may_rise_in_a_single_step():
    found = Run({"name": "onecycle", "pct_start": 0.125, "div_factor": 10.0}, 2).rates()  # 0.125 * 8 steps
    assert found[0] == pytest.approx(0.1)
    assert found[1:8] == sorted(found[1:8], reverse=True)
    assert found[1] > 0.9


def test_onecycle_leaves_plain_sgd_without_momentum():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    build_schedulers({"name": "onecycle"}, optimizer, 4, 2)
    assert optimizer.param_groups[0]["momentum"] == 0


def test_onecycle_takes_the_rate_of_each_group():
    groups = [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": lr} for lr in (0.1, 1.0)]
    optimizer = torch.optim.Adam(groups)
    build_schedulers({"name": "onecycle", "div_factor": 10.0}, optimizer, 4, 2)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.01, 0.1])


def test_plateau_lowers_the_rate_after_its_patience():
    config = {"name": "plateau", "factor": 0.5, "patience": 1, "min_lr": 0.3}
    gains = [0.1, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2]
    found = Run(config, 8, monitored=gains.__getitem__).rates()
    assert found[::4] == [1.0, 1.0, 1.0, 1.0, 0.5, 0.5, 0.3, 0.3, 0.3]


def keras_plateau(losses, factor, patience, min_delta):
    """Rate after each epoch under Keras' ReduceLROnPlateau, from 1, written after its documentation."""
    best, wait, rate, rates = float("inf"), 0, 1.0, []
    for loss in losses:
        if loss < best - min_delta:
            best, wait = loss, 0
        else:
            wait += 1
            if wait >= patience:
                rate, wait = rate * factor, 0
        rates.append(rate)
    return rates


def test_an_absolute_threshold_is_keras_min_delta(load):
    losses = (1.7 + 2e-4 * torch.randn(60, generator=torch.Generator().manual_seed(1), dtype=torch.float64).cumsum(0)).tolist()
    config = load("scheduler", "plateau_pisa")
    expected = keras_plateau(losses, factor=0.5, patience=3, min_delta=1e-4)
    found = Run(config, 60, monitored=losses.__getitem__).rates()[4::4]
    relative = Run({**config, "threshold_mode": "rel"}, 60, monitored=losses.__getitem__).rates()[4::4]
    assert found == pytest.approx(expected)
    assert relative != pytest.approx(expected)


def test_plateau_gives_the_rates_of_pisas_log(load):
    """VGG16: best at epoch 11, 2.5e-4 in epochs 15 to 17 and 1.25e-4 in 18; the losses of 11 to 14 are not printed."""
    losses = [1.63, 1.64, 1.64, 1.64, 1.6381, 1.6638, 1.6547, 1.6884]
    found = Run(load("scheduler", "plateau_pisa"), 8, monitored=losses.__getitem__).rates()[::4]
    assert [5e-4 * rate for rate in found[4:8]] == pytest.approx([2.5e-4, 2.5e-4, 2.5e-4, 1.25e-4])


def test_plateau_keeps_its_reductions_behind_a_warmup():
    config = {"name": "plateau", "factor": 0.5, "patience": 0, "warmup_epochs": 1, "warmup_start": 0.1}
    run = Run(config, 3)
    assert [entry["interval"] for entry in run.entries] == ["step", "epoch"]
    assert run.entries[1]["monitor"] == "val/acc"
    assert [*WARM, *[1.0] * 4, *[0.5] * 4, 0.25] == pytest.approx(run.rates())


@pytest.mark.parametrize("warmup", [0, 1])
@pytest.mark.parametrize("name", CONF)
def test_a_resumed_run_goes_on_with_its_rates(load, name, warmup):
    config = load("scheduler", name, warmup_epochs=0 if name == "onecycle" else warmup)
    whole = Run(config, 4).rates()
    first, second = Run(config, 4), Run(config, 4)
    first.rates(stop=2)
    for old, new in zip(
        [first.optimizer, *(e["scheduler"] for e in first.entries)],
        [second.optimizer, *(e["scheduler"] for e in second.entries)],
        strict=True,
    ):
        torch.save(old.state_dict(), stored := io.BytesIO())
        stored.seek(0)
        new.load_state_dict(torch.load(stored, weights_only=True))
    second.optimizer.step()  # torch warns of a scheduler that steps before its new optimizer has
    assert second.rates(start=2) == pytest.approx(whole[8:])


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("cosine", {"name": "cosin"}, "scheduler.name: 'cosin' is unknown.\n    Did you mean 'cosine'?"),
        ("cosine", {"name": None}, "scheduler.name: is missing."),
        ("cosine", {"eta_mim": 0.1}, "scheduler.eta_mim: Cosine takes no such argument.\n    Did you mean 'eta_min'?"),
        ("cosine", {"warmup_epoch": 1}, "Did you mean 'warmup_epochs'?"),
        ("cosine", {"eta_min": "low"}, "scheduler.eta_min: 'low' is not a number."),
        ("cosine", {"period_epochs": 0}, "scheduler.period_epochs: 0 is not a number of epochs above 0."),
        ("cosine", {"period_epochs": "ten"}, "scheduler.period_epochs: 'ten' is not a number of epochs above 0."),
        ("warm_restarts", {"period_epochs": None}, "scheduler.period_epochs: None is not a number."),
        ("warm_restarts", {"multiplier": 1.5}, "scheduler.multiplier: 1.5 is not a whole number from 1."),
        ("step", {"gamma": 2.0}, "scheduler.gamma: 2.0 is not in (0, 1]."),
        ("step", {"warmup_epochs": 20}, "scheduler.warmup_epochs: 20 leaves nothing of 20 epochs."),
        ("step", {"warmup_epochs": -1}, "scheduler.warmup_epochs: -1 is not a number of epochs from 0."),
        ("step", {"warmup_start": 0}, "scheduler.warmup_start: 0 is not in (0, 1], a fraction of optimizer.lr."),
        ("onecycle", {"warmup_epochs": 1}, "scheduler.warmup_epochs: onecycle warms up by itself."),
        ("onecycle", {"pct_start": 30}, "scheduler.pct_start: 30 is not in (0, 1)."),
        ("plateau", {"mode": "maximum"}, "scheduler.mode: 'maximum' is unknown."),
        ("plateau", {"threshold_mode": "absolute"}, "scheduler.threshold_mode: 'absolute' is unknown.\n    Did you mean 'abs'?"),
        ("plateau", {"monitor": "val/accuracy"}, "scheduler.monitor: 'val/accuracy' is not logged.\n    Did you mean 'val/acc'?"),
        ("plateau", {"patience": 1.5}, "scheduler.patience: 1.5 is not a whole number of epochs from 0."),
    ],
)
def test_each_fault_names_its_key_and_value(load, name, changes, message):
    faults = scheduler_faults(load("scheduler", name, **changes), 20, ("val/acc", "val/loss"))
    assert message in "\n".join(map(str, faults))
    assert len(faults) == 1
