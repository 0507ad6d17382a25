"""Loads the faces that a config names; checks the config before anything is read."""

import os
from collections.abc import Callable
from dataclasses import astuple
from functools import partial
from pathlib import Path

from fer_ablate.config.choices import Labels, Roles, Source
from fer_ablate.config.schema import DataConfig
from fer_ablate.data.archives import TABLES
from fer_ablate.data.audit import without
from fer_ablate.data.cache import Origin, cached, file_origin, folder_origin
from fer_ablate.data.download import kaggle_copy
from fer_ablate.data.faces import FaceSet, Progress
from fer_ablate.data.ferplus import FILE, with_votes
from fer_ablate.data.pictures import picture_files, read_folder, read_kaggle_folder
from fer_ablate.data.synthetic import DRAWING, draw_faces
from fer_ablate.data.table import read_table
from fer_ablate.errors import Fault, UserError
from fer_ablate.labels import EMOTIONS, EMOTIONS_8, TRAINING

_PACKED = ("", ".xz", ".gz", ".zip")
KNOWN_FILES = (*(f"{table}{packed}" for table in TABLES for packed in _PACKED), "fer2013.tar.gz", "fer2013.zip")
"""File names looked for in a folder, the first one first."""

_OTHERWISE = "Put it there, or pass data.path=..., or set FER_ABLATE_DATA, or use data=synthetic, or data.download=true."


def load_faces(config: DataConfig, progress: Progress | None = None) -> FaceSet:
    """Give the images of a data config, labelled as it says and without those it drops.

    The first call for a source parses it (seconds) into `cache_dir`; later ones map that into memory.

    Args:
        config: one that `check` finds no fault with.
        progress: called now and then during the parse, with the fraction done.
    """
    return without(_SOURCES[config.source](config, progress), config.drop)


def check(config: DataConfig) -> list[Fault]:
    """Find everything wrong with a data config without reading any image."""
    faults = []
    for key in ("train_fraction", "val_fraction"):
        if not 0 < getattr(config, key) <= 1:
            faults.append(Fault(f"data.{key}", f"{getattr(config, key)} is not above 0 and at most 1"))
    if config.val_fraction == 1 and config.roles in (Roles.holdout, Roles.auto):
        faults.append(Fault("data.val_fraction", "1.0 leaves nothing to train on", "0.1 is usual."))
    faults += _normalisation_faults(config)
    if config.source is Source.synthetic:
        return faults + _synthetic_faults(config)
    return faults + _label_faults(config) + _path_faults(config)


def _synthetic(config: DataConfig, progress: Progress | None) -> FaceSet:
    drawing = config.synthetic
    origin = Origin("synthetic", f"{DRAWING} {astuple(drawing)}")
    return cached(Path(config.cache_dir), origin, partial(draw_faces, drawing, progress))


def _fer2013(config: DataConfig, progress: Progress | None) -> FaceSet:
    path = kaggle_copy() if config.download and config.path is None else _given_path(config)
    source = _fer2013_source(path)
    if source is None:
        raise UserError(f"{TABLES[0]} not found in {path}. {_OTHERWISE}")
    cache_dir = Path(config.cache_dir)
    if source.is_dir():
        files = picture_files(source)
        return cached(cache_dir, folder_origin(source, files, "kaggle"), partial(read_kaggle_folder, source, progress))
    faces = cached(cache_dir, file_origin(source), partial(read_table, source, progress))
    if config.labels is Labels.hard:
        return faces
    votes = Path(config.ferplus_path) if config.ferplus_path else source.parent / FILE
    return with_votes(faces, votes, config.labels, config.num_classes or len(EMOTIONS))


def _folder(config: DataConfig, progress: Progress | None) -> FaceSet:
    folder = _given_path(config)
    origin = folder_origin(folder, picture_files(folder), "generic")
    return cached(Path(config.cache_dir), origin, partial(read_folder, folder, progress))


_SOURCES: dict[Source, Callable[[DataConfig, Progress | None], FaceSet]] = {
    Source.synthetic: _synthetic,
    Source.fer2013: _fer2013,
    Source.folder: _folder,
}


def _given_path(config: DataConfig) -> Path:
    assert config.path is not None, "check() asks for data.path"
    return Path(config.path).expanduser()


def _fer2013_source(path: Path) -> Path | None:
    """The table, or the folder of Kaggle's images, that a path leads to."""
    if path.is_file():
        return path
    for folder in (path, path / "fer2013"):  # the original archive unpacks into a folder fer2013
        for name in KNOWN_FILES:
            if (folder / name).is_file():
                return folder / name
        if any((folder / name).is_dir() for name in ("train", TRAINING)):
            return folder
    return None


def _path_faults(config: DataConfig) -> list[Fault]:
    if config.path is None:
        if config.source is Source.folder:
            return [Fault("data.path", "not given", "Pass data.path=<folder>; expected <split>/<class>/<image> below it.")]
        if config.download:
            return []
        return [Fault("data.path", f"not given and FER_ABLATE_DATA is not set, so {TABLES[0]} is not found", _OTHERWISE)]
    path = _given_path(config)
    if config.source is Source.folder:
        return [] if path.is_dir() else [Fault("data.path", f"{path} is not a folder", "Pass the folder of the splits.")]
    source = _fer2013_source(path)
    if source is None:
        return [Fault("data.path", f"{TABLES[0]} not found in {path}", _OTHERWISE)]
    if not os.access(source, os.R_OK):
        return [Fault("data.path", f"{source} may not be read", "Change its permissions, or pass another data.path=...")]
    return _ferplus_faults(config, source)


def _ferplus_faults(config: DataConfig, source: Path) -> list[Fault]:
    if config.labels is Labels.hard:
        return []
    if source.is_dir():
        problem = f"{config.labels.name} joins FER+ by row order, but {source} is a folder of images, whose order is unknown"
        return [Fault("data.labels", problem, "Pass the table as data.path=.../fer2013.csv, or use data.labels=hard.")]
    votes = Path(config.ferplus_path) if config.ferplus_path else source.parent / FILE
    if votes.is_file():
        return []
    way_out = f"Pass data.ferplus_path=.../{FILE} (from github.com/microsoft/FERPlus)."
    return [Fault("data.ferplus_path", f"{votes} not found", way_out)]


def _normalisation_faults(config: DataConfig) -> list[Fault]:
    faults = []
    for key, given in (("data.mean", config.mean), ("data.std", config.std)):
        numbers = given if isinstance(given, list | tuple) else [given]
        if not numbers or not all(isinstance(number, int | float) and not isinstance(number, bool) for number in numbers):
            remedy = "Give a number, or a list with one for each of model.in_channels."
            faults.append(Fault(key, f"{given!r} is neither a number nor a list of numbers", remedy))
        elif key == "data.std" and not all(number > 0 for number in numbers):
            faults.append(Fault(key, f"{given} is not above 0", "Pixels are divided by it."))
    return faults


def _label_faults(config: DataConfig) -> list[Fault]:
    faults = []
    ferplus = config.labels is not Labels.hard
    if ferplus and config.source is not Source.fer2013:
        problem = f"{config.labels.name} reads the FER+ votes, which only data=fer2013 has; the source is {config.source.name}"
        faults.append(Fault("data.labels", problem, "Use data.labels=hard."))
    if config.num_classes is None:
        return faults
    if not ferplus:
        faults.append(Fault("data.num_classes", f"{config.num_classes} is for FER+ labels", "Leave it out: the images tell it."))
    elif config.num_classes not in (len(EMOTIONS), len(EMOTIONS_8)):
        faults.append(Fault("data.num_classes", f"{config.num_classes} is neither 7 nor 8", "8 is with contempt."))
    return faults


def _synthetic_faults(config: DataConfig) -> list[Fault]:
    drawing, faults = config.synthetic, _label_faults(config)
    for key in ("train", "val", "test"):
        if getattr(drawing, key) < len(EMOTIONS):
            problem = f"{getattr(drawing, key)} images cannot show {len(EMOTIONS)} expressions"
            faults.append(Fault(f"data.synthetic.{key}", problem, f"Use {len(EMOTIONS)} or more."))
    if not 0 <= drawing.label_noise < 1:
        faults.append(Fault("data.synthetic.label_noise", f"{drawing.label_noise} is not at least 0 and below 1"))
    if not drawing.pixel_noise >= 0:
        faults.append(Fault("data.synthetic.pixel_noise", f"{drawing.pixel_noise} is below 0"))
    return faults
