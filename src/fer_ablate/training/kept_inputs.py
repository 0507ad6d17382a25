"""Computes once what is the same in every epoch: images that are not augmented, and the features of a frozen body.

Nothing else of a run knows of it: checkpoints hold the whole network, and tests, explanations and exports pass images through
all of it. A resumed run computes the inputs anew. Preprocessing gives the same numbers to the last bit, as it treats each pixel
alone. Convolutions and matrix products of features may be summed in another order for a batch of another size, as the last one
of an epoch is, so that features may differ by rounding errors there.
"""

from collections.abc import Mapping

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint
from torch import Tensor, nn

from fer_ablate.data.batches import Batches
from fer_ablate.machine import free_memory_mb
from fer_ablate.models.transfer import before_parts, frozen_parts
from fer_ablate.training.module import Classifier

PIXELS_MB = 64
"""Most memory in MiB for preprocessed images where no body is frozen: it saves a few percent of the time of a small network."""
FEATURES_SHARE = 0.25
"""Largest share of the free memory of the device that the features of a frozen body may take; several runs may share it."""


class KeptInputs(Checkpoint):
    """Replaces the faces of a run by what its first trained layer gets, if that is the same in all epochs and small enough.

    It is a `Checkpoint` only because Lightning runs checkpoint callbacks last, so that its time counts for the first epoch.

    Args:
        batches: role -> its batches, which are changed; roles of which all images are seen in every epoch.
    """

    def __init__(self, batches: Mapping[str, Batches]) -> None:
        self.batches = batches
        self._began = False

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Compute the inputs in the first epoch; go back to faces if layers were unfrozen since."""
        assert isinstance(pl_module, Classifier)
        if not self._began:
            # Only now has a resumed run the weights of its checkpoint.
            self._began = True
            self._compute(trainer, pl_module)
        elif any(parts > frozen_parts(pl_module.network) for parts in pl_module.computed.values()):
            pl_module.computed.clear()
            for batches in self.batches.values():
                batches.use_inputs(None)

    def _compute(self, trainer: pl.Trainer, module: Classifier) -> None:
        parts = frozen_parts(module.network)
        if not parts and module.device.type != "cpu":  # a GPU normalises a batch in no time
            return
        room = _free_bytes(module.device) if parts else PIXELS_MB * 2**20
        augmented = not isinstance(module.preprocess.augment, nn.Identity)
        for role, batches in self.batches.items():
            # Val is never augmented; where train is, only a frozen body is worth the memory.
            if augmented and (role == "train" or not parts):
                continue
            found = _computed(trainer, module, batches, parts, room)
            if found is not None:
                inputs, channels_last = found
                room -= inputs.nbytes
                batches.use_inputs(inputs, channels_last=channels_last)
                module.computed[role] = parts


def _computed(trainer: pl.Trainer, module: Classifier, batches: Batches, parts: int, room: int) -> tuple[Tensor, bool] | None:
    """Pass the images of a role through preprocessing and frozen layers; None if the result needs more than `room` bytes.

    Returns:
        (n, ...) the results, and whether they are maps with their channels last.
    """
    kept: Tensor | None = None
    begin, training, last = 0, module.preprocess.training, False
    module.preprocess.eval()
    # In batches of the same size and in the number format of the training.
    with torch.no_grad(), trainer.precision_plugin.train_step_context():
        for faces in batches.in_order():
            inputs = before_parts(module.network, module.preprocess(faces.to(module.device)), parts)
            if kept is None:
                # Maps of a single channel or pixel have both formats.
                last = inputs.ndim == 4 and not inputs.is_contiguous() and inputs.is_contiguous(memory_format=torch.channels_last)
            if last:
                inputs = inputs.permute(0, 2, 3, 1)
            if kept is None:
                if inputs[0].nbytes * batches.sampler.num_images > room:
                    break
                kept = inputs.new_empty((batches.sampler.num_images, *inputs.shape[1:]))
            kept[begin : begin + len(inputs)] = inputs
            begin += len(inputs)
    module.preprocess.train(training)
    return None if kept is None else (kept, last)


def _free_bytes(device: torch.device) -> int:
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else free_memory_mb() * 2**20
    return int(FEATURES_SHARE * free)
