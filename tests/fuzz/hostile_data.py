"""Hostile data: tables of faces, archives and folders of images that are broken, too large, or lead out of their place."""

# ruff: noqa: E501, RUF001

import bz2
import gzip
import io
import lzma
import struct
import tarfile
import zipfile
import zlib
from functools import cache

import numpy as np
from hypothesis import strategies as st
from PIL import Image

from .hostile_files import NOT_OURS, PICKLES, Runs, damaged_bytes, damaged_text, zipped

SIDE = 4
PIXELS = " ".join(str(7 * at % 256) for at in range(SIDE * SIDE))
USAGES = ("Training", "PublicTest", "PrivateTest")
TABLE = "emotion,pixels,Usage\n" + "".join(f"{at % 7},{PIXELS},{USAGES[at % 3]}\n" for at in range(21))
LIST = "file,label,split\n" + "".join(f"{at}.png,{name},train\n" for at, name in enumerate(("happy", "sad", "happy", "sad")))

CELLS = (
    "", " ", "nan", "inf", "1e400", "-1", "7", "256", "3.5", "9" * 4301, "9" * 300_000, "0x10", "١", "é", "\x00", "\ud800", "a" * 200_000, '"', '"a', '""', "'", "=cmd|' /C calc'!A0", "../../etc/passwd", "/etc/passwd",
    "/dev/zero", "/dev/stdin", "file:///etc/passwd", "Training", "nosuch", "\t", "1 2 3", "1," * 50, " ".join(["1"] * 100_000), "1  2", "1;2", "None", "\u202e", "~", ".", "..", "happy",
)  # fmt: skip

HEADERS = (
    "",
    "\n",
    "emotion",
    "pixels",
    "emotion,pixels",
    "pixels,emotion,Usage",
    "Emotion;Pixels;Usage",
    "emotion,pixels,Usage,emotion",
    "\ufeffemotion,pixels,Usage",
    "a,b,c",
    ",,",
    "emotion,pixels,Usage,x" + ",y" * 20_000,
    "emotion\tpixels\tUsage",
)


def tables() -> st.SearchStrategy[bytes]:
    """A table of faces with a wrong cell, header or encoding."""
    rows = TABLE.splitlines()

    def changed(at, column, cell, header, encoding):
        lines = list(rows)
        cells = lines[at].split(",")
        cells[column] = cell
        lines[at] = ",".join(cells)
        if header is not None:
            lines[0] = header
        return ("\n".join(lines) + "\n").encode(encoding, "surrogatepass" if encoding.startswith("utf") else "replace")

    one_cell = st.builds(
        changed, st.integers(1, 21), st.integers(0, 2), st.sampled_from(CELLS), st.none() | st.sampled_from(HEADERS), st.sampled_from(("utf-8", "utf-8", "utf-8", "utf-16", "utf-32", "latin-1", "utf-8-sig"))
    )  # fmt: skip
    ends = st.sampled_from(
        (
            TABLE.replace("\n", "\r"),
            TABLE.replace("\n", "\r\n"),
            TABLE + "\n" * 1000,
            TABLE + ",,\n",
            TABLE.rstrip(),
            TABLE * 3,
            TABLE.splitlines()[0],
            TABLE.replace(",", ";"),
            TABLE.replace(" ", ""),
        )
    )
    return st.one_of(
        one_cell,
        one_cell,
        ends.map(str.encode),
        damaged_text(TABLE.encode()),
        damaged_bytes(TABLE.encode()),
        st.sampled_from(NOT_OURS),
        st.binary(max_size=200),
    )


def lists() -> st.SearchStrategy[bytes]:
    """A list of images with a wrong cell or header."""
    rows = LIST.splitlines()

    def changed(at, column, cell, header):
        lines = list(rows)
        cells = lines[at].split(",")
        cells[column] = cell
        lines[at] = ",".join(cells)
        lines[0] = header if header is not None else lines[0]
        return ("\n".join(lines) + "\n").encode("utf-8", "surrogatepass")

    headers = st.none() | st.sampled_from(
        ("", "file", "label,file", "file,label,split,file", "path;class", "a,b,c", "file,label,group,split", "\x00")
    )
    return st.one_of(
        st.builds(changed, st.integers(1, 4), st.integers(0, 2), st.sampled_from(CELLS), headers),
        damaged_text(LIST.encode()),
        damaged_bytes(LIST.encode()),
        st.sampled_from(NOT_OURS),
    )


def packed_tar(members, mode="w", **facts):
    """A tar archive; `facts` are set on every member."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            for fact, value in facts.items():
                setattr(info, fact, value)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def _flagged_zip(flag_bits=0, method=None, size=None, name=b"fer2013.csv"):
    """A zip archive whose headers claim something else: encryption, a method that is not known, another size."""
    packed = bytearray(zipped({name.decode(): TABLE.encode()}))
    central = packed.index(b"PK\x01\x02")
    for start, flags, compress, length in ((0, 6, 8, 22), (central, 8, 10, 24)):
        struct.pack_into("<H", packed, start + flags, struct.unpack_from("<H", packed, start + flags)[0] | flag_bits)
        if method is not None:
            struct.pack_into("<H", packed, start + compress, method)
        if size is not None:
            struct.pack_into("<I", packed, start + length, size)
    return bytes(packed)


@cache
def archive_kinds():
    """Archives of all hostile kinds; packing them takes seconds, which only the test of archives should wait for."""
    return tuple(_archives())


def _archives():
    table = TABLE.encode()
    zeros = b"0" * 30_000_000
    yield from (
        gzip.compress(table),
        bz2.compress(table),
        lzma.compress(table),
        lzma.compress(table, lzma.FORMAT_ALONE),
        zlib.compress(table),
    )
    yield from (
        gzip.compress(zeros),
        bz2.compress(zeros),
        lzma.compress(zeros),
        gzip.compress(gzip.compress(table)),
        gzip.compress(zipped({"a.zip": zipped({"fer2013.csv": table})})),
    )
    yield from (zipped({"fer2013.csv": table}, method) for method in (zipfile.ZIP_STORED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA))
    yield from (_flagged_zip(flag_bits=bits) for bits in (1, 0x40, 0x800, 0x2000, 0xFFFF))
    yield from (_flagged_zip(method=number) for number in (1, 9, 12, 14, 93, 95, 97, 99))
    yield from (_flagged_zip(size=number) for number in (0, 1, 2**31, 2**32 - 1))
    yield from (
        zipped({"fer2013.csv": zeros}),
        zipped({f"{at}/fer2013.csv": b"" for at in range(3000)}),
        zipped({"fer2013.csv": table, "FER2013.csv": table}),
        zipped({"__MACOSX/._fer2013.csv": table}),
    )
    yield from (
        zipped({name: table})
        for name in (
            "../code-was-run",
            "/tmp/../code-was-run",
            "a\\..\\b.csv",
            "C:\\x.csv",
            "a" * 5000 + ".csv",
            "a\x00b.csv",
            "é.csv",
            ".csv",
            "x/",
            "fer2013.csv/",
        )
    )
    yield from (
        packed_tar({"fer2013.csv": table}, type=kind, linkname=link, size=0)
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE, b"?")
        for link in ("/etc/passwd", "../../x", "fer2013.csv")
    )
    yield from (packed_tar({name: table}) for name in ("../code-was-run", "/code-was-run", "a" * 5000 + ".csv", ""))
    yield from (
        packed_tar({"fer2013.csv": zeros}, "w:gz"),
        packed_tar({"fer2013.csv": table}, "w:xz")[:-30],
        packed_tar({"fer2013.csv": table})[:700],
        packed_tar({f"{at}.csv": b"" for at in range(3000)}, "w:gz"),
    )
    broken = bytearray(packed_tar({"fer2013.csv": table}))
    for field in (b"77777777777\x00", b"\x80" + b"\xff" * 11, b"-1\x00" + b"0" * 9, b"zzzzzzzzzzz\x00"):
        broken[124:136] = field  # the size of the member
        broken[148:156] = b" " * 8
        broken[148:156] = b"%06o\x00 " % sum(broken[:512])
        yield bytes(broken)
    yield packed_tar({"fer2013.csv": table}, pax_headers={"size": "9" * 5000})
    yield zipped({"archive/data.pkl": PICKLES[2], "archive/version": b"3\n"})
    yield from PICKLES


def archives() -> st.SearchStrategy[bytes]:
    """An archive of a hostile kind, a sound one that was damaged, or a hostile table in a sound one."""
    sound = st.sampled_from((gzip.compress(TABLE.encode()), bz2.compress(TABLE.encode()), lzma.compress(TABLE.encode()), zipped({"fer2013.csv": TABLE.encode()}), packed_tar({"fer2013.csv": TABLE.encode()}), packed_tar({"fer2013.csv": TABLE.encode()}, "w:gz")))  # fmt: skip
    pack = st.sampled_from(
        (
            gzip.compress,
            lambda content: zipped({"fer2013.csv": content}),
            lambda content: packed_tar({"x/fer2013.csv": content}),
            lambda content: packed_tar({"fer2013.csv": content}, "w:gz"),
        )
    )
    kinds = st.deferred(lambda: st.sampled_from(archive_kinds()))
    return st.one_of(
        kinds,
        kinds,
        sound.flatmap(damaged_bytes),
        st.builds(lambda make, content: make(content), pack, tables()),
    )


def picture(mode="L", size=(8, 8), kind="png", **facts):
    """A sound picture."""
    out = io.BytesIO()
    channels = {
        "L": (),
        "1": (),
        "P": (),
        "I;16": (),
        "I": (),
        "F": (),
        "RGB": (3,),
        "RGBA": (4,),
        "CMYK": (4,),
        "LA": (2,),
        "YCbCr": (3,),
        "LAB": (3,),
        "HSV": (3,),
    }[mode]
    pixels = np.arange(int(np.prod((*size[::-1], *channels))), dtype=np.uint8).reshape(*size[::-1], *channels)
    base = Image.fromarray(pixels) if mode in ("L", "RGB", "RGBA") else Image.new(mode, size)
    base.save(out, kind, **facts)
    return out.getvalue()


def _png(width, height, depth=8, colour=0, content=b"", extra=b""):
    """A PNG that claims these sides."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
        + extra
        + chunk(b"IDAT", zlib.compress(content))
        + chunk(b"IEND", b"")
    )


def _pictures():
    yield from (picture(mode) for mode in ("L", "1", "P", "I;16", "RGB", "RGBA", "LA"))
    yield from (picture(mode, kind="tiff") for mode in ("I;16", "I", "F", "CMYK", "LAB", "YCbCr"))
    yield picture("CMYK", kind="jpeg")
    frames = [Image.new("L", (8, 8), at * 20) for at in range(5)]
    for kind in ("gif", "png", "tiff", "webp"):
        out = io.BytesIO()
        frames[0].save(out, kind, save_all=True, append_images=frames[1:])
        yield out.getvalue()
    for turned in (3, 6, 9, 70000):
        exif = Image.Exif()
        exif[274] = turned if turned < 60000 else 60000
        yield picture("RGB", kind="jpeg", exif=exif)
    yield picture("RGB", kind="jpeg", exif=b"Exif\x00\x00II*\x00\xff\xff\xff\xff")
    yield from (picture(size=size) for size in ((1, 1), (1, 5000), (5000, 1), (3, 8)))
    yield from (
        _png(*sides)
        for sides in (
            (0, 0),
            (0, 8),
            (2**31 - 1, 2**31 - 1),
            (100_000, 100_000),
            (30_000, 30_000),
            (12_000, 12_000),
            (8, 8, 3),
            (8, 8, 16, 9),
        )
    )
    yield _png(12_000, 12_000, content=b"\x00" * (12_001 * 12_000))  # 140 MB in 140 kB
    yield _png(8, 8, content=b"\x00" * 72, extra=struct.pack(">I", 2**31 - 1) + b"zTXt")
    yield (
        b"BM"
        + struct.pack("<IHHI", 10**9, 0, 0, 54)
        + struct.pack("<IiiHHIIiiII", 40, 2**31 - 1, -(2**31), 1, 24, 0, 0, 0, 0, 0, 0)
    )
    yield from (
        b"P5\n99999999999999999999 8\n255\n",
        b"P5\n8 8\n0\n" + b"a" * 64,
        b"P5 -8 8 255 ",
        b"P6\n100000 100000\n255\n",
        b"P2\n2 2\n255\n1 2 x 4\n",
        b"Pf\n8 8\n-nan\n",
        b"GIF89a\xff\xff\xff\xff",
        b"RIFF\xff\xff\xff\xffWEBPVP8 ",
    )
    yield from (
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n(code-was-run) (w) file closefile\n",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"/* XPM */\n",
        b"#define im_width 8\n#define im_height 8\nstatic char im_bits[] = {0};",
        b"II*\x00\x08\x00\x00\x00\xff\xff",
        b"MM\x00*\x00\x00\x00\x08\x00\x00",
        b"\xff\xd8\xff\xe0\x00\x10JFIF",
        b"\x00\x00\x01\x00\xff\xff",
        b"8BPS\x00\x01",
    )
    yield from PICKLES


PICTURES = tuple(_pictures())


def pictures() -> st.SearchStrategy[bytes | None]:
    """Content of a file in a folder of images; None makes it a folder."""
    sound = st.sampled_from(
        (
            picture(),
            picture("RGB", kind="jpeg"),
            picture("P", kind="gif"),
            picture("RGB", kind="bmp"),
            picture("RGB", kind="webp"),
            picture("I;16", kind="tiff"),
        )
    )
    return st.one_of(
        st.sampled_from(PICTURES),
        st.sampled_from(PICTURES),
        sound.flatmap(damaged_bytes),
        st.sampled_from((None, *NOT_OURS)),
        st.binary(max_size=60),
    )


FILE_NAMES = (
    "x.png",
    "x.jpg",
    "x.PNG",
    "x.gif",
    "x.tif",
    "x.webp",
    "x.bmp",
    "x.pgm",
    "x.eps",
    "x.svg",
    "x.npy",
    "x.txt",
    "x",
    ".x.png",
    "x.png.png",
    "é.png",
    "a b.png",
    "x.heic",
    "x.csv",
)

__all__ = ["FILE_NAMES", "PICTURES", "Runs", "archives", "lists", "picture", "pictures", "tables"]
