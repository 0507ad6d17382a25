"""Opens the table inside a plain, .gz, .xz, .tar.gz or .zip file as one stream of bytes."""

import gzip
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from fer_ablate.errors import UserError

TABLES = ("fer2013.csv", "icml_face_data.csv")
"""Names of the table in the archives of the original contest and of its copies on Kaggle."""

Stream = IO[bytes] | gzip.GzipFile | lzma.LZMAFile

_DAMAGE = (EOFError, lzma.LZMAError, zlib.error, gzip.BadGzipFile, tarfile.TarError, zipfile.BadZipFile)


@contextmanager
def opened(path: Path) -> Iterator[tuple[Stream, Callable[[], float]]]:
    """Give the unpacked bytes of a table and a function that tells which fraction of the file has been read."""
    size = max(path.stat().st_size, 1)
    try:
        with ExitStack() as stack:
            raw = stack.enter_context(path.open("rb"))
            yield _unpacked(path, raw, stack), lambda: min(raw.tell() / size, 1.0)
    except _DAMAGE as error:
        raise UserError(
            f"{path.name} is damaged or cut short ({type(error).__name__}: {error}). Copy or download it again: {path}"
        ) from error


def _unpacked(path: Path, raw: IO[bytes], stack: ExitStack) -> Stream:
    name = path.name.lower()
    if name.endswith((".tar.gz", ".tgz")):
        return _tar_member(path, stack.enter_context(tarfile.open(fileobj=raw, mode="r|gz")))
    if name.endswith(".zip"):
        return _zip_member(path, stack.enter_context(zipfile.ZipFile(raw)), stack)
    if name.endswith(".gz"):
        return stack.enter_context(gzip.open(raw))
    if name.endswith(".xz"):
        return stack.enter_context(lzma.open(raw))
    return raw


def _tar_member(path: Path, archive: tarfile.TarFile) -> IO[bytes]:
    # A stream can only be read forwards: the first table met is taken.
    for member in archive:
        table = archive.extractfile(member) if PurePosixPath(member.name).name in TABLES else None
        if table is not None:
            return table
    raise _no_table(path)


def _zip_member(path: Path, archive: zipfile.ZipFile, stack: ExitStack) -> IO[bytes]:
    found = {PurePosixPath(name).name: name for name in archive.namelist()}
    for table in TABLES:
        if table in found:
            return stack.enter_context(archive.open(found[table]))
    raise _no_table(path)


def _no_table(path: Path) -> UserError:
    return UserError(f"{path} holds neither {' nor '.join(TABLES)}. Unpack it and pass the file or folder as data.path=...")
