"""What one run leaves behind, as plain values that survive a trip through JSON."""

from dataclasses import asdict, dataclass, field
from typing import Any, Self

from fer_ablate.metrics import SplitResult

__all__ = ["RunResult", "SplitResult"]


BEST, LAST = "best.ckpt", "last.ckpt"
"""The weights that are tested, and the whole state after the last finished epoch."""


@dataclass(kw_only=True)
class RunResult:
    """A finished run.

    Args:
        splits: -> scores of the kept weights on `val`, `test` and the official splits (`public`, `private`); of the training
            steps of the epoch that left these weights (`train`: images as augmented, dropout on, weights moving); and, with
            `evaluation.pool_epochs`, of the training steps and the test predictions of all epochs together (`train_pooled`,
            `test_pooled`), where every image counts once per epoch.
        classes: names in the order of the network's outputs.
        protocol: roles, crop, test-time augmentation and label set; unlike protocols must not share a column.
        best_epoch: epoch (from 1) whose weights were tested.
        epochs: epochs trained, over all resumed parts.
        seconds: of training and validation, over all resumed parts.
        seconds_per_epoch: median.
        peak_memory_mb: of the process (CPU) or of the card (GPU), in MiB.
        parameters: trainable ones.
        macs: multiply-accumulates of one forward pass for one image.
        environment: versions, hardware, precision, device.
    """

    key: str
    name: str
    seed: int
    splits: dict[str, SplitResult]
    classes: list[str]
    protocol: dict[str, str]
    best_epoch: int
    epochs: int
    seconds: float
    seconds_per_epoch: float
    peak_memory_mb: float
    parameters: int
    macs: int
    finished_at: str
    environment: dict[str, str] = field(default_factory=dict)

    def flat_metrics(self) -> dict[str, float]:
        """Metrics of all splits under `<split>/<metric>`."""
        return {f"{split}/{name}": value for split, result in self.splits.items() for name, value in result.metrics.items()}

    def to_json(self) -> dict[str, Any]:
        """Plain mapping for `json.dump`."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> Self:
        """Inverse of `to_json`."""
        splits = {name: SplitResult(**split) for name, split in stored["splits"].items()}
        return cls(**{**stored, "splits": splits})
