"""The evaluation protocol of a run, in words that are compared between runs."""

import hashlib
import json

from fer_ablate.config.choices import Balance, Roles
from fer_ablate.config.schema import Config
from fer_ablate.sizes import Size, spelled
from fer_ablate.training.checks import tested_size


def protocol(config: Config, image_size: Size, preset: Roles | None = None, by_group: bool | None = None) -> dict[str, str]:
    """Return the evaluation protocol: properties that must be equal for two results to share a column of a table.

    The texts are stored with every run and compared with those of old runs, so they must not be reworded.

    Args:
        config: config of the run.
        image_size: height and width of the stored images in pixels.
        preset: preset that was applied, see `role_set.RoleSet`; None: `data.roles`.
        by_group: whether the images have groups, which folds keep together; None: whether `data.group` is given.
    """
    data = config.data
    found = {
        "source": data.source.name,
        "roles": (preset or data.roles).name,
        "labels": data.labels.name,
        "classes": "+".join(data.merge) or str(data.num_classes or "all"),
        "drop": "+".join(sorted(kind.name for kind in data.drop)) or "none",
        "crop": _crop(tested_size(config, image_size)),
        "tta": config.evaluation.tta.name,
        "balance": "none",
    }
    if data.merge:  # two runs may use one name for different merged classes
        found["merged"] = ", ".join(f"{name}: {'+'.join(sorted(old))}" for name, old in data.merge.items())
    if data.folds is not None:
        grouped = data.group is not None if by_group is None else by_group
        found["folds"] = f"{data.folds} by {'group' if grouped else 'class'}"
        found["folds"] += f", split_seed {data.split_seed}" if data.split_seed else ""
    balance, limit = config.data.balance, config.trainer.limit_test_batches
    if balance.kind is Balance.copies:  # the other kind does not change the test role
        found["balance"] = f"copies {balance.copies}"
        found["copies"] = hashlib.sha256(json.dumps([balance.seed, balance.steps], sort_keys=True).encode()).hexdigest()[:8]
    if limit is not None and limit != 1:
        found["images"] = f"first {int(limit)} batches" if limit > 1 else f"the first {limit:.6g} of each part"
    return found


def _crop(size: Size) -> str:
    """One number for a square, as in the results of earlier versions, else `56x40`."""
    return str(size[0]) if size[0] == size[1] else spelled(size)
