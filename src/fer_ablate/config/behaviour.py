"""Identifies the code that decides a result, so that a refactoring keeps finished runs valid and an edit does not.

A digest is taken over the tokens of every module that a run imports, without comments, docstrings and layout. `behaviours.json`
says which digests compute the same, as a number: the behaviour. `nox -s behaviour` adds the digest of the present code. Only
the standard library is used, so that any Python can take the digest.
"""

import ast
import hashlib
import io
import json
import os
import sys
import sysconfig
import token
import tokenize
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import cache
from importlib.machinery import ModuleSpec
from importlib.metadata import PackageNotFoundError, version
from importlib.util import cache_from_source, find_spec
from pathlib import Path

TABLE = Path(__file__).with_name("behaviours.json")
"""Digest -> number of the behaviour; kept under version control."""

PACKAGE = Path(__file__).resolve().parents[1]

ROOTS = ("training.run", "data.load")
"""Modules that a run begins with; what they import, directly or through others, is covered as well."""

COVERED = ("labels", "metrics", "sizes", "data", "models", "optim", "training")
"""Parts of the package that compute a result. `config` is not among them: what it does to a run stands in the resolved config,
which is in the key itself."""

PLUGIN = "+"
"""Stands between the digest of the package and that of the user's own code."""

LIBRARIES = ("kornia", "lightning", "pytorch_lightning", "timm", "torch", "torchmetrics", "torchvision")
"""Packages that a plugin may name and whose release says what they compute; reading all their files would take a minute."""

_FORMATTED_STARTS = {getattr(token, name) for name in ("FSTRING_START", "TSTRING_START") if hasattr(token, name)}
_FORMATTED_ENDS = {getattr(token, name) for name in ("FSTRING_END", "TSTRING_END") if hasattr(token, name)}
_IGNORED = {token.COMMENT, token.NL, token.ENCODING, token.ENDMARKER}
_BLOCKS = {token.INDENT: "<indent>", token.DEDENT: "<dedent>"}


def code_digest(plugins: Iterable[str] = ()) -> str:
    """Digest of the code that decides a result.

    It is taken once per process: a file that is edited afterwards is not what this process has imported, and its runs
    must not pass for those of the new code.

    Args:
        plugins: top-level packages or modules of the user's own. Every module of the user's own that they import counts as well.

    Returns:
        16 hexadecimal digits; with plugins another 16 after a `+`.
    """
    return _code_digest(tuple(sorted(set(plugins))))


def behaviour(code: str) -> str:
    """What stands in a key for the code: `behaviour 1` where the table knows its digest, else the digest itself.

    Args:
        code: result of `code_digest`, of this version or of an earlier one.
    """
    package, plus, plugins = code.partition(PLUGIN)
    number = known_behaviours().get(package)
    return f"{package if number is None else f'behaviour {number}'}{plus}{plugins}"


@cache
def known_behaviours() -> dict[str, int]:
    """Digest -> behaviour, as the tracked table has them."""
    return {str(digest): int(number) for digest, number in json.loads(TABLE.read_text(encoding="utf-8"))["digests"].items()}


def tokens_of(source: str) -> str:
    """The tokens of a Python source that mean something, one a line; equal on every Python version.

    Statements that are nothing but a string (docstrings) are left out, as are comments, blank lines and the width of indents.
    """
    lines = source.splitlines(keepends=True)
    kept: list[str] = []
    statement: list[tuple[int, str]] = []
    depth, start = 0, (0, 0)
    for kind, text, begin, end, _ in tokenize.generate_tokens(io.StringIO(source).readline):
        if kind in _FORMATTED_STARTS:
            # Python 3.12 and later take an f-string apart where 3.11 gives one token, so its text is put together again.
            depth, start = depth + 1, begin if depth == 0 else start
        elif kind in _FORMATTED_ENDS:
            depth -= 1
            if depth == 0:
                statement.append((token.STRING, _between(lines, start, end)))
        elif depth or kind in _IGNORED:
            continue
        elif kind in _BLOCKS:
            kept.append(_BLOCKS[kind])
        elif kind == token.NEWLINE:
            if any(each != token.STRING for each, _ in statement):
                kept += [*(word for _, word in statement), "<end>"]
            statement = []
        else:
            statement.append((kind, text))
    return "\n".join(kept)


def _between(lines: list[str], start: tuple[int, int], end: tuple[int, int]) -> str:
    (first, left), (last, right) = start, end
    if first == last:
        return lines[first - 1][left:right]
    return "".join([lines[first - 1][left:], *lines[first : last - 1], lines[last - 1][:right]])


@cache
def _code_digest(plugins: tuple[str, ...]) -> str:
    own = _package_digest()
    if not plugins:
        return own
    files = _digest(sorted(plugin_files(plugins)))
    libraries = [f"{name} {_release(name)}" for name in plugins if name in LIBRARIES]
    return own + PLUGIN + (hashlib.sha256(repr((files, libraries)).encode()).hexdigest()[:16] if libraries else files)


def _release(library: str) -> str:
    """Version of an installed library, without the kind of hardware that it was compiled for."""
    with suppress(PackageNotFoundError):
        return version(library).partition("+")[0]
    return ""


def _package_digest() -> str:
    """Digest of the covered files of this package; it is taken anew where one of the package's files has changed.

    Reading all tokens takes longer than anything else that `plan` does, so the digest is kept beside Python's own compiled files
    and by the same rule: it counts for files of the same size and time of change.
    """
    stats = [(file.relative_to(PACKAGE).as_posix(), file.stat()) for file in sorted(PACKAGE.rglob("*.py"))]
    stamp = hashlib.sha256(repr([(name, stat.st_mtime_ns, stat.st_size) for name, stat in stats]).encode()).hexdigest()
    kept = Path(cache_from_source(__file__)).with_name("behaviour.digest")
    with suppress(OSError, ValueError):
        of, digest = kept.read_text(encoding="utf-8").split()
        if of == stamp:
            return digest
    digest = _digest(sorted(covered_files()))
    with suppress(OSError):  # a package that was installed by somebody else cannot be written to
        kept.parent.mkdir(exist_ok=True)
        partial = kept.with_suffix(f".{os.getpid()}")
        partial.write_text(f"{stamp} {digest}", encoding="utf-8")
        partial.replace(kept)
    return digest


def _digest(files: Iterable[Path]) -> str:
    total = hashlib.sha256()
    for file in files:
        total.update(f"{tokens_of(file.read_text(encoding='utf-8'))}\n<file>\n".encode())
    return total.hexdigest()[:16]


def covered_files() -> set[Path]:
    """The files of this package that a run imports and that compute its result."""
    found: set[Path] = set()
    waiting = [PACKAGE.joinpath(*root.split(".")).with_suffix(".py") for root in ROOTS]
    while waiting:
        file = waiting.pop()
        if file in found or file.relative_to(PACKAGE).parts[0].removesuffix(".py") not in COVERED:
            continue
        found.add(file)
        for folder, names in _imported(file):
            if folder is not None:
                waiting += _along(folder, names)
            elif names[0] == PACKAGE.name:
                waiting += _along(PACKAGE, names[1:])
    return found


def plugin_files(plugins: Iterable[str]) -> set[Path]:
    """The files of plugins, and of every module of the user's own that they import; nothing is run to find them.

    Libraries (`LIBRARIES`) are left out. Any other module counts as the user's own if it is neither installed in this environment
    nor part of Python or of this package.
    """
    found: set[Path] = set()
    waiting: list[Path] = []
    for name in set(plugins).difference(LIBRARIES):
        waiting += [file for place in _places(_top_level(name)) for file in _python_files(place)]
    while waiting:
        file = waiting.pop()
        if file in found:
            continue
        found.add(file)
        for folder, names in _imported(file):
            if folder is not None:
                waiting += _along(folder, names)
                continue
            for place in _places(_top_level(names[0])):
                if _is_own(place):
                    waiting += _along(place, names[1:]) if place.is_dir() else [place]
    return found


def _imported(file: Path) -> Iterator[tuple[Path | None, list[str]]]:
    """What a file imports, wherever in the file it does so.

    Returns:
        The names on the way to each module, `from a import b` as `a`, `b`; and the folder that a relative import starts in.
    """
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((None, alias.name.split(".")) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            way = node.module.split(".") if node.module else []
            folder = file.parents[node.level - 1] if node.level else None
            yield from ((folder, [*way, alias.name]) for alias in node.names)


def _along(folder: Path, names: Iterable[str]) -> Iterator[Path]:
    """Files that importing `folder.name.name...` runs; names that are no modules end the way."""
    if (folder / "__init__.py").is_file():
        yield folder / "__init__.py"
    for name in names:
        if (folder / f"{name}.py").is_file():
            yield folder / f"{name}.py"
            return
        folder = folder / name
        if not folder.is_dir():
            return
        if (folder / "__init__.py").is_file():
            yield folder / "__init__.py"


def _top_level(name: str) -> ModuleSpec | None:
    if name in sys.builtin_module_names or name == PACKAGE.name:
        return None
    try:
        return find_spec(name)
    except (ImportError, ValueError):  # ValueError: a module that was made by hand has no spec
        return None


def _places(spec: ModuleSpec | None) -> list[Path]:
    """Folders of a package, or the file of a module; compiled ones have none."""
    if spec is None:
        return []
    if spec.submodule_search_locations:
        return [Path(location).resolve() for location in spec.submodule_search_locations]
    return [Path(spec.origin).resolve()] if spec.origin and spec.origin.endswith(".py") else []


def _is_own(place: Path) -> bool:
    if {"site-packages", "dist-packages"} & set(place.parts):
        return False
    return not place.is_relative_to(Path(sysconfig.get_path("stdlib")).resolve())


def _python_files(place: Path) -> list[Path]:
    return sorted(place.rglob("*.py")) if place.is_dir() else [place]


def record(reason: str = "") -> str:
    """Write the digest of the present code into the table.

    Args:
        reason: why results are different now, which makes a new behaviour; empty: they are the same, and the newest one stays.

    Returns:
        What was done, in a sentence.
    """
    table = json.loads(TABLE.read_text(encoding="utf-8"))
    digest, newest = code_digest(), max(map(int, table["behaviours"]))
    if not reason and digest in table["digests"]:
        return f"The code has digest {digest}, which is behaviour {table['digests'][digest]} already."
    number = newest + bool(reason)
    table["behaviours"].setdefault(str(number), reason)
    table["digests"][digest] = number
    TABLE.write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")
    return f"The code has digest {digest}, now listed as behaviour {number}."


if __name__ == "__main__":
    if any(word.startswith("-") for word in sys.argv[1:]):
        sys.exit("usage: python -m fer_ablate.config.behaviour [what changes results]")
    print(record(" ".join(sys.argv[1:])))
