"""Tests every one of several finished networks on every one of several data sets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fer_ablate.cli import console
from fer_ablate.cli.command_line import raise_faults
from fer_ablate.config.key import short
from fer_ablate.config.schema import DataConfig
from fer_ablate.data.classes import class_key
from fer_ablate.data.faces import FaceSet, Progress
from fer_ablate.data.load import load_faces
from fer_ablate.errors import Fault, FaultyConfigError, UserError
from fer_ablate.execution.finished_network import FinishedNetwork, NetworkOverrides
from fer_ablate.execution.tested_images import NetworkImages, prepare_hardware, read_images
from fer_ablate.inference.other_data import IncompatibleDataError
from fer_ablate.judgement.cross_table import NetworkTest
from fer_ablate.study.pixels import images_digest
from fer_ablate.training import hardware
from fer_ablate.training.assembly import build_evaluator
from fer_ablate.training.evaluation import split_results

Pair = tuple[str, str]
"""Label of a network, title of a data set."""


@dataclass(frozen=True)
class NetworkOnData:
    """A network with the images of one data set."""

    network: FinishedNetwork
    images: NetworkImages


def with_unique_labels(networks: Sequence[FinishedNetwork]) -> dict[str, FinishedNetwork]:
    """The networks by label: the name of the run or file, with seed, then key, then folder where several have the same name.

    Raises:
        UserError: a network was named several times.
    """
    paths = [network.trained.path.resolve() for network in networks]
    if repeated := next((path for path in paths if paths.count(path) > 1), None):
        raise UserError(f"{repeated} was named several times. Name each network once.")
    labels = [network.folder.header.name if network.folder is not None else network.file_label for network in networks]
    for distinction in (_seed, _key, _place):
        several = [labels.count(label) > 1 for label in labels]
        labels = [
            label + distinction(network) * ambiguous for label, network, ambiguous in zip(labels, networks, several, strict=True)
        ]
    return dict(zip(labels, networks, strict=True))


def _seed(network: FinishedNetwork) -> str:
    return f", seed {network.trained.config.seed}"


def _key(network: FinishedNetwork) -> str:
    return f" ({short(network.folder.header.key) if network.folder is not None else network.trained.path})"


def _place(network: FinishedNetwork) -> str:
    """Where it is kept, which tells copies of one run apart."""
    return f" in {network.folder.path if network.folder is not None else network.trained.path}"


def pair_up(networks: Mapping[str, FinishedNetwork], data_sets: Mapping[str, NetworkOverrides]) -> dict[Pair, FinishedNetwork]:
    """Every network with the settings of every data set, data set by data set.

    Raises:
        FaultyConfigError: with the faults of all pairs, before any image is read.
    """
    pairs = {
        (label, title): network.with_overrides(one) for title, one in data_sets.items() for label, network in networks.items()
    }
    faults: list[Fault] = []
    for network in pairs.values():
        try:
            prepare_hardware(network)
        except FaultyConfigError as error:
            faults += error.faults
    # Networks share the settings of a data set, so the same fault may come up once for each of them.
    raise_faults(list(dict.fromkeys(faults)))
    return pairs


def read_pairs(pairs: Mapping[Pair, FinishedNetwork]) -> tuple[dict[Pair, NetworkOnData], dict[Pair, str]]:
    """The images of every pair; and the reason for each pair whose network and data have too few classes in common."""
    found: dict[Pair, NetworkOnData] = {}
    problems: dict[Pair, str] = {}
    load = _CachedLoader()
    with console.bar("reading the images") as progress:
        for number, (pair, network) in enumerate(pairs.items()):
            try:
                images = read_images(network, console.part_of(progress, number, 1, len(pairs)), load)
            # One pair without common classes must not cost the table its other pairs.
            except IncompatibleDataError as error:
                problems[pair] = str(error)
                continue
            found[pair] = NetworkOnData(network, images)
    return found, problems


class _CachedLoader:
    """`load_faces` that reads images once, since several networks usually get the same ones."""

    def __init__(self) -> None:
        self._known: dict[str, FaceSet] = {}

    def __call__(self, config: DataConfig, progress: Progress | None = None, plugins: Sequence[str] = ()) -> FaceSet:
        # As text, since the dataclasses of a config can be changed and so cannot be keys of a dictionary.
        key = repr(config)
        if key not in self._known:
            self._known[key] = load_faces(config, progress, plugins)
        return self._known[key]


def score_pairs(pairs: Mapping[Pair, NetworkOnData]) -> dict[Pair, NetworkTest]:
    """Predictions and scores of every network on the test images of every data set."""
    tests = {}
    total, done = sum(len(one.images.parts["test"]) for one in pairs.values()), 0
    with console.bar("testing") as progress:
        for pair, one in pairs.items():
            number = len(one.images.parts["test"])
            tests[pair] = _test(one, console.part_of(progress, done, number, total))
            done += number
    return tests


def _test(pair: NetworkOnData, progress: Progress) -> NetworkTest:
    trained, images = pair.network.trained, pair.images
    data, rows = images.data, images.parts["test"]
    evaluator = build_evaluator(images.config, data.image_size, hardware.choose_hardware(images.config.trainer))
    predictions = evaluator.predict(trained.network, trained.preprocess, data.faces, rows, progress)
    # Networks may order and spell classes differently, so truth is compared by a normalised name, not by index.
    keys = np.array([class_key(name) for name in trained.classes])
    return NetworkTest(
        images=predictions.rows,
        truth=keys[predictions.labels],
        right=predictions.probabilities.argmax(axis=1) == predictions.labels,
        result=split_results(predictions, {"test": rows}, trained.classes)["test"],
        trained_on=images.trained_on,
        digest=images_digest(data.faces, rows),
        # Notes on the face set itself hold for every network, so the pair keeps only those of its own.
        notes=tuple(note for note in data.notes if note not in data.faces.notes),
    )
