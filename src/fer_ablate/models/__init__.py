"""Networks: from lists of stages, or a user's own class."""

from fer_ablate.models.build import build_network
from fer_ablate.models.checks import check
from fer_ablate.models.summary import LayerRow, Summary, describe

__all__ = ["LayerRow", "Summary", "build_network", "check", "describe"]
