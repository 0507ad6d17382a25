"""Finished runs by the names of their models in MLflow's registry, such as `models:/faces/1`."""

import re

from fer_ablate.config.schema import TrackingConfig
from fer_ablate.errors import UserError
from fer_ablate.tracking.mlflow.connection import open_store, reason

PREFIX = "models:/"

NAMED = re.compile(r"models:/(?P<name>[^/@]+)(?:/(?P<version>\d+|latest)|@(?P<alias>[^/@]+))")

FORMS = "Name it as models:/faces/1, models:/faces/latest or models:/faces@champion."


def run_of_model(address: str, tracking: TrackingConfig, runs_dir: str) -> str:
    """MLflow's id of the run whose model has this name.

    Args:
        address: begins with `PREFIX`.
        tracking: names the store.
        runs_dir: folder of all runs.

    Raises:
        UserError: the name is malformed, the store does not answer, or it has no such model.
    """
    found = NAMED.fullmatch(address)
    if found is None:
        raise UserError(f"{address} names no model of a registry. {FORMS}")
    name, alias = found["name"], found["alias"]
    try:
        client = open_store(tracking.uri, tracking.experiment, runs_dir, tracking.timeout).client
        if alias is not None:
            return str(client.get_model_version_by_alias(name, alias).run_id)
        if found["version"] != "latest":
            return str(client.get_model_version(name, found["version"]).run_id)
        versions = client.search_model_versions(f"name = '{name}'")
    except Exception as error:  # of MLflow, of its database or of the network
        raise UserError(
            f"{address} is not to be had from MLflow at {tracking.uri}: {reason(error).rstrip('.')}. {FORMS}"
        ) from error
    if not versions:
        raise UserError(f"MLflow at {tracking.uri} has no model called '{name}'. {FORMS}")
    return str(max(versions, key=lambda version: int(version.version)).run_id)
