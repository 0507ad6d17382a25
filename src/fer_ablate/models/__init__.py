"""Networks: built from lists of stages, or from a user's own class."""

from fer_ablate.models.build import build_network
from fer_ablate.models.checks import network_faults
from fer_ablate.models.summary import LayerRow, Summary, describe

__all__ = ["LayerRow", "Summary", "build_network", "describe", "network_faults"]
