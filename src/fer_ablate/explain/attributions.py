"""Heat maps: how much each pixel of a face weighs in the score of a class. The methods are captum's.

Letters: `n` images, `C` channels, `H W` pixels of what the network sees, `K` classes.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from captum.attr import IntegratedGradients, LayerGradCam, Occlusion, Saliency  # type: ignore[import-untyped]
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from fer_ablate.data.transform import Preprocess
from fer_ablate.data.views import centre_crop
from fer_ablate.errors import UserError
from fer_ablate.labels import SIDE
from fer_ablate.sizes import Size

Maps = NDArray[np.float32]

GRADCAM = "gradcam"
PASSES = {GRADCAM: 3, "saliency": 3, "integrated_gradients": 96, "occlusion": 121}
"""Methods -> what a map costs, in forward passes of the network (a backward pass counts as two), for a 48-pixel face."""

STEPS = 32
"""Points between gray and the face at which integrated gradients looks (Sundararajan et al. 2017 take 20 to 300)."""

PATCH, STRIDE = 8, 4
"""Of occlusion, in pixels of a 48-pixel face; other heights and widths in proportion."""

GRAY = 0.5
"""What stands for `nothing there` in integrated gradients and occlusion: mid gray, since black is a strong feature of a face."""

SMALLEST_MAP = 3
"""Side below which a map of features is too coarse to say where they are."""

AT_ONCE = 128
"""Images, with their variants, that go through the network at once."""


class FromPixels(nn.Module):
    """A network with its normalisation in front, so that derivatives are those by the gray level itself."""

    def __init__(self, network: nn.Module, preprocess: Preprocess) -> None:
        super().__init__()
        self.network = network
        self.preprocess = preprocess

    def forward(self, faces: Tensor) -> Tensor:
        """Logits (n, K) of prepared faces (n, C, H, W) in [0, 1]."""
        logits: Tensor = self.network(self.preprocess.normalise(faces))
        return logits


@dataclass(frozen=True)
class Lens:
    """A network to be looked into, in float32.

    Args:
        network: normalised faces -> logits, in evaluation mode.
        preprocess: of which the preparation and the normalisation are used.
        size: H and W, of the centre crop that the network sees.
        device: to compute on.
    """

    network: nn.Module
    preprocess: Preprocess
    size: Size
    device: torch.device

    def seen(self, faces_u8: NDArray[np.uint8]) -> Tensor:
        """The centre crops (n, C, H, W) in [0, 1] of stored faces of any size, after their preparation, on the device."""
        seen = centre_crop(self._prepared(torch.from_numpy(np.ascontiguousarray(faces_u8))), self.size)
        return seen.float() / 255 if seen.dtype == torch.uint8 else seen

    def prepared_size(self, image_size: Size) -> Size:
        """Of stored images of this size after their preparation."""
        height, width = self._prepared(torch.zeros((1, 1, *image_size), dtype=torch.uint8)).shape[-2:]
        return height, width

    def _prepared(self, faces_u8: Tensor) -> Tensor:
        with torch.no_grad():
            return self.preprocess.to(self.device).prepared(faces_u8.to(self.device))

    def maps(self, method: str, faces_u8: NDArray[np.uint8], targets: NDArray[np.int64]) -> Maps:
        """Weight of every pixel in the logit of a class.

        Args:
            method: among `PASSES`. Those of `saliency` and `gradcam` are never negative; the others tell what speaks against
                the class by negative weights.
            faces_u8: (n, C, ...) stored faces, larger than (H, W) if the network sees a crop.
            targets: (n,) class index for each.

        Returns:
            (n, H, W) float32; channels of colour faces are added up.

        Raises:
            UserError: Grad-CAM of a network without a map of features that is large enough.
        """
        whole = FromPixels(self.network, self.preprocess).to(self.device).eval()
        faces = self.seen(faces_u8).requires_grad_()
        classes = torch.from_numpy(targets).to(self.device)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # captum tells developers about its hooks
            weights = _METHODS[method](whole, faces, classes)
        return np.asarray(weights.detach().float().sum(dim=1).cpu().numpy(), dtype=np.float32)


def feature_layer(network: nn.Module, example: Tensor) -> nn.Module:
    """What Grad-CAM looks at: the last convolution whose map is at least 3x3, with what follows it on a map of that size.

    So it is taken behind normalisation, activation and shortcut, but before a pool.

    Args:
        network: in evaluation mode.
        example: one input of it.

    Raises:
        UserError: there is none.
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
    """Selvaraju et al. 2017 (arXiv:1610.02391): maps weighted by their mean derivative, positive part, enlarged."""
    layer = feature_layer(network, faces[:1].detach())
    coarse: Tensor = LayerGradCam(network, layer).attribute(faces, classes, relu_attributions=True)
    return functional.interpolate(coarse.detach(), size=faces.shape[-2:], mode="bilinear", align_corners=False)


def _saliency(network: nn.Module, faces: Tensor, classes: Tensor) -> Tensor:
    """Simonyan et al. 2014 (arXiv:1312.6034): size of the derivative."""
    weights: Tensor = Saliency(network).attribute(faces, classes, abs=True)
    return weights


def _integrated_gradients(network: nn.Module, faces: Tensor, classes: Tensor) -> Tensor:
    """Sundararajan et al. 2017 (arXiv:1703.01365): mean derivative on the way from gray, times the way."""
    weights: Tensor = IntegratedGradients(network).attribute(
        faces, torch.full_like(faces, GRAY), classes, n_steps=STEPS, internal_batch_size=max(AT_ONCE, len(faces))
    )
    return weights


def _occlusion(network: nn.Module, faces: Tensor, classes: Tensor) -> Tensor:
    """Zeiler and Fergus 2014 (arXiv:1311.2901): how far the score falls when a gray patch covers the place."""
    channels, *sides = faces.shape[1:]
    patch, stride = ([max(1, round(side * size / SIDE)) for side in sides] for size in (PATCH, STRIDE))
    with torch.no_grad():
        weights: Tensor = Occlusion(network).attribute(
            faces.detach(),
            (channels, *patch),
            (channels, *stride),
            torch.full_like(faces, GRAY),
            classes,
            perturbations_per_eval=max(1, AT_ONCE // len(faces)),
        )
    return weights / channels  # a patch covers all channels, and each is given the whole fall


_METHODS: dict[str, Callable[[nn.Module, Tensor, Tensor], Tensor]] = {
    GRADCAM: _gradcam,
    "saliency": _saliency,
    "integrated_gradients": _integrated_gradients,
    "occlusion": _occlusion,
}
