"""Loads the images of a data config, and lists the faults of the config before any image is read."""

import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, fields, replace
from pathlib import Path

import numpy as np

from fer_ablate.config.binding import part_faults
from fer_ablate.config.bounds import bound_faults
from fer_ablate.config.choices import Labels, Roles, Source
from fer_ablate.config.schema import DataConfig
from fer_ablate.data.audit import without_flawed
from fer_ablate.data.cache import Entry, Origin, cached, file_origin, files_origin
from fer_ablate.data.classes import merge_classes, merge_faults, split_part
from fer_ablate.data.faces import FaceSet, Progress, Rows
from fer_ablate.data.sources.archives import KNOWN, TABLES, table_files
from fer_ablate.data.sources.ferplus import FILE, voted, with_votes
from fer_ablate.data.sources.images import ImageForm, read_pictures, with_inventory, write_in_form
from fer_ablate.data.sources.inventory import Inventory
from fer_ablate.data.sources.kaggle import as_fer2013, kaggle_copy
from fer_ablate.data.sources.layouts import folder_inventory
from fer_ablate.data.sources.listing import list_inventory
from fer_ablate.data.sources.own import read_own
from fer_ablate.data.sources.synthetic import DRAWING, draw_faces
from fer_ablate.data.sources.table import looks_like_table, read_table
from fer_ablate.errors import Fault, UserError
from fer_ablate.labels import EMOTIONS, EMOTIONS_8, SIDE
from fer_ablate.paths import expanded
from fer_ablate.sizes import Size, as_size

AUTO = "auto"
"""Value of `data.group` for the groups that the source itself names."""

_REMEDY = "Put it there, or pass data.path=..., or set FER_ABLATE_DATA, or use data=synthetic, or data.download=true."


def load_faces(config: DataConfig, progress: Progress | None = None, plugins: Sequence[str] = ()) -> FaceSet:
    """Load the images of a data config, with the labels it selects and without the images it drops.

    The first call for a source parses it into `cache_dir`, which takes seconds; later calls map that file into memory.

    Args:
        config: data config without faults, see `data_faults`.
        progress: called now and then while the source is parsed, with the finished fraction from 0 to 1.
        plugins: the user's own packages that may be imported, for a source of the user's own.

    Raises:
        UserError: the source is missing, damaged or of an unknown kind, or it lacks a class or group that the config names.
    """
    # Merging and dropping come after the cache, so that one entry serves all configs of a source.
    if config.source is Source.own:
        assert config.reader is not None, "data_faults() reports a missing data.reader"
        faces = read_own(config.reader, config.arguments, plugins, grouped=config.group is not None)
    else:
        faces = _SOURCES[config.source](config, progress)
    return without_flawed(merge_classes(faces, config.merge), config.drop)


def known_size(config: DataConfig) -> Size | None:
    """Return height and width of the images in pixels if they are known before any image is read, else None."""
    if config.size is not None:
        return as_size(config.size)
    return (SIDE, SIDE) if config.source in (Source.synthetic, Source.fer2013) else None


def data_faults(config: DataConfig, plugins: Sequence[str] = ()) -> list[Fault]:
    """List everything wrong with a data config that can be found without reading any image.

    Args:
        config: the section `data`.
        plugins: the user's own packages that may be imported.
    """
    faults = bound_faults(config, "data")
    if config.val_fraction == 1 and (config.roles in (Roles.holdout, Roles.auto) or config.folds is not None):
        faults.append(Fault("data.val_fraction", "1.0 leaves nothing to train on", "0.1 is usual."))
    drawn = config.roles in (Roles.drawn, Roles.auto) and config.folds is None
    if drawn and config.val_fraction < 1 <= config.val_fraction + config.test_fraction:
        problem = f"{config.test_fraction} and data.val_fraction={config.val_fraction} leave nothing to train on"
        faults.append(Fault("data.test_fraction", problem, "0.2 is usual."))
    faults += [*_group_faults(config), *merge_faults(config.merge), *_label_faults(config), *_own_faults(config, plugins)]
    return faults if config.source in (Source.synthetic, Source.own) else faults + _path_faults(config)


def _synthetic(config: DataConfig, progress: Progress | None) -> FaceSet:
    drawing, form = config.synthetic, _form(config)
    origin = Origin("synthetic", f"{DRAWING} {astuple(drawing)} {form.identity}".rstrip())
    return cached(
        Path(config.cache_dir), origin, lambda write: draw_faces(drawing, write_in_form(write, form), progress), progress
    )


def _fer2013(config: DataConfig, progress: Progress | None) -> FaceSet:
    path = kaggle_copy() if config.download and config.path is None else _given_path(config)
    source = _fer2013_source(path)
    if source is None:
        raise UserError(f"{TABLES[0]} not found in {path}. {_REMEDY}")
    if source.is_dir():
        form = replace(_form(config), size=known_size(config), channels=config.channels or 1)
        return _pictures(as_fer2013(folder_inventory(source)), config, form, progress, EMOTIONS)
    form = _form(config)
    origin = file_origin(source, form.identity)
    faces: FaceSet = cached(
        Path(config.cache_dir), origin, lambda write: read_table(source, write_in_form(write, form), progress), progress
    )
    if source != path and (others := [one.name for one in table_files(source.parent) if one != source and looks_like_table(one)]):
        faces = replace(faces, notes=(f"Of several tables {source.name} is read, not {', '.join(others)}.", *faces.notes))
    if config.labels is Labels.hard:
        return faces
    return with_votes(faces, _votes_file(config, source), config.labels, config.num_classes or len(EMOTIONS))


def _folder(config: DataConfig, progress: Progress | None) -> FaceSet:
    return _pictures(folder_inventory(_given_path(config)), config, _form(config), progress)


def _list(config: DataConfig, progress: Progress | None) -> FaceSet:
    columns, group = config.columns, config.group
    # A plain word is the name of a column; with `auto` the column is found by its usual names.
    if group is not None and re.fullmatch(r"[\w ]+", group):
        columns = replace(columns, group=columns.group or (group if group != AUTO else None))
        config = replace(config, group=AUTO)
    return _pictures(list_inventory(_given_path(config), columns), config, _form(config), progress)


def _pictures(
    inventory: Inventory, config: DataConfig, form: ImageForm, progress: Progress | None, classes: tuple[str, ...] | None = None
) -> FaceSet:
    """Load the pictures of an inventory, with the labels of its votes and with its groups if it has them."""
    cache_dir = Path(config.cache_dir)
    files = [picture.file for picture in inventory.pictures]
    labels = hashlib.sha256(
        repr([(one.split, one.label, one.group, one.votes) for one in inventory.pictures]).encode(errors="surrogateescape")
    )
    origin = files_origin(
        inventory.root,
        [file.path for file in files],
        [(file.size, file.changed) for file in files],
        f"{labels.hexdigest()} {form.identity} {classes}",
    )
    entry = cached(
        cache_dir, origin, lambda write: read_pictures(inventory, write, form, progress, _room(cache_dir), classes), progress
    )
    faces = with_inventory(_grouped(entry, config.group), inventory)
    if entry.votes is not None:
        # Such a folder has votes and no labels, so that `hard` means the majority of the votes.
        rule = Labels.majority if config.labels is Labels.hard else config.labels
        return voted(faces, entry.votes, rule, config.num_classes or len(EMOTIONS_8))
    unread = {"labels": config.labels.name if config.labels is not Labels.hard else None, "num_classes": config.num_classes}
    for key, value in unread.items():
        if value is not None:
            raise UserError(f"data.{key}={value} is for FER+ votes, but {inventory.root} has none (label.csv). Leave it out.")
    return faces


_SOURCES: dict[Source, Callable[[DataConfig, Progress | None], FaceSet]] = {
    Source.synthetic: _synthetic,
    Source.fer2013: _fer2013,
    Source.folder: _folder,
    Source.list: _list,
}


def _form(config: DataConfig) -> ImageForm:
    return ImageForm(as_size(config.size) if config.size is not None else None, config.fit, config.channels)


def _room(cache_dir: Path) -> int | None:
    """Free bytes on the disk of the cache, whose folder may not exist yet; None if no folder above it exists."""
    existing = next((place for place in (cache_dir, *cache_dir.parents) if place.is_dir()), None)
    return shutil.disk_usage(existing).free if existing is not None else None


def _grouped(entry: Entry, pattern: str | None) -> FaceSet:
    """Add the groups that the source names, or that a pattern finds in the file names."""
    if pattern is None:
        return entry
    names, notes = (list(entry.group_names), entry.notes) if pattern == AUTO else _found_groups(entry, pattern)
    if not names:
        return entry
    # An image of unknown group forms a group of its own.
    alone = [name or f"\0{number}" for number, name in enumerate(names)]
    groups: Rows = np.unique(alone, return_inverse=True)[1].astype(np.int64)
    # Groups decide which images are drawn for a role, so they are part of the data's identity.
    digest = hashlib.sha256(entry.digest.encode() + groups.tobytes()).hexdigest()
    return replace(entry, groups=groups, digest=digest, notes=notes)


def _found_groups(entry: Entry, pattern: str) -> tuple[list[str], tuple[str, ...]]:
    """Find the group of each image by its file name (empty if the name does not match), and add a note to those of the set."""
    matches = [re.search(pattern, file) or re.search(pattern, file.rpartition("/")[2]) for file in entry.files]
    found = sum(match is not None for match in matches)
    if not found:
        example = f", such as {entry.files[0]}" if entry.files else ""
        raise UserError(
            f"data.group={pattern}: no file name matches{example}. Write a regular expression whose first group is the person, "
            r"such as 'data.group=(S\d+)_', or data.group=null."
        )
    names = [(match[1] if match.re.groups else match[0]) if match else "" for match in matches]
    count = len({name for name in names if name})
    rest = f"; {len(names) - found:,} images without a match are a group each" if found < len(names) else ""
    return names, (*entry.notes, f"Groups (data.group): {count:,} in {found:,} images{rest}.")


def _votes_file(config: DataConfig, source: Path) -> Path:
    path = expanded(config.ferplus_path) if config.ferplus_path else source.parent / FILE
    with _lookup_errors_named("data.ferplus_path", path):
        path.is_file()
    return path


def _given_path(config: DataConfig) -> Path:
    assert config.path is not None, "data_faults() reports a missing data.path"
    path = expanded(config.path)
    with _lookup_errors_named("data.path", path):
        path.is_file()
    return path


@contextmanager
def _lookup_errors_named(key: str, path: Path) -> Iterator[None]:
    """Turn errors of looking for a file, such as in a folder without permission, into a message that names the key."""
    try:
        yield
    except OSError as error:
        remedy = f"Change its permissions or those of the folders above it, or pass another {key}=..."
        raise UserError(f"{key}={path} cannot be looked up ({error.strerror}). {remedy}") from error


def _fer2013_source(path: Path) -> Path | None:
    """Find the table, or the folder of Kaggle's images, at a path; None if neither is there."""
    if path.is_file():
        return path
    with _lookup_errors_named("data.path", path):
        for folder in (path, path / "fer2013"):  # the original archive unpacks into a folder fer2013
            files = table_files(folder)
            known = [table for table in files if table.name.lower() in KNOWN]
            tables = known[:1] or [table for table in files if looks_like_table(table)]
            if len(tables) > 1:
                names = ", ".join(table.name for table in tables)
                raise UserError(f"{folder} holds {len(tables)} tables ({names}). Pass the right one as data.path=...")
            if tables:
                return tables[0]
        if "train" in _parts(path) or any({"train", "test"} <= _parts(below) for below in (*path.glob("*"), *path.glob("*/*"))):
            return path
    return None


def _parts(folder: Path) -> set[str | None]:
    """Parts (`train`, `val`, `test`) that the names of the folders directly below mean."""
    return {split_part(below.name) for below in folder.glob("*") if below.is_dir()}


def _own_faults(config: DataConfig, plugins: Sequence[str]) -> list[Fault]:
    """Faults of the keys that only a source of the user's own has, and of those that it does not have."""
    if config.source is not Source.own:
        given = [f"data.{key}" for key, value in (("reader", config.reader), ("arguments", config.arguments)) if value]
        return [Fault(key, f"given with data={config.source.name}.", "Only data=own calls a function.") for key in given]
    if config.reader is None:
        example = "Pass data.reader=my_parts.faces with plugins=[my_parts]."
        return [Fault("data.reader", "not given, so nothing gives the images", example)]
    faults = [
        Fault(f"data.{key}", f"{value} does not reach the images of data=own.", "Let the function give them that way.")
        for key, value in (("size", config.size), ("channels", config.channels))
        if value is not None
    ]
    return faults + part_faults(config.reader, config.arguments, plugins, "data.reader", place="data.arguments")


def _path_faults(config: DataConfig) -> list[Fault]:
    try:
        return _source_faults(config)
    except UserError as error:
        return [Fault("", str(error))]


def _source_faults(config: DataConfig) -> list[Fault]:
    if config.path is None:
        if config.source is Source.folder:
            return [Fault("data.path", "not given", "Pass data.path=<folder>; expected <split>/<class>/<image> below it.")]
        if config.source is Source.list:
            return [
                Fault("data.path", "not given", "Pass data.path=<csv> with the columns file and label, perhaps split and group.")
            ]
        if config.download:
            return []
        return [Fault("data.path", f"not given and FER_ABLATE_DATA is not set, so {TABLES[0]} is not found", _REMEDY)]
    path = _given_path(config)
    if config.source is Source.folder:
        return [] if path.is_dir() else [Fault("data.path", f"{path} is not a folder", _not_a_folder(path))]
    if config.source is Source.list:
        remedy = "Pass a csv with the columns file and label."
        return [] if path.is_file() else [Fault("data.path", f"{path} is not a file", remedy)]
    source = _fer2013_source(path)
    if source is None:
        return [Fault("data.path", f"{TABLES[0]} not found in {path}", _REMEDY)]
    if not os.access(source, os.R_OK):
        return [Fault("data.path", f"{source} may not be read", "Change its permissions, or pass another data.path=...")]
    return _ferplus_faults(config, source)


def _not_a_folder(path: Path) -> str:
    if not path.is_file():
        return "Pass the folder of the splits or classes."
    return f"A csv of file names is read by data=list, one of pixels by data=fer2013: data=list data.path={path}"


def _ferplus_faults(config: DataConfig, source: Path) -> list[Fault]:
    if config.labels is Labels.hard:
        return []
    if source.is_dir():
        problem = f"{config.labels.name} joins FER+ by row order, but {source} is a folder of images, whose order is unknown"
        return [Fault("data.labels", problem, "Pass the table as data.path=.../fer2013.csv, or use data.labels=hard.")]
    votes = _votes_file(config, source)
    if votes.is_file():
        return []
    remedy = f"Pass data.ferplus_path=.../{FILE} (from github.com/microsoft/FERPlus)."
    return [Fault("data.ferplus_path", f"{votes} not found", remedy)]


def _group_faults(config: DataConfig) -> list[Fault]:
    faults = []
    if config.folds is not None and config.fold >= config.folds:
        faults.append(Fault("data.fold", f"{config.fold} is none of {config.folds} folds", f"Give 0 to {config.folds - 1}."))
    elif config.folds is None and config.fold:
        faults.append(Fault("data.fold", f"{config.fold}, but there are no folds", "Give data.folds=10 as well."))
    if config.group not in (None, AUTO) and config.source in (Source.synthetic, Source.fer2013, Source.own):
        problem = f"{config.group!r} is a pattern for file names, which data={config.source.name} does not have"
        faults.append(Fault("data.group", problem, "Leave it out."))
    return faults


def _label_faults(config: DataConfig) -> list[Fault]:
    faults = []
    ferplus = config.labels is not Labels.hard
    if ferplus and config.source not in (Source.fer2013, Source.folder):
        problem = f"{config.labels.name} reads the FER+ votes, which data={config.source.name} does not have"
        faults.append(Fault("data.labels", problem, "Use data.labels=hard."))
    unread = {"data.ferplus_path": config.ferplus_path} if config.source is not Source.fer2013 else {}
    if config.source is not Source.list:
        unread |= {f"data.columns.{one.name}": getattr(config.columns, one.name) for one in fields(config.columns)}
    faults += [
        Fault(key, f"{value} is not read by data={config.source.name}.", "Leave it out, or choose another data=...")
        for key, value in unread.items()
        if value is not None
    ]
    if config.num_classes is not None and not ferplus and config.source is not Source.folder:
        faults.append(Fault("data.num_classes", f"{config.num_classes} is for FER+ labels", "Leave it out: the images say it."))
    return faults
