"""`data`: what a data set holds and what is wrong with it, in numbers and as contact sheets."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fer_ablate.cli import console
from fer_ablate.cli.request import Request, raise_faults, run_hydra
from fer_ablate.config.key import short
from fer_ablate.config.schema import Config
from fer_ablate.data import augment, prepare
from fer_ablate.data.audit import audit, copies_across
from fer_ablate.data.faces import FaceSet
from fer_ablate.data.load import load_faces
from fer_ablate.data.roles import RoleRows, role_rows
from fer_ablate.data.summary import class_counts, counts, flaws, left_out
from fer_ablate.data.transform import build_preprocess
from fer_ablate.errors import UserError, choices
from fer_ablate.execution.finished_network import own_words, single
from fer_ablate.report.plots.contact_sheets import KINDS, Material, save_sheets
from fer_ablate.sizes import spelled

USAGE = """What a data set holds: images of each split and class, the role each plays, what was left out and why, copies.

  python -m fer_ablate data data=folder data.path=faces/              counts, notes and audit
  python -m fer_ablate data data=fer2013 show=samples                 random images of each split
  python -m fer_ablate data data=fer2013 show=augmented augment=flip  originals beside copies as training makes them
  python -m fer_ablate data data=fer2013 show=all output=sheets       all contact sheets, into a folder

show=    samples, augmented, classes (mean face and examples of each), several as [samples,classes], or all
output=  folder of the sheets (<runs_dir>/data/<name, or source and digest>)
images=  of each split (60), copies of each original (8), examples of each class (8)
seed=    of everything drawn

Every key of a run may be given; data, augment, seed, runs_dir and name matter here. Trains nothing."""

OWN = ("show", "output", "images")
MOST_IMAGES = 400
MOST_COLUMNS = 12
"""Classes side by side in a table; more are listed one below the other."""


@dataclass(frozen=True)
class _Wish:
    """What was typed beside the config.

    Args:
        show: kinds of contact sheets.
        output: folder for them; empty for the usual one.
        images: on them; None: what fits well.
    """

    show: tuple[str, ...]
    output: str
    images: int | None


def run(arguments: Sequence[str]) -> int:
    """Print counts per split and class, the roles, and the audit; draw contact sheets if asked for."""
    if {"-h", "--help"} & set(arguments):
        print(USAGE)
        return 0
    words, rest = own_words(arguments, OWN)
    wish = _Wish(_kinds(words), single(words, "output"), _images(single(words, "images")))
    if not wish.show and ({"output", "images"} & words.keys()):
        raise UserError(f"output= and images= are about contact sheets: give show= as well. {choices('', (*KINDS, 'all'))}")
    return run_hydra(rest, lambda request: _show(request, wish))


def _kinds(words: dict[str, list[str]]) -> tuple[str, ...]:
    if "show" not in words:
        return ()
    named = [name.strip() for name in single(words, "show").strip("[]").split(",")]
    for name in named:
        if name not in (*KINDS, "all"):
            raise UserError(f"show={name}: there is no such contact sheet. {choices(name, (*KINDS, 'all'))}")
    return tuple(KINDS) if "all" in named else tuple(dict.fromkeys(named))


def _images(text: str) -> int | None:
    if not text:
        return None
    if not text.isdecimal() or not 1 <= int(text) <= MOST_IMAGES:
        raise UserError(f"images={text}: give a whole number from 1 to {MOST_IMAGES}.")
    return int(text)


def _show(request: Request, wish: _Wish) -> int:
    config = request.config.data
    with console.bar("reading the images") as tell:
        faces = load_faces(config, tell)
    facts = [("data", f"{config.source.name}, {faces.channels}x{spelled(faces.size)}, digest {faces.digest[:16]}")]
    if faces.groups is not None:
        facts.append(("groups", f"{len(np.unique(faces.groups[faces.rows])):,}, kept together where roles or folds are drawn"))
    if text := left_out(faces):
        facts.append(("left out", text))
    console.facts([*facts, *(("note", note) for note in faces.notes)])
    _show_counts(faces)
    try:
        roles = role_rows(faces, config)
    except UserError as error:
        _show_audit(request.config, faces)  # what is there often says why the roles cannot be given
        if wish.show:
            raise
        # The images were read and shown, which is all that was asked.
        console.console.print(f"\n  a run would be refused: {error}", style="yellow")
        return 0
    _show_roles(request.config, faces, roles)
    _show_audit(request.config, faces)
    if wish.show:
        _draw(request.config, faces, roles, wish)
    return 0


def _show_counts(faces: FaceSet) -> None:
    console.console.print()
    splits = counts(faces)[: 1 if len(faces.splits) == 1 else None]  # of one split there is no sum
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


def _draw(config: Config, faces: FaceSet, roles: RoleRows, wish: _Wish) -> None:
    """Write the contact sheets and say where they are."""
    steps = config.data.prepare
    raise_faults(prepare.check_prepare(steps, faces.size))
    raise_faults(augment.check(config.augment, prepare.prepared_size(steps, faces.size)))
    usual = Path(config.runs_dir) / "data" / (config.name or f"{config.data.source.name}-{short(faces.digest)}")
    folder = Path(wish.output).expanduser() if wish.output else usual
    material = Material(faces, roles.rows["train"], build_preprocess(config, faces.size), config.seed, wish.images)
    with console.bar("drawing the contact sheets"):
        files, notes = save_sheets(folder, [sheet for kind in wish.show for sheet in KINDS[kind](material)])
    console.console.print()
    console.facts([("sheets" if number == 0 else "", str(file)) for number, file in enumerate(files)])
    console.facts([("note", note) for note in notes])
