"""Tries the user's own parts of every row with one batch, before a sweep trains anything."""

from fer_ablate.config.schema import Config
from fer_ablate.data.load import load_faces
from fer_ablate.errors import Fault, FaultyConfigError
from fer_ablate.study.plan import Plan


def tried(plan: Plan) -> list[str]:
    """Sentences for the user about the parts of the rows to train; none where no row has parts of the user's own.

    Raises:
        FaultyConfigError: parts fail, or return something else than what is expected of them; with the faults of all rows.
    """
    rows: dict[str, Config] = {}
    for planned in plan.to_train:
        if planned.cell.config.plugins:
            rows.setdefault(planned.cell.row.label, planned.cell.config)
    if not rows:
        return []
    from fer_ablate.training.dry_batch import dry_batch  # loads Lightning, which takes seconds

    labels_of: dict[Fault, list[str]] = {}
    notes: dict[str, None] = {}
    for label, config in rows.items():
        try:
            notes |= dict.fromkeys(dry_batch(config, load_faces(config.data, plugins=config.plugins)))
        except FaultyConfigError as error:
            for fault in error.faults:
                labels_of.setdefault(fault, []).append(label)
    if labels_of:
        raise FaultyConfigError([_of_rows(fault, labels, len(rows)) for fault, labels in labels_of.items()])
    return list(notes)


def _of_rows(fault: Fault, labels: list[str], rows: int) -> Fault:
    """The fault with the labels of its rows before its key; without labels where all rows have it."""
    if len(labels) == rows:
        return fault
    return Fault(f"{', '.join(f'[{label}]' for label in labels)} {fault.key}", fault.problem, fault.remedy)
