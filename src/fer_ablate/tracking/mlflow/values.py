"""The contents of a run folder as MLflow's own types. Only `store` imports this module, since MLflow is slow to import."""

import json
from collections.abc import Mapping

from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, RunTag

from fer_ablate.tracking.disk.run_folder import RunFolder, RunHeader
from fer_ablate.tracking.measured import epoch_values
from fer_ablate.tracking.mlflow.params import TAG_LENGTH, parameter_name, shorten

DIGEST_LENGTH = 36
"""Characters of a data set's digest that MLflow keeps."""


def epoch_metrics(row: Mapping[str, float]) -> list[Metric]:
    """The metrics of one row of `metrics.csv`."""
    time_ms, step = int(row["time_ms"]), int(row["epoch"])
    return [Metric(name, value, time_ms, step) for name, value in epoch_values(row).items()]


def failure_tags(folder: RunFolder) -> dict[str, str]:
    """Tags that say why a run has no result."""
    failure, pruned = folder.failure, folder.pruned
    return ({"failure": failure.problem} if failure else {}) | ({"pruned": f"epoch {pruned.epoch}"} if pruned else {})


def dataset_of(header: RunHeader) -> DatasetInput:
    """The images of a run as an input of the run."""
    name = str(header.dataset.get("name", "data"))
    dataset = Dataset(name, header.data_digest[:DIGEST_LENGTH], "local", "{}", profile=json.dumps(header.dataset))
    return DatasetInput(dataset, [InputTag("mlflow.data.context", "train, val, test")])


def as_tags(values: Mapping[str, str]) -> list[RunTag]:
    """Tags within MLflow's limits on names and lengths."""
    return [RunTag(parameter_name(key), shorten(value, TAG_LENGTH)) for key, value in values.items()]
