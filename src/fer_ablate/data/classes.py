"""Joins classes of a set into larger ones, or leaves some out, as `data.merge` says."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from fer_ablate.data.faces import NO_LABEL, FaceSet, Floats, Rows
from fer_ablate.data.names import class_key
from fer_ablate.errors import Fault, UserError, choices


def check_merge(merge: Mapping[str, Sequence[str]]) -> list[Fault]:
    """List what is wrong with `data.merge`, whatever the images are."""
    faults = []
    home: dict[str, str] = {}
    if len(merge) == 1:
        remedy = "Give two or more, such as {positive: [happy, neutral], negative: [angry, sad]}."
        faults.append(Fault("data.merge", f"{next(iter(merge))} would be the only class", remedy))
    for name, members in merge.items():
        if not members:
            faults.append(Fault(f"data.merge.{name}", "has no classes", "List one or more, such as [happy]."))
        for member in members:
            key = class_key(str(member))
            if key in home:
                both = f"{member} is in {home[key]} and in {name}" if home[key] != name else f"{member} is listed twice in {name}"
                faults.append(Fault("data.merge", both, "List every class once."))
            home[key] = name
    return faults


def merged(faces: FaceSet, merge: Mapping[str, Sequence[str]]) -> FaceSet:
    """Give every image the class that its own is listed under; images of classes that are not listed are left out.

    Args:
        faces: the set.
        merge: new class -> old ones, matched by `names.class_key`; empty changes nothing.

    Raises:
        UserError: a listed class does not exist.
    """
    if not merge:
        return faces
    known = {class_key(name): index for index, name in enumerate(faces.classes)}
    target = np.full(len(faces.classes) + 1, NO_LABEL, np.int64)  # the last one is that of NO_LABEL itself
    for new, members in enumerate(merge.values()):
        for member in members:
            if class_key(str(member)) not in known:
                raise UserError(f"data.merge: the images have no class {member!r}. {choices(str(member), faces.classes)}")
            target[known[class_key(str(member))]] = new
    labels: Rows = target[faces.labels]
    rows = faces.rows[labels[faces.rows] != NO_LABEL]
    return replace(
        faces,
        labels=labels,
        targets=None if faces.targets is None else _summed(faces.targets, target[:-1], len(merge)),
        classes=tuple(merge),
        rows=rows,
        notes=(*faces.notes, _said(faces, merge, target, len(faces.rows) - len(rows))),
    )


def _summed(targets: Floats, target: Rows, count: int) -> Floats:
    """Probabilities of the joined classes; what belongs to classes that are left out is shared out in proportion."""
    summed = np.zeros((len(targets), count), np.float32)
    for old, new in enumerate(target):
        if new != NO_LABEL:
            summed[:, new] += targets[:, old]
    totals = summed.sum(axis=1, keepdims=True)
    shares: Floats = np.divide(summed, totals, out=np.zeros_like(summed), where=totals > 0)
    return shares


def _said(faces: FaceSet, merge: Mapping[str, Sequence[str]], target: Rows, lost: int) -> str:
    groups = "; ".join(f"{name} = {' + '.join(map(str, members))}" for name, members in merge.items())
    dropped = [name for name, new in zip(faces.classes, target[:-1], strict=True) if new == NO_LABEL]
    rest = f" Left out: {', '.join(dropped)} ({lost:,} images)." if dropped else ""
    return f"Classes (data.merge): {groups}.{rest}"
