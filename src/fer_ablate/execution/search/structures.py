"""Structures that a search varies: a network encoded as stages, decoded into settings, and named in a line.

Besides the keys of a stage (`block`, `channels`, `depth`, `kernel`, `pool`), a search may vary `model.stages.N.expansion`: how
many channels a block has inside for each of its output channels. A run knows only the result, `inner`.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from fer_ablate.config.choices import WITH_INNER, Pool
from fer_ablate.config.overrides import assignment, key_of, parsed_overrides
from fer_ablate.config.schema import ModelConfig, StageConfig
from fer_ablate.errors import Fault, FaultyConfigError
from fer_ablate.models.stages import resolved

STAGE_KEY = re.compile(r"model\.stages\.(?P<number>\d+)\.(?P<name>\w+)")
EXPANSION, MOST_EXPANSION = "expansion", 64
"""Key of the encoding that is no setting of a stage, and its largest value."""

ON_A_MAP = re.compile(r" on a \d+x\d+ map\.$")
"""End of the problem where a map is too small for what comes next, as in `kernel 3 on a 0x0 map.`"""


def is_encoding(key: str) -> bool:
    """Whether a key belongs to the encoding alone, so that no run has it."""
    found = STAGE_KEY.fullmatch(key)
    return found is not None and found["name"] == EXPANSION


def varies_stages(keys: Iterable[str]) -> bool:
    """Whether a search over these keys varies stages of the network."""
    return any(STAGE_KEY.fullmatch(key) for key in keys)


def decoded(words: Sequence[str], base: ModelConfig) -> list[str]:
    """Overrides that make the encoded network; the last word of each key counts.

    Settings without effect are left out: all others of a stage with `depth` 0, and the inside of a block that has none. So one
    network has one key, however it is encoded, and is trained once.

    Args:
        words: overrides of a trial, some of them perhaps `model.stages.N.expansion=...`.
        base: the network that they change.

    Raises:
        FaultyConfigError: an expansion is no positive number, or the network has no such stage.
    """
    found = {key: STAGE_KEY.fullmatch(key) for key in map(key_of, words)}
    # A list of depths has the last word on which stages there are.
    depths_listed = base.depths is not None or "model.depths" in found
    stages: dict[int, dict[str, Any]] = {}
    for word in words:
        if match := found[key_of(word)]:
            stages.setdefault(int(match["number"]), {})[match["name"]] = parsed_overrides([word])[0].value()
    others = [word for word in words if not found[key_of(word)]]
    for number, values in stages.items():
        key = f"model.stages.{number}"
        if number >= len(base.stages):
            raise FaultyConfigError([Fault(key, f"the network has {len(base.stages)} stages.", "They are counted from 0.")])
        others += [
            assignment(f"{key}.{name}", value) for name, value in _settings(key, values, base.stages[number], depths_listed)
        ]
    return others


def _settings(key: str, values: Mapping[str, Any], base: StageConfig, depths_listed: bool) -> Iterable[tuple[str, Any]]:
    """Names and values of a stage that have an effect."""
    if values.get("depth", base.depth) == 0 and not depths_listed:
        return [("depth", 0)]
    plain = {name: value for name, value in values.items() if name != EXPANSION}
    if str(values.get("block", base.block.name)) not in [block.name for block in WITH_INNER]:
        # Only a search of expansions is known to mean "where there is an inside"; `inner` itself is left to the checks.
        plain |= {"inner": None} if EXPANSION in values or ("inner" not in values and base.inner is not None) else {}
    elif EXPANSION in values:
        expansion = values[EXPANSION]
        if isinstance(expansion, bool) or not isinstance(expansion, int | float) or not 0 < expansion <= MOST_EXPANSION:
            problem = f"{expansion} is no number above 0 and up to {MOST_EXPANSION}."
            raise FaultyConfigError(
                [Fault(f"{key}.{EXPANSION}", problem, "Give channels inside a block per output channel, as 4.")]
            )
        plain["inner"] = max(1, round(expansion * int(values.get("channels", base.channels))))
    return plain.items()


def impossible(faults: Sequence[Fault]) -> bool:
    """Whether all that is wrong with a trial is that its maps shrink to nothing, as the checks of `models` say it.

    Other faults of a network, such as a negative width, are mistakes of whoever wrote the space, hence failures.
    """
    return bool(faults) and all(fault.key.startswith("model.") and ON_A_MAP.search(fault.problem) for fault in faults)


def keys_text(keys: Collection[str]) -> str:
    """Searched keys in a line; those of several stages together, as `model.stages 1, 2: block, depth`."""
    plain: list[str] = []
    stages: dict[int, list[str]] = {}
    for key in keys:
        if found := STAGE_KEY.fullmatch(key):
            stages.setdefault(int(found["number"]), []).append(found["name"])
        else:
            plain.append(key)
    numbers, names = sorted(stages), sorted({name for found in stages.values() for name in found})
    if len(numbers) < 2:
        return ", ".join(keys)
    return "; ".join([f"model.stages {', '.join(map(str, numbers))}: {', '.join(names)}", *plain])


def network_text(config: ModelConfig) -> str:
    """The stages of a network in a line.

    For two inverted residual blocks with 96 channels, 384 of them inside, kernels of 3 pixels and a max pool:
    `2 inverted_residual 96 (384) k3 max`.
    """
    return ", ".join(_stage_text(stage) for stage in resolved(config).stages if stage.depth)


def _stage_text(stage: StageConfig) -> str:
    parts = [
        f"{stage.depth}" if stage.depth > 1 else "",
        stage.block.name,
        f"{stage.channels}",
        f"({stage.inner})" if stage.inner is not None else "",
        f"k{stage.kernel}",
        f"stride {stage.stride}" if stage.stride > 1 else "",
        stage.pool.name if stage.pool is not Pool.none else "",
    ]
    return " ".join(filter(None, parts))
