"""Opens the table inside a plain, gzip, xz, bzip2, tar or zip file, also nested, as one stream of bytes.

A file is recognised by its first bytes, never by its name. Reading stops as soon as a file unpacks to more than a table
can have, so that a small file cannot fill the memory or keep the machine busy.
"""

import bz2
import gzip
import io
import lzma
import os
import stat
import struct
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Self, cast

from fer_ablate.data.decode import SUFFIXES
from fer_ablate.data.sources import first_bytes
from fer_ablate.errors import UserError

TABLES = ("fer2013.csv", "icml_face_data.csv")
"""Names of the table in the archives of the original contest and of its copies on Kaggle."""

GLANCE = 1 << 20
"""Unpacked bytes of a tar archive that are searched where the answer must come at once."""

_SEARCHED = 512 << 20  # enough to skip one fer2013.csv (301 MB), and read within seconds
_MOST_MEMBERS = 10_000  # an archive of more files holds pictures
_MOST = 4 << 30  # more than ten times fer2013.csv; larger sets should be folders of pictures
_SMALL = 64 << 20  # up to here the ratio is not checked
_RATIO = 100  # a table of faces shrinks to a fourth, at best to a tenth
_DEPTH = 4  # levels of packing, such as a gz in a tar in an xz
_BUFFER = 1 << 18
_LONGEST_HEADER = 8 << 10  # twice the longest path
_FURTHER_HEADERS = (
    *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
)

_TEXT = (".csv", ".tsv")
_PACKED = ("", ".xz", ".gz", ".zip", ".bz2")
_TARS = (".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.bz2", ".tbz2")
KNOWN = (*(f"{table}{packed}" for table in TABLES for packed in _PACKED), "fer2013.tar.gz", "fer2013.zip", "fer2013.tar")
_DAMAGE = (
    EOFError,
    lzma.LZMAError,
    zlib.error,
    gzip.BadGzipFile,
    tarfile.TarError,
    zipfile.BadZipFile,
    # What the libraries raise where a header holds nonsense:
    struct.error,
    ValueError,
    OverflowError,
    LookupError,
    RuntimeError,
)
_REMEDY = "Unpack it, and pass the file or folder as data.path=..."


class Unpacked:
    """Unpacked bytes of a table.

    Args:
        path: the packed file.
        raw: its bytes.
        stream: the unpacked bytes.
        members: names of the files within archives that lead to the table, the outermost first; empty without an archive.
    """

    def __init__(self, path: Path, raw: IO[bytes], stream: io.BufferedReader, members: Sequence[str]) -> None:
        self._path, self._raw, self._stream = path, raw, stream
        self._size = max(path.stat().st_size, 1)
        self.members = tuple(members)

    def read(self, size: int) -> bytes:
        """Return the next `size` bytes, fewer only at the end."""
        with _damage_reported(self._path):
            return self._stream.read(size)

    def fraction(self) -> float:
        """Return how much of the packed file has been read, from 0 to 1."""
        return min(self._raw.tell() / self._size, 1.0)


@contextmanager
def opened(path: Path, searched: int = _SEARCHED) -> Iterator[Unpacked]:
    """Open a table, and close it afterwards.

    Args:
        path: a table, packed or not.
        searched: unpacked bytes of a tar archive that may be skipped in search of the table.

    Raises:
        UserError: the file cannot be read, is not text, or is an archive that is damaged or does not hold exactly one table.
    """
    with ExitStack() as stack:
        with _damage_reported(path):
            raw = stack.enter_context(_open_file(path))
            layers = _Layers(path, raw, stack, searched)
            stream = layers.opened()
            _require_text(path, stream)
        yield Unpacked(path, raw, stream, layers.members)


def table_files(folder: Path) -> list[Path]:
    """List the files of a folder that may be tables: known names first, then texts, packed texts and archives.

    Only names are compared; `table.looks_like_table` opens a file. Hidden files are left out.
    """
    ranked = []
    for path in folder.iterdir() if folder.is_dir() else ():
        name = path.name.lower()
        rank = _rank(name)
        if rank is not None and not name.startswith(".") and path.is_file():
            ranked.append((rank, name, path))
    return [path for _, _, path in sorted(ranked)]


def _rank(name: str) -> int | None:
    """How likely a file is the table by its name, 0 the likeliest; None if it cannot be one."""
    if name in KNOWN:
        return KNOWN.index(name)
    if name.endswith(_TEXT):
        return len(KNOWN)
    if name.endswith(tuple(text + packed for text in _TEXT for packed in _PACKED)):
        return len(KNOWN) + 1
    return len(KNOWN) + 2 if name.endswith((*_TARS, ".zip")) else None


def _open_file(path: Path) -> IO[bytes]:
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise UserError(f"{path} is a folder, expected a table. Folders of pictures are read with data=folder.")
    if not stat.S_ISREG(mode):  # reading a pipe may block for ever, and an archive may have to be read twice
        raise UserError(f"{path} is a pipe or device, expected a file. Write its content to a file and pass that.")
    return path.open("rb", buffering=_BUFFER)


def _require_text(path: Path, stream: io.BufferedReader) -> None:
    head = stream.peek(first_bytes.ENOUGH)[: first_bytes.ENOUGH]
    if not head:
        raise UserError(f"{path} is empty. Copy or download the file again.")
    if (found := first_bytes.foreign(head)) is not None:
        what, remedy = found
        raise UserError(f"{path} is {what}, expected a table as csv. {remedy}")


class _Layers:
    """Unpacks a file level by level until it reaches something that is not packed."""

    def __init__(self, path: Path, raw: IO[bytes], stack: ExitStack, searched: int) -> None:
        self._path, self._raw, self._stack, self._searched = path, raw, stack, searched
        self._size = os.fstat(raw.fileno()).st_size
        self._chosen: dict[int, str] = {}  # level of a tar archive -> the member to stop at when it is read again
        self.members: list[str] = []

    def opened(self) -> io.BufferedReader:
        reader = cast(io.BufferedReader, self._raw)
        for depth in range(_DEPTH + 1):
            packing = first_bytes.packing(reader.peek(first_bytes.ENOUGH)[: first_bytes.ENOUGH])
            if packing is None:
                return reader
            if packing == "zip":
                reader = self._zip_member(reader)
            elif packing == "tar":
                inner = self._tar_member(reader, depth)
                if inner is None:
                    return self._again()
                reader = inner
            else:
                reader = self._limited(self._decompressed(reader, packing))
        raise UserError(f"{self._path} is packed more than {_DEPTH} times over. {_REMEDY}")

    def _again(self) -> io.BufferedReader:
        """Start again from the beginning, now that the member of a tar archive is known: streams only go forwards."""
        self._raw.seek(0)
        self.members.clear()
        return self.opened()

    def _decompressed(self, reader: io.BufferedReader, packing: str) -> IO[bytes]:
        if packing == "gzip":
            return cast(IO[bytes], self._stack.enter_context(gzip.GzipFile(fileobj=reader, mode="rb")))
        opener = {"xz": lzma.LZMAFile, "bz2": bz2.BZ2File}[packing]
        return cast(IO[bytes], self._stack.enter_context(opener(reader)))

    def _limited(self, stream: IO[bytes]) -> io.BufferedReader:
        return io.BufferedReader(_Limited(stream, self._path, self._size), _BUFFER)

    def _tar_member(self, reader: io.BufferedReader, depth: int) -> io.BufferedReader | None:
        """Open the table in a tar archive; None if it could only be identified after it was skipped."""
        archive = self._stack.enter_context(tarfile.open(fileobj=reader, mode="r|", bufsize=_BUFFER, tarinfo=_Member))  # noqa: SIM115
        names: list[str] = []
        passed = 0
        chosen = self._chosen.get(depth)
        while (member := archive.next()) is not None:
            right = member.name == chosen if chosen is not None else _is_known(member.name)
            if right and member.isreg() and (table := archive.extractfile(member)) is not None:
                self.members.append(_printable(member.name))
                return self._limited(table)
            names += [member.name] * member.isreg()
            passed += 1
            if passed > _MOST_MEMBERS or member.offset_data + member.size > self._searched:
                raise _too_much_to_search(self._path, names)
        self._chosen[depth] = _the_table(names, self._path)
        return None

    def _zip_member(self, reader: io.BufferedReader) -> io.BufferedReader:
        if reader is not self._raw:
            raise UserError(f"{self._path} holds a zip archive inside another archive. {_REMEDY}")
        archive = self._stack.enter_context(zipfile.ZipFile(reader))
        name = _the_table([info.filename for info in archive.infolist() if not info.is_dir()], self._path)
        info = archive.getinfo(name)
        shown = f"{_printable(name)} in {self._path}"
        if info.flag_bits & 1:
            raise UserError(f"{shown} is encrypted. Unpack it with its password, and pass the file as data.path=...")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
            method = zipfile.compressor_names.get(info.compress_type, "unknown")  # type: ignore[attr-defined]
            raise UserError(f"{shown} is packed by method {info.compress_type} ({method}), which is not read here. {_REMEDY}")
        _require_plausible_size(info.file_size, self._path, self._size)
        self.members.append(_printable(name))
        return self._limited(self._stack.enter_context(archive.open(info)))


class _Member(tarfile.TarInfo):
    """A file in a tar archive; long extended headers are refused, since tarfile parses them in quadratic time (CVE-2024-6232)."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        member = super().frombuf(buf, encoding, errors)
        if member.type in _FURTHER_HEADERS and member.size > _LONGEST_HEADER:
            raise NotImplementedError(f"a tar header of {member.size:,} bytes")
        return member


class _Limited(io.RawIOBase):
    """Passes bytes on, and stops with an error when they are more than a table can have."""

    def __init__(self, stream: IO[bytes], path: Path, packed_size: int) -> None:
        self._stream, self._path, self._packed_size = stream, path, packed_size
        self._count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # what BufferedReader hands over
        data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        self._count += len(data)
        _require_plausible_size(self._count, self._path, self._packed_size)
        return len(data)


def _require_plausible_size(unpacked: int, path: Path, packed: int) -> None:
    if unpacked > _MOST:
        raise UserError(
            f"{path} unpacks to more than {_MOST >> 30} GiB; a table of faces is not read beyond that (fer2013.csv has 0.3). "
            "Use folders of pictures, with data=folder."
        )
    if unpacked > _SMALL and unpacked > _RATIO * packed:
        raise UserError(
            f"{path} unpacks to more than {_RATIO} times its own size, as a zip bomb does; faces shrink to a fourth at most. "
            "If it is a table, unpack it and pass the file as data.path=..."
        )


def _the_table(names: Sequence[str], path: Path) -> str:
    """Find the file of an archive that is the table: one with a known name, else the only csv."""
    visible = [name for name in dict.fromkeys(names) if not _hidden(name)]
    texts = tuple(text + packed for packed in ("", *_PACKED) for text in _TEXT)
    choices = [[name for name in visible if _last(name) == known] for known in KNOWN]
    choices += [[name for name in visible if _last(name).endswith(ends)] for ends in (_TEXT, texts)]
    found = next((choice for choice in choices if choice), [])
    if len(found) == 1:
        return found[0]
    if found:
        raise UserError(
            f"{path} holds {len(found)} tables ({_some(found)}), and none of them alone is {' or '.join(TABLES)}. "
            "Unpack it, and pass the right one as data.path=..."
        )
    raise UserError(f"{path} holds neither {' nor '.join(TABLES)} nor another csv. {_contents(visible)}")


def _contents(names: Sequence[str]) -> str:
    """Say what an archive without a table holds, and what to do about it."""
    if not names:
        return "It is empty. Copy or download it again."
    if "[Content_Types].xml" in names or "mimetype" in names:
        return "It is an Excel workbook or another Office document: save the table as csv."
    endings = Counter(PurePosixPath(_last(name)).suffix for name in names)
    pictures = sum(count for ending, count in endings.items() if ending in SUFFIXES)
    if pictures:
        return f"It holds {pictures:,} pictures: unpack it, and pass its folder with data=folder data.path=..."
    return f"It holds {_some(names)}. {_REMEDY}"


def _too_much_to_search(path: Path, names: Sequence[str]) -> UserError:
    return UserError(f"{path}: no {' or '.join(TABLES)} among its first {len(names):,} files. {_contents(names)}")


def _is_known(name: str) -> bool:
    return _last(name) in TABLES and not _hidden(name)


def _last(name: str) -> str:
    """Name of a file without its folders, in lower case."""
    return PurePosixPath(name.replace("\\", "/")).name.lower()


def _hidden(name: str) -> bool:
    """Whether an operating system added this file to the archive, such as `.DS_Store` or `__MACOSX/...`."""
    parts = PurePosixPath(name.replace("\\", "/")).parts
    return any(part == "__MACOSX" or (part.startswith(".") and part != "..") for part in parts)


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 5:,} more" if len(names) > 5 else ""
    return ", ".join(_printable(name) for name in names[:5]) + more


def _printable(text: str) -> str:
    """A name or message from inside a file, on one line of bounded length."""
    return "".join(letter if letter.isprintable() else "?" for letter in text[:100])


@contextmanager
def _damage_reported(path: Path) -> Iterator[None]:
    """Turn the errors of the unpacking libraries into a message of one line."""
    try:
        yield
    except UserError:
        raise
    except MemoryError as error:
        raise UserError(f"{path} needs more memory to unpack than there is. {_REMEDY}") from error
    except NotImplementedError as error:  # raised by zipfile for unknown methods, and by `_Member`
        raise UserError(f"{path} is packed in a way that is not read here ({_printable(str(error))}). {_REMEDY}") from error
    except _DAMAGE as error:
        raise _damaged(path, error) from error
    except OSError as error:
        if error.errno is None:  # raised by bz2 for damaged data
            raise _damaged(path, error) from error
        raise UserError(f"{path} cannot be read ({error.strerror}). Check the path and its permissions.") from error


def _damaged(path: Path, error: Exception) -> UserError:
    reason = _printable(f"{type(error).__name__}: {error}")
    return UserError(f"{path.name} is damaged or cut short ({reason}). Copy or download it again: {path}")
