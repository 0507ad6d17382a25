"""Balances the classes of a run with transformed copies of their images, made once before training."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fer_ablate.config.binding import is_own
from fer_ablate.config.choices import Balance
from fer_ablate.config.schema import BalanceConfig
from fer_ablate.data.faces import FaceSet, Rows
from fer_ablate.data.ops.registry import op_size_faults, read_op, step_faults
from fer_ablate.data.ops.windows import Sized
from fer_ablate.errors import Fault, FaultyConfigError

PATH = "data.balance.steps"

BALANCED = {"train": "balanced train", "test": "balanced test"}
"""Role -> name of the split that its new rows form; the official splits keep their rows."""

_STREAMS = {"train": 0, "test": 1}  # separate random numbers, so that one role's copies do not depend on the other's


@dataclass(frozen=True)
class _Part:
    """The images of a role, by rows of the original set.

    Args:
        kept: rows that stay in the role.
        again: images that are added unchanged under new row numbers.
        copied: images that are added transformed under new row numbers; a row may occur many times.
        seed: seed of the transforms.
    """

    kept: Rows
    again: Rows
    copied: Rows
    seed: int


def balance_faults(config: BalanceConfig) -> list[Fault]:
    """List everything wrong with `data.balance`; with `kind: none` its other keys are ignored."""
    if config.kind is Balance.none:
        return []
    faults = []
    if not config.steps:
        problem = f"empty, so that kind {config.kind.name} would train on the same images again and again"
        remedy = "Give steps as in conf/augment, such as [{op: affine, rotation: 10}], or use loss.class_weight=balanced."
        faults.append(Fault("data.balance.steps", problem, remedy))
    for number, step in enumerate(config.steps):
        key = f"{PATH}[{number}]"
        if isinstance(step, Mapping) and is_own(step.get("op")):
            faults.append(Fault(f"{key}.op", f"{step['op']} is an op of your own.", "Put it into augment.steps or data.prepare."))
            continue
        if found := step_faults(key, step):
            faults += found
        elif isinstance(read_op(step), Sized):
            faults.append(_size_fault(f"{key}.op", step["op"]))
    return faults


def _size_fault(key: str, op: str) -> Fault:
    if op == "resize":
        return Fault(key, "resize makes copies of another size than their originals", "Resize in data.prepare.")
    return Fault(key, f"{op} makes copies smaller than their originals", "Crop in augment.steps.")


def balanced(faces: FaceSet, roles: Mapping[str, Rows], config: BalanceConfig) -> tuple[FaceSet, dict[str, Rows]]:
    """Balance the classes; val, all original images and their row numbers stay as they are.

    `majority` adds copies to train until each class is as large as the largest; the originals of a class are copied equally
    often, some of them once more. `copies` keeps as many originals of each class as the smallest has and adds `copies` of
    each, in train and in test. A role gets no images of a class that it has none of. All images of the test role get new rows,
    the originals too, so that stored predictions distinguish it from the official splits.

    Args:
        faces: the set.
        roles: `train`, `val`, `test` -> rows.
        config: `data.balance` without faults. The copies depend only on it and on the images; they are made on the CPU.

    Returns:
        The set with the new images after the others, in splits of their own; and the rows of each role in it.

    Raises:
        FaultyConfigError: an op cannot change images of this size.
    """
    if config.kind is Balance.none:
        return faces, dict(roles)
    steps = enumerate(config.steps)
    if faults := [fault for n, step in steps for fault in op_size_faults(f"{PATH}[{n}]", read_op(step), faces.size)]:
        raise FaultyConfigError(faults)
    balanced_roles = ("train",) if config.kind is Balance.majority else ("train", "test")
    parts = {role: _part(faces.labels, roles[role], role, config) for role in balanced_roles}
    return _extended(faces, roles, parts, config.steps)


def _part(labels: Rows, rows: Rows, role: str, config: BalanceConfig) -> _Part:
    """Choose the images of one role."""
    draw = np.random.default_rng([config.seed, _STREAMS[role]])
    # The seed of the transforms is drawn first, so that it does not depend on the number of images.
    seed, none = int(draw.integers(2**63)), rows[:0]
    if config.kind is Balance.majority:
        return _Part(rows, none, _filling(labels, rows, draw), seed)
    chosen = _levelled(labels, rows, draw)
    copied = np.repeat(chosen, config.copies)
    return _Part(chosen, none, copied, seed) if role == "train" else _Part(none, chosen, copied, seed)


def _filling(labels: Rows, rows: Rows, draw: np.random.Generator) -> Rows:
    """Choose the rows to copy so that every class becomes as large as the largest."""
    classes, counts = np.unique(labels[rows], return_counts=True)
    chosen = []
    for label, count in zip(classes, counts, strict=True):
        members = rows[labels[rows] == label]
        rounds, rest = divmod(int(counts.max() - count), int(count))
        chosen += [np.tile(members, rounds), draw.permutation(members)[:rest]]
    return np.concatenate(chosen)


def _levelled(labels: Rows, rows: Rows, draw: np.random.Generator) -> Rows:
    """Choose as many rows of every class as the smallest has, ascending."""
    classes, counts = np.unique(labels[rows], return_counts=True)
    return np.sort(np.concatenate([draw.permutation(rows[labels[rows] == label])[: counts.min()] for label in classes]))


def _extended(
    faces: FaceSet, roles: Mapping[str, Rows], parts: Mapping[str, _Part], steps: Sequence[Mapping[str, Any]]
) -> tuple[FaceSet, dict[str, Rows]]:
    """Add the new images of all parts to the set, and return the rows of each role."""
    # Loads torch, which the many configs that do not balance their classes need only when they train.
    from fer_ablate.data.copies import write_copies

    old = len(faces.labels)
    total = old + sum(len(part.again) + len(part.copied) for part in parts.values())
    pixels = np.empty((total, *faces.faces.shape[1:]), np.uint8)
    pixels[:old] = faces.faces
    # `origin` is the old row of every new one, from which labels, targets, files and groups are copied.
    origin, usage = np.arange(total), np.empty(total, np.uint8)
    usage[:old] = faces.usage
    filled, start = dict(roles), old
    for split, (role, part) in enumerate(parts.items(), start=len(faces.splits)):
        middle, end = start + len(part.again), start + len(part.again) + len(part.copied)
        origin[start:middle], origin[middle:end], usage[start:end] = part.again, part.copied, split
        pixels[start:middle] = faces.faces[part.again]
        write_copies(pixels[middle:end], faces.faces, part.copied, steps, part.seed)
        filled[role] = np.concatenate([part.kept, np.arange(start, end)])
        start = end
    extended = replace(
        faces,
        faces=pixels,
        labels=faces.labels[origin],
        targets=None if faces.targets is None else faces.targets[origin],
        usage=usage,
        splits=(*faces.splits, *(BALANCED[role] for role in parts)),
        rows=np.concatenate([faces.rows, np.arange(old, total)]),
        files=tuple(faces.files[row] for row in origin) if faces.files else (),
        groups=None if faces.groups is None else faces.groups[origin],
        hashes=None,  # the copies have not been hashed
    )
    return extended, filled
