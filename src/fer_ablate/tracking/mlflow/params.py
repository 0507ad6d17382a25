"""Names and values in MLflow's form and limits: the parameters of a config, the names of rows within metrics, times."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from fer_ablate.config.compose import flat
from fer_ablate.config.yaml_files import plain_yaml

# The parser in C reads a config ten times as fast; not every build of PyYAML has it.

KEY_LENGTH, PARAM_LENGTH, TAG_LENGTH = 250, 6000, 5000
"""MLflow 3.17 refuses longer keys (250), parameters (6000) and tags (8000; some of its databases hold 5000)."""

ATTEMPT = "attempt"
"""Tag that finds a run whose process was killed before it could write down the id."""

RUN_NAME_LENGTH = 250
"""Characters of a run's name that MLflow 3.17 stores."""

ROW_NAME_LENGTH = 150
"""Longest name of a row within the name of a metric; leaves room for `/private/weighted_precision/ci_high`."""


def shorten(text: str, length: int) -> str:
    """The text itself, or its beginning and an ellipsis."""
    return text if len(text) <= length else text[: length - 1] + "…"


def parameter_name(key: str) -> str:
    """A key with only the characters that MLflow allows.

    >>> parameter_name("model.stages[0].channels")
    'model.stages.0.channels'
    """
    return shorten(re.sub(r"[^\w\-. /]", "_", re.sub(r"\[(\d+)\]", r".\1", key)), KEY_LENGTH).replace("…", "_")


def distinct_names(labels: Sequence[str]) -> dict[str, str]:
    """A distinct name for each label that can be the first part of a metric's name, in every database.

    >>> distinct_names(["+1 Conv", "-1 Conv", "lr=0.1", "lr:0.1"])
    {'+1 Conv': 'plus 1 Conv', '-1 Conv': '-1 Conv', 'lr=0.1': 'lr_0.1', 'lr:0.1': 'lr_0.1-e599cd'}
    """
    names: dict[str, str] = {}
    taken: set[str] = set()
    for label in dict.fromkeys(labels):
        name = re.sub(r"[^\w\-. ]", "_", re.sub(r"^\+(?=\d)", "plus ", label))
        # A name must not look like the folders `.` and `..`.
        name = shorten(f"_{name[1:]}" if name.startswith(".") else name or "_", ROW_NAME_LENGTH).replace("…", "_")
        if name.casefold() in taken:  # some databases take small letters and capitals for the same
            name += f"-{hashlib.sha256(label.encode()).hexdigest()[:6]}"
        taken.add(name.casefold())
        names[label] = name
    return names


def parameters(config_yaml: str, changed: Mapping[str, str]) -> dict[str, str]:
    """Names and values of all leaves of a resolved config, the changed ones first.

    Args:
        config_yaml: resolved config; may be empty.
        changed: dotted key -> value of what differs from the defaults.
    """
    config = flat(plain_yaml(config_yaml, "The stored config.yaml") or {})
    leaves = {parameter_name(key): parameter_text(value) for key, value in config.items() if key}
    first = {parameter_name(key): leaves.get(parameter_name(key), str(value)) for key, value in changed.items()}
    return {key: shorten(value, PARAM_LENGTH) for key, value in {**first, **leaves}.items()}


def own_tags(config_yaml: str) -> dict[str, str]:
    """The tags that the user gives the runs of a config; it may be empty, or of a version that had none."""
    config = plain_yaml(config_yaml, "The stored config.yaml") or {}
    return {str(name): str(value) for name, value in (config.get("tracking", {}).get("tags") or {}).items()}


def milliseconds(moment: str) -> int:
    """Unix time in milliseconds of an ISO 8601 date with time."""
    return int(datetime.fromisoformat(moment).timestamp() * 1000)


def parameter_text(value: Any) -> str:
    """A value as MLflow keeps it."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
