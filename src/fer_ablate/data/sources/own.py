"""Images that a function of the user's own gives (`data=own data.reader=my_parts.faces`).

Letters: N images, C channels, H W pixels, K classes.
"""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from fer_ablate.config.binding import build_part
from fer_ablate.data.faces import FaceSet, Parsed, Rows, content_digest, pixel_hashes
from fer_ablate.data.sources.inventory import ALL, MOST_SPLITS
from fer_ablate.errors import Fault, FaultyConfigError, first_line

KEY = "data.reader"
NAMES = ("labels", "splits", "groups")
"""What such a function may say of every image, as names; labels it has to."""

REMEDY = (
    "Return {'images': array (N, H, W) or (N, C, H, W) of uint8, 'labels': N names}, and if there are some 'splits' and "
    "'groups', N names each, and 'classes', the names of the classes in their order."
)


def read_own(name: str, arguments: Mapping[str, Any], plugins: Sequence[str], grouped: bool) -> FaceSet:
    """Call the function, and make a set of what it gives. Nothing is cached: only its author knows when it gives other images.

    Args:
        name: dotted path of the function.
        arguments: passed by name.
        plugins: the user's own packages that may be imported.
        grouped: whether its groups are used.

    Raises:
        FaultyConfigError: it may not be imported, fails, or gives something else than images and labels.
    """
    given = build_part(name, arguments, plugins, KEY)
    if problem := _problem(given):
        raise FaultyConfigError([Fault(KEY, f"{name} {problem}", REMEDY)])
    images = np.ascontiguousarray(given["images"])
    faces = images[:, None] if images.ndim == 3 else images
    labels, classes = _numbered(given["labels"], given.get("classes"))
    usage, splits = _numbered(_names(given, "splits") or [ALL] * len(faces))
    parsed = Parsed(labels, usage.astype(np.uint8), splits, classes)
    digest, groups = content_digest(faces, parsed), _names(given, "groups") if grouped else None
    numbers = _numbered(groups)[0] if groups else None
    if numbers is not None:
        # Groups decide which images are drawn for a role, so they are part of the data's identity.
        digest = hashlib.sha256(digest.encode() + numbers.tobytes()).hexdigest()
    return FaceSet(
        faces=faces,
        labels=labels,
        targets=None,
        usage=parsed.usage,
        splits=splits,
        classes=classes,
        rows=np.arange(len(faces)),
        digest=digest,
        groups=numbers,
        hashes=pixel_hashes(faces),
    )


def _problem(given: Any) -> str:
    """What is wrong with the returned value; empty if nothing is."""
    if not isinstance(given, Mapping) or "images" not in given or "labels" not in given:
        kind = f"a mapping of {', '.join(map(str, given))}" if isinstance(given, Mapping) else f"a {type(given).__name__}"
        return f"returns {kind}, without images and labels."
    try:
        images = np.asarray(given["images"])
    except (ValueError, TypeError) as error:
        return f"returns images that make no array, as those of different sizes ({first_line(error)})."
    if images.dtype != np.uint8 or images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[1] not in (1, 3)):
        return f"returns images of shape {images.shape} and type {images.dtype}; C is 1 or 3."
    if not len(images) or 0 in images.shape:
        return "returns no images."
    named = {name: given[name] for name in (*NAMES, "classes") if name == "labels" or given.get(name) is not None}
    lengths = {name: _length(names) for name, names in named.items()}
    if unnamed := [name for name, length in lengths.items() if length is None]:
        return f"returns {' and '.join(f'{name} as {type(named[name]).__name__}' for name in unnamed)}, not as a list of names."
    if wrong := {name: length for name, length in lengths.items() if length != len(images) and name != "classes"}:
        return f"returns {len(images):,} images, but {', '.join(f'{length:,} {name}' for name, length in wrong.items())}."
    classes = given.get("classes")
    if classes is not None and (unknown := sorted({str(one) for one in given["labels"]} - set(map(str, classes)))):
        return f"returns labels that are not among its classes: {', '.join(unknown[:3])}."
    if (count := len(set(_names(given, "splits") or []))) > MOST_SPLITS:
        return f"returns {count:,} different splits, more than {MOST_SPLITS}."
    return ""


def _length(names: Any) -> int | None:
    """Number of names; None if they are no list, or a generator, which could be read only once."""
    try:
        return len([*names]) if isinstance(names, Collection) else None
    except TypeError:  # an array without dimensions
        return None


def _names(given: Mapping[str, Any], kind: str) -> list[str] | None:
    return None if given.get(kind) is None else [str(one) for one in given[kind]]


def _numbered(names: Sequence[Any], order: Sequence[Any] | None = None) -> tuple[Rows, tuple[str, ...]]:
    """(N,) the number of each name, and the names by their numbers: in the given order, else in that of the alphabet."""
    texts = [str(one) for one in names]
    known = tuple(map(str, order)) if order is not None else tuple(sorted(set(texts)))
    number = {name: at for at, name in enumerate(known)}
    return np.array([number[text] for text in texts], np.int64), known
