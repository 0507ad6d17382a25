"""Addresses of pages in MLflow's user interface, and the command that starts it."""

import json
import shlex
from collections.abc import Sequence
from urllib.parse import quote, urlsplit

LOCAL_PAGE = "http://127.0.0.1:5000"
"""Where `mlflow ui` listens unless it is given another host or port."""

TRAINING = "workflowType=machine_learning"
"""Opens the menu of training runs; MLflow 3.17 opens that of language models by default."""


def is_server(uri: str) -> bool:
    """Whether a store is a server, which has the pages itself."""
    return uri.startswith(("http://", "https://"))


def start_command(uri: str) -> str:
    """The command that starts the pages of a store; empty for a server, which runs already."""
    return "" if is_server(uri) else f"mlflow ui --backend-store-uri {shlex.quote(uri)}"


def home_page(uri: str) -> str:
    """The first page of a store, without a user name and password that its address may hold.

    >>> home_page("https://me:secret@example.org:8080/mlflow/")
    'https://example.org:8080/mlflow'
    """
    if not is_server(uri):
        return LOCAL_PAGE
    parts = urlsplit(uri)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}"


def comparison_page(run_ids: Sequence[str], experiment_id: str) -> str:
    """The page that shows runs of one experiment side by side, as the part of an address after the first page.

    >>> comparison_page(["a1", "b2"], "7")
    '#/compare-runs?runs=%5B%22a1%22%2C%22b2%22%5D&experiments=%5B%227%22%5D&workflowType=machine_learning'
    """
    runs, experiments = (quote(json.dumps(ids, separators=(",", ":")), safe="") for ids in (list(run_ids), [experiment_id]))
    # In this order: MLflow 3.17 looks for the runs right after the question mark.
    return f"#/compare-runs?runs={runs}&experiments={experiments}&{TRAINING}"


def run_page(run_id: str, experiment_id: str) -> str:
    """The page of one run, as the part of an address after the first page."""
    return f"#/experiments/{experiment_id}/runs/{run_id}?{TRAINING}"
