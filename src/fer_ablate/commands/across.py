"""`across`: several finished networks on several data sets, in one table. Trains nothing."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from fer_ablate.cli import console
from fer_ablate.cli.command_line import raise_faults
from fer_ablate.cli.words import read_command
from fer_ablate.config.overrides import key_of, value_of
from fer_ablate.errors import Fault, FaultyConfigError, UserError
from fer_ablate.execution.cross_testing import NetworkOnData, Pair, pair_up, read_pairs, score_pairs, with_unique_labels
from fer_ablate.execution.finished_network import (
    FinishedNetwork,
    NetworkOverrides,
    NetworkWords,
    find_networks,
    read_overrides,
)
from fer_ablate.judgement.cross_table import CrossTable, JudgedTest, build_cross_table
from fer_ablate.paths import expanded
from fer_ablate.report.table.cross_table import render_cross_table, shown_cross_table
from fer_ablate.report.table.shown_table import NETWORK
from fer_ablate.tracking.disk.files import write_json, write_text
from fer_ablate.tracking.disk.scan import folder_name

USAGE = """Test several finished networks on several data sets, and put their scores into one table.

  python -m fer_ablate across run=ab12 run='quickstart/-1 Conv' data=fer2013 data=folder data.path=raf data=list data.path=my.csv
  python -m fer_ablate across ckpt=best.ckpt data=folder data.path=raf title=RAF-DB data=folder data.path=lab title='our lab'

{words}
data=   a data set, a column of the table; may be repeated. The words data.* after it, up to the next data=, belong to it
title=  after data=: name of the column (by default the name of the file or folder)

evaluation.*, trainer.*, runs_dir, plugins, and data.* before the first data= hold for all.

Each network is a row. It is tested as by `evaluate`: classes are matched by name, images are brought to the size it was trained
on, and the test split is tested, or all images where there is none. On data that it was trained on (marked), only images that it
did not see are tested. Prints accuracy with a 95 % interval over test images, macro F1, and McNemar's exact test against the
first network; and ranks over the data sets, tested over five or more (Friedman, Nemenyi), or six for two networks (Wilcoxon)."""

FORMATS = {"markdown": "md", "latex": "tex", "csv": "csv", "html": "html"}
"""Format of the table -> ending of its file."""

WITHOUT_EFFECT = ("runs_dir", "plugins")
"""Keys for all data sets that do not tell tables below one folder of runs apart."""


@dataclass(frozen=True, kw_only=True)
class AcrossWords(NetworkWords):
    """Words of `across`; `data=` and `title=` depend on their order and are read by `_columns`."""

    name: str = ""  # folder of the table below <runs_dir>/across; by default the data sets
    output: Path | None = None  # another folder for the table


@dataclass
class Column:
    """A data set as it was typed."""

    overrides: list[str] = field(default_factory=list)
    title: str = ""


def run(arguments: Sequence[str]) -> int:
    """Print the table and keep it."""
    words, rest = read_command(arguments, AcrossWords, USAGE)
    shared, columns = _columns(rest)
    if not columns:
        raise UserError("Name the data sets: data=fer2013 data=folder data.path=<folder>; `across --help` shows how.")
    overrides = _overrides(shared, columns)
    data_sets = dict(zip(_titles(columns, overrides), overrides, strict=True))
    networks = with_unique_labels(find_networks(words, overrides[0]))
    pairs, problems = read_pairs(pair_up(networks, data_sets))
    table = build_cross_table(list(networks), list(data_sets), score_pairs(pairs), problems)
    name = words.name or _name(list(data_sets), networks, shared, columns)
    folder = words.output or overrides[0].runs_dir / "across" / folder_name(name)
    for form, ending in FORMATS.items():
        write_text(folder / f"table.{ending}", render_cross_table(table, name, form))
    write_json(folder / "across.json", _content(table, networks, pairs))
    _show(table, name)
    console.facts([("kept", f"{folder} (table.md, .tex, .csv, .html and across.json)")])
    return 0


def _columns(rest: Sequence[str]) -> tuple[list[str], list[Column]]:
    """The overrides for all data sets, and the data sets with their own."""
    shared: list[str] = []
    columns: list[Column] = []
    # Order matters here, unlike everywhere else: a word belongs to the data set before it.
    for text in rest:
        name, value = key_of(text), value_of(text)
        if name == "title":
            if not columns or columns[-1].title:
                raise UserError(f"{text}: a title comes after the data= that it is for, once each.")
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


def _overrides(shared: Sequence[str], columns: Sequence[Column]) -> list[NetworkOverrides]:
    """The settings of all columns; the faults of all are reported together."""
    found: list[NetworkOverrides] = []
    faults: list[Fault] = []
    for column in columns:
        try:
            found.append(read_overrides([*shared, *column.overrides], AcrossWords, further=["title"]))
        except FaultyConfigError as error:
            faults += error.faults
    raise_faults(list(dict.fromkeys(faults)))  # a shared override has the same fault in every column
    return found


def _titles(columns: Sequence[Column], overrides: Sequence[NetworkOverrides]) -> list[str]:
    """Titles of the columns: as typed, or the name of the file or folder, or the group; numbered where several are equal."""
    titles: list[str] = []
    for column, one in zip(columns, overrides, strict=True):
        path, group = one.config.data.path, value_of(column.overrides[0])
        named = expanded(path).resolve() if path and group in ("folder", "list") else None
        title = column.title or (named.stem if named and named.is_file() else named.name if named else group) or group
        # Two groups such as data=list may have files of one name, so equal titles are numbered; typed ones must differ.
        number = sum(known.partition(" #")[0] == title for known in titles)
        if number and column.title:
            raise UserError(f"title={title} was given to several data sets. Give each its own.")
        titles.append(f"{title} #{number + 1}" if number else title)
    return titles


def _name(
    titles: Sequence[str], networks: Mapping[str, FinishedNetwork], shared: Sequence[str], columns: Sequence[Column]
) -> str:
    """Name of the folder: the data sets and a digest of the networks and settings, so that the same command fills the same one.

    Args:
        titles: of the columns.
        networks: by label.
        shared: overrides that hold for all data sets.
        columns: the data sets as they were typed.
    """
    content = repr(sorted(str(network.trained.path.resolve()) for network in networks.values()))
    settings = sorted(text for text in shared if key_of(text) not in WITHOUT_EFFECT)
    # The titles say all about plain groups, and folders of earlier versions had names of networks and titles alone.
    if settings or any(column.title or len(column.overrides) > 1 for column in columns):
        content += repr((settings, [(column.title, sorted(column.overrides)) for column in columns]))
    return f"{'-'.join(titles)[:40]}-{hashlib.sha256(content.encode()).hexdigest()[:6]}"


def _content(table: CrossTable, networks: Mapping[str, FinishedNetwork], pairs: Mapping[Pair, NetworkOnData]) -> dict[str, Any]:
    """Content of `across.json`."""
    return {
        "networks": {label: _network_content(network) for label, network in networks.items()},
        "cells": [_cell_content(pair, one, table.cells[pair]) for pair, one in pairs.items()],
        "ranks": asdict(table.ranks) if table.ranks is not None else None,
        "notes": list(table.notes),
    }


def _network_content(network: FinishedNetwork) -> dict[str, Any]:
    trained = network.trained
    return {
        "checkpoint": str(trained.path),
        "key": network.folder.header.key if network.folder is not None else None,
        "epoch": trained.epoch,
        "classes": list(trained.classes),
        "data_digest": network.data_digest or None,
    }


def _cell_content(pair: Pair, tested: NetworkOnData, cell: JudgedTest) -> dict[str, Any]:
    score, difference = cell.score, cell.score.difference
    return {
        "network": pair[0],
        "data": pair[1],
        "read": tested.images.described(),
        "protocol": tested.images.protocol,
        "acc": score.mean,
        "interval": [score.low, score.high],
        "difference": {"value": difference.value, "p": difference.p, "p_holm": difference.p_holm} if difference else None,
        "test": asdict(cell.test.result),
    }


def _show(table: CrossTable, name: str) -> None:
    """Print one table for each quantity, and the notes."""
    whole = shown_cross_table(table, name)
    (labels,) = whole.group("")
    for group in whole.groups:
        columns = whole.group(group)
        rows = list(zip(labels.cells, *(column.cells for column in columns), strict=True))
        console.table(group, [NETWORK, *(column.name for column in columns)], rows)
        console.console.print()
    for note in (whole.caption, *whole.notes):
        console.console.print(f"  {note}", style="dim")
    console.console.print()
