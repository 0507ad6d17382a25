"""What differs between a run as it would be trained now and one on disk, in words."""

from collections.abc import Mapping
from typing import Any

from fer_ablate.config.behaviour import behaviour
from fer_ablate.tracking.disk.run_folder import RunHeader
from fer_ablate.training.identity import RunIdentity

SHOWN_CHANGES = 3
"""Changed keys named in a reason; the others are counted."""


def what_changed(identity: RunIdentity, header: RunHeader) -> str:
    """What has changed since an earlier run, as in `optimizer.lr 0.1 -> 0.01, data changed`.

    Args:
        identity: of the run as it is now.
        header: of the earlier run.
    """
    now = identity.settings
    # Digests are not compared: two of one behaviour give the same results.
    other_code = behaviour(header.code_digest) != behaviour(identity.code_digest)
    if other_code:
        now = _known_then(now, header.settings)
    reasons = [_changed(header.settings, now)] if header.settings else []
    reasons += ["data changed"] if header.data_digest != identity.data_digest else []
    reasons += ["code changed"] if other_code else []
    return ", ".join(reason for reason in reasons if reason) or "starts from other weights"


def _known_then(now: Any, before: Any) -> Any:
    """Today's settings without the keys that the earlier code did not have, since nobody could set them then."""
    if isinstance(now, Mapping) and isinstance(before, Mapping):
        return {key: _known_then(value, before[key]) for key, value in now.items() if key in before}
    if isinstance(now, list) and isinstance(before, list) and len(now) == len(before):
        return [_known_then(one, other) for one, other in zip(now, before, strict=True)]
    return now


def _changed(before: dict[str, Any], now: dict[str, Any]) -> str:
    # The stored side was JSON, which knows neither tuples nor keys that are not text, so both sides are compared as text.
    keys = [key for key in {**before, **now} if str(before.get(key)) != str(now.get(key))]
    changes = [f"{key} {_short(before.get(key, 'absent'))} -> {_short(now.get(key, 'absent'))}" for key in sorted(keys)]
    more = f" and {len(changes) - SHOWN_CHANGES} more" if len(changes) > SHOWN_CHANGES else ""
    return ", ".join(changes[:SHOWN_CHANGES]) + more


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 24 else "..."
