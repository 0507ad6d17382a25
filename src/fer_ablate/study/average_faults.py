"""Rows that cannot be averaged, which shows before any of them is trained."""

from collections.abc import Iterator, Mapping, Sequence

from fer_ablate.config.schema import Config
from fer_ablate.config.study_rows import Row
from fer_ablate.errors import Fault
from fer_ablate.study.faults import known_protocol

DIGITS = 10
"""Digits of a digest in a message."""

DATA = "digest of the images"


def different_tests(rows: Sequence[Row], trained: Mapping[str, tuple[Config, str]]) -> list[Fault]:
    """Faults of rows that average others which are tested in different ways, or on different images.

    Args:
        rows: of a study.
        trained: label -> config and digest of the images, of every row that is trained.
    """
    faults = []
    for row in rows:
        if listed := "; ".join(_differences({label: trained[label] for label in row.average_of})):
            problem = f"average_of: its rows are tested differently, so their predictions cannot be averaged: {listed}."
            faults.append(Fault(f"study.rows '{row.label}'", problem, "Name rows with the same protocol on the same images."))
    return faults


def _differences(members: Mapping[str, tuple[Config, str]]) -> Iterator[str]:
    """Each part of the protocol that differs, such as `tta ten_crop in a, none in b`."""
    protocols, later = {}, set[str]()
    for label, (config, digest) in members.items():
        parts, unknown = known_protocol(config)
        protocols[label] = {**parts, DATA: digest[:DIGITS]}
        # Parts that show only with the images are compared once the runs are finished.
        later |= unknown
    for part in dict.fromkeys(name for parts in protocols.values() for name in parts if name not in later):
        found: dict[str, list[str]] = {}
        for label, parts in protocols.items():
            found.setdefault(parts.get(part, "none"), []).append(label)
        if len(found) > 1:
            yield f"{part} " + ", ".join(f"{value} in {' and '.join(labels)}" for value, labels in found.items())
