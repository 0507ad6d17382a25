"""Hides what libraries say to their developers."""

import logging
import warnings

LOGGERS = (
    "pytorch_lightning",
    "lightning",
    "lightning.pytorch",
    "lightning_fabric",
    "mlflow",
    "alembic",
    "matplotlib",
    "torch.distributed",
)

MODULES = r"(pytorch_lightning|lightning_fabric|torchmetrics|kornia|mlflow|torch)(\.|$)"
"""Pattern of the modules whose warnings are hidden."""


def quiet_libraries() -> None:
    """Hide warnings that libraries address to developers. None of them needs to be imported for that."""
    for name in LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=MODULES)
