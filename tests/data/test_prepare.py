import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.export import Dim

from fer_ablate.data.checks import prepare_faults, prepared_size
from fer_ablate.data.ops.registry import FIXED
from fer_ablate.data.prepare import build_prepare

STEPS = {
    "resize": {"op": "resize", "size": [30, 64]},
    "area": {"op": "resize", "size": [30, 64], "method": "area"},
    "equalize": {"op": "equalize"},
    "clahe": {"op": "clahe", "clip_limit": 2.0, "grid": [7, 5]},
    "gamma": {"op": "gamma", "gamma": 0.5},
    "blur": {"op": "blur", "sigma": 1.5},
}


def faces_u8(number, channels):
    return torch.randint(256, (number, channels, 48, 40), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_every_fixed_op_is_tried_here():
    assert {step["op"] for step in STEPS.values()} == set(FIXED)


@pytest.mark.parametrize("channels", [1, 3], ids=["gray", "colour"])
@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
def test_each_image_is_prepared_alone_within_range(step, channels):
    faces = faces_u8(6, channels) / 255
    assert prepare_faults([step], (48, 40)) == []
    prepare = build_prepare([step])
    torch.manual_seed(0)
    out = prepare(faces)
    assert out.shape == (6, channels, *prepared_size([step], (48, 40)))
    assert out.dtype == torch.float32
    assert 0 <= out.min() < out.max() <= 1
    assert torch.rand(()) == torch.rand((), generator=torch.Generator().manual_seed(0))  # nothing was drawn
    torch.testing.assert_close(prepare(faces[2:3]), out[2:3])


def test_numbers_do_not_depend_on_autocast():
    prepare = build_prepare(list(STEPS.values()))
    faces = faces_u8(2, 3) / 255
    plain = prepare(faces)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(prepare(faces), plain, rtol=0, atol=0)


def test_no_steps_are_no_module():
    assert build_prepare([]) is None
    assert prepared_size([], (48, 40)) == (48, 40)


def test_the_last_resize_names_the_size():
    steps = [{"op": "resize", "size": 64}, {"op": "equalize"}, {"op": "resize", "size": [56, 40]}]
    assert prepared_size(steps, (48, 48)) == (56, 40)
    assert build_prepare(steps)(torch.rand(2, 1, 48, 48)).shape == (2, 1, 56, 40)


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (
            {"op": "equalise"},
            r"data.prepare\[0\].op: unknown op 'equalise'\n    Did you mean 'equalize'\? Choices: resize,",
        ),
        (
            {"op": "flip"},
            r"prepare\[0\].op: flip changes each image in its own way\n    It belongs in augment.steps. Choices",
        ),
        (
            {"op": "blur", "sigma": [0.5, 1]},
            r"sigma: \[0.5, 1\]: a number is drawn from the interval .*\n    .* belongs in augment.steps",
        ),
        (
            {"op": "equalize", "p": 0.5},
            r"prepare\[0\].p: 0.5: only some images would be changed\n    .* belongs in augment.steps",
        ),
        ({"op": "resize"}, r"prepare\[0\].size: resize needs it and it is missing"),
        ({"op": "resize", "size": 0}, r"prepare\[0\].size: 0: expected a whole number of pixels"),
        ({"op": "resize", "size": 64, "method": "cubic"}, r"method: 'cubic': Choices: bilinear, area"),
        ({"op": "gamma", "gamma": 0}, r"gamma: 0: expected a number from 0.05 to 20"),
        ({"op": "clahe", "grid": 40}, r"prepare\[0\].grid: 40: tiles of a single pixel in the 48x40 images"),
        ({"op": "blur", "kernel": 81}, r"prepare\[0\].kernel: a kernel of 81 pixels is too large for the 48x40 images"),
        ("equalize", r"prepare\[0\]: equalize does not name its op\n    Write {op: equalize}"),
    ],
    ids=str,
)
def test_a_wrong_step_is_named_with_remedy(step, message):
    (fault,) = prepare_faults([step], (48, 40))
    with pytest.raises(ValueError, match=message):
        raise ValueError(fault)


def test_a_step_is_checked_against_the_previous_size():
    small, blurred = {"op": "resize", "size": 8}, {"op": "blur", "sigma": 3}
    assert [fault.key for fault in prepare_faults([small, blurred], None)] == ["data.prepare[1].sigma"]
    assert prepare_faults([blurred, small], None) == prepare_faults([blurred], (48, 48)) == []


def test_a_fixed_change_may_be_called_certain():
    assert prepare_faults([{"op": "equalize", "p": 1}], (48, 48)) == []


class Deployed(nn.Module):
    def __init__(self, steps):
        super().__init__()
        self.prepare = build_prepare(steps)

    def forward(self, faces):
        return self.prepare(faces.float() / 255)


def exported(module, channels):
    # Of a batch of one torch would conclude that it is always one.
    with torch.no_grad():
        return torch.export.export(module, (faces_u8(2, channels),), dynamic_shapes=({0: Dim("batch", min=1)},))


@pytest.mark.slow
@pytest.mark.parametrize("channels", [1, 3], ids=["gray", "colour"])
def test_preparation_exports_for_any_batch_size(channels):
    module = Deployed(list(STEPS.values())).eval()
    program = exported(module, channels).module()
    for number in (1, 5):
        torch.testing.assert_close(program(faces_u8(number, channels)), module(faces_u8(number, channels)), rtol=0, atol=0)


@pytest.mark.slow
@pytest.mark.parametrize("channels", [1, 3], ids=["gray", "colour"])
@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
def test_onnx_prepares_like_torch(step, channels):
    onnxruntime = pytest.importorskip("onnxruntime")
    module = Deployed([step]).eval()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        written = torch.onnx.export(exported(module, channels), input_names=["faces"], verbose=False)
    session = onnxruntime.InferenceSession(written.model_proto.SerializeToString())
    for number in (1, 5):
        faces = faces_u8(number, channels)
        (out,) = session.run(None, {"faces": faces.numpy()})
        off = np.abs(out - module(faces).numpy())
        # A last digit may round the brightness of a colour to another level, which then becomes another one.
        assert off.max() < 1e-5 or (channels == 3 and np.mean(off > 1e-5) < 1e-3)
