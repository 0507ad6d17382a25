"""Ablation studies of facial-expression networks.

For notebooks and scripts: `look_up`, `results`, `table`, `effects`, `load` and the module `plots`, see docs/python.md. Each is
imported when it is first used, so that the command line does not wait for what it does not need.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fer_ablate.api import plots
    from fer_ablate.api.networks import load
    from fer_ablate.api.studies import effects, look_up, results, table

__all__ = ["effects", "load", "look_up", "plots", "results", "table"]

_HOMES = {"load": "networks", **dict.fromkeys(("effects", "look_up", "results", "table"), "studies")}
"""Function -> module of `fer_ablate.api`."""


def __getattr__(name: str) -> Any:
    if name == "plots":
        return importlib.import_module("fer_ablate.api.plots")
    if name in _HOMES:
        return getattr(importlib.import_module(f"fer_ablate.api.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
