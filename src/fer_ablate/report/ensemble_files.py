"""The files of an ensemble: ensemble.json, predictions.npz and confusion.png in a folder of its own."""

import hashlib
import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fer_ablate.addresses import present_store
from fer_ablate.ensemble.average import Ensemble, Member
from fer_ablate.report.plots.canvas import save_figure
from fer_ablate.report.plots.run import run_confusion_figure
from fer_ablate.tracking.disk.files import read_json, write_json
from fer_ablate.tracking.disk.predictions import write_predictions
from fer_ablate.tracking.mlflow.attach import EnsembleRecord

COMPARED = ("value", "low", "high", "p", "p_holm", "verdict")
"""What the description has of a `Difference`: the same in all versions, since its digest names the ensemble."""

DESCRIPTION, PREDICTIONS, CONFUSION = "ensemble.json", "predictions.npz", "confusion.png"


@dataclass(frozen=True)
class EnsembleFolder:
    """The folder of an ensemble.

    Args:
        path: the folder; made by the first write.
    """

    path: Path

    @property
    def files(self) -> list[Path]:
        """All files of an ensemble."""
        return [self.path / name for name in (DESCRIPTION, PREDICTIONS, CONFUSION)]

    def recorded(self, uri: str) -> EnsembleRecord:
        """What is recorded in the store at this address; `UserError` if the file is damaged."""
        return self._stores().get(self._present(uri), EnsembleRecord())

    def write(self, name: str, ensemble: Ensemble) -> str:
        """Write all files; returns the digest of the description."""
        content = {"name": name, **_content(ensemble)}
        classes = ensemble.best.candidate.run.result.classes
        write_predictions(self.path / PREDICTIONS, ensemble.predictions)
        save_figure(run_confusion_figure(ensemble.splits["test"].confusion, classes), self.path / CONFUSION)
        stores = self._stores()
        self._write(content, stores)
        # Without the stores: recording an ensemble in one must not make it another ensemble.
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def remember(self, uri: str, recorded: EnsembleRecord) -> None:
        """Keep what is recorded in the store at this address."""
        stores = self._stores()
        content = read_json(self.path / DESCRIPTION, dict)
        # The description itself stays as written: only what the stores know has changed.
        content.pop("mlflow")
        self._write(content, {**stores, self._present(uri): recorded})

    def _present(self, uri: str) -> str:
        return present_store(uri, self.path.parents[2])

    def _stores(self) -> dict[str, EnsembleRecord]:
        file = self.path / DESCRIPTION
        if not file.is_file():
            return {}
        known: dict[str, EnsembleRecord] = read_json(
            file, lambda stored: {self._present(uri): EnsembleRecord(**one) for uri, one in stored["mlflow"].items()}
        )
        return known

    def _write(self, content: dict[str, Any], stores: dict[str, EnsembleRecord]) -> None:
        write_json(self.path / DESCRIPTION, {**content, "mlflow": {uri: asdict(one) for uri, one in stores.items()}})


def _content(ensemble: Ensemble) -> dict[str, Any]:
    """The description as plain values; numbers that are not finite become null."""
    first = ensemble.best.candidate.run
    difference = {name: getattr(ensemble.difference, name) for name in COMPARED}
    return {
        "average": ensemble.average,
        "select": ensemble.select,
        "classes": first.result.classes,
        "protocol": first.result.protocol,
        "data_digest": first.header.data_digest,
        "members": [_member(member) for member in ensemble.members],
        "left_out": [
            {"key": one.run.header.key, "label": one.label, "path": str(one.run.folder.path), "val/acc": val}
            for one, val in ensemble.left_out
        ],
        "members_mean": {"val/acc": ensemble.mean_val, "test/acc": ensemble.mean_test},
        "interval": {"test/acc": [_number(ensemble.low), _number(ensemble.high)]},
        "best_member": ensemble.best.candidate.label,
        "difference": {name: _number(value) if isinstance(value, float) else value for name, value in difference.items()},
        "splits": {name: asdict(result) for name, result in ensemble.splits.items()},
        "notes": list(ensemble.notes),
    }


def _member(member: Member) -> dict[str, Any]:
    run = member.candidate.run
    return {
        "key": run.header.key,
        "label": member.candidate.label,
        "seed": run.header.seed,
        "path": str(run.folder.path),
        "weight": member.weight,
        "stale": run.stale,
        "val/acc": member.val,
        "test/acc": member.test,
    }


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
