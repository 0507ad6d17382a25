"""`export`: what is written and printed, and what is refused before anything is read."""

import numpy as np
import pytest
import torch

from fer_ablate.inference.export.onnx_file import load_onnx
from fer_ablate.inference.export.torch_program import load_program


def runs_dir(finished):
    return f"runs_dir={finished.parents[1]}"


@pytest.mark.parametrize(
    ("words", "file", "title", "use", "load"),
    [
        pytest.param(["format=torch"], "model.pt2", "torch.export ", "{}').module()(faces)", load_program, id="torch"),
        pytest.param(
            [], "model.onnx", "ONNX", "predict ckpt={}", lambda path: load_onnx(path, 1), id="onnx", marks=pytest.mark.slow
        ),
    ],
)
def test_a_file_is_written_checked_and_explained(typed, finished, words, file, title, use, load):
    printed = typed("export", f"run={finished}", runs_dir(finished), "images=20", *words)
    assert printed.code == 0, printed.err
    path = finished / "export" / file
    assert [file.name for file in path.parent.iterdir()] == [file]
    assert "20 real images of the test split" in printed.out
    assert use.format(path) in printed.out
    (row,) = (line.split() for line in printed.out.splitlines() if line.startswith(title))
    assert float(row[-1]) < 1e-4
    assert load(path).probabilities(np.zeros((1, 1, 48, 48), np.uint8)).sum() == pytest.approx(1.0)


REFUSED = {
    "an unknown format": (["format=onx"], "Did you mean 'onnx'? Choices: onnx, torch, mlflow, all."),
    "an unknown kind of quantisation": (["quantise=int4"], "quantise: there is no 'int4'"),
    "a misspelt word": (["quantize=static"], "Did you mean 'quantise'?"),
    "quantisation without ONNX": (["format=torch", "quantise=static"], "Give format=onnx or format=all"),
    "registering without MLflow": (["register=faces"], "format=onnx logs no model in MLflow"),
    "registering without tracking": (["format=mlflow", "register=faces", "tracking=none"], "tracking=none names no store"),
    "no images": (["images=0"], "images: '0' is not a whole number, 1 or more"),
    "an unknown opset": (["opset=9"], "opset: '9' is not a whole number from 18 to 23"),
    "what was settled by training": (["model=pisa"], "was settled when the run was trained"),
}


@pytest.mark.parametrize(("words", "answer"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_is_refused(typed, finished, words, answer):
    printed = typed("export", f"run={finished}", runs_dir(finished), *words)
    assert printed.code == 1
    assert answer in printed.err
    assert not (finished / "export").exists()


def test_all_faults_are_reported_together(typed):
    printed = typed("export", "run=x", "format=tflite", "quantise=int4", "opset=x")
    assert "3 faults in the config" in printed.err


def test_a_folder_that_cannot_be_written_is_named(typed, finished, tmp_path):
    (tmp_path / "file").touch()
    printed = typed("export", f"run={finished}", f"output={tmp_path / 'file' / 'export'}", "format=torch")
    assert printed.code == 1
    assert f"Cannot write {tmp_path / 'file' / 'export'}: a part of this path is a file" in printed.err
    assert "choose another output=" in printed.err


def test_a_checkpoint_alone_logs_no_model(typed, finished):
    printed = typed("export", f"ckpt={finished / 'checkpoints' / 'best.ckpt'}", "format=mlflow")
    assert "A model in MLflow belongs to a run: give run=<id>" in printed.err


@pytest.mark.slow
def test_weights_that_are_no_numbers_leave_nothing_behind(typed, finished):
    path = finished / "checkpoints" / "best.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["state_dict"]["network.output.bias"].fill_(float("nan"))
    torch.save(checkpoint, path)
    printed = typed("export", f"ckpt={path}", "format=torch")
    assert printed.code == 1
    assert "model.pt2: its probabilities differ from PyTorch's by up to nan" in printed.err
    assert list((path.parent / "export").iterdir()) == []


@pytest.mark.slow
def test_everything_at_once(typed, finished):
    words = (f"run={finished}", runs_dir(finished), "format=all", "quantise=both", "register=faces")
    printed = typed("export", *words)
    assert printed.code == 0, printed.err
    names = ["input.json", "model-int8-dynamic.onnx", "model-int8-static.onnx", "model.onnx", "model.pt2"]
    assert sorted(file.name for file in (finished / "export").iterdir()) == names
    assert "logged, version 1 of the registered model" in printed.out
    assert (
        "was there already, version 1 of the registered model" in typed("export", *words, "trainer.evaluation_batch_size=64").out
    )
