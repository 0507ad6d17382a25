"""Faults of a config that concern training: all are found before any image is read, and each names a remedy."""

import pytest

from fer_ablate.data.load import known_size
from fer_ablate.training.checks import run_faults, size_faults

ADAPTIVE = ("model.head_pool=adaptive_avg",)


@pytest.fixture
def config_of(config_of):
    """A network whose linear layer needs images of one size."""
    return lambda *overrides: config_of("model=pisa", "model.width=0.125", *overrides)


def faults(config, key):
    return [str(fault) for fault in run_faults(config) if fault.key == key]


@pytest.mark.parametrize("roles", ["combined", "combined_swapped"])
def test_the_best_epoch_needs_untrained_images(roles, config_of):
    (fault,) = faults(config_of(f"data.roles={roles}"), "trainer.keep")
    assert "the best epoch would be chosen on images that are trained on" in fault
    assert "trainer.keep=last" in fault
    stopping = config_of(f"data.roles={roles}", "trainer.keep=last", "trainer.early_stopping.patience=3")
    assert len(faults(stopping, "trainer.early_stopping.patience")) == 1
    assert run_faults(config_of(f"data.roles={roles}", "trainer.keep=last")) == []


def test_a_crop_needs_a_network_that_fits(config_of):
    (fault,) = faults(config_of("evaluation.crop=32"), "evaluation.crop")
    assert "trained on 48x48 images, the first linear layer takes 288 numbers; 32x32 ones give 128" in fault
    assert "model.head_pool=adaptive_avg" in fault


@pytest.mark.parametrize(
    "overrides",
    [
        pytest.param(("evaluation.crop=32", *ADAPTIVE), id="the head pool makes one size of all"),
        pytest.param(("evaluation.crop=44", "augment=crop44"), id="the side trained on"),
        pytest.param(("evaluation.crop=46", "model.stages=[{channels: 8, stride: 48}]"), id="as many features"),
    ],
)
def test_crops_that_fit_the_network(overrides, config_of):
    assert size_faults(config_of(*overrides), (64, 64), trained_size=(48, 48)) == []


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (("evaluation.crop=50",), "crop is larger than the 48x48 images"),
        (("evaluation.crop=0",), "0 is not a side in pixels"),
        (("evaluation.crop=wide",), "'wide' is not a side in pixels, such as 48, or [height, width]"),
        (("evaluation.crop=[40,0]",), "[40, 0] is not a side in pixels, such as 48, or [height, width]"),
        (("evaluation.crop=[40,32,3]",), "[40, 32, 3] is not a side in pixels, such as 48, or [height, width]"),
        (("evaluation.crop=[48,50]",), "[48, 50]: crop is larger than the 48x48 images"),
        (
            ("evaluation.crop=[40,32]",),
            "[40, 32]: trained on 48x48 images, the first linear layer takes 288 numbers; 40x32 ones give 128",
        ),
        (("evaluation.crop=4",), "shrink to nothing"),
        (("evaluation.tta=ten_crop", "evaluation.crop=50", *ADAPTIVE), "crop is larger"),
    ],
)
def test_crops_that_cannot_be(overrides, words, config_of):
    (fault,) = faults(config_of(*overrides), "evaluation.crop")
    assert words in fault


def test_images_of_another_size_need_a_crop(config_of):
    (fault,) = size_faults(config_of(), (96, 96), trained_size=(48, 48))
    assert fault.key == "evaluation.crop"
    assert size_faults(config_of("evaluation.crop=48"), (96, 96), trained_size=(48, 48)) == []


@pytest.mark.parametrize(
    ("words", "size"),
    [
        pytest.param((), (48, 48), id="drawn faces"),
        pytest.param(("data=fer2013",), (48, 48), id="FER2013"),
        pytest.param(("data.size=64",), (64, 64), id="faces resized to a square"),
        pytest.param(("data=folder", "data.size=[56,40]"), (56, 40), id="pictures of a given size"),
        pytest.param(("data=folder",), None, id="pictures of their own size"),
    ],
)
def test_image_sizes_are_known_before_reading(words, size, config_of):
    assert known_size(config_of(*words).data) == size


def test_networks_are_checked_for_prepared_sizes(config_of):
    small = "data.prepare=[{op: resize, size: [6, 24]}]"
    (fault,) = [one for one in run_faults(config_of(small)) if one.key.startswith("model")]
    assert "Input is 6x24." in str(fault)
    assert size_faults(config_of(small, "model.conv_layers=1"), (48, 48)) == []
    assert faults(config_of(small, "evaluation.crop=8", *ADAPTIVE, "model.conv_layers=1"), "evaluation.crop")[0].startswith(
        "evaluation.crop: 8: crop is larger than the 6x24 images"
    )


def test_a_crop_larger_than_folder_images_is_found(config_of):
    (fault,) = size_faults(config_of("augment=crop40"), (32, 32))
    assert fault.key == "augment.steps[0].size"


@pytest.mark.parametrize(
    ("override", "key", "words"),
    [
        ("trainer.batch_size=1", "trainer.batch_size", "1 is below 2"),
        ("trainer.max_epochs=0", "trainer.max_epochs", "0 is below 1"),
        ("trainer.gradient_clip=0", "trainer.gradient_clip", "not above 0"),
        ("trainer.ema_decay=1", "trainer.ema_decay", "1.0 is not below 1"),
        ("trainer.early_stopping.patience=0", "trainer.early_stopping.patience", "0 is below 1"),
        ("trainer.monitor=val/accuracy", "trainer.monitor", "Did you mean 'val/acc'"),
        ("trainer.mode=min", "trainer.mode", "'min' with val/acc would keep the worst epoch"),
        ("trainer.num_threads=100000", "trainer.num_threads", "100000 is above 1024"),
        ("optimizer.lr=1e38", "optimizer.lr", "too large for 32-bit numbers"),
        ("+optimizer.differentiable=true", "optimizer.differentiable", "no training here takes"),
        ("trainer.profiler=simpel", "trainer.profiler", "Did you mean 'simple'"),
        ("trainer.accelerator=tpu", "trainer.accelerator", "Choices: auto, cpu, gpu"),
        ("trainer.devices=0", "trainer.devices", "0 is below 1"),
        ("trainer.precision=fp16", "trainer.precision", "GPUs only"),
        ("trainer.limit_train_batches=0", "trainer.limit_train_batches", "0.0 is not a fraction above 0"),
        ("trainer.limit_train_batches=2.5", "trainer.limit_train_batches", "whole number of batches"),
        ("trainer.limit_test_batches=0", "trainer.limit_test_batches", "0.0 is not a fraction above 0"),
        ("trainer.limit_test_batches=2.5", "trainer.limit_test_batches", "whole number of batches"),
        ("trainer.overfit_batches=-1", "trainer.overfit_batches", "whole number of batches"),
        ("trainer.limit_val_batches=0", "trainer.monitor", "val/acc is not measured"),
    ],
)
def test_each_fault_names_its_key(override, key, words, config_of):
    (fault,) = faults(config_of(override), key)
    assert words in fault


@pytest.mark.parametrize(
    ("words", "key", "problem"),
    [
        (("scheduler=plateau", "scheduler.monitor=val/loss"), "scheduler.mode", "'max' with val/loss would lower the rate"),
        (("scheduler=plateau", "scheduler.mode=min"), "scheduler.mode", "'min' with val/acc would lower the rate"),
        (("scheduler=cosine", "scheduler.eta_min=0.5", "optimizer.lr=0.1"), "scheduler.eta_min", "0.5 is above optimizer.lr=0.1"),
        (("scheduler=onecycle", "scheduler.max_lr=1e300"), "scheduler.max_lr", "at most 1e30"),
        (("trainer.devices=2", "trainer.batch_size=2"), "trainer.batch_size", "batch normalisation needs 2 on each"),
    ],
)
def test_settings_that_do_not_fit_each_other(words, key, problem, config_of):
    (fault,) = faults(config_of("trainer=cpu", *words), key)
    assert problem in fault


def test_a_falling_loss_is_monitored_by_its_minimum(config_of):
    assert run_faults(config_of("scheduler=plateau", "scheduler.monitor=val/loss", "scheduler.mode=min")) == []
    assert run_faults(config_of("trainer.devices=2", "trainer.batch_size=2", "model.norm=none", "trainer=cpu")) == []


def test_without_val_everything_watching_it_is_named(config_of):
    blind = config_of("trainer.limit_val_batches=0", "scheduler=plateau", "trainer.early_stopping.patience=3")
    assert [fault.key for fault in run_faults(blind)] == [
        "trainer.monitor",
        "trainer.early_stopping.monitor",
        "scheduler.monitor",
    ]


def test_all_faults_are_told_at_once(config_of):
    found = run_faults(config_of("trainer.max_epochs=0", "optimizer.lr=-1", "loss.label_smoothing=2", "evaluation.crop=50"))
    assert {fault.key for fault in found} >= {"trainer.max_epochs", "optimizer.lr", "loss.label_smoothing", "evaluation.crop"}
