"""Images that a function of the user's own gives (`data=own data.reader=my_parts.faces`).

Letters: N images, C channels, H W pixels, K classes.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fer_ablate.config.binding import build_part
from fer_ablate.data.faces import FaceSet, Parsed, Rows, content_digest, pixel_hashes
from fer_ablate.data.sources.inventory import ALL
from fer_ablate.errors import Fault, FaultyConfigError

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
    images = np.asarray(given["images"])
    if images.dtype != np.uint8 or images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[1] not in (1, 3)):
        return f"returns images of shape {images.shape} and type {images.dtype}; C is 1 or 3."
    if not len(images) or 0 in images.shape:
        return "returns no images."
    lengths = {name: len(given[name]) for name in NAMES if given.get(name) is not None}
    if wrong := {name: length for name, length in lengths.items() if length != len(images)}:
        return f"returns {len(images):,} images, but {', '.join(f'{length:,} {name}' for name, length in wrong.items())}."
    classes = given.get("classes")
    if classes is not None and (unknown := sorted({str(one) for one in given["labels"]} - set(map(str, classes)))):
        return f"returns labels that are not among its classes: {', '.join(unknown[:3])}."
    return ""


def _names(given: Mapping[str, Any], kind: str) -> list[str] | None:
    return None if given.get(kind) is None else [str(one) for one in given[kind]]


def _numbered(names: Sequence[Any], order: Sequence[Any] | None = None) -> tuple[Rows, tuple[str, ...]]:
    """(N,) the number of each name, and the names by their numbers: in the given order, else in that of the alphabet."""
    texts = [str(one) for one in names]
    known = tuple(map(str, order)) if order is not None else tuple(sorted(set(texts)))
    number = {name: at for at, name in enumerate(known)}
    return np.array([number[text] for text in texts], np.int64), known
