"""The database that keeps the trials of searches, and the message when it does not answer."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
from filelock import FileLock
from optuna.exceptions import OptunaError
from optuna.storages import RDBStorage
from sqlalchemy import make_url
from sqlalchemy.exc import SQLAlchemyError

from fer_ablate.addresses import bare, hide, remember, sqlite_address, usable
from fer_ablate.errors import UserError, first_line
from fer_ablate.tracking.disk.files import write_error

SQLITE = "sqlite"
SQLITE_SECONDS = 60
"""How long a process waits while others write into the same file; each write takes milliseconds."""


def default_address(runs_dir: Path) -> str:
    """Address of the file that holds all searches of a runs folder."""
    return sqlite_address((runs_dir / "search.db").resolve())


def absolute(address: str) -> str:
    """The address with an absolute path, for processes that start in another folder, and without credentials.

    The credentials are remembered for this process and for those that it starts, see `addresses.remember`.

    Raises:
        UserError: it is not an address of a database.
    """
    try:
        url = make_url(address)
    except SQLAlchemyError as error:
        remedy = "Give hydra.sweeper.storage=sqlite:///FILE, or leave it out for search.db in runs_dir."
        raise UserError(f"hydra.sweeper.storage: '{hide(address)}' is not an address of a database. {remedy}") from error
    if url.get_backend_name() != SQLITE or not url.database:
        return remember(address)
    return sqlite_address(Path(url.database).resolve())


def is_begun(address: str) -> bool:
    """Whether the database can hold a search: a file does only once it is there."""
    url = make_url(address)
    return url.get_backend_name() != SQLITE or not url.database or Path(url.database).is_file()


def open_store(address: str) -> RDBStorage:
    """Open a database, or create it; several processes may do so at once.

    Raises:
        UserError: it is out of reach, damaged, or not one of Optuna's.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # otherwise it prints a line for every trial, between ours
    url = make_url(address)
    with reachable(address):
        if url.get_backend_name() != SQLITE or not url.database:
            return RDBStorage(usable(address))
        file = Path(url.database)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{file}.lock"):  # two processes that create the same tables at once fail
                return RDBStorage(address, engine_kwargs={"connect_args": {"timeout": SQLITE_SECONDS}})
        except OSError as error:
            raise write_error(file, error) from error


@contextmanager
def reachable(address: str) -> Iterator[None]:
    """Turn errors of the database into a `UserError` that names it."""
    try:
        yield
    except (SQLAlchemyError, OptunaError, ImportError, RuntimeError) as error:
        cause = error.__cause__ if isinstance(error.__cause__, SQLAlchemyError) else error
        way_out = "Repair it, or give another hydra.sweeper.storage."
        raise UserError(f"The search's database {bare(address)} does not answer: {first_line(cause)}. {way_out}") from error
