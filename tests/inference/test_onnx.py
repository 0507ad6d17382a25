"""ONNX files: the same probabilities as PyTorch, and nothing but our own files accepted."""

import json
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch

import fer_ablate
from fer_ablate.config.choices import Fit
from fer_ablate.errors import UserError
from fer_ablate.inference.export.formats import ExportImages, ExportSpec, FormatComparison, export_network, require_equal_scores
from fer_ablate.inference.export.metadata import read_metadata
from fer_ablate.inference.export.onnx_file import load_onnx, save_onnx, write_metadata
from fer_ablate.inference.export.torch_program import trace_network
from fer_ablate.inference.scorer import TorchScorer
from fer_ablate.labels import EMOTIONS
from fer_ablate.training.hardware import Hardware

from .export_cases import NARROW, faces, metadata, trained

CPU = Hardware(torch.device("cpu"), 1, "32-true")


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    found = trained(*NARROW)
    path = tmp_path_factory.mktemp("weights") / "best.ckpt"
    path.write_bytes(b"stands for the weights")
    return replace(found, path=path)


@pytest.fixture(scope="module")
def folder(network, tmp_path_factory):
    """All ONNX files of one network."""
    output = tmp_path_factory.mktemp("with space") / "export"
    sample = ExportImages(faces(32), np.zeros(32, np.int64), faces(64))
    spec = ExportSpec(onnx=True, program=False, quantise=("dynamic", "static"))
    rows = export_network(network, metadata(network), spec, sample, output, lambda title: nullcontext(lambda fraction: None))
    assert [row.layers for row in rows] == [None, (0, 8), (2, 8), (8, 8)]
    assert max(row.comparison.difference for row in rows[:2]) < 1e-5
    return output


@pytest.mark.long
@pytest.mark.parametrize("number", [1, 2, 7])
def test_any_number_of_faces_gets_pytorchs_probabilities(network, folder, number):
    scorer = load_onnx(folder / "model.onnx", threads=1)
    assert (scorer.classes, scorer.image_size, scorer.channels) == (tuple(EMOTIONS), (48, 48), 1)
    expected = TorchScorer(network, CPU).probabilities(faces(number))
    np.testing.assert_allclose(scorer.probabilities(faces(number)), expected, atol=1e-5)


@pytest.mark.parametrize("name", ["model", "model-int8-dynamic", "model-int8-static"])
def test_a_file_holds_metadata_but_no_local_paths(folder, network, name):
    model = onnx.load(str(folder / f"{name}.onnx"))
    entries = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(entries["fer_ablate.classes"]) == list(EMOTIONS)
    assert read_metadata(entries, folder) == metadata(network)
    assert str(fer_ablate.__file__).rpartition("/")[0].encode() not in model.SerializeToString()
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"


def test_eight_bits_are_near_and_small(network, folder):
    expected = TorchScorer(network, CPU).probabilities(faces(7))
    for kind in ("dynamic", "static"):
        path = folder / f"model-int8-{kind}.onnx"
        assert 0 < np.abs(load_onnx(path, 1).probabilities(faces(7)) - expected).max() < 0.1
    assert path.stat().st_size < 0.6 * (folder / "model.onnx").stat().st_size
    assert sorted(file.name for file in folder.iterdir()) == ["model-int8-dynamic.onnx", "model-int8-static.onnx", "model.onnx"]


def test_colour_faces_are_averaged_for_a_gray_file(folder):
    scorer, gray = load_onnx(folder / "model.onnx", 1), faces(2)
    np.testing.assert_array_equal(scorer.probabilities(gray.repeat(3, axis=1)), scorer.probabilities(gray))


def changed(folder, path, change):
    model = onnx.load(str(folder / "model.onnx"))
    change(model)
    onnx.save(model, str(path))


def strip(model):
    del model.metadata_props[:]


def later(model):
    onnx.helper.set_model_props(model, {"fer_ablate.format": "99"})


def test_a_file_of_an_earlier_version_is_read(network):
    entries = metadata(network).entries() | {"fer_ablate.image_size": "48"}
    del entries["fer_ablate.fit"]
    assert read_metadata(entries, network.path) == replace(metadata(network), fit=Fit.stretch)  # all pictures were stretched then


def half(model):
    onnx.helper.set_model_props(model, {"fer_ablate.format": "1", "fer_ablate.classes": "[]"})


STRANGE = {
    "another program's": (strip, "not exported by fer_ablate"),
    "a later version's": (later, r"format 99, this version reads 1"),
    "with half of its metadata": (half, "its metadata is damaged"),
}


@pytest.mark.parametrize(("change", "answer"), STRANGE.values(), ids=STRANGE)
def test_files_that_are_not_ours_are_refused(folder, tmp_path, change, answer):
    changed(folder, tmp_path / "strange.onnx", change)
    with pytest.raises(UserError, match=rf"strange\.onnx: .*{answer}.*export run="):
        load_onnx(tmp_path / "strange.onnx")


def test_a_file_with_wrong_inputs_is_refused(folder, network, tmp_path):
    changed(folder, tmp_path / "wrong.onnx", lambda model: write_metadata(model, replace(metadata(network), image_size=(48, 64))))
    with pytest.raises(UserError, match="its inputs differ from what its metadata says"):
        load_onnx(tmp_path / "wrong.onnx")


def test_damaged_and_missing_files_are_named(folder, tmp_path):
    whole = (folder / "model.onnx").read_bytes()
    for content in (b"", b"text", whole[: len(whole) // 2]):
        (tmp_path / "cut.onnx").write_bytes(content)
        with pytest.raises(UserError, match=r"cut\.onnx: (damaged|not exported)"):
            load_onnx(tmp_path / "cut.onnx")
    with pytest.raises(UserError, match="there is no such file"):
        load_onnx(tmp_path / "none.onnx")


@pytest.mark.parametrize("difference", [2e-4, float("nan")])
def test_a_file_with_other_probabilities_is_refused(difference):
    with pytest.raises(UserError, match=r"model\.onnx: its probabilities differ .* 3 predictions changed"):
        require_equal_scores("model.onnx", FormatComparison(difference, 3, 0.5, 0.0, 1.0))


NETWORKS = {
    "pisa": NARROW,
    "mobile_fer": ("model=mobile_fer",),
    "resnet18": ("model=resnet18", "model.width=0.25"),
    "bits_vgg16": ("model=bits_vgg16", "model.width=0.125"),
    "layer norm, gelu": (*NARROW, "model.norm=layer", "model.activation=gelu"),
    "instance norm, silu": (*NARROW, "model.norm=instance", "model.activation=silu"),
    "uneven adaptive pools": (*NARROW, "model.head_pool=adaptive_avg", "model.head_pool_size=2"),
    "uneven adaptive maxima": (*NARROW, "model.head_pool=adaptive_max", "model.head_pool_size=2"),
    "three channels": (*NARROW, "model.in_channels=3", "data.mean=[0.4,0.5,0.6]", "data.std=[0.2,0.25,0.3]"),
}


EVERY_OP = (
    "data.prepare=[{op: equalize}, {op: clahe}, {op: gamma, gamma: 0.8}, {op: blur, sigma: 0.7}, {op: resize, size: [64, 48]}]"
)


@pytest.mark.slow
@pytest.mark.parametrize("steps", ["data.prepare=[]", EVERY_OP], ids=["as stored", "prepared by every op"])
def test_oblong_colour_faces_get_pytorchs_probabilities(steps, tmp_path):
    network = trained(*NETWORKS["three channels"], steps, size=(40, 56), channels=3)
    save_onnx(trace_network(network), metadata(network), tmp_path / "model.onnx")
    scorer = load_onnx(tmp_path / "model.onnx", 1)
    assert (scorer.image_size, scorer.channels) == ((40, 56), 3)
    for number in (1, 7):
        images = faces(number, 3, (40, 56))
        expected = TorchScorer(network, CPU).probabilities(images)
        np.testing.assert_allclose(scorer.probabilities(images), expected, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("words", NETWORKS.values(), ids=NETWORKS)
def test_networks_of_all_kinds_can_be_written(words, tmp_path):
    network = trained(*words)
    save_onnx(trace_network(network), metadata(network), tmp_path / "model.onnx")
    scorer = load_onnx(tmp_path / "model.onnx", 1)
    for number in (1, 2, 7):
        expected = TorchScorer(network, CPU).probabilities(faces(number))
        np.testing.assert_allclose(scorer.probabilities(faces(number)), expected, atol=1e-5)
