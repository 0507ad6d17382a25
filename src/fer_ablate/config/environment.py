"""`${oc.env:NAME}` in a config: which variables of a person's environment a file may ask for, and where they may stand.

Files come from elsewhere: a study of somebody else must not write what it likes of this environment into records that are given
away. So a variable is read if it was typed on the command line or is listed in FER_ABLATE_ENV, and only for places such as
`data.path`; there the record has its name, and reads the value again from the environment.
"""

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from fer_ablate.addresses import PLACES, STORE_VARIABLE, keep_secret, remember
from fer_ablate.errors import UserError

ALLOWED = "FER_ABLATE_ENV"
"""Environment variable with the names of others that files may ask for, separated by commas; processes of a sweep inherit it."""

OWN = ("FER_ABLATE_DATA", "FER_ABLATE_CACHE", "HOME", STORE_VARIABLE)
"""Variables that the program's own files read: places that every record has."""

KEPT_BY_NAME = tuple(key for key in PLACES if key != "tracking.uri")
"""Those of which a record has the name of the variable; the address of the store it has without credentials."""

_TYPED = re.compile(r"oc\.env\s*:\s*['\"]?([A-Za-z_]\w*)")
_NO_DEFAULT = object()

_read: dict[str, str] = {}
"""Variable -> value of all that was read in this process, without those of `OWN`."""

_watching: list[set[str]] = []


class RefusedVariableError(UserError):
    """A file asks for a variable that nobody has allowed."""


def allow_typed(words: Iterable[str]) -> None:
    """Allow the variables that are named in words of a command line, in this process and in those that it starts."""
    found = {name for word in words for name in _TYPED.findall(word)} - set(OWN)
    if found - _allowed():
        os.environ[ALLOWED] = ",".join(sorted(found | _allowed()))


def register_environment() -> None:
    """Make OmegaConf resolve `${oc.env:NAME}` by these rules."""
    OmegaConf.register_resolver("oc.env", _variable, replace=True)


@contextmanager
def variables_read() -> Iterator[set[str]]:
    """Collect the variables, other than the program's own, that are read meanwhile."""
    names: set[str] = set()
    _watching.append(names)
    try:
        yield names
    finally:
        _watching.remove(names)


def refused(error: BaseException) -> RefusedVariableError | None:
    """The refusal that an error of OmegaConf began with; None if it is about something else."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, RefusedVariableError):
        cause = cause.__cause__ or cause.__context__
    return cause


def by_name(value: Any) -> Any:
    """A text with the names of variables in place of what was read from them, as `${oc.env:NAME}`."""
    if isinstance(value, str):
        for name, read in sorted(_read.items(), key=lambda item: -len(item[1])):
            # A config has some places with the home folder written out.
            for form in dict.fromkeys((os.path.expanduser(read), read)):
                # A short value may be part of any path.
                if value == form or (len(form) >= 3 and form in value):
                    value = value.replace(form, _named(name))
    return value


def recorded(key: str, value: Any) -> str:
    """The value of a key as the record of a run has it, in words."""
    return str(by_name(value) if key in KEPT_BY_NAME else value)


def readable(value: Any) -> Any:
    """The inverse for a record that may come from elsewhere: names of variables that are not allowed or not set stay names."""
    if not isinstance(value, str) or all(name in os.environ and name in _allowed() for name in _TYPED.findall(value)):
        return value
    return value.replace("${", r"\${")


def _named(name: str) -> str:
    return f"${{oc.env:{name}}}"


def _allowed() -> set[str]:
    return {name.strip() for name in os.environ.get(ALLOWED, "").split(",") if name.strip()}


def _takes_cache(home: str) -> bool:
    """Whether parsed images are or can be kept below a home: some accounts of clusters and containers have none to write in."""
    folder = cache = Path(home, ".cache", "fer_ablate")
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder == cache or os.access(folder, os.W_OK)


def _variable(key: str, default: Any = _NO_DEFAULT) -> str | None:
    name = str(key)
    if name not in OWN and name not in _allowed():
        raise RefusedVariableError(
            f"A file asks for the variable {name} of your environment, whose value would be used for this run. If you "
            f"trust the file, allow it: export {ALLOWED}={name} (several with commas), or type the key with {_named(name)}."
        )
    value = os.environ.get(name)
    if value is None or (name == STORE_VARIABLE and not value.strip()) or (name == "HOME" and not _takes_cache(value)):
        if default is _NO_DEFAULT:
            raise KeyError(f"Environment variable '{name}' not found")
        return None if default is None else str(default)
    value = remember(value)
    if name not in OWN:
        if value:
            _read[name] = value
            for form in {value, os.path.expanduser(value)}:
                keep_secret(form, _named(name))
        for names in _watching:
            names.add(name)
    return value
