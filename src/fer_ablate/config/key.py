"""The key of a run: a hash of everything that can change its result. Same key, same result."""

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from fer_ablate.config.behaviour import behaviour
from fer_ablate.config.choices import Precision, Source
from fer_ablate.config.compose import flat, plain
from fer_ablate.config.schema import Config

IRRELEVANT = (
    "name",
    "runs_dir",
    "force",
    "data.path",
    "data.ferplus_path",
    "data.cache_dir",
    "data.download",
    "model.pretrained_path",
    "trainer.accelerator",
    "trainer.devices",
    "trainer.strategy",
    "trainer.num_threads",
    "trainer.evaluation_batch_size",
    "trainer.profiler",
    "trainer.save_last",
    "tracking",
    "search",
    "study",
    "init_from",
)
"""Keys, and sections by their first part, that say where and how a run happens but not what comes out of it."""

LATER: dict[str, Any] = {
    "data.columns.file": None,
    "data.columns.label": None,
    "data.columns.split": None,
    "data.columns.group": None,
    "data.size": None,
    "data.fit": "pad",
    "data.channels": None,
    "data.merge": {},
    "data.group": "auto",
    "data.val_draw": "nearest",
    "data.test_fraction": 0.2,
    "data.folds": None,
    "data.fold": 0,
    "data.prepare": [],
    "data.reader": None,
    "data.arguments": {},
    "evaluation.train": False,
    "evaluation.metrics": {},
    "model.norm_momentum": 0.1,
    "model.norm_eps": 1e-5,
    "loss.arguments": {},
    "loss.divide_by": "weights",
    "scheduler.threshold_mode": "rel",
    "trainer.min_delta": 0.0,
    "trainer.callbacks": [],
}
"""Keys that were added after the first runs -> the value that keeps results as they were; with it they do not enter a key."""

EPOCHS = "trainer.max_epochs"
"""Key of the length of a run."""

NUMBER_FORMATS = {Precision.bf16.value: "bf16-mixed", Precision.fp16.value: "16-mixed", Precision.fp32.value: "32-true"}
"""Number format as a config names it -> Lightning's name of it."""

KEY_RULES = 2
"""Number of the rules below, stored with every run; 1 had a digest of the syntax tree and the number format as typed."""

SHOWN_DIGITS = 10
"""Of a run's key in folder names and on the screen."""


def short(key: str) -> str:
    """The part of a key that people see and type."""
    return key[:SHOWN_DIGITS]


def relevant(config: Config, resolved: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The settings that can change a result, under dotted keys.

    Args:
        config: config of the run.
        resolved: settings whose value depends on the machine -> their value there, see `training.identity`.
    """
    leaves = flat(plain(config))
    if config.data.source is not Source.synthetic:
        leaves = {key: value for key, value in leaves.items() if not key.startswith("data.synthetic")}
    kept = {key: value for key, value in leaves.items() if not _is_irrelevant(key) and not _as_before(key, value)}
    return {**kept, **(resolved or {})}


def run_key(settings: Mapping[str, Any], data_digest: str, code: str, start: str | None = None) -> str:
    """Hash of the settings, the data, what the code computes and the weights to begin with; 32 hexadecimal digits.

    Args:
        settings: result of `relevant`.
        data_digest: digest of the images.
        code: result of `behaviour.code_digest`; all code of one behaviour gives the same key.
        start: identity of the weights that `init_from` names, which is the key of their run where it is one; None: they
            are drawn from the seed.
    """
    parts = [dict(settings), data_digest, behaviour(code), *([start] if start is not None else [])]
    content = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(content.encode()).hexdigest()[:32]


def key_without_length(settings: Mapping[str, Any], data_digest: str, code: str) -> str:
    """Hash that runs share which differ in their length and in the weights to begin with alone; 16 hexadecimal digits.

    Args:
        settings: as in `run_key`.
        data_digest: digest of the images.
        code: result of `behaviour.code_digest`.
    """
    return run_key({key: value for key, value in settings.items() if key != EPOCHS}, data_digest, code)[:16]


def key_of_first_edition(
    settings: Mapping[str, Any], data_digest: str, code: str, number_format: str, start: str | None = None
) -> tuple[str, dict[str, Any]]:
    """Compute the key of a run of the first edition by the present rules, and its settings by these rules.

    Its own key was made with the number format as it was typed, such as `auto`, and with a digest of the code that depended on
    the version of Python.

    Args:
        settings: stored with the run.
        data_digest: stored with the run.
        code: stored with the run.
        number_format: in which the run was computed, by Lightning's name, as in its result.
        start: identity of its starting weights, by the present rules.
    """
    precision = next((short for short, name in NUMBER_FORMATS.items() if name == number_format), number_format)
    settings = {**settings, "trainer.precision": precision}
    return run_key(settings, data_digest, code, start), settings


def with_values(settings: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Settings, as `relevant` gives them, after some keys have got other values."""
    kept = {key: value for key, value in settings.items() if key not in values}
    return kept | {key: value for key, value in values.items() if not _is_irrelevant(key) and not _as_before(key, value)}


def _as_before(key: str, value: Any) -> bool:
    return key in LATER and value == LATER[key]


@cache
def _is_irrelevant(key: str) -> bool:
    return any(key == name or key.startswith(f"{name}.") for name in IRRELEVANT)
