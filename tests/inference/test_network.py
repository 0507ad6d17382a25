"""A network from its checkpoint alone, and what turns faces into probabilities."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from fer_ablate.config.choices import Fit, TestTimeAugmentation
from fer_ablate.config.compose import to_yaml
from fer_ablate.errors import UserError
from fer_ablate.inference.network import load_network
from fer_ablate.inference.scorer import MeanScorer, TorchScorer
from fer_ablate.models.build import build_network
from fer_ablate.training.checkpoints import FORMAT
from fer_ablate.training.hardware import Hardware

CPU = Hardware(torch.device("cpu"), 1, "32-true")
FACES = np.random.default_rng(0).integers(0, 256, (5, 1, 48, 48), dtype=np.uint8)


def stored(config, folder, size, **description):
    """A checkpoint with drawn weights."""
    torch.manual_seed(1)
    network = build_network(config.model, size, 2)
    description |= {"format": FORMAT, "config": to_yaml(config), "classes": '["sad", "happy"]', "epoch": "3"}
    weights = {f"network.{name}": tensor for name, tensor in network.state_dict().items()}
    torch.save({"fer_ablate": description, "state_dict": weights}, folder / "best.ckpt")
    return folder / "best.ckpt"


@pytest.fixture
def checkpoint(config_of, tmp_path):
    """As versions wrote it in which every network took square images."""
    return stored(config_of("data.mean=0.25", "data.std=2"), tmp_path, (48, 48), image_size="48")


def test_a_checkpoint_gives_weights_and_settings_back(checkpoint):
    trained = load_network(checkpoint)
    assert (trained.classes, trained.image_size, trained.seen_size, trained.epoch) == (("sad", "happy"), (48, 48), (48, 48), 3)
    # What a checkpoint of an earlier version does not say.
    assert (trained.channels, trained.fit) == (1, Fit.stretch)
    assert not trained.network.training
    stored = torch.load(checkpoint, weights_only=True)["state_dict"]
    assert all(torch.equal(tensor, stored[f"network.{name}"]) for name, tensor in trained.network.state_dict().items())


def test_size_channels_and_fit_come_back(config_of, tmp_path):
    config = config_of("data.fit=crop", "evaluation.crop=[48,32]", "model.head_pool=adaptive_avg", "model.in_channels=3")
    trained = load_network(stored(config, tmp_path, (56, 40), image_size="56x40", channels="3"))
    assert (trained.image_size, trained.seen_size, trained.channels, trained.fit) == ((56, 40), (48, 32), 3, Fit.crop)
    scorer = TorchScorer(trained, CPU)
    assert (scorer.image_size, scorer.channels, scorer.fit) == ((56, 40), 3, Fit.crop)
    faces = np.random.default_rng(0).integers(0, 256, (2, 3, 56, 40), dtype=np.uint8)
    with torch.no_grad():
        seen = torch.from_numpy(faces)[..., 4:52, 4:36].float() / 255
        expected = trained.network((seen - 0.5) / 0.5).softmax(1).numpy()
    np.testing.assert_allclose(scorer.probabilities(faces), expected, atol=1e-6)


def test_probabilities_are_those_of_the_normalised_pixels(checkpoint):
    trained = load_network(checkpoint)
    found = TorchScorer(trained, CPU).probabilities(FACES)
    with torch.no_grad():
        expected = trained.network((torch.from_numpy(FACES).float() / 255 - 0.25) / 2).softmax(1).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_mirrored_views_are_averaged(checkpoint):
    plain, flipped = (
        TorchScorer(load_network(checkpoint), CPU, tta) for tta in (TestTimeAugmentation.none, TestTimeAugmentation.flip)
    )
    mean = (plain.probabilities(FACES) + plain.probabilities(FACES[..., ::-1].copy())) / 2
    np.testing.assert_allclose(flipped.probabilities(FACES), mean, atol=1e-6)


@dataclass
class Constant:
    shares: tuple[float, ...]
    classes: tuple[str, ...] = ("sad", "happy")
    image_size: tuple[int, int] = (48, 48)
    channels: int = 1
    fit: Fit = Fit.pad

    def probabilities(self, faces_u8):
        return np.tile(np.array(self.shares, np.float32), (len(faces_u8), 1))


def test_several_networks_say_their_mean():
    mean = MeanScorer([Constant((0.25, 0.75)), Constant((0.75, 0.25)), Constant((1, 0))])
    np.testing.assert_allclose(mean.probabilities(FACES), [[2 / 3, 1 / 3]] * 5, rtol=1e-6)


def test_averaged_networks_match_classes_by_name():
    mean = MeanScorer([Constant((0.2, 0.8)), Constant((0.6, 0.4), classes=("Happiness", "sadness"))])
    assert mean.classes == ("sad", "happy")
    np.testing.assert_allclose(mean.probabilities(FACES), [[0.3, 0.7]] * 5, rtol=1e-6)


@pytest.mark.parametrize(
    ("other", "answer"),
    [
        (
            Constant((0, 1), classes=("happy", "fear")),
            r"know different classes: sad, happy and happy, fear \(only the first knows sad; only another knows fear\)",
        ),
        (Constant((0, 0, 1), classes=("happy", "fear", "sad")), r"\(only another knows fear\)"),
        (Constant((0, 1), image_size=(64, 48)), "faces of 48x48 pixels and of 64x48 pixels"),
        (Constant((0, 1), channels=3), "faces in gray and in colour"),
        (Constant((0, 1), fit=Fit.crop), "fitted by data.fit=pad and fitted by data.fit=crop"),
    ],
    ids=["other classes", "more classes", "size", "channels", "fit"],
)
def test_networks_for_other_things_are_not_averaged(other, answer):
    with pytest.raises(UserError, match=answer):
        MeanScorer([Constant((0.5, 0.5)), other])
