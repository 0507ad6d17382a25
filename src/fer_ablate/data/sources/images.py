"""Reads the pictures of an inventory into one array, block by block; what cannot be read is counted and named."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from fer_ablate.config.choices import Fit
from fer_ablate.data.decode import Pixels, decode, fitted, header, planes, with_channels
from fer_ablate.data.faces import Bytes, FaceSet, Parsed, Progress, Write
from fer_ablate.data.names import bare, class_key, joined_classes
from fer_ablate.data.sources.inventory import Inventory, Picture, ending, told
from fer_ablate.errors import UserError
from fer_ablate.labels import EMOTIONS_8, USAGES
from fer_ablate.sizes import Size, spelled

BLOCK = 256
"""Images decoded before they are written; those of 224x224 in colour take 38 MB."""

UNREADABLE = "unreadable"
_NAMED = 3  # unreadable files named in a note; more are counted
_LOOKING = 0.15  # share of the time that the first pass over the headers takes


@dataclass(frozen=True)
class Form:
    """What all images of a set are brought to.

    Args:
        size: in pixels; None: the most frequent one.
        fit: how an image of another shape gets there.
        channels: 1 gray, 3 colour; None: gray if all images are.
    """

    size: Size | None = None
    fit: Fit = Fit.pad
    channels: int | None = None

    @property
    def identity(self) -> str:
        """Part of what a cached entry was made from."""
        return "" if self == Form() else f"{self.size} {self.fit.name} {self.channels}"


def read_pictures(
    inventory: Inventory,
    write: Write,
    form: Form | None = None,
    progress: Progress | None = None,
    room: int | None = None,
    classes: tuple[str, ...] | None = None,
) -> Parsed:
    """Read every picture of an inventory in its order.

    Args:
        inventory: of a folder or list.
        write: takes the images.
        form: of the images; None: as they are.
        progress: called now and then with the fraction read.
        room: bytes that the images may take; None: not limited.
        classes: names of the classes, matched by `names.class_key`; None: those of the inventory, spellings joined.

    Raises:
        UserError: no picture can be read, or they would take more room than there is.
    """
    form = form or Form()
    tell = progress or (lambda fraction: None)
    trouble: dict[str, str] = {}
    looked = _looked_at(inventory, form, trouble, tell)
    _require_room(inventory, looked, room)
    kept: list[Picture] = []
    counts: Counter[str] = Counter()
    for start in range(0, len(inventory.pictures), BLOCK):
        block = []
        for picture in inventory.pictures[start : start + BLOCK]:
            pixels = _read(inventory.root, picture, trouble)
            if pixels is None:
                continue
            counts["refitted"] += pixels.shape[:2] != looked.size
            counts["colour"] += pixels.ndim == 3
            block.append(planes(fitted(with_channels(pixels, looked.channels), looked.size, form.fit)))
            kept.append(picture)
        if block:
            write(np.stack(block))
        tell(_LOOKING + (1 - _LOOKING) * min(1.0, (start + BLOCK) / len(inventory.pictures)))
    if not kept:
        first = next(iter(trouble.items()))
        raise UserError(f"{inventory.root}: none of its {len(inventory.pictures):,} pictures can be read; {first[0]} {first[1]}")
    notes = [*_size_notes(looked, form, counts["refitted"], len(kept)), *_colour_notes(looked, counts["colour"], len(kept))]
    return _parsed(inventory, kept, trouble, notes, classes)


@dataclass(frozen=True)
class _Looked:
    """Size and channels of all images, and how many sizes there were."""

    size: Size
    channels: int
    sizes: int


def _looked_at(inventory: Inventory, form: Form, trouble: dict[str, str], tell: Callable[[float], None]) -> _Looked:
    """Look at the headers only as far as the form leaves something open."""
    if form.size is not None and form.channels is not None:
        return _Looked(form.size, form.channels, 1)
    sizes: Counter[Size] = Counter()
    gray = True
    for number, picture in enumerate(inventory.pictures):
        try:
            seen = header(inventory.root / picture.file.path)
        except (UserError, OSError) as error:
            trouble[picture.file.path] = _reason(error)
            continue
        sizes[seen.size] += 1
        gray = gray and seen.gray
        if number % BLOCK == 0:
            tell(_LOOKING * number / len(inventory.pictures))
    if not sizes:
        first = next(iter(trouble.items()))
        raise UserError(f"{inventory.root}: none of its {len(inventory.pictures):,} pictures can be read; {first[0]} {first[1]}")
    # Of equally frequent sizes the smallest, so that the order of the files does not decide.
    size = min(sizes, key=lambda one: (-sizes[one], one))
    return _Looked(form.size or size, form.channels or (1 if gray else 3), len(sizes))


def _require_room(inventory: Inventory, looked: _Looked, room: int | None) -> None:
    needed = len(inventory.pictures) * looked.channels * looked.size[0] * looked.size[1]
    if room is not None and needed > room:
        raise UserError(
            f"{len(inventory.pictures):,} images of {spelled(looked.size)} take {needed / 1e9:.1f} GB, but data.cache_dir has "
            f"room for {room / 1e9:.1f} GB. Choose a smaller size, such as data.size=64, or another data.cache_dir=..."
        )


def _read(root: Path, picture: Picture, trouble: dict[str, str]) -> Pixels | None:
    """Pixels of a picture as it is, or None and the reason."""
    if picture.file.path in trouble:
        return None
    try:
        return decode((root / picture.file.path).read_bytes())[0]
    except (UserError, OSError) as error:
        trouble[picture.file.path] = _reason(error)
        return None


def _reason(error: Exception) -> str:
    return f"cannot be opened ({error.strerror})." if isinstance(error, OSError) else str(error)


def _size_notes(looked: _Looked, form: Form, refitted: int, total: int) -> list[str]:
    if not refitted:
        return []
    ways = {Fit.pad: "padded at the edges", Fit.crop: "cut to their middle", Fit.stretch: "stretched"}
    how = f"{ways[form.fit]} where the shape differs, and resized"
    if form.size is not None:
        return [f"{refitted:,} of {total:,} images were brought to {spelled(looked.size)} (data.size), {how} (data.fit)."]
    return [
        f"{refitted:,} of {total:,} images had another size than the most frequent one, {spelled(looked.size)} (height x width), "
        f"and were {how}. data.size=48 makes all of them 48x48; data.fit=pad|crop|stretch says how."
    ]


def _colour_notes(looked: _Looked, colour: int, total: int) -> list[str]:
    if looked.channels == 1 and colour:
        return [f"{colour:,} of {total:,} images are in colour and were turned gray (data.channels=1)."]
    if looked.channels == 3 and 0 < colour < total:
        return [f"{total - colour:,} of {total:,} images are gray; their levels were repeated, since the others are in colour."]
    return []


def _parsed(
    inventory: Inventory, kept: Sequence[Picture], trouble: dict[str, str], notes: list[str], given: tuple[str, ...] | None
) -> Parsed:
    voted = bool(kept[0].votes)
    classes, index_of = _classes(kept, EMOTIONS_8 if voted else given)
    # The official splits of FER2013 first and in their order, which stored predictions count on.
    splits = tuple(
        sorted({one.split for one in kept}, key=lambda name: (USAGES.index(name) if name in USAGES else len(USAGES), name))
    )
    usage_of = {split: index for index, split in enumerate(splits)}
    notes = [*_joined(kept, classes, index_of), *notes]
    for path, reason in list(trouble.items())[:_NAMED]:
        notes.append(f"Not read: {path} {reason}")
    return Parsed(
        labels=np.array([index_of[picture.label] for picture in kept], np.int64),
        usage=np.array([usage_of[picture.split] for picture in kept], np.uint8),
        splits=splits,
        classes=classes,
        files=tuple(picture.file.path for picture in kept),
        groups=tuple(picture.group for picture in kept) if any(picture.group for picture in kept) else (),
        votes=np.array([picture.votes for picture in kept], np.int64) if voted else None,
        left_out={UNREADABLE: len(trouble)} if trouble else {},
        notes=tuple(notes),
    )


def with_inventory(faces: FaceSet, inventory: Inventory) -> FaceSet:
    """Add what the walk over the source tells to what reading its pictures told: files that were never tried, and the layout."""
    left_out = {**inventory.left_out, **faces.left_out}
    counts = f"; {text}" if (text := told(left_out)) else ""
    kinds = Counter(ending(file) for file in faces.files)
    of = f" ({', '.join(f'{kind} {count:,}' for kind, count in kinds.most_common())})" if len(kinds) > 1 else ""
    read = f"Read as {inventory.layout}: {len(faces.labels):,} images{of}{counts}."
    return replace(faces, left_out=left_out, notes=(read, *inventory.notes, *faces.notes))


def _classes(kept: Sequence[Picture], given: tuple[str, ...] | None) -> tuple[tuple[str, ...], dict[str, int]]:
    labels = {picture.label for picture in kept}
    if given is None:
        return joined_classes(labels)
    keys = {class_key(name): index for index, name in enumerate(given)}
    return given, {label: keys[class_key(label)] for label in labels}


def _joined(kept: Sequence[Picture], classes: tuple[str, ...], index_of: dict[str, int]) -> list[str]:
    """A sentence where several spellings became one class, or an emotion got its usual name."""
    spellings: dict[str, list[str]] = {}
    for label in sorted({picture.label for picture in kept}):
        spellings.setdefault(classes[index_of[label]], []).append(label)
    changed = [
        f"{', '.join(found)} as {name}" for name, found in spellings.items() if len(found) > 1 or bare(found[0]) != bare(name)
    ]
    return [f"Classes read by their usual names: {'; '.join(changed)}."] if changed else []


def reshaped(write: Write, form: Form) -> Write:
    """A `write` that brings blocks of gray images to a form first; the same one where the form changes nothing."""
    if form.size is None and form.channels in (None, 1):
        return write

    def changed(block: Bytes) -> None:
        size = form.size or (block.shape[2], block.shape[3])
        channels = form.channels or 1
        write(np.stack([planes(fitted(with_channels(image[0], channels), size, form.fit)) for image in block]))

    return changed
