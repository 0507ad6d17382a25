"""The images of a page, read from the files of a study and its runs, as many as fit into a page."""

import base64
import csv
import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from fer_ablate.report.page.elements import Grid, PageImage
from fer_ablate.tracking.disk.run_folder import RunFolder

MOST_BYTES = 6_500_000
"""Most bytes of all images of a page. Encoded as text they grow by a third, and mail servers refuse a page above 10 MB."""

HEAT_MAPS = "explain"
"""Folder within a run, and the verb that fills it."""

HEAVY, QUALITY = 200_000, 88
"""Bytes from which a PNG is shown as a JPEG, if that is smaller, and its quality: letters stay clear at a third of the size."""

FIRST = ("mean_maps", "regions", "confusions")
"""Beginnings of the names of the most informative heat maps, in this order; the others follow."""

BRIEF = FIRST[:2]
"""Heat maps shown of rows other than the baseline and the best one."""

NOT_EXPLAINED = "Not drawn yet. This draws them, and the verb report then shows them here:"

CAPTIONS = {
    "mean_maps": "Mean heat map of each class",
    "regions": "Share of the weight on each region of the face",
    "confusions": "The most common confusions",
    "right": "Right with high confidence",
}
"""Beginning of a file's name -> caption."""


class Album:
    """Reads images until the page is full, and keeps count of them and of those left out.

    Args:
        room: most bytes of all images together.
    """

    def __init__(self, room: int = MOST_BYTES) -> None:
        self.room = room
        self.pictures = 0
        self.left_out: list[str] = []

    def read(self, path: Path, alt: str, caption: str) -> list[PageImage]:
        """A list of the one image; empty if the file is missing, or damaged or too large, which `left_out` records."""
        if not path.is_file():
            return []
        try:
            with Image.open(path) as image:
                # Opening reads only the header: a file that was cut off shows when its pixels are read.
                image.load()
                width, height = image.size
                kind, content = _smaller(image, path.read_bytes())
        # Pillow reports some damage of a PNG as SyntaxError.
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
            self.left_out.append(f"{path} is not shown: it is damaged. The command that made it can make it again.")
            return []
        if len(content) > self.room:
            self.left_out.append(f"{path} is not shown, to keep this page small.")
            return []
        self.room -= len(content)
        self.pictures += 1
        return [PageImage(f"data:image/{kind};base64,{base64.b64encode(content).decode()}", width, height, alt, caption)]


def heat_maps(folder: RunFolder) -> list[Path]:
    """Images that `explain` left in a run, the most informative first."""
    return sorted((folder.path / HEAT_MAPS).glob("*.png"), key=lambda file: (_rank(file), file.name))


def explained(album: Album, files: Sequence[Path], whose: str) -> list[PageImage]:
    """Heat maps with captions, as far as there is room."""
    pictures = []
    for file in files:
        name = next((name for name in CAPTIONS if file.stem.startswith(name)), "")
        detail = file.stem.removeprefix(name).strip("_").replace("_", " ")
        caption = f"{', '.join(filter(None, (CAPTIONS.get(name), detail)))}: {whose}."
        pictures += album.read(file, f"Heat maps over faces. {caption}", caption)
    return pictures


def trust(album: Album, folder: RunFolder) -> list[Grid]:
    """A table that shows whether the heat maps of a run depend on its weights; empty if `explain` has not checked that."""
    file = folder.path / HEAT_MAPS / "sanity.csv"
    try:
        rows = list(csv.reader(io.StringIO(file.read_text(encoding="utf-8")))) if file.is_file() else []
    except (OSError, ValueError, csv.Error):
        album.left_out.append(f"{file} is not shown: it is damaged. `explain` can make it again.")
        return []
    if len(rows) < 2 or any(len(row) != len(rows[0]) for row in rows):
        return []
    header, *found = [tuple(_rounded(cell) for cell in row) for row in rows]
    caption = "Rank correlation with heat maps of the same network with random weights; values near 0 are expected"
    return [Grid(caption, tuple(name.replace("_", " ") for name in header), tuple(found), words=frozenset({len(header) - 1}))]


def _rounded(cell: str) -> str:
    try:
        return cell if cell.isdigit() else f"{float(cell):.2f}"
    except ValueError:
        return cell


def _rank(file: Path) -> int:
    return next((place for place, name in enumerate(FIRST) if file.stem.startswith(name)), len(FIRST))


def _smaller(image: Image.Image, content: bytes) -> tuple[str, bytes]:
    """Format and bytes in which a PNG is shown."""
    if len(content) < HEAVY:
        return "png", content
    # A JPEG has no transparency, and figures are drawn for white paper.
    ground = Image.new("RGB", image.size, "white")
    ground.paste(image, mask=image.getchannel("A") if "A" in image.getbands() else None)
    stream = io.BytesIO()
    # Subsampled colours would blur thin coloured lines and letters.
    ground.save(stream, "JPEG", quality=QUALITY, subsampling=0)
    return ("jpeg", stream.getvalue()) if len(stream.getvalue()) < len(content) else ("png", content)
