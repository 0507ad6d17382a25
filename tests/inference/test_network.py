"""A network from its checkpoint alone, and what turns faces into probabilities."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from fer_ablate.config.choices import TestTimeAugmentation
from fer_ablate.config.compose import to_yaml
from fer_ablate.errors import UserError
from fer_ablate.inference.network import load_network
from fer_ablate.inference.scorer import MeanScorer, TorchScorer
from fer_ablate.models.build import build_network
from fer_ablate.training.checkpoints import FORMAT
from fer_ablate.training.hardware import Hardware

CPU = Hardware(torch.device("cpu"), 1, "32-true")
FACES = np.random.default_rng(0).integers(0, 256, (5, 1, 48, 48), dtype=np.uint8)


@pytest.fixture
def checkpoint(config_of, tmp_path):
    config = config_of("data.mean=0.25", "data.std=2")
    torch.manual_seed(1)
    network = build_network(config.model, 48, 2)
    description = {"format": FORMAT, "config": to_yaml(config), "classes": '["sad", "happy"]', "image_size": "48", "epoch": "3"}
    weights = {f"network.{name}": tensor for name, tensor in network.state_dict().items()}
    torch.save({"fer_ablate": description, "state_dict": weights}, tmp_path / "best.ckpt")
    return tmp_path / "best.ckpt"


def test_the_weights_and_what_belongs_to_them_come_back(checkpoint):
    trained = load_network(checkpoint)
    assert (trained.classes, trained.image_size, trained.side, trained.epoch) == (("sad", "happy"), 48, 48, 3)
    assert not trained.network.training
    stored = torch.load(checkpoint, weights_only=True)["state_dict"]
    assert all(torch.equal(tensor, stored[f"network.{name}"]) for name, tensor in trained.network.state_dict().items())


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
    image_size: int = 48

    def probabilities(self, faces_u8):
        return np.tile(np.array(self.shares, np.float32), (len(faces_u8), 1))


def test_several_networks_say_their_mean():
    mean = MeanScorer([Constant((0.25, 0.75)), Constant((0.75, 0.25)), Constant((1, 0))])
    np.testing.assert_allclose(mean.probabilities(FACES), [[2 / 3, 1 / 3]] * 5, rtol=1e-6)


@pytest.mark.parametrize(
    ("other", "answer"),
    [
        (Constant((0, 1), classes=("happy", "sad")), "know different classes: sad, happy and happy, sad"),
        (Constant((0, 1), image_size=64), "faces of 48 and of 64 pixels"),
    ],
    ids=["classes", "size"],
)
def test_networks_for_other_things_are_not_averaged(other, answer):
    with pytest.raises(UserError, match=answer):
        MeanScorer([Constant((0.5, 0.5)), other])
