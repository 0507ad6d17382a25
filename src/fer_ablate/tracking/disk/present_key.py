"""Keeps finished runs valid: works out the key that a run has by the present rules from what it stored.

A run of the first edition had its key by other rules. A run of edited code has one made with the digest of that code, until
the digest is listed as a known behaviour.
"""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fer_ablate.config.key import KEY_RULES, key_of_first_edition, run_key, short
from fer_ablate.errors import UserError

if TYPE_CHECKING:
    from fer_ablate.tracking.disk.run_folder import RunFolder, RunHeader


def with_present_key(folder: "RunFolder", header: "RunHeader") -> "RunHeader":
    """The header with the key that this run has today; unchanged where that cannot be known.

    Unfinished runs keep their key, since it stands in their checkpoints as well. So do runs that began with the weights of a
    file; and of the first edition those that several processes shared, whose batch normalisation was not part of the key.
    """
    if not header.settings or not folder.finished:
        return header
    if header.has_present_key:
        return header  # the usual case, for which no other file is read
    try:
        key, settings = _present_key(folder, header)
    except (UserError, LookupError):
        return header
    if key == header.key:
        return header
    return replace(header, key=key, settings=settings, key_rules=KEY_RULES, earlier_key=header.earlier_key or header.key)


def _present_key(folder: "RunFolder", header: "RunHeader") -> tuple[str, dict[str, Any]]:
    """Key and settings.

    Raises:
        LookupError: something that the key is made from is not on record.
        UserError: the result is damaged.
    """
    start = _start(folder)
    if header.key_rules == KEY_RULES:
        return run_key(header.settings, header.data_digest, header.code_digest, start), header.settings
    environment = folder.result.environment
    if environment["devices"] != "1":
        raise LookupError("devices")
    return key_of_first_edition(header.settings, header.data_digest, header.code_digest, environment["precision"], start)


def _start(folder: "RunFolder") -> str | None:
    """Key of the run whose weights this one began with.

    Raises:
        LookupError: it is not among the runs, or it was a file.
    """
    name = folder.init_from
    if name is None:
        return None
    for path in folder.path.parent.parent.glob(f"*/*-{short(name)}"):
        # By the present rules as well, since `header` converts it in turn.
        return type(folder)(path).header.key
    raise LookupError(name)
