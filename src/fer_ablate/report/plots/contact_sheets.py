"""Contact sheets of a data set: random images, originals beside augmented copies, and every class with its mean face.

Letters: `C H W` channels and pixels of an image.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image

from fer_ablate.data.batches import as_tensor
from fer_ablate.data.faces import Bytes, FaceSet, Rows
from fer_ablate.data.summary import sorted_splits
from fer_ablate.data.transform import Preprocess
from fer_ablate.report.plots.canvas import DPI, new_figure, plain, save_figure, shown_pixels
from fer_ablate.report.quantities import one_line, shorten
from fer_ablate.sizes import spelled

TILE = 96
"""Pixels of the longer side of an image on a sheet, twice that of FER2013."""

GAP, MARGIN, CAPTION, TITLE, LABEL, LABEL_LINE = 8, 14, 17, 40, 170, 19
"""Pixels between tiles, around a page, for a caption above a tile, for the title, and for labels on the left and their lines."""

ACROSS, MOST_ACROSS = 10, 12
"""Tiles side by side; up to `MOST_ACROSS` where that keeps an original and its copies on one line."""

MOST_LINES, MOST_PAGES = 14, 10
"""Lines of tiles on a page, and pages of one kind of sheet; a note says what is left out beyond."""

CAPTION_LETTERS, LABEL_LETTERS = 14, 22
MOST_SPLITS = 4
"""Most splits whose counts have room beside the images of a class."""

ORIGINALS = 2
"""Originals of each class on the sheets of augmented copies."""

MEAN_IMAGES = 1000
"""Most images for the mean face of a class; of more, this many are drawn at random."""

_BLOCK = 64  # images in memory at once for a mean


@dataclass(frozen=True)
class Tile:
    """An image (C, H, W) with the caption above it."""

    pixels: Bytes
    caption: str = ""


@dataclass(frozen=True)
class Block:
    """Tiles that belong together, starting on a new line, with a label on their left."""

    tiles: Sequence[Tile]
    label: str = ""


@dataclass(frozen=True)
class Sheet:
    """One kind of contact sheet of a data set, of one or more pages.

    Args:
        name: the beginning of the names of its files, without number and ending.
        title: above every page.
        blocks: in their order.
        across: tiles side by side.
        note: sentence for the reader; may be empty.
    """

    name: str
    title: str
    blocks: Sequence[Block]
    across: int = ACROSS
    note: str = ""


@dataclass(frozen=True)
class Material:
    """Images and settings from which sheets are made.

    Args:
        faces: the set.
        train: rows of the train role.
        preprocess: what the network does to images; its preparation and augmentation are shown.
        seed: which all random choices start from.
        images: number of images of each split, of copies of each original, and of examples of each class; None: as many as fit.
    """

    faces: FaceSet
    train: Rows
    preprocess: Preprocess
    seed: int = 0
    images: int | None = None


def samples(material: Material) -> list[Sheet]:
    """Random images of each split, captioned with their class."""
    faces, sheets = material.faces, []
    names: set[str] = set()
    for number, split in enumerate(sorted_splits(faces.splits)):
        rows = faces.split_rows(split)
        if not len(rows):
            continue
        chosen = _drawn(rows, material.images or 6 * ACROSS, [material.seed, number])
        tiles = [Tile(faces.faces[row], faces.classes[faces.labels[row]]) for row in chosen]
        title = f"{split}: {len(chosen):,} of {len(rows):,} images, drawn at random (seed {material.seed})"
        name = f"samples-{_file_name(split)}"
        name = f"{name}-split{number}" if name in names else name  # two splits may differ in unusual letters only
        names.add(name)
        sheets.append(Sheet(name, title, [Block(tiles)]))
    return sheets


def augmented(material: Material) -> list[Sheet]:
    """Training images beside copies as training makes them: prepared, then augmented; class by class."""
    faces, preprocess = material.faces, material.preprocess
    per_class = ORIGINALS if 2 * len(faces.classes) <= MOST_LINES * MOST_PAGES else 1
    blocks: list[Block] = []
    preprocess.train()
    # The random numbers of the training itself must not depend on whether sheets are drawn.
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.default_generator.manual_seed(material.seed % 2**64)
        for label, name in enumerate(faces.classes):
            rows = material.train[faces.labels[material.train] == label]
            if not len(rows):
                blocks.append(Block([], f"{name}\nno training image"))
            for number, row in enumerate(_drawn(rows, per_class, [material.seed, label])):
                tiles = _copies(faces.faces[row], preprocess, material.images or 8)
                blocks.append(Block(tiles, name if number == 0 else ""))
    before, after = spelled(faces.size), spelled(preprocess.size)
    title = f"Training images ({before}) beside copies as training sees them ({after}), seed {material.seed}"
    note = ""
    if preprocess.prepare is None and isinstance(preprocess.augment, torch.nn.Identity):
        note = "Copies look like their originals, for data.prepare and augment.steps are empty: augment=flip is a beginning."
    across = min(MOST_ACROSS, max((len(block.tiles) for block in blocks), default=1))
    return [Sheet("augmented", title, blocks, across, note)] if blocks else []


def classes(material: Material) -> list[Sheet]:
    """Mean face and random images of every class, with the number of its images in each split."""
    faces, blocks = material.faces, []
    examples = material.images or ACROSS - 2
    for label, name in enumerate(faces.classes):
        rows = faces.rows[faces.labels[faces.rows] == label]
        text = [name, f"{len(rows):,} image{'' if len(rows) == 1 else 's'}"]
        if len(faces.splits) > 1:
            counts = np.bincount(faces.usage[rows], minlength=len(faces.splits)).tolist()
            text += [f"{counts[faces.splits.index(split)]:,} {split}" for split in sorted_splits(faces.splits)[:MOST_SPLITS]]
        tiles = []
        if len(rows):
            mean = _drawn(rows, MEAN_IMAGES, [material.seed, label])
            tiles.append(Tile(_mean(faces.faces, mean), "mean" if len(mean) == len(rows) else f"mean of {len(mean):,}"))
            tiles += [Tile(faces.faces[row]) for row in _drawn(rows, examples, [material.seed, label])]
        blocks.append(Block(tiles, "\n".join(text)))
    title = f"Each class: its mean, then images drawn at random (seed {material.seed})"
    across = min(ACROSS, max(len(block.tiles) for block in blocks))
    return [Sheet("classes", title, blocks, across)]


KINDS: dict[str, Callable[[Material], list[Sheet]]] = {"samples": samples, "augmented": augmented, "classes": classes}
"""What `data show=` may name."""


def save_sheets(folder: Path, sheets: Sequence[Sheet], most_pages: int = MOST_PAGES) -> tuple[list[Path], list[str]]:
    """Write the pages of all sheets as PNG files, and remove further pages of the same sheets drawn earlier.

    Args:
        folder: for the files; made if missing.
        sheets: one or more, of any kind.
        most_pages: pages of one sheet beyond which the rest is left out.

    Returns:
        The files, and sentences for the reader, such as what was left out.
    """
    files, notes = [], [sheet.note for sheet in sheets if sheet.note]
    for sheet in sheets:
        pages = _pages(sheet)
        for number, lines in enumerate(pages[:most_pages], start=1):
            path = folder / (f"{sheet.name}.png" if len(pages) == 1 else f"{sheet.name}-{number:02}.png")
            title = sheet.title if len(pages) == 1 else f"{sheet.title}; page {number} of {len(pages)}"
            save_figure(_page(title, lines, sheet.across), path)
            files.append(path)
        if len(pages) > most_pages:
            shown, total = sum(map(len, pages[:most_pages])), sum(map(len, pages))
            notes.append(f"{sheet.name}: {shown:,} of {total:,} lines of images are shown, on {most_pages} pages.")
    for path in folder.glob("*.png"):
        if path not in files and any(re.fullmatch(rf"{re.escape(sheet.name)}(-\d\d)?", path.stem) for sheet in sheets):
            path.unlink()
    return files, notes


@dataclass(frozen=True)
class _Line:
    tiles: Sequence[Tile]
    label: str


def _pages(sheet: Sheet) -> list[list[_Line]]:
    """Lines by page; a block is cut only if it is longer than a page."""
    pages: list[list[_Line]] = [[]]
    for block in sheet.blocks:
        starts = range(0, max(1, len(block.tiles)), sheet.across)
        lines = [_Line(block.tiles[at : at + sheet.across], "" if at else block.label) for at in starts]
        if pages[-1] and len(pages[-1]) + len(lines) > MOST_LINES:
            pages.append([])
        for line in lines:
            if len(pages[-1]) == MOST_LINES:
                pages.append([])
            pages[-1].append(line)
    return pages


def _page(title: str, lines: Sequence[_Line], across: int) -> Figure:
    """One page, every image in whole pixels of the file."""
    label = LABEL if any(line.label for line in lines) else 0
    width, top = 2 * MARGIN + label + across * (TILE + GAP) - GAP, TITLE
    places: list[tuple[int, int, Bytes]] = []  # left, upper edge
    words = [_Words(title, MARGIN, MARGIN, 10.5)]
    for line in lines:
        parts = [shorten(one_line(part), LABEL_LETTERS) for part in line.label.split("\n")]
        words += [_Words(part, MARGIN, top + CAPTION + LABEL_LINE * place, 8.5) for place, part in enumerate(parts)]
        tiles = [_fitted(tile) for tile in line.tiles]
        tallest = max((pixels.shape[0] for pixels in tiles), default=0)
        for number, (tile, pixels) in enumerate(zip(line.tiles, tiles, strict=True)):
            middle, upper = MARGIN + label + number * (TILE + GAP) + TILE // 2, top + CAPTION + tallest - pixels.shape[0]
            places.append((middle - pixels.shape[1] // 2, upper, pixels))
            words.append(_Words(shorten(one_line(tile.caption), CAPTION_LETTERS), middle, upper - 3, 7.5, above=True))
        top += CAPTION + GAP + max(tallest, LABEL_LINE * len(parts))
    return _drawn_page(width, top + MARGIN, places, words)


@dataclass(frozen=True)
class _Words:
    """Text at a place in pixels: it starts there, or is centred above it."""

    text: str
    left: float
    top: float
    size: float
    above: bool = False


def _drawn_page(width: int, height: int, places: Sequence[tuple[int, int, Bytes]], words: Sequence[_Words]) -> Figure:
    ground = np.full((height, width, 3), 255, np.uint8)
    for left, upper, pixels in places:
        ground[upper : upper + pixels.shape[0], left : left + pixels.shape[1]] = pixels
    figure = new_figure(width / DPI, height / DPI)
    figure.set_layout_engine("none")  # places are given in pixels
    figure.figimage(ground, origin="upper")
    for one in words:
        across, along = ("center", "bottom") if one.above else ("left", "top")
        figure.text(one.left / width, 1 - one.top / height, plain(one.text), fontsize=one.size, ha=across, va=along)
    return figure


def _fitted(tile: Tile) -> Bytes:
    """The pixels (H, W, 3) of a tile with its longer side at `TILE`; a whole multiple repeats them."""
    pixels = shown_pixels(tile.pixels)
    longer = max(pixels.shape[:2])
    height, width = (max(1, round(side * TILE / longer)) for side in pixels.shape[:2])
    way = Image.Resampling.NEAREST if TILE % longer == 0 else Image.Resampling.BICUBIC
    return np.asarray(Image.fromarray(np.ascontiguousarray(pixels)).resize((width, height), way))


def _copies(face: Bytes, preprocess: Preprocess, number: int) -> list[Tile]:
    """An original, what preparation makes of it, and augmented copies; of a ten_crop all views of fewer copies."""
    faces = as_tensor(np.array(face)[None])
    prepared = _scaled(preprocess.prepared(faces))
    tiles = [Tile(face, "original")]
    if preprocess.prepare is not None:
        tiles.append(Tile(_as_bytes(prepared)[0], "prepared"))
    copies = _as_bytes(preprocess.augment(prepared.repeat(number, 1, 1, 1)))
    views = len(copies) // number
    return [*tiles, *map(Tile, copies[: max(1, number // views) * views])]


def _scaled(faces: torch.Tensor) -> torch.Tensor:
    return faces.float() / 255 if faces.dtype == torch.uint8 else faces


def _as_bytes(faces: torch.Tensor) -> Bytes:
    found: Bytes = (faces * 255).round().clamp(0, 255).to(torch.uint8).numpy()
    return found


def _mean(faces: Bytes, rows: Rows) -> Bytes:
    """Mean of some images (C, H, W), a block at a time."""
    total = np.zeros(faces.shape[1:], np.float64)
    for start in range(0, len(rows), _BLOCK):
        total += faces[rows[start : start + _BLOCK]].sum(axis=0, dtype=np.float64)
    return (total / len(rows)).round().astype(np.uint8)


def _drawn(rows: Rows, number: int, seed: Sequence[int]) -> Rows:
    """`number` of these rows at random, ascending; all of them if there are no more."""
    draw = np.random.default_rng([one % 2**64 for one in seed])
    # The beginning of one permutation, so that a larger number shows the same images and further ones.
    chosen: Rows = np.sort(draw.permutation(rows)[:number])
    return chosen


def _file_name(split: str) -> str:
    return re.sub(r"[^\w.-]+", "_", split) or "_"
