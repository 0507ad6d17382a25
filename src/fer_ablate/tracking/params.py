"""A config as MLflow parameters: valid names, short enough values, what was changed first."""

import json
import re
from collections.abc import Mapping
from typing import Any

import yaml

from fer_ablate.config.compose import flat

KEY_LENGTH, PARAM_LENGTH, TAG_LENGTH = 250, 6000, 5000
"""MLflow 3.17 refuses longer keys (250), parameters (6000) and tags (8000; some of its databases hold 5000)."""


def shorten(text: str, length: int) -> str:
    """The text itself, or its beginning and an ellipsis."""
    return text if len(text) <= length else text[: length - 1] + "…"


def parameter_name(key: str) -> str:
    """A key in the letters MLflow allows.

    >>> parameter_name("model.stages[0].channels")
    'model.stages.0.channels'
    """
    return shorten(re.sub(r"[^\w\-. /]", "_", re.sub(r"\[(\d+)\]", r".\1", key)), KEY_LENGTH).replace("…", "_")


def parameters(config_yaml: str, changed: Mapping[str, str]) -> dict[str, str]:
    """Names and values of all leaves of a resolved config, the changed ones first.

    Args:
        config_yaml: resolved config; may be empty.
        changed: dotted key -> value of what differs from the defaults.
    """
    leaves = {parameter_name(key): _text(value) for key, value in flat(yaml.safe_load(config_yaml) or {}).items() if key}
    first = {parameter_name(key): leaves.get(parameter_name(key), str(value)) for key, value in changed.items()}
    return {key: shorten(value, PARAM_LENGTH) for key, value in {**first, **leaves}.items()}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
