"""Addresses of stores and databases: made, quoted, shown, and kept apart from the credentials in them.

Whatever is stored or shown is the bare address. The credentials stay in this process and in the environment of those that it
starts, and `usable` puts them back where a connection is opened.
"""

import json
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import quote, unquote

from fer_ablate.shell import quoted

CREDENTIALS = "FER_ABLATE_CREDENTIALS"
"""Environment variable in which processes that this one starts find the whole addresses."""

STORE_VARIABLE = "MLFLOW_TRACKING_URI"
"""Environment variable in which MLflow and this program find the address of a store."""

PLACES = (
    "runs_dir",
    "init_from",
    "data.path",
    "data.ferplus_path",
    "data.cache_dir",
    "model.pretrained_path",
    "tracking.uri",
)
"""Keys that say where something is, and neither name nor decide a result."""

LOCAL_PAGE = "http://127.0.0.1:5000"
"""Where `mlflow ui` listens unless it is given another host or port."""

TRAINING = "workflowType=machine_learning"
"""Opens the menu of training runs; MLflow 3.17 opens that of language models by default."""

SQLITE = "sqlite:///"
"""Beginning of the address of a file, which SQLAlchemy calls a database."""

QUOTED_SQLITE = "sqlite+pysqlite:///"
"""The same driver, named in full: of `sqlite:///` alone MLflow 3.17 would make a folder with the quoted name."""

HIDDEN = "***"

LEAST_SECRET, LONG_SECRET = 6, 16
"""Characters from which a secret is hidden wherever it is met: of one that mixes kinds of letters and signs, and of any other."""

# A password may hold every character but @ unquoted, and then what follows the first colon is no port. The file of
# `sqlite:///a:b@c` has nothing between the slashes, hence no credentials.
_USER = re.compile(r"(?<=://)(?:[^\s:/?#@]*:(?!\d{1,5}(?:[/?#]|$))[^\s@]+@(?:[^\s/?#]*@)?|[^\s/?#]*@)")
_USER_IN_TEXT = re.compile(r"(?<=://)[^\s/?#'\"<>]+@")
_SECRET_NAME = r"\w*(?:pass(?:word|wd|phrase)?|pwd|token|secret|api_?key|access_?key|credentials?|signature|odbc_connect)"
_VALUE = re.compile(rf"(?i)(?<=[?&;])({_SECRET_NAME})=([^&;#\s'\"<>]*)")
_NAMED_SO = rf"(?i:{_SECRET_NAME})['\"]?\s*[=:]\s*['\"]?"
_SECRET_VARIABLE = re.compile(r"(?:PASSWORD|PASSWD|PASSPHRASE|TOKEN|SECRET|API_?KEY|ACCESS_KEY(?:_ID)?|_KEY)$")

_addresses: dict[str, str] = {}
"""Bare address -> the whole one, as it was given to this process."""

_values: dict[str, str] = {}
"""Further values that are not shown -> what is shown in their place."""


def bare(address: str) -> str:
    """An address without user, password and secret parts of its query.

    >>> bare("https://me:secret@example.org:8080/mlflow")
    'https://example.org:8080/mlflow'
    >>> bare("postgresql://me@db/runs?sslmode=require&sslpassword=secret")
    'postgresql://db/runs?sslmode=require'
    """
    if "://" not in address:
        return address
    address = _USER.sub("", address, count=1)
    if not _VALUE.search(address):
        return address
    start, _, rest = address.partition("?")
    query, hash_sign, fragment = rest.partition("#")
    kept = [part for part in re.split("[&;]", query) if not _VALUE.match(f"?{part}", 1)]
    return start + ("?" + "&".join(kept) if kept else "") + hash_sign + fragment


def remember(address: str) -> str:
    """Keep the credentials of an address for `usable`, in this process and in those that it starts; returns the bare address."""
    shown = bare(address)
    if shown != address and _addresses.get(shown) != address:
        _addresses[shown] = address
        os.environ[CREDENTIALS] = json.dumps(sorted({**_inherited(), **_addresses}.values()))
    return shown


def usable(address: str) -> str:
    """The address with its credentials, if this process or its environment knows them."""
    shown = bare(address)
    if shown != address:
        return address
    given = os.environ.get(STORE_VARIABLE, "")
    known = {**({bare(given): given} if given else {}), **_inherited(), **_addresses}
    return known.get(shown, address)


def without_credentials(word: str) -> str:
    """A word of a command line without the credentials of an address that is its value, which are remembered.

    >>> without_credentials("tracking.uri=http://me:secret@host")
    'tracking.uri=http://host'
    """
    key, equals, value = word.partition("=")
    # An interpolation is resolved later, and the address that comes of it is bared then.
    if not equals or "://" not in value or "${" in value:
        return word
    quote_sign = value[0] if value[0] in "'\"" and value[-1:] == value[0] and len(value) > 1 else ""
    inside = value[1:-1] if quote_sign else value
    addresses = re.split(r",(?=[A-Za-z][\w+.\-]*://)", inside)
    if not all(re.match(r"[A-Za-z][\w+.\-]*://", address) for address in addresses):
        return word
    return f"{key}={quote_sign}{','.join(map(remember, addresses))}{quote_sign}"


def keep_secret(value: str, shown: str) -> None:
    """Let `hide` show something else in place of a value.

    Args:
        value: path or secret that was read from the environment.
        shown: what stands for it, without backslashes.
    """
    _values[value] = shown


def hide(text: str) -> str:
    """A text, such as the message of a library, without credentials.

    Those in addresses are found by their form, and all that this process knows by their value: passwords of addresses, and
    variables of the environment whose names end in PASSWORD, TOKEN, SECRET and the like. A password that could be a word of any
    text, such as `resnet`, is hidden only where the text calls it a password.
    """
    if "://" in text:
        text = _VALUE.sub(rf"\1={HIDDEN}", _USER_IN_TEXT.sub("", text))
    for secret in _secrets():
        if secret in text:
            text = _without(secret, text)
    for value, shown in _values.items():
        if value in text and ("/" in value or _stands_out(value)):
            text = re.sub(rf"(?<![\w.]){re.escape(value)}(?!\w)", shown, text)
    return text


def _without(secret: str, text: str) -> str:
    if _stands_out(secret):
        return text.replace(secret, HIDDEN)
    return re.sub(rf"({_NAMED_SO}|(?<=:)(?={re.escape(secret)}@)){re.escape(secret)}", rf"\g<1>{HIDDEN}", text)


def _stands_out(secret: str) -> bool:
    """Whether a secret can be told from the words of a text: it is long, or mixes three kinds of letters, digits and signs."""
    kinds = sum(any(map(test, secret)) for test in (str.islower, str.isupper, str.isdigit, lambda sign: not sign.isalnum()))
    return len(secret) >= LONG_SECRET or (len(secret) >= LEAST_SECRET and kinds >= 3)


def _secrets() -> list[str]:
    """Known secrets, the longest first."""
    found = {value for name, value in os.environ.items() if _SECRET_VARIABLE.search(name)}
    for address in (os.environ.get(STORE_VARIABLE, ""), *_inherited().values(), *_addresses.values()):
        found |= set(_credentials(address))
    return sorted(filter(None, found), key=len, reverse=True)


def _credentials(address: str) -> Iterator[str]:
    """Passwords of an address and other secrets in it, as written and as they are meant."""
    user = _USER.search(address)
    if user is not None:
        name, colon, password = user[0][:-1].partition(":")
        yield from {password, unquote(password)} if colon else {name, unquote(name)}
    for match in _VALUE.finditer(address):
        yield from {match[2], unquote(match[2])}


def _inherited() -> dict[str, str]:
    stored = os.environ.get(CREDENTIALS)
    return {bare(address): address for address in json.loads(stored)} if stored else {}


def is_server(address: str) -> bool:
    """Whether a store is a server, which has the pages itself."""
    return address.startswith(("http://", "https://"))


def sqlite_address(file: Path | str) -> str:
    """The address of a database in a file, quoted where the path has a meaning within an address.

    >>> sqlite_address("runs/mlflow.db"), sqlite_address("why?/100%/mlflow.db")
    ('sqlite:///runs/mlflow.db', 'sqlite+pysqlite:///why%3F/100%25/mlflow.db')
    """
    path = str(file)
    special = re.sub("[?#%]", lambda found: quote(found[0], safe=""), path)
    return f"{SQLITE if special == path else QUOTED_SQLITE}{special}"


def sqlite_file(address: str) -> Path | None:
    """The file of a database; None if the address is of something else, or of no file.

    >>> str(sqlite_file("sqlite+pysqlite:///why%3F/mlflow.db"))
    'why?/mlflow.db'
    """
    kind, separator, rest = address.partition(":///")
    path = unquote(rest.partition("?")[0])
    return Path(path) if separator and kind.partition("+")[0] == "sqlite" and path not in ("", ":memory:") else None


def present_store(address: str, runs_dir: Path) -> str:
    """Where a store that was written down is now: a file that is gone is looked for in the folder of all runs.

    The runs may have been moved, or the program started in another folder than the one that a relative path began in.

    Args:
        address: as written down.
        runs_dir: folder of all runs.
    """
    address = bare(address)
    file = sqlite_file(address)
    if file is None:
        return address
    here = runs_dir / file.name
    # A relative path of another folder may be that of a database of other runs here.
    relative = not file.is_absolute() and os.path.abspath(here).endswith(f"{os.sep}{os.path.normpath(file)}")
    if os.path.abspath(file) == os.path.abspath(here) or ((relative or not file.is_file()) and here.is_file()):
        return sqlite_address(here)
    return address


def start_command(address: str) -> str:
    """The command that starts the pages of a store; empty for a server, which runs already."""
    return "" if is_server(address) else f"mlflow ui --backend-store-uri {quoted(bare(address))}"


def home_page(address: str) -> str:
    """The first page of a store.

    >>> home_page("https://me:secret@example.org:8080/mlflow/")
    'https://example.org:8080/mlflow'
    """
    return re.split("[?#]", bare(address))[0].rstrip("/") if is_server(address) else LOCAL_PAGE


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
