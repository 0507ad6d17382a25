"""Keeps finished runs of the first edition valid: their key by the rules of today is worked out from what they stored.

Nothing else depends on this file; it can go when nobody has such runs any more.
"""

import re
from dataclasses import replace
from pathlib import Path

from fer_ablate.config.key import KEY_RULES, key_of_first_edition, short
from fer_ablate.errors import UserError
from fer_ablate.tracking.disk.run_folder import RunFolder, RunHeader

_START = re.compile(r"^init_from: *(\S+)", re.M)


def with_present_key(folder: RunFolder, header: RunHeader) -> RunHeader:
    """The header with the key that this run has today; unchanged where that cannot be known.

    Unfinished runs keep their key, since the number format that they began in is not on record; so do runs that several
    processes shared, whose batch normalisation was not part of the key, and runs that began with the weights of a file.
    """
    if header.key_rules >= KEY_RULES or not header.settings or not folder.finished:
        return header
    try:
        environment = folder.result.environment
        start = _start(folder)
    except (UserError, LookupError):
        return header
    if environment.get("devices") != "1" or "precision" not in environment:
        return header
    key, settings = key_of_first_edition(header.settings, header.data_digest, header.code_digest, environment["precision"], start)
    return replace(header, key=key, settings=settings, key_rules=KEY_RULES)


def _start(folder: RunFolder) -> str | None:
    """Key of the run whose weights this one began with.

    Raises:
        LookupError: it is not among the runs, or it was a file.
    """
    found = _START.search(folder.config_yaml)
    if found is None or found[1] == "null":
        return None
    for path in folder.path.parent.parent.glob(f"*/*-{short(found[1].strip(chr(39)))}"):
        return RunFolder(Path(path)).header.key
    raise LookupError(found[1])
