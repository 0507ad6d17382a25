"""Reads the pictures of an inventory into one array, block by block; files that cannot be read are counted and named."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from fer_ablate.config.choices import Fit
from fer_ablate.data.cache import UNOPENED
from fer_ablate.data.classes import bare, class_key, joined_classes
from fer_ablate.data.decode import Pixels, decode, fitted, header, planes, with_channels
from fer_ablate.data.faces import Bytes, FaceSet, Parsed, Progress, Write
from fer_ablate.data.sources.inventory import MOST_SPLITS, Inventory, Picture, not_read, printable, suffix
from fer_ablate.errors import UserError
from fer_ablate.labels import EMOTIONS_8, USAGES
from fer_ablate.sizes import Size, spelled

BLOCK = 256
"""Images that are decoded before they are written; 256 colour images of 224x224 take 38 MB."""

UNREADABLE = "unreadable"
_NAMED = 3  # unreadable files that notes name; further ones are only counted
_HEADERS_SHARE = 0.15  # of the total time, for the first pass over the headers


@dataclass(frozen=True)
class ImageForm:
    """Size and channels that all images of a set are converted to.

    Args:
        size: height and width in pixels; None: the most frequent size.
        fit: how an image of another aspect ratio is brought to that size.
        channels: 1 for gray, 3 for colour; None: gray if all images are gray, else colour.
    """

    size: Size | None = None
    fit: Fit = Fit.pad
    channels: int | None = None

    @property
    def identity(self) -> str:
        """Text that identifies the form in the cache; empty for the default form."""
        return "" if self == ImageForm() else f"{self.size} {self.fit.name} {self.channels}"


def read_pictures(
    inventory: Inventory,
    write: Write,
    form: ImageForm | None = None,
    progress: Progress | None = None,
    room: int | None = None,
    classes: tuple[str, ...] | None = None,
) -> Parsed:
    """Read every picture of an inventory, in its order.

    Args:
        inventory: the pictures of a folder or list.
        write: called with blocks of images (n, C, H, W).
        form: size and channels to convert them to; None: the default form.
        progress: called now and then with the fraction read, from 0 to 1.
        room: bytes that the images may take; None: any number.
        classes: names of the classes, matched by `names.class_key`; None: those of the inventory, all spellings of one
            class joined.

    Raises:
        UserError: no picture can be read, they need more space than `room`, or there are too many splits.
    """
    if len(splits := {picture.split for picture in inventory.pictures}) > MOST_SPLITS:
        raise UserError(
            f"{inventory.root}: {len(splits):,} splits, such as {', '.join(sorted(splits)[:3])}, are more than {MOST_SPLITS}. "
            "Join some of their folders, or pass one of them as data.path=..."
        )
    form = form or ImageForm()
    report = progress or (lambda fraction: None)
    trouble: dict[str, str] = {}  # path -> why the picture cannot be read
    common = _common_format(inventory, form, trouble, report)
    _require_room(inventory, common, room)
    kept: list[Picture] = []
    counts: Counter[str] = Counter()
    for start in range(0, len(inventory.pictures), BLOCK):
        block = []
        for picture in inventory.pictures[start : start + BLOCK]:
            pixels = _read(inventory.root, picture, trouble)
            if pixels is None:
                continue
            counts["refitted"] += pixels.shape[:2] != common.size
            counts["colour"] += pixels.ndim == 3
            block.append(planes(fitted(with_channels(pixels, common.channels), common.size, form.fit)))
            kept.append(picture)
        if block:
            write(np.stack(block))
        report(_HEADERS_SHARE + (1 - _HEADERS_SHARE) * min(1.0, (start + BLOCK) / len(inventory.pictures)))
    if not kept:
        raise _none_readable(inventory, trouble)
    notes = [*_size_notes(common, form, counts["refitted"], len(kept)), *_colour_notes(common, counts["colour"], len(kept))]
    return _parsed(kept, trouble, notes, classes)


@dataclass(frozen=True)
class _Format:
    """Size and channels that all images get."""

    size: Size
    channels: int


def _common_format(inventory: Inventory, form: ImageForm, trouble: dict[str, str], report: Progress) -> _Format:
    """Complete a form by what the headers of the pictures say; they are read only if the form leaves something open."""
    if form.size is not None and form.channels is not None:
        return _Format(form.size, form.channels)
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
            report(_HEADERS_SHARE * number / len(inventory.pictures))
    if not sizes:
        raise _none_readable(inventory, trouble)
    # The most frequent size, so that few images are resampled; of equally frequent ones the smallest, so that the result does
    # not depend on the order of the files.
    size = min(sizes, key=lambda one: (-sizes[one], one))
    return _Format(form.size or size, form.channels or (1 if gray else 3))


def _none_readable(inventory: Inventory, trouble: dict[str, str]) -> UserError:
    path, reason = next(iter(trouble.items()))
    first = f"{printable(path)} {reason}"
    return UserError(f"{inventory.root}: none of its {len(inventory.pictures):,} pictures can be read; {first}")


def _require_room(inventory: Inventory, common: _Format, room: int | None) -> None:
    needed = len(inventory.pictures) * common.channels * common.size[0] * common.size[1]
    if room is not None and needed > room:
        raise UserError(
            f"{len(inventory.pictures):,} images of {spelled(common.size)} take {needed / 1e9:.1f} GB, but data.cache_dir has "
            f"room for {room / 1e9:.1f} GB. Choose a smaller size, such as data.size=64, or another data.cache_dir=..."
        )


def _read(root: Path, picture: Picture, trouble: dict[str, str]) -> Pixels | None:
    """Decode a picture; return None and note the reason in `trouble` if that fails."""
    if picture.file.path in trouble:
        return None
    try:
        return decode((root / picture.file.path).read_bytes())[0]
    except (UserError, OSError) as error:
        trouble[picture.file.path] = _reason(error)
        return None


def _reason(error: Exception) -> str:
    return f"{UNOPENED} ({error.strerror})." if isinstance(error, OSError) else str(error)


def _size_notes(common: _Format, form: ImageForm, refitted: int, total: int) -> list[str]:
    if not refitted:
        return []
    ways = {Fit.pad: "padded at the edges", Fit.crop: "cut to their middle", Fit.stretch: "stretched"}
    how = f"{ways[form.fit]} where the shape differs, and resized"
    if form.size is not None:
        return [f"{refitted:,} of {total:,} images were brought to {spelled(common.size)} (data.size), {how} (data.fit)."]
    return [
        f"{refitted:,} of {total:,} images had another size than the most frequent one, {spelled(common.size)} (height x width), "
        f"and were {how}. data.size=48 makes all of them 48x48; data.fit=pad|crop|stretch says how."
    ]


def _colour_notes(common: _Format, colour: int, total: int) -> list[str]:
    if common.channels == 1 and colour:
        return [f"{colour:,} of {total:,} images are in colour and were turned gray (data.channels=1)."]
    if common.channels == 3 and 0 < colour < total:
        return [f"{total - colour:,} of {total:,} images are gray; their levels were repeated, since the others are in colour."]
    return []


def _parsed(kept: Sequence[Picture], trouble: dict[str, str], notes: list[str], given: tuple[str, ...] | None) -> Parsed:
    """Describe the pictures that were read."""
    voted = bool(kept[0].votes)
    classes, index_of = _classes(kept, EMOTIONS_8 if voted else given)
    # The official splits of FER2013 come first and in their order: stored predictions rely on it.
    splits = tuple(
        sorted({one.split for one in kept}, key=lambda name: (USAGES.index(name) if name in USAGES else len(USAGES), name))
    )
    usage_of = {split: index for index, split in enumerate(splits)}
    notes = [*_spelling_notes(kept, classes, index_of), *notes]
    for path, reason in list(trouble.items())[:_NAMED]:
        notes.append(f"Not read: {printable(path)} {reason}")
    reasons = Counter(UNOPENED if reason.startswith(UNOPENED) else UNREADABLE for reason in trouble.values())
    return Parsed(
        labels=np.array([index_of[picture.label] for picture in kept], np.int64),
        usage=np.array([usage_of[picture.split] for picture in kept], np.uint8),
        splits=splits,
        classes=classes,
        files=tuple(printable(picture.file.path) for picture in kept),
        groups=tuple(picture.group for picture in kept) if any(picture.group for picture in kept) else (),
        votes=np.array([picture.votes for picture in kept], np.int64) if voted else None,
        left_out=dict(reasons),
        notes=tuple(notes),
    )


def with_inventory(faces: FaceSet, inventory: Inventory) -> FaceSet:
    """Add what the inventory knows to a set: files that were never opened, the layout, and its notes."""
    left_out = {**inventory.left_out, **faces.left_out}
    counts = f"; {text}" if (text := not_read(left_out)) else ""
    kinds = Counter(suffix(file) for file in faces.files)
    of = f" ({', '.join(f'{kind} {count:,}' for kind, count in kinds.most_common())})" if len(kinds) > 1 else ""
    read = f"Read as {inventory.layout}: {len(faces.labels):,} images{of}{counts}."
    return replace(faces, left_out=left_out, notes=(read, *inventory.notes, *faces.notes))


def _classes(kept: Sequence[Picture], given: tuple[str, ...] | None) -> tuple[tuple[str, ...], dict[str, int]]:
    """Names of the classes, and the index of each spelling."""
    labels = {picture.label for picture in kept}
    if given is None:
        return joined_classes(labels)
    keys = {class_key(name): index for index, name in enumerate(given)}
    return given, {label: keys[class_key(label)] for label in labels}


def _spelling_notes(kept: Sequence[Picture], classes: tuple[str, ...], index_of: dict[str, int]) -> list[str]:
    """Note if several spellings became one class, or if an emotion got its usual name."""
    spellings: dict[str, list[str]] = {}
    for label in sorted({picture.label for picture in kept}):
        spellings.setdefault(classes[index_of[label]], []).append(label)
    changed = [
        f"{', '.join(found)} as {name}" for name, found in spellings.items() if len(found) > 1 or bare(found[0]) != bare(name)
    ]
    return [f"Classes read by their usual names: {'; '.join(changed)}."] if changed else []


def write_in_form(write: Write, form: ImageForm) -> Write:
    """Return a `write` that first converts blocks of gray images to a form; `write` itself if the form changes nothing."""
    if form.size is None and form.channels in (None, 1):
        return write

    def changed(block: Bytes) -> None:
        size = form.size or (block.shape[2], block.shape[3])
        channels = form.channels or 1
        write(np.stack([planes(fitted(with_channels(image[0], channels), size, form.fit)) for image in block]))

    return changed
