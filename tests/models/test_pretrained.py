from dataclasses import replace
from hashlib import sha256

import pytest
import torch
from torch.nn.functional import batch_norm, conv2d, max_pool2d, relu

from fer_ablate.config.choices import Norm
from fer_ablate.config.schema import ModelConfig
from fer_ablate.errors import UserError
from fer_ablate.models.build import build_network
from fer_ablate.models.checks import network_faults
from fer_ablate.models.published import PUBLISHED
from fer_ablate.models.transfer import load_pretrained, pretrained_file

VGG16 = (64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512, "M")


def drawn_conv(out, given, kernel):
    return torch.randn(out, given, kernel, kernel) * (2 / (given * kernel**2)) ** 0.5


def drawn_norm(channels):
    # In the order of torchvision's older files, which is not that of today's modules.
    return {part: torch.rand(channels) + 0.5 for part in ("running_mean", "running_var", "weight", "bias")}


def vgg16_state():
    """Random weights under torchvision's names: convolutions are numbered among activations and pools."""
    state, given, index = {}, 3, 0
    for channels in VGG16:
        if channels != "M":
            state |= {f"features.{index}.weight": drawn_conv(channels, given, 3), f"features.{index}.bias": torch.randn(channels)}
            given, index = channels, index + 1
        index += 1
    return state | {"classifier.0.weight": torch.randn(4, 4), "classifier.0.bias": torch.randn(4)}


def vgg16_features(state, faces):
    index = 0
    for channels in VGG16:
        if channels == "M":
            faces = max_pool2d(faces, 2)
        else:
            faces = relu(conv2d(faces, state[f"features.{index}.weight"], state[f"features.{index}.bias"], padding=1))
            index += 1
        index += 1
    return faces


def resnet50_layers():
    """Name of each block, its input and inner channels, stride, and whether it has a shortcut."""
    given = 64
    for number, depth in enumerate((3, 4, 6, 3)):
        for block in range(depth):
            inner = 64 * 2**number
            yield f"layer{number + 1}.{block}", given, inner, 2 if number and not block else 1, not block
            given = 4 * inner


def resnet50_state():
    layers = {"conv1": drawn_conv(64, 3, 7), "bn1": drawn_norm(64)}
    for name, given, inner, _, shortcut in resnet50_layers():
        layers |= {f"{name}.conv1": drawn_conv(inner, given, 1), f"{name}.bn1": drawn_norm(inner)}
        layers |= {f"{name}.conv2": drawn_conv(inner, inner, 3), f"{name}.bn2": drawn_norm(inner)}
        layers |= {f"{name}.conv3": drawn_conv(4 * inner, inner, 1), f"{name}.bn3": drawn_norm(4 * inner)}
        if shortcut:
            layers |= {f"{name}.downsample.0": drawn_conv(4 * inner, given, 1), f"{name}.downsample.1": drawn_norm(4 * inner)}
    state = {}
    for name, layer in layers.items():
        parts = layer if isinstance(layer, dict) else {"weight": layer}
        state |= {f"{name}.{part}": tensor for part, tensor in parts.items()}
    return state | {"fc.weight": torch.randn(4, 4), "fc.bias": torch.randn(4)}


def resnet50_features(state, faces):
    def conv_norm(maps, conv, norm, **places):
        parts = [state[f"{norm}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
        return batch_norm(conv2d(maps, state[f"{conv}.weight"], **places), *parts)

    maps = max_pool2d(relu(conv_norm(faces, "conv1", "bn1", stride=2, padding=3)), 3, 2, 1)
    for name, _, _, stride, shortcut in resnet50_layers():
        straight = relu(conv_norm(maps, f"{name}.conv1", f"{name}.bn1"))
        straight = relu(conv_norm(straight, f"{name}.conv2", f"{name}.bn2", stride=stride, padding=1))
        straight = conv_norm(straight, f"{name}.conv3", f"{name}.bn3")
        if shortcut:
            maps = conv_norm(maps, f"{name}.downsample.0", f"{name}.downsample.1", stride=stride)
        maps = relu(straight + maps)
    return maps


@pytest.fixture(scope="module")
def vgg16(tmp_path_factory):
    file, state = tmp_path_factory.mktemp("weights") / "vgg16.pth", vgg16_state()
    torch.save(state, file)
    return file, state


def test_vgg16_weights_give_the_plain_forward_features(load, vgg16):
    file, state = vgg16
    network = build_network(load("vgg16"), (48, 48), 7)
    load_pretrained(network, file)
    faces = torch.randn(1, 3, 32, 32)
    torch.testing.assert_close(network.stages(faces), vgg16_features(state, faces))
    # Only the head is left as model.init drew it: Glorot's bound for 512 inputs and 256 outputs, and no biases.
    head = network.hidden[0].linear
    assert 0.99 < head.weight.abs().max() / (6 / (512 + 256)) ** 0.5 <= 1
    assert not head.bias.any()


@pytest.mark.long
def test_resnet50_weights_give_the_plain_forward_features(load, tmp_path):
    state = resnet50_state()
    torch.save(state, tmp_path / "resnet50.pth")
    network = build_network(load("resnet50"), (48, 48), 7).eval()
    load_pretrained(network, tmp_path / "resnet50.pth")
    faces = torch.randn(1, 3, 48, 48)
    # Its numbers grow with every block because the drawn normalisations do not hold them back.
    torch.testing.assert_close(network.stages(faces), resnet50_features(state, faces), rtol=1e-4, atol=1e-4)


def test_weights_of_another_network_are_refused(load, weightless, vgg16, tmp_path):
    file, state = vgg16
    with pytest.raises(UserError, match=r"vgg16.pth holds 13 layers with weights, but model.stages has 16. Take the model that"):
        load_pretrained(weightless(load("vgg19")), file)
    torch.save({**state, "features.2.weight": torch.zeros(64, 64, 5, 5)}, tmp_path / "wide.pth")
    message = r"'features.2' has bias 64, weight 64x64x5x5, but 'stages.0.conv1' needs bias 64, weight 64x64x3x3"
    with pytest.raises(UserError, match=message):
        load_pretrained(weightless(load("vgg16")), tmp_path / "wide.pth")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<html>", "is not a file of weights"),
        (b"", "is not a file of weights"),
        (b"\x80\x02\x8a\x0al\xfc\x9cF", "is not a file of weights"),
        ([1, 2], "is not a state dict"),
        ({1: torch.zeros(1)}, "is not a state dict"),
    ],
    ids=["a page of a proxy", "an empty file", "a damaged file", "a list", "numbers as names"],
)
def test_files_without_weights_are_refused(load, tmp_path, content, message):
    file = tmp_path / "weights.pth"
    file.write_bytes(content) if isinstance(content, bytes) else torch.save(content, file)
    with pytest.raises(UserError, match=message):
        load_pretrained(build_network(load("pisa", width=0.125), (48, 48), 7), file)


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder in the place of torchvision's site, with one file, and an empty cache."""
    content = b"weights"
    name = f"tiny-{sha256(content).hexdigest()[:8]}.pth"
    (tmp_path / name).write_bytes(content)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    monkeypatch.setitem(PUBLISHED, "tiny", replace(PUBLISHED["vgg16"], url=(tmp_path / name).as_uri()))
    return tmp_path / name


def test_a_file_is_fetched_once_into_torchs_cache(site, tmp_path):
    cached = tmp_path / "cache" / "hub" / "checkpoints" / site.name
    assert pretrained_file("tiny") == cached
    site.unlink()
    assert pretrained_file("tiny").read_bytes() == b"weights"


def test_offline_the_message_says_where_files_go(site, tmp_path):
    site.unlink()
    with pytest.raises(UserError) as caught:
        pretrained_file("tiny")
    folder = tmp_path / "cache" / "hub" / "checkpoints"
    assert f"{site.as_uri()} cannot be fetched" in str(caught.value)
    assert f"put it into {folder} as {site.name}, or pass model.pretrained_path=<file>." in str(caught.value)


def test_a_changed_download_never_reaches_the_cache(site, tmp_path):
    site.write_bytes(b"other")
    with pytest.raises(UserError, match=r"holds another file than its name says: invalid hash value .* Try again"):
        pretrained_file("tiny")
    assert not list((tmp_path / "cache").rglob("*.pth"))


def test_a_broken_cached_file_shows_both_hashes(site):
    pretrained_file("tiny").write_bytes(b"other")
    other, expected = sha256(b"other").hexdigest()[:8], sha256(b"weights").hexdigest()[:8]
    with pytest.raises(UserError, match=f"begins with {other}, expected {expected}. .* model.pretrained_sha256={other}"):
        pretrained_file("tiny")


def test_a_file_of_ones_own_needs_its_hash(site, tmp_path):
    mine = tmp_path / "mine.pth"
    mine.write_bytes(b"mine")
    digest = sha256(b"mine").hexdigest()
    assert pretrained_file("tiny", mine, digest.upper()) == mine
    with pytest.raises(UserError, match="is not the expected file"):
        pretrained_file("tiny", mine)
    with pytest.raises(UserError, match=r"there is no file .*nowhere\.pth"):
        pretrained_file("tiny", tmp_path / "nowhere.pth")


def test_unknown_weights_are_answered_with_the_nearest_name():
    with pytest.raises(UserError, match="Did you mean 'vgg16'"):
        pretrained_file("vgg-16")


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_weights_fit_their_stored_networks(load, name):
    assert network_faults(load(name, pretrained=name, trainable_convs=0), (48, 48)) == []


def fault_text(config):
    return "\n".join(map(str, network_faults(config, (48, 48))))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pretrained": "resnet"}, "model.pretrained: 'resnet' is not known.\n    Did you mean 'resnet50'?"),
        ({"pretrained": "vgg16", "in_channels": 1}, "model.in_channels: 1, but vgg16 was trained on 3 channels."),
        ({"pretrained": "vgg16", "width": 0.5}, "model.width: 0.5, but the weights of vgg16 have the listed width."),
        ({"pretrained": "vgg16", "depths": [2, 2, 3, 3]}, "model.stages: are not those of vgg16: 2 conv 64, 2 conv 128,"),
        ({"pretrained": "vgg19"}, "model.stages: are not those of vgg19"),
        ({"pretrained": "vgg16", "norm": Norm.batch}, "model.norm: must be none in all stages, as in vgg16."),
        ({"pretrained": "vgg16", "conv_bias": False}, "model.conv_bias: False, but vgg16 has True."),
        ({"pretrained": "vgg16", "pretrained_path": "nowhere.pth"}, "model.pretrained_path: there is no file nowhere.pth."),
        ({"pretrained": "vgg16", "pretrained_sha256": "sha256:397923af"}, "model.pretrained_sha256: 'sha256:397923af' is not a"),
        ({"pretrained_path": "nowhere.pth"}, "model.pretrained_path: given without model.pretrained."),
        ({"pretrained_sha256": "397923af"}, "model.pretrained_sha256: given without model.pretrained."),
        ({"trainable_convs": 14}, "model.trainable_convs: 14, but the stages have only 13 convolutions."),
        ({"trainable_convs": -1}, "model.trainable_convs: -1 is below 0."),
    ],
)
def test_transfer_faults_name_key_and_value(load, changes, message):
    assert message in fault_text(load("vgg16", **changes))


def test_published_statistics_need_their_own_epsilon(load):
    message = "model.norm_eps: 0.001, but resnet50 was trained with 1e-05."
    assert message in fault_text(load("resnet50", pretrained="resnet50", norm_eps=1e-3))
    assert fault_text(load("resnet50", pretrained="resnet50")) == ""
    assert fault_text(load("vgg16", pretrained="vgg16", norm_eps=1e-3)) == ""  # it has no normalisation


def test_faults_of_transfer_are_reported_at_once(load):
    config = load("vgg16", pretrained="vgg16", in_channels=1, width=0.5, trainable_convs=20, pretrained_path="nowhere.pth")
    names = ("in_channels", "width", "pretrained_path", "trainable_convs")
    assert [fault.key for fault in network_faults(config, (48, 48))] == [f"model.{name}" for name in names]


def test_a_plugin_network_takes_no_published_weights():
    config = ModelConfig(name="torch.nn.Identity", pretrained="vgg16", trainable_convs=3)
    assert "model.pretrained: vgg16 given, but the plugin torch.nn.Identity has no stages." in fault_text(config)
    assert "model.trainable_convs: 3 given" in fault_text(config)
