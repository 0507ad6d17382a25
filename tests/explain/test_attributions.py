"""Heat maps against formulas, on networks small enough for it."""

import numpy as np
import pytest
import torch
from torch import nn

from fer_ablate.config.compose import composed, composer, to_config
from fer_ablate.data.prepare import build_prepare
from fer_ablate.data.transform import Preprocess
from fer_ablate.errors import UserError
from fer_ablate.explain.attributions import GRAY, PASSES, Explainer, FromPixels, feature_layer
from fer_ablate.models.build import build_network

SIDE = 12


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def preprocess(channels=1, std=0.5):
    return Preprocess(nn.Identity(), size=(SIDE, SIDE), mean=0.25, std=std, channels=channels)


def explainer(network, channels=1, size=(SIDE, SIDE)):
    return Explainer(network.eval(), preprocess(channels), size, torch.device("cpu"))


def faces(number=3, side=SIDE, channels=1):
    return np.random.default_rng(0).integers(0, 256, (number, channels, side, side), dtype=np.uint8)


def linear():
    return nn.Sequential(nn.Flatten(), nn.Linear(SIDE * SIDE, 4))


TARGETS = np.array([1, 3, 0])


def test_saliency_of_a_linear_network_is_its_weights():
    network = linear()
    expected = network[1].weight.detach()[TARGETS].abs().view(3, SIDE, SIDE) / 0.5  # the normalisation divides by 0.5
    assert explainer(network).maps("saliency", faces(), TARGETS) == pytest.approx(expected.numpy(), rel=1e-5)


def test_integrated_gradients_of_a_linear_network():
    network = linear()
    weights = network[1].weight.detach()[TARGETS].view(3, SIDE, SIDE).numpy() / 0.5
    expected = weights * (faces()[:, 0] / 255 - GRAY)
    assert explainer(network).maps("integrated_gradients", faces(), TARGETS) == pytest.approx(expected, rel=1e-3, abs=1e-5)


def test_integrated_gradients_add_up_to_the_score_difference():
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.SiLU(), nn.Flatten(), nn.Linear(4 * 100, 4)).eval()
    whole = FromPixels(network, preprocess())
    seen = torch.from_numpy(faces()).float() / 255
    rows = torch.arange(3)
    with torch.no_grad():
        expected = (whole(seen) - whole(torch.full_like(seen, GRAY)))[rows, torch.from_numpy(TARGETS)]
    found = explainer(network).maps("integrated_gradients", faces(), TARGETS).sum(axis=(1, 2))
    assert found == pytest.approx(expected.numpy(), rel=1e-3, abs=1e-4)


def test_gradcam_of_one_convolution_is_the_formula():
    conv, output = nn.Conv2d(1, 5, 3, padding=1), nn.Linear(5, 4)
    network = nn.Sequential(conv, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), output)
    with torch.no_grad():
        features = conv(preprocess().eval()(torch.from_numpy(faces()))).relu()
        # Behind a mean over the map, the mean derivative by channel k is its output weight over the number of pixels.
        weights = output.weight[TARGETS] / SIDE**2
        expected = torch.einsum("nk,nkij->nij", weights, features).relu()
    assert explainer(network).maps("gradcam", faces(), TARGETS) == pytest.approx(expected.numpy(), rel=1e-4, abs=1e-7)


class Block(nn.Module):
    """Reads the brightness of rows and columns 4 to 7 and nothing else."""

    def forward(self, seen):
        bright = seen[:, :, 4:8, 4:8].mean(dim=(1, 2, 3))
        return torch.stack([bright, -bright], dim=1)


def test_occlusion_finds_what_a_network_reads():
    found = explainer(Block()).maps("occlusion", np.full((1, 1, SIDE, SIDE), 255, np.uint8), np.array([0]))[0]
    assert np.unravel_index(found.argmax(), found.shape) in {(row, column) for row in range(4, 8) for column in range(4, 8)}
    assert found[4:8, 4:8].min() > found[:3].max()
    assert found.max() <= 1 + 1e-6  # the whole fall: (1 - 0.5) / 0.5


def test_a_larger_image_is_seen_through_its_centre():
    large = faces(side=SIDE + 4)
    network = linear()
    centre = np.ascontiguousarray(large[..., 2:-2, 2:-2])
    for method in ("saliency", "integrated_gradients", "occlusion"):
        assert (explainer(network).maps(method, large, TARGETS) == explainer(network).maps(method, centre, TARGETS)).all()


@pytest.mark.parametrize("channels", [1, 3], ids=["gray", "colour"])
def test_maps_have_the_shape_of_their_images(channels):
    size = (20, 12)
    network = nn.Sequential(nn.Conv2d(channels, 4, 3), nn.SiLU(), nn.Flatten(), nn.Linear(4 * 18 * 10, 4))
    images = np.random.default_rng(0).integers(0, 256, (3, channels, *size), dtype=np.uint8)
    for method in PASSES:
        maps = explainer(network, channels, size).maps(method, images, TARGETS)
        assert maps.shape == (3, *size)
        assert np.isfinite(maps).all()
        assert maps.any()


class Stripe(nn.Module):
    """Reads the brightness of rows 18 to 20 and nothing else."""

    def forward(self, seen):
        bright = seen[:, :, 18:21].mean(dim=(1, 2, 3))
        return torch.stack([bright, -bright], dim=1)


def test_occlusion_patches_have_the_shape_of_images():
    # A patch is a sixth of the height, 4 of 24 pixels, and moves by half of that: rows 15 to 23 share a patch with what is read.
    white = np.full((1, 1, 24, 12), 255, np.uint8)
    found = explainer(Stripe(), size=(24, 12)).maps("occlusion", white, np.array([0]))[0].mean(axis=1)
    assert found[18:20].min() == found.max() > 0
    assert not found[:14].any()


def test_maps_are_of_the_prepared_image():
    halved = Preprocess(
        nn.Identity(), size=(12, 6), mean=0.25, std=0.5, channels=1, prepare=build_prepare([{"op": "resize", "size": [12, 6]}])
    )
    network = nn.Sequential(nn.Flatten(), nn.Linear(72, 4)).eval()
    glass = Explainer(network, halved, (12, 6), torch.device("cpu"))
    assert glass.prepared_size((24, 12)) == (12, 6)
    assert glass.seen(np.full((1, 1, 24, 12), 51, np.uint8)).flatten().tolist() == pytest.approx([0.2] * 72)
    expected = network[1].weight.detach()[TARGETS].abs().view(3, 12, 6) / 0.5
    images = np.random.default_rng(0).integers(0, 256, (3, 1, 24, 12), dtype=np.uint8)
    assert glass.maps("saliency", images, TARGETS) == pytest.approx(expected.numpy(), rel=1e-5)


def test_three_channels_of_a_gray_face_count_together():
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, 4))
    summed = network[1].weight.detach().view(4, 3, SIDE, SIDE).sum(dim=1)[TARGETS].abs() / 0.5
    assert explainer(network, channels=3).maps("saliency", faces(), TARGETS) == pytest.approx(summed.numpy(), rel=1e-4, abs=1e-6)


def test_activations_in_place_do_no_harm():
    twins = [
        nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(inplace=there), nn.Flatten(), nn.Linear(400, 4)) for there in (False, True)
    ]
    twins[1].load_state_dict(twins[0].state_dict())
    for method in PASSES:
        plain, in_place = (explainer(network).maps(method, faces(), TARGETS) for network in twins)
        assert in_place == pytest.approx(plain, rel=1e-5, abs=1e-8)


def test_gradcam_without_maps_names_the_other_methods():
    with pytest.raises(UserError, match="work with any network: methods=saliency,integrated_gradients,occlusion"):
        explainer(linear()).maps("gradcam", faces(), TARGETS)


@pytest.mark.parametrize("name", ["pisa", "resnet18", "mobile_fer"])
def test_listed_networks_have_maps(name):
    with composer():
        config = to_config(composed([f"model={name}", "model.width=0.0625"])).model
    network = build_network(config, (48, 48), 7).eval()
    whole = Preprocess(nn.Identity(), size=(48, 48), mean=0.5, std=0.5, channels=config.in_channels)
    glass = Explainer(network, whole, (48, 48), torch.device("cpu"))
    images = faces(2, 48)
    for method in ("gradcam", "saliency", "integrated_gradients"):
        maps = glass.maps(method, images, np.array([3, 5]))
        assert maps.shape == (2, 48, 48)
        assert np.isfinite(maps).all()
    assert maps.any()


def test_gradcam_uses_the_output_of_a_residual_block():
    with composer():
        config = to_config(composed(["model=resnet18", "model.width=0.0625"])).model
    network = build_network(config, (48, 48), 7).eval()
    assert feature_layer(network, torch.zeros(1, config.in_channels, 48, 48)) is network.stages
