"""Recognises a file by its first bytes: compressed, an archive, text in some encoding, or something other than a table.

File names are not used: downloads often have the wrong suffix.
"""

import codecs
import tarfile

ENOUGH = 512
"""Bytes that are needed to recognise a file: the mark of a tar archive is in its first block of 512."""

_PACKINGS = (
    (b"\x1f\x8b", "gzip"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"\x5d\x00\x00", "xz"),  # the older .lzma form, which the same library reads
    (b"PK\x03\x04", "zip"),
    (b"PK\x05\x06", "zip"),  # an empty one
    (b"PK\x07\x08", "zip"),  # a part of a split one
)
_BZIP2_BLOCKS = (b"1AY&SY", b"\x17rE8P\x90")

_UNPACK = "Unpack it, and pass the file or folder as data.path=..."
_EXPORT = "Save its rows as csv with the columns emotion,pixels,Usage."
_PICTURE = "One picture is no table; folders of pictures are read with data=folder data.path=<folder>."
_DOWNLOAD = "It is often the page of a log-in or an error in place of a file: download the file again."
_PICKLE = f"It could run code when read, so it is not. {_EXPORT}"
_FOREIGN = (
    (b"SQLite format 3\x00", "an SQLite database", _EXPORT),
    (b"PAR1", "a Parquet file", _EXPORT),
    (b"ARROW1", "an Arrow file", _EXPORT),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file", _EXPORT),
    (b"\x93NUMPY", "a NumPy array", _EXPORT),
    (b"MATLAB 5.0", "a MATLAB file", _EXPORT),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Excel or Office document", _EXPORT),
    (b"\x80\x02", "a Python pickle", _PICKLE),
    (b"\x80\x03", "a Python pickle", _PICKLE),
    (b"\x80\x04", "a Python pickle", _PICKLE),
    (b"\x80\x05", "a Python pickle", _PICKLE),
    (b"%PDF", "a PDF document", "Copy the table's own file, not a document about it."),
    (b"\x89PNG", "a PNG picture", _PICTURE),
    (b"\xff\xd8\xff", "a JPEG picture", _PICTURE),
    (b"GIF8", "a GIF picture", _PICTURE),
    (b"RIFF", "a WebP picture or another RIFF file", _PICTURE),
    (b"\x28\xb5\x2f\xfd", "packed by Zstandard, which is not read here", _UNPACK),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive, which is not read here", _UNPACK),
    (b"Rar!\x1a\x07", "a RAR archive, which is not read here", _UNPACK),
    (b"\x04\x22\x4d\x18", "packed by LZ4, which is not read here", _UNPACK),
    (b"\x1f\x9d", "packed by Unix compress, which is not read here", _UNPACK),
    (b"\x7fELF", "a program", "Pass the table as data.path=..."),
    (b"MZ\x90\x00", "a program", "Pass the table as data.path=..."),
    (b"version https://git-lfs", "the pointer of a file kept in Git LFS, not the file itself", "Fetch it with `git lfs pull`."),
)
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_CONTROL = bytes(range(9)) + bytes(range(14, 32))


def packing(head: bytes) -> str | None:
    """Return `gzip`, `xz`, `bz2`, `zip` or `tar` by the first `ENOUGH` bytes of a file, or None."""
    for magic, name in _PACKINGS:
        if head.startswith(magic):
            return name
    if head[:3] == b"BZh" and head[4:10] in _BZIP2_BLOCKS:
        return "bz2"
    return "tar" if head[257:262] == b"ustar" or _old_tar(head) else None


def _old_tar(head: bytes) -> bool:
    """Whether this is a tar archive of before 1988, which has no mark but a checksum in its first block."""
    try:
        tarfile.TarInfo.frombuf(head[:512], "utf-8", "surrogateescape")
    except (tarfile.TarError, ValueError, OverflowError):
        return False
    return True


def encoding(head: bytes) -> str | None:
    """Return the encoding of a text by its byte order mark, or UTF-16 by its zero bytes; None for one byte per letter."""
    for mark, name in _MARKS:
        if head.startswith(mark):
            return name
    start = head[:64]
    if len(start) >= 4 and not any(start[1::2]) and all(start[::2]):
        return "utf-16-le"
    return "utf-16-be" if len(start) >= 4 and not any(start[::2]) and all(start[1::2]) else None


def foreign(head: bytes) -> tuple[str, str] | None:
    """Say what a file that cannot be a table is, and what to do about it; None for text, which may be a table."""
    for magic, what, remedy in _FOREIGN:
        if head.startswith(magic):
            return what, remedy
    if encoding(head) not in (None, "utf-8"):
        return None
    text = head.removeprefix(codecs.BOM_UTF8).lstrip().lower()
    if text.startswith((b"<!doctype", b"<html", b"<head", b"<script")):
        return "an HTML page", _DOWNLOAD
    if text.startswith(b"<"):
        return "an XML document", _DOWNLOAD
    if text.startswith((b"{", b"[{", b"[[")):
        return "JSON", _EXPORT
    if head and not any(head):
        return "nothing but zero bytes", "The copy or download was not finished: do it again."
    start = head[:64]  # zero bytes further on are left to the reader of the table, which names their line
    if start.translate(None, _CONTROL) != start:
        return f"binary data of no kind that is known here (it begins with {head[:8].hex(' ')})", "Pass a table as data.path=..."
    return None
