"""`data`: what a data set holds and what is wrong with it, in numbers and as contact sheets."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from annotated_types import Interval

from fer_ablate.cli import console
from fer_ablate.cli.command_line import raise_faults
from fer_ablate.cli.run_spec import RunSpec, run_hydra
from fer_ablate.cli.words import read_command
from fer_ablate.config.constraints import one_of
from fer_ablate.config.key import short
from fer_ablate.config.schema import Config
from fer_ablate.data.audit import audit, copies_across
from fer_ablate.data.checks import augment_faults, prepare_faults, prepared_size
from fer_ablate.data.faces import FaceSet
from fer_ablate.data.load import load_faces
from fer_ablate.data.roles import RoleRows, role_rows
from fer_ablate.data.summary import class_counts, flaws, left_out_text, split_counts
from fer_ablate.data.transform import build_preprocess
from fer_ablate.errors import UserError, choices
from fer_ablate.report.plots.contact_sheets import KINDS as SHEET_KINDS
from fer_ablate.report.plots.contact_sheets import Material, save_sheets
from fer_ablate.sizes import spelled

USAGE = """What a data set holds: images of each split and class, the role each plays, what was left out and why, copies.

  python -m fer_ablate data data=folder data.path=faces/              counts, notes and audit
  python -m fer_ablate data data=fer2013 show=samples                 random images of each split
  python -m fer_ablate data data=fer2013 show=augmented augment=flip  originals beside copies as training makes them
  python -m fer_ablate data data=fer2013 show=all output=sheets       all contact sheets, into a folder

{words}

Every key of a run may be given; data, augment, seed (of everything drawn), runs_dir and name matter here. Trains nothing."""

ALL = "all"

MOST_COLUMNS = 12
"""Classes side by side in a table; more are listed one below the other."""


@dataclass(frozen=True, kw_only=True)
class DataWords:
    """Words of `data`."""

    # Contact sheets; classes shows the mean face and examples of each.
    show: tuple[Annotated[str, one_of(*SHEET_KINDS, ALL)], ...] = ()
    output: Path | None = None  # folder of the sheets; by default <runs_dir>/data/<name, or source and digest>
    # On the sheets: of each split (60), copies of each original (8), examples of each class (8).
    images: Annotated[int, Interval(ge=1, le=400)] | None = None

    @property
    def sheets(self) -> tuple[str, ...]:
        """Kinds of contact sheets to draw, each once."""
        return tuple(SHEET_KINDS) if ALL in self.show else tuple(dict.fromkeys(self.show))


def run(arguments: Sequence[str]) -> int:
    """Print counts per split and class, the roles and the audit; draw contact sheets where `show=` names some."""
    words, rest = read_command(arguments, DataWords, USAGE, help_if_empty=False)
    if not words.show and (words.output or words.images):
        kinds = choices("", (*SHEET_KINDS, ALL))
        raise UserError(f"output= and images= are about contact sheets: give show= as well. {kinds}")
    return run_hydra(rest, lambda spec: _show(spec, words))


def _show(spec: RunSpec, words: DataWords) -> int:
    config = spec.config.data
    with console.bar("reading the images") as progress:
        faces = load_faces(config, progress, spec.config.plugins)
    facts = [("data", f"{config.source.name}, {faces.channels}x{spelled(faces.size)}, digest {faces.digest[:16]}")]
    if faces.groups is not None:
        facts.append(("groups", f"{len(np.unique(faces.groups[faces.rows])):,}, kept together where roles or folds are drawn"))
    if text := left_out_text(faces):
        facts.append(("left out", text))
    console.facts([*facts, *(("note", note) for note in faces.notes)])
    _show_counts(faces)
    try:
        roles = role_rows(faces, config)
    except UserError as error:
        _show_audit(spec.config, faces)  # its counts often explain why the roles cannot be assigned
        if words.show:
            raise
        # Without show=, counts and audit are the whole task, and they were printed.
        console.console.print(f"\n  a run would be refused: {error}", style="yellow")
        return 0
    _show_roles(spec.config, faces, roles)
    _show_audit(spec.config, faces)
    if words.show:
        _draw(spec.config, faces, roles, words)
    return 0


def _show_counts(faces: FaceSet) -> None:
    console.console.print()
    splits = split_counts(faces)[: 1 if len(faces.splits) == 1 else None]  # a sum over one split would repeat it
    columns = [("all", [split.total for split in splits])]
    columns += [(name, [split.per_class[label] for split in splits]) for label, name in enumerate(faces.classes)]
    if len(faces.classes) <= MOST_COLUMNS:
        rows = [[split.split, *(f"{numbers[place]:,}" for _, numbers in columns)] for place, split in enumerate(splits)]
        console.table("images", ["split", *(name for name, _ in columns)], rows)
    else:
        rows = [[name, *(f"{number:,}" for number in numbers)] for name, numbers in columns]
        console.table(f"images of {len(faces.classes)} classes", ["class", *(split.split for split in splits)], rows)


def _show_roles(config: Config, faces: FaceSet, roles: RoleRows) -> None:
    console.console.print()
    few = len(faces.classes) <= MOST_COLUMNS
    rows = [
        [name, f"{len(part):,}", *(f"{number:,}" for number in (class_counts(faces, part) if few else []))]
        for name, part in roles.rows.items()
    ]
    console.table(f"roles ({roles.preset.name})", ["role", "images", *(faces.classes if few else [])], rows)
    notes = [*roles.notes, *copies_across(faces, roles.rows, config.data.drop)]
    console.facts([("note", note) for note in notes])


def _show_audit(config: Config, faces: FaceSet) -> None:
    console.console.print()
    console.table("audit", ["flaw", "count"], [[name, f"{number:,}"] for name, number in flaws(audit(faces))])
    dropped = ", ".join(kind.name for kind in config.data.drop)
    console.console.print(
        f"  dropped: {dropped}"
        if dropped
        else "  nothing is dropped; data.drop=[duplicates_of_train,conflicts,blank] leaves flawed images out"
    )


def _draw(config: Config, faces: FaceSet, roles: RoleRows, words: DataWords) -> None:
    """Write the contact sheets and say where they are."""
    steps = config.data.prepare
    raise_faults(prepare_faults(steps, faces.size, config.plugins))
    raise_faults(augment_faults(config.augment, prepared_size(steps, faces.size), config.plugins))
    usual = Path(config.runs_dir) / "data" / (config.name or f"{config.data.source.name}-{short(faces.digest)}")
    folder = words.output or usual
    material = Material(faces, roles.rows["train"], build_preprocess(config, faces.size), config.seed, words.images)
    with console.bar("drawing the contact sheets"):
        files, notes = save_sheets(folder, [sheet for kind in words.sheets for sheet in SHEET_KINDS[kind](material)])
    console.console.print()
    console.facts([("sheets" if number == 0 else "", str(file)) for number, file in enumerate(files)])
    console.facts([("note", note) for note in notes])
