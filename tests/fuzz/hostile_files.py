"""Hostile files: a sound file that was damaged, and contents that are of another kind than the name says."""

# ruff: noqa: E501

import gzip
import io
import json
import os
import pickle
import zipfile
from pathlib import Path

from hypothesis import strategies as st


class Runs:
    """What runs a command when it is unpickled."""

    def __reduce__(self):
        return os.system, ("touch code-was-run",)


def zipped(members, method=zipfile.ZIP_DEFLATED):
    """Bytes of a zip archive."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return out.getvalue()


PICKLES = tuple(pickle.dumps(Runs(), protocol) for protocol in range(6))

NOT_OURS = (
    b"", b" ", b"\n", b"\x00", b"\x00" * 5000, b"\xff\xfe", b"\xef\xbb\xbf{}", "é\ud800".encode("utf-8", "surrogatepass"), b"text\n", b"text\r\nmore\r\n", b"a,b\n1\n", b"\"\n", b"," * 5000,
    b"{}", b"[]", b"null", b"1", b"true", b'"text"', b"NaN", b"-Infinity", b"1e999", b"9" * 5000, b"[" * 100_000, b"[" * 100_000 + b"]" * 100_000, b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
    b"{", b"{}}", b'{"a": 1, "a": 2}', b'{"key": "x"}', b"[{}]", b'{"splits": []}', b'{"splits": {"val": 1}}', b'{"runs": 1, "rules": 1}', b'"' + b"a" * 3_000_000 + b'"', b"x" * 3_000_000, b"1,2\n" * 100_000,
    b"PK\x03\x04", b"PK\x05\x06" + b"\x00" * 18, b"\x1f\x8b", gzip.compress(b"{}"), b"\x89PNG\r\n\x1a\n", b"BZh9", b"<html>", b"#!/bin/sh\ntouch code-was-run\n", b"SQLite format 3\x00",
    b"\x93NUMPY\x01\x00v\x00{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", zipped({}), zipped({"a": b""}), zipped({"../../code-was-run": b"x"}), zipped({"rows.npy": b"\x93NUMPY"}),
    zipped({"archive/data.pkl": PICKLES[2], "archive/version": b"3\n", "archive/byteorder": b"little"}), zipped({"data.pkl": PICKLES[2]}), zipped({"rows.npy": b"0" * 20_000_000}),
    *PICKLES,
)  # fmt: skip
"""Contents that no file of a run has."""

VALUES = (
    None, True, 0, -1, 1, 1.5, 10**30, float("nan"), float("inf"), "", "a", "a" * 5000, "\x00", "é", "😀", "\ud800", "../../../etc/passwd", "/etc/passwd", "a/b", "2026-99-99", [], {}, [[]], [1, "a", None],
    {"a": {}}, {"": 1}, [{}], [[1, 2], [3]], [1e400], {"data.folds": "x"}, {"data.folds": 5, "data.fold": -1}, {"val": {}}, "<script>alert(1)</script>", "${oc.decode:[}", "[bold]", "\x1b[31m", "nan",
)  # fmt: skip


def damaged_json(content: bytes):
    """The JSON of a sound file with one or two values replaced, removed or added."""
    tree = json.loads(content)

    def changed(places, values, remove):
        copy = json.loads(content)
        for place, value in zip(places, values, strict=False):
            at = copy
            for part in place[:-1]:
                at = at[part] if isinstance(at, dict | list) and _has(at, part) else {}
            if place and isinstance(at, dict | list) and _has(at, place[-1]):
                if remove and isinstance(at, dict):
                    del at[place[-1]]
                else:
                    at[place[-1]] = value
        return json.dumps(copy).encode()

    places = st.sampled_from(list(_places(tree)))
    return st.builds(
        changed,
        st.lists(places, min_size=1, max_size=2),
        st.lists(st.sampled_from(VALUES), min_size=2, max_size=2),
        st.booleans(),
    )


def _has(tree, part):
    return part in tree if isinstance(tree, dict) else isinstance(part, int) and part < len(tree)


def _places(tree, prefix=()):
    for part, value in tree.items() if isinstance(tree, dict) else enumerate(tree[:3]):
        yield (*prefix, part)
        if isinstance(value, dict | list):
            yield from _places(value, (*prefix, part))


def damaged_text(content: bytes):
    """Text of which one piece is replaced by another."""
    piece = st.one_of(st.sampled_from((b"nan", b"inf", b"1e400", b",", b"\n", b"\"", b"\x00", b"\xff", b"9" * 5000, b"a" * 200_000, b",,,,", b"\r", b"=", b"${seed}", b": ", b"!!python/object/apply:os.system ['touch code-was-run']", b"&a *a", b"\t")), st.binary(max_size=4))  # fmt: skip
    return st.builds(
        lambda at, length, new: content[:at] + new + content[at + length :],
        st.integers(0, max(len(content) - 1, 0)),
        st.integers(0, 20),
        piece,
    )


def damaged_bytes(content: bytes):
    """A file that was cut off, or of which single bytes changed."""
    flips = st.lists(st.tuples(st.integers(0, max(len(content) - 1, 0)), st.integers(1, 255)), min_size=1, max_size=8)

    def flipped(changes):
        copy = bytearray(content)
        for at, by in changes:
            copy[at] ^= by
        return bytes(copy)

    cut = st.integers(0, len(content)).map(lambda at: content[:at])
    return st.one_of(
        cut, flips.map(flipped) if content else st.just(b"\x00"), st.just(content + content), st.just(content + b"\x00" * 1000)
    )


def damages(path: Path):
    """Contents for a file in place of its own: damaged in its own format, damaged bytes, or of another kind; None makes it a folder."""
    content = path.read_bytes()
    kinds = [st.sampled_from((None, *NOT_OURS)), damaged_bytes(content)]
    if path.suffix == ".json":
        kinds += [damaged_json(content)] * 3
    if path.suffix in (".json", ".csv", ".yaml"):
        kinds += [damaged_text(content)]
    return st.one_of(*kinds)


def put(path: Path, content: bytes | None) -> None:
    """Replace a file by this content; None replaces it by a folder."""
    if path.is_dir():
        return
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
