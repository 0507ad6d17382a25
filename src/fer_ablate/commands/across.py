"""`across`: several finished networks on several data sets, in one table. Trains nothing."""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fer_ablate.cli import console
from fer_ablate.cli.request import raise_faults
from fer_ablate.cli.usage import asks_for_help
from fer_ablate.commands.evaluate import about_data
from fer_ablate.config.key import short
from fer_ablate.config.schema import DataConfig
from fer_ablate.data.faces import FaceSet, Progress
from fer_ablate.data.load import load_faces
from fer_ablate.data.names import class_key
from fer_ablate.errors import Fault, FaultyConfigError, UserError
from fer_ablate.execution.finished_network import NAMING, Settings, Subject, own_words, settings, single, subjects
from fer_ablate.execution.tested_images import Images, check_hardware, read_images
from fer_ablate.inference.other_data import UnlikeError
from fer_ablate.judgement.cross_table import CellTest, CrossTable, build_cross_table
from fer_ablate.report.table.cells import NETWORK
from fer_ablate.report.table.cross_table import render, shown
from fer_ablate.tracking.disk.files import write_json, write_text
from fer_ablate.tracking.disk.places import folder_name
from fer_ablate.training import hardware
from fer_ablate.training.assembly import build_examiner
from fer_ablate.training.evaluation import split_results

USAGE = """Test several finished networks on several data sets, and put their scores into one table.

  python -m fer_ablate across run=ab12 run='quickstart/-1 Conv' data=fer2013 data=folder data.path=raf data=list data.path=my.csv
  python -m fer_ablate across ckpt=best.ckpt data=folder data.path=raf title=RAF-DB data=folder data.path=lab title='our lab'

run=, ckpt=  networks, the rows of the table: as for `evaluate`; repeated
data=        a data set, a column; repeated. The words data.* after it, up to the next data=, belong to it
title=       after data=: what it is called in the table (the name of its file or folder)
name=        of the folder of the table below <runs_dir>/across      output= another folder
evaluation.*, trainer.*, runs_dir, plugins, and data.* before the first data= hold for all.

Every network is tested as by `evaluate`: classes are matched by name, images are brought to the size it was trained on, and the
test split is tested, or all images where there is none. On data that it was trained on (marked) it is tested on what it did not
see. Prints accuracy with a 95 % interval over test images, macro F1, and McNemar's exact test against the first network."""

OWN = (*NAMING, "name", "output")
FORMATS = {"markdown": "md", "latex": "tex", "csv": "csv", "html": "html"}
"""Of the table -> ending of its file."""


@dataclass
class Column:
    """A data set as it was typed."""

    overrides: list[str] = field(default_factory=list)
    title: str = ""


@dataclass(frozen=True)
class Cell:
    """A network with the images of one data set."""

    network: str
    data: str
    about: Subject
    images: Images


def run(arguments: Sequence[str]) -> int:
    """Print the table and keep it."""
    console.quiet_libraries()
    if asks_for_help(arguments):
        print(USAGE)
        return 0
    words, rest = own_words(arguments, OWN)
    shared, columns = _columns(rest)
    if not columns:
        raise UserError("Name the data sets: data=fer2013 data=folder data.path=<folder>; `across --help` shows how.")
    typed = _settings(shared, columns)
    titles = _titles(columns, typed)
    networks = _labelled(subjects(words, typed[0]))
    cells, problems = _read(_checked(networks, dict(zip(titles, typed, strict=True))))
    tests = _test(cells)
    table = build_cross_table(list(networks), titles, tests, problems)
    name = single(words, "name") or _name(titles, networks)
    output = single(words, "output")
    folder = Path(output).expanduser() if output else typed[0].runs_dir / "across" / folder_name(name)
    _keep(folder, name, table, networks, cells)
    _show(table, name)
    console.facts([("kept", f"{folder} (table.md, .tex, .csv, .html and across.json)")])
    return 0


def _columns(rest: Sequence[str]) -> tuple[list[str], list[Column]]:
    """Words for all data sets, and the data sets with their own words."""
    shared: list[str] = []
    columns: list[Column] = []
    for text in rest:
        name, _, value = text.partition("=")
        if name == "title":
            if not columns or columns[-1].title:
                raise UserError(f"{text}: a title stands behind the data= that it is for, once each.")
            columns[-1].title = value
        elif name == "data":
            columns.append(Column([text]))
        elif name.startswith("data.") and columns:
            columns[-1].overrides.append(text)
        else:
            shared.append(text)
    if not columns and any(text.startswith("data.path=") for text in shared):
        raise UserError("data.path= needs its kind before it, such as data=folder data.path=<folder>.")
    return shared, columns


def _settings(shared: Sequence[str], columns: Sequence[Column]) -> list[Settings]:
    """The data configs of all columns; the faults of all are reported together."""
    found, faults = [], list[Fault]()
    for column in columns:
        try:
            found.append(settings([*shared, *column.overrides], [*OWN, "title"]))
        except FaultyConfigError as error:
            faults += error.faults
    raise_faults(list(dict.fromkeys(faults)))
    return found


def _titles(columns: Sequence[Column], typed: Sequence[Settings]) -> list[str]:
    """What the columns are called: as typed, or by their file or folder, or their group; numbered where that is not unique."""
    titles: list[str] = []
    for column, one in zip(columns, typed, strict=True):
        path, group = one.config.data.path, column.overrides[0].partition("=")[2]
        named = Path(path).expanduser().resolve() if path and group in ("folder", "list") else None
        title = column.title or (named.stem if named and named.is_file() else named.name if named else group) or group
        number = sum(known.partition(" #")[0] == title for known in titles)
        if number and column.title:
            raise UserError(f"title={title} was given to several data sets. Give each its own.")
        titles.append(f"{title} #{number + 1}" if number else title)
    return titles


def _labelled(networks: Sequence[Subject]) -> dict[str, Subject]:
    """The networks by label: the name of the run or file, with seed or key where several are called so."""
    paths = [about.trained.path.resolve() for about in networks]
    if twice := next((path for path in paths if paths.count(path) > 1), None):
        raise UserError(f"{twice} was named several times. Name each network once.")
    labels = [_label(about) for about in networks]
    for spell in (_seed, _key):
        several = [labels.count(label) > 1 for label in labels]
        labels = [label + spell(about) * more for label, about, more in zip(labels, networks, several, strict=True)]
    return dict(zip(labels, networks, strict=True))


def _label(about: Subject) -> str:
    if about.folder is not None:
        return about.folder.header.name
    path = about.trained.path.resolve()
    return path.parent.parent.name if path.parent.name == "checkpoints" else path.stem


def _seed(about: Subject) -> str:
    return f", seed {about.trained.config.seed}"


def _key(about: Subject) -> str:
    return f" ({short(about.folder.header.key) if about.folder is not None else about.trained.path})"


def _checked(networks: dict[str, Subject], columns: dict[str, Settings]) -> dict[tuple[str, str], Subject]:
    """Every network with every data set, column by column; what is wrong with any is told before one is read."""
    asked = {(network, title): about.under(one) for title, one in columns.items() for network, about in networks.items()}
    faults = list[Fault]()
    for about in asked.values():
        try:
            check_hardware(about)
        except FaultyConfigError as error:
            faults += error.faults
    raise_faults(list(dict.fromkeys(faults)))
    return asked


def _read(asked: dict[tuple[str, str], Subject]) -> tuple[list[Cell], dict[tuple[str, str], str]]:
    """The images of every cell; and why there are none where a network and data have too little in common."""
    cells: list[Cell] = []
    problems: dict[tuple[str, str], str] = {}
    load = _Loader()  # networks often get the same images
    with console.bar("reading the images") as tell:
        for done, ((network, title), about) in enumerate(asked.items()):
            try:
                cells.append(Cell(network, title, about, read_images(about, _part(tell, done, 1, len(asked)), load)))
            except UnlikeError as error:
                problems[network, title] = str(error)
    return cells, problems


class _Loader:
    """`load_faces` that reads what several networks ask for once."""

    def __init__(self) -> None:
        self._known: dict[str, FaceSet] = {}

    def __call__(self, config: DataConfig, progress: Progress | None = None) -> FaceSet:
        key = repr(config)
        if key not in self._known:
            self._known[key] = load_faces(config, progress)
        return self._known[key]


def _test(cells: Sequence[Cell]) -> dict[tuple[str, str], CellTest]:
    """What every network says about the test images of every data set."""
    tests = {}
    total, done = sum(len(cell.images.parts["test"]) for cell in cells), 0
    with console.bar("testing") as tell:
        for cell in cells:
            own = len(cell.images.parts["test"])
            tests[cell.network, cell.data] = _tested(cell, _part(tell, done, own, total))
            done += own
    return tests


def _part(tell: Progress, done: int, own: int, total: int) -> Progress:
    """Progress of one of several steps, within that of all."""
    return lambda fraction: tell((done + fraction * own) / total)


def _tested(cell: Cell, progress: Progress) -> CellTest:
    trained, images = cell.about.trained, cell.images
    data, rows = images.data, images.parts["test"]
    examiner = build_examiner(images.config, data.image_size, hardware.choose(images.config.trainer))
    predictions = examiner.predict(trained.network, trained.preprocess, data.faces, rows, progress)
    keys = np.array([class_key(name) for name in trained.classes])
    return CellTest(
        images=predictions.rows,
        truth=keys[predictions.labels],
        right=predictions.probabilities.argmax(axis=1) == predictions.labels,
        result=split_results(predictions, {"test": rows}, trained.classes)["test"],
        trained_on=images.trained_on,
        notes=tuple(note for note in data.notes if note not in data.faces.notes),
    )


def _name(titles: Sequence[str], networks: dict[str, Subject]) -> str:
    """Of the folder: the data sets, and a few digits for which networks; the same command writes into the same folder."""
    paths = repr(sorted(str(about.trained.path.resolve()) for about in networks.values()))
    return f"{'-'.join(titles)[:40]}-{hashlib.sha256(paths.encode()).hexdigest()[:6]}"


def _keep(folder: Path, name: str, table: CrossTable, networks: dict[str, Subject], cells: Sequence[Cell]) -> None:
    for form, ending in FORMATS.items():
        write_text(folder / f"table.{ending}", render(table, name, form))
    write_json(folder / "across.json", _content(table, networks, cells))


def _content(table: CrossTable, networks: dict[str, Subject], cells: Sequence[Cell]) -> dict[str, Any]:
    return {
        "networks": {label: _about_network(about) for label, about in networks.items()},
        "cells": [_about_cell(cell, table) for cell in cells],
        "notes": list(table.notes),
    }


def _about_network(about: Subject) -> dict[str, Any]:
    trained = about.trained
    return {
        "checkpoint": str(trained.path),
        "key": about.folder.header.key if about.folder is not None else None,
        "epoch": trained.epoch,
        "classes": list(trained.classes),
        "data_digest": about.data_digest or None,
    }


def _about_cell(cell: Cell, table: CrossTable) -> dict[str, Any]:
    score, result = table.cells[cell.network, cell.data].score, table.cells[cell.network, cell.data].test.result
    difference = score.difference
    return {
        "network": cell.network,
        "data": cell.data,
        "read": about_data(cell.images),
        "protocol": cell.images.protocol,
        "acc": score.mean,
        "interval": [score.low, score.high],
        "difference": {"value": difference.value, "p": difference.p, "p_holm": difference.p_holm} if difference else None,
        "test": asdict(result),
    }


def _show(table: CrossTable, name: str) -> None:
    """Print one table for each quantity, and the notes."""
    whole = shown(table, name)
    (labels,) = whole.group("")
    for group in whole.groups:
        columns = whole.group(group)
        rows = list(zip(labels.cells, *(column.cells for column in columns), strict=True))
        console.table(group, [NETWORK, *(column.name for column in columns)], rows)
        console.console.print()
    for note in (whole.caption, *whole.notes):
        console.console.print(f"  {note}", style="dim")
    console.console.print()
