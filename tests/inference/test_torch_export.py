"""Programs of torch.export: the same probabilities, without this package."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from fer_ablate.errors import UserError
from fer_ablate.inference.export.torch_program import deployed_network, load_program, save_program, trace_network
from fer_ablate.inference.scorer import TorchScorer
from fer_ablate.labels import EMOTIONS
from fer_ablate.training.hardware import Hardware

from .export_cases import NARROW, faces, metadata, trained

CPU = Hardware(torch.device("cpu"), 1, "32-true")


@pytest.fixture(scope="module")
def network():
    return trained(*NARROW)


@pytest.fixture(scope="module")
def program(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("program") / "model.pt2"
    save_program(trace_network(network), metadata(network), path)
    return path


@pytest.mark.long
def test_any_number_of_faces_gets_pytorchs_probabilities(network, program):
    scorer = load_program(program)
    assert (scorer.classes, scorer.image_size, scorer.channels) == (tuple(EMOTIONS), (48, 48), 1)
    for number in (1, 2, 7):
        expected = TorchScorer(network, CPU).probabilities(faces(number))
        np.testing.assert_allclose(scorer.probabilities(faces(number)), expected, atol=1e-6)


def test_the_centre_crop_is_inside():
    network = trained(*NARROW, "model.head_pool=adaptive_avg", "evaluation.crop=40", "data.mean=0.3", "data.std=0.2")
    found = deployed_network(network)(torch.from_numpy(faces(3))).detach().numpy()
    np.testing.assert_allclose(found, TorchScorer(network, CPU).probabilities(faces(3)), atol=1e-6)
    with_other_borders = faces(3)
    with_other_borders[..., :4], with_other_borders[..., -4:, :] = 0, 255
    np.testing.assert_array_equal(deployed_network(network)(torch.from_numpy(with_other_borders)).detach().numpy(), found)


COLOUR = (*NARROW, "model.in_channels=3", "data.mean=[0.4,0.5,0.6]")


@pytest.mark.slow
@pytest.mark.parametrize("steps", ["[]", "[{op: equalize}, {op: resize, size: [32, 40]}]"], ids=["as stored", "prepared"])
def test_oblong_colour_faces_get_pytorchs_probabilities(steps, tmp_path):
    network = trained(*COLOUR, f"data.prepare={steps}", size=(40, 56), channels=3)
    save_program(trace_network(network), metadata(network), tmp_path / "model.pt2")
    scorer = load_program(tmp_path / "model.pt2")
    assert (scorer.image_size, scorer.channels) == ((40, 56), 3)
    for number in (1, 7):
        images = faces(number, 3, (40, 56))
        expected = TorchScorer(network, CPU).probabilities(images)
        np.testing.assert_allclose(scorer.probabilities(images), expected, atol=1e-6)


def test_preparation_is_inside():
    network = trained(*NARROW, "data.prepare=[{op: gamma, gamma: 2.0}, {op: resize, size: [24, 32]}]", size=(40, 56))
    images = faces(3, size=(40, 56))
    expected = TorchScorer(network, CPU).probabilities(images)
    np.testing.assert_allclose(deployed_network(network)(torch.from_numpy(images)).detach().numpy(), expected, atol=1e-6)
    plain = trained(*NARROW, "data.prepare=[{op: resize, size: [24, 32]}]", size=(40, 56))
    assert np.abs(deployed_network(plain)(torch.from_numpy(images)).detach().numpy() - expected).max() > 1e-3


def test_the_network_itself_stays_as_it_is(network):
    before = network.network.state_dict()["output.weight"]
    deployed_network(network).network.output.weight.data.zero_()
    assert before.abs().sum() > 0


class Undecided(nn.Module):
    def forward(self, faces):
        return faces.mean((1, 2, 3)).new_zeros(len(faces), 7) if faces.sum() > 0 else faces.flatten(1)[:, :7]


def test_a_network_that_cannot_be_followed_is_told(network):
    with pytest.raises(UserError, match=r"torch\.export cannot follow the network stages of best\.ckpt: .+\n.*must not depend"):
        trace_network(replace(network, network=Undecided()))


ALONE = """
import json, sys, torch
entries = {"fer_ablate.json": ""}
program = torch.export.load(sys.argv[1], extra_files=entries).module()
shares = program(torch.full((3, 1, 48, 48), 128, dtype=torch.uint8))
print(json.dumps([shares.sum(1).tolist(), json.loads(entries["fer_ablate.json"]), "fer_ablate" in sys.modules]))
"""


@pytest.mark.slow
def test_a_program_runs_without_this_package(program):
    done = subprocess.run([sys.executable, "-I", "-c", ALONE, str(program)], capture_output=True, text=True, check=True)
    sums, entries, imported = json.loads(done.stdout)
    assert sums == pytest.approx([1.0] * 3)
    assert json.loads(entries["fer_ablate.classes"]) == list(EMOTIONS)
    assert not imported
