"""What every op is: its arguments, what it does to the size of an image, and the module that does it."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from fer_ablate.sizes import Size


@dataclass(frozen=True)
class Misfit:
    """Why an op cannot change images of some size.

    Args:
        argument: of the op that is to blame.
        problem: what is wrong with its value.
        remedy: what to do about it.
    """

    argument: str
    problem: str
    remedy: str


class Op(ABC):
    """A change of a whole batch of images (N, C, H, W) in [0, 1]; every image has its own draw where the op draws.

    The arguments are the fields of a frozen dataclass, with a rule of `rules` in the metadata of each.
    """

    fixed: ClassVar[bool] = False
    """Whether it can change every image alike, hence stand in `data.prepare`; then torch.export can follow its module."""

    @abstractmethod
    def module(self) -> nn.Module:
        """Build what does it."""

    def after(self, size: Size | None) -> Size | None:
        """Height and width behind the op of images that had `size` before it; None if not known."""
        return size

    def misfit(self, size: Size) -> Misfit | None:
        """Say why images of this size cannot be changed, or None."""
        return None
