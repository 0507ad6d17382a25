"""Computes heat maps: how much each pixel of a face contributes to the score of a class. The methods are captum's.

Letters: `n` images, `C` channels, `H W` pixels of what the network sees, `K` classes.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from fer_ablate.data.transform import Preprocess
from fer_ablate.data.views import centre_crop
from fer_ablate.errors import UserError
from fer_ablate.extras import imported
from fer_ablate.labels import SIDE
from fer_ablate.sizes import Size

Maps = NDArray[np.float32]

GRADCAM = "gradcam"
PASSES = {GRADCAM: 3, "saliency": 3, "integrated_gradients": 96, "occlusion": 121}
"""Method -> cost of a map of a 48-pixel face, in forward passes of the network; a backward pass counts as two."""

STEPS = 32
"""Points between gray and the face at which integrated gradients takes derivatives (Sundararajan et al. 2017: 20 to 300)."""

PATCH, STRIDE = 8, 4
"""Side and step of the patch that occlusion uses, in pixels of a 48-pixel face; larger faces get larger ones in proportion."""

GRAY = 0.5
"""Mid gray stands for the absence of a feature in integrated gradients and occlusion; black is itself a strong feature."""

SMALLEST_MAP = 3
"""Smallest side of a feature map for Grad-CAM; a smaller one is too coarse to show places."""

AT_ONCE = 128
"""Images, counting the changed copies that a method makes of them, that go through the network at once."""


class FromPixels(nn.Module):
    """A network together with its normalisation, so that derivatives are with respect to gray levels."""

    def __init__(self, network: nn.Module, preprocess: Preprocess) -> None:
        super().__init__()
        self.network = network
        self.preprocess = preprocess

    def forward(self, faces: Tensor) -> Tensor:
        """Compute the logits (n, K) of prepared faces (n, C, H, W) in [0, 1]."""
        logits: Tensor = self.network(self.preprocess.normalise(faces))
        return logits


@dataclass(frozen=True)
class Explainer:
    """Computes heat maps of a network, in float32.

    Args:
        network: normalised faces -> logits, in evaluation mode.
        preprocess: its preparation and its normalisation are used.
        size: H and W of the centre crop that the network sees.
        device: device to compute on.
    """

    network: nn.Module
    preprocess: Preprocess
    size: Size
    device: torch.device

    def seen(self, faces_u8: NDArray[np.uint8]) -> Tensor:
        """Prepare stored faces of any size and cut the crops that the network sees: (n, C, H, W) in [0, 1], on the device."""
        seen = centre_crop(self._prepared(torch.from_numpy(np.ascontiguousarray(faces_u8))), self.size)
        return seen.float() / 255 if seen.dtype == torch.uint8 else seen

    def prepared_size(self, image_size: Size) -> Size:
        """Size of stored images of this size after their preparation."""
        height, width = self._prepared(torch.zeros((1, 1, *image_size), dtype=torch.uint8)).shape[-2:]
        return height, width

    def _prepared(self, faces_u8: Tensor) -> Tensor:
        with torch.no_grad():
            return self.preprocess.to(self.device).prepared(faces_u8.to(self.device))

    def maps(self, method: str, faces_u8: NDArray[np.uint8], targets: NDArray[np.int64]) -> Maps:
        """Compute how much every pixel contributes to the logit of a class.

        Args:
            method: one of `PASSES`. Maps of `saliency` and `gradcam` are never negative; in the others, negative weight is
                evidence against the class.
            faces_u8: (n, C, ...) stored faces, larger than (H, W) if the network sees a crop.
            targets: (n,) class index for each face.

        Returns:
            (n, H, W) float32; the weights of colour channels are added up.

        Raises:
            UserError: the method is Grad-CAM, and no feature map of the network is large enough.
        """
        whole = FromPixels(self.network, self.preprocess).to(self.device).eval()
        faces = self.seen(faces_u8).requires_grad_()
        classes = torch.from_numpy(targets).to(self.device)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # captum's warnings about its hooks are for developers
            weights = _METHODS[method](whole, faces, classes)
        # Colour channels are parts of one pixel, so their weights count together.
        return np.asarray(weights.detach().float().sum(dim=1).cpu().numpy(), dtype=np.float32)


def feature_layer(network: nn.Module, example: Tensor) -> nn.Module:
    """Find the layer whose output Grad-CAM uses: the last one that has the map size of the last convolution of at least 3x3.

    So normalisation, activation and shortcut that follow the convolution are included, but no pool.

    Args:
        network: in evaluation mode.
        example: one input of the network.

    Raises:
        UserError: no convolution has a map of at least 3x3.
    """
    calls: list[tuple[nn.Module, tuple[int, ...]]] = []

    def note(module: nn.Module, _: object, output: object) -> None:
        calls.append((module, tuple(output.shape) if isinstance(output, Tensor) else ()))

    handles = [module.register_forward_hook(note) for module in network.modules()]
    try:
        with torch.no_grad():
            network(example)
    finally:
        for handle in handles:
            handle.remove()
    wide = [
        place
        for place, (module, shape) in enumerate(calls)
        if isinstance(module, nn.Conv2d) and len(shape) == 4 and min(shape[2:]) >= SMALLEST_MAP
    ]
    if not wide:
        raise UserError(
            f"methods={GRADCAM}: this network has no convolution with a map of at least {SMALLEST_MAP}x{SMALLEST_MAP}. "
            f"These work with any network: methods={','.join(name for name in PASSES if name != GRADCAM)}."
        )
    # Modules are called in the order of the data, and a container is called after its parts; the last one with this map size
    # therefore includes the normalisation, activation and shortcut that follow the convolution.
    sizes = calls[wide[-1]][1][2:]
    called = [id(module) for module, _ in calls]
    layer = calls[wide[-1]][0]
    for module, shape in calls[wide[-1] :]:
        if shape[2:] != sizes:
            break
        if called.count(id(module)) == 1:  # a module used in two places has no one output
            layer = module
    return layer


def _gradcam(network: nn.Module, faces: Tensor, classes: Tensor) -> Tensor:
    """Weight feature maps by their mean derivative, keep the positive part and enlarge it (Selvaraju et al. 2017, 1610.02391)."""
    layer = feature_layer(network, faces[:1].detach())
    coarse: Tensor = imported("captum.attr").LayerGradCam(network, layer).attribute(faces, classes, relu_attributions=True)
    return functional.interpolate(coarse.detach(), size=faces.shape[-2:], mode="bilinear", align_corners=False)


def _saliency(network: nn.Module, faces: Tensor, classes: Tensor) -> Tensor:
    """Take the size of the derivative (Simonyan et al. 2014, arXiv:1312.6034)."""
    weights: Tensor = imported("captum.attr").Saliency(network).attribute(faces, classes, abs=True)
    return weights


def _integrated_gradients(network: nn.Module, faces: Tensor, classes: Tensor) -> Tensor:
    """Multiply the difference from gray by the mean derivative between gray and face (Sundararajan et al. 2017, 1703.01365)."""
    weights: Tensor = (
        imported("captum.attr")
        .IntegratedGradients(network)
        .attribute(faces, torch.full_like(faces, GRAY), classes, n_steps=STEPS, internal_batch_size=max(AT_ONCE, len(faces)))
    )
    return weights


def _occlusion(network: nn.Module, faces: Tensor, classes: Tensor) -> Tensor:
    """Measure how far the score falls when a gray patch covers a place (Zeiler and Fergus 2014, arXiv:1311.2901)."""
    channels, *sides = faces.shape[1:]
    patch, stride = ([max(1, round(side * size / SIDE)) for side in sides] for size in (PATCH, STRIDE))
    with torch.no_grad():
        weights: Tensor = (
            imported("captum.attr")
            .Occlusion(network)
            .attribute(
                faces.detach(),
                (channels, *patch),
                (channels, *stride),
                torch.full_like(faces, GRAY),
                classes,
                perturbations_per_eval=max(1, AT_ONCE // len(faces)),
            )
        )
    return weights / channels  # captum credits the whole fall to each of the channels that a patch covers


_METHODS: dict[str, Callable[[nn.Module, Tensor, Tensor], Tensor]] = {
    GRADCAM: _gradcam,
    "saliency": _saliency,
    "integrated_gradients": _integrated_gradients,
    "occlusion": _occlusion,
}
