"""Folders of the drawn faces of the small run, under other names and in other orders."""

from collections.abc import Callable, Mapping
from pathlib import Path

from PIL import Image

from fer_ablate.config.compose import composed, composer, to_config
from fer_ablate.data.faces import FaceSet
from fer_ablate.data.load import load_faces

OTHER_NAMES = {
    "angry": "ANGER",
    "disgust": "disgusted",
    "fear": "Afraid",
    "happy": "Joyful",
    "sad": "unhappy",
    "surprise": "Surprised_",
    "neutral": "calm",
}
"""Other spellings, whose alphabet gives another order than that of the network's outputs."""


def drawn_faces(small_run: tuple[str, ...], cache_dir: Path) -> FaceSet:
    """What the small run is trained and tested on."""
    with composer():
        return load_faces(to_config(composed([*small_run, f"data.cache_dir={cache_dir}"])).data)


def write_folder(
    faces: FaceSet,
    root: Path,
    splits: Mapping[str, str],
    names: Mapping[str, str] = OTHER_NAMES,
    change: Callable[[Image.Image], Image.Image] = lambda image: image,
) -> Path:
    """Write some splits as pictures.

    Args:
        faces: the set.
        root: the folder.
        splits: split of the set -> its folder below the root; `.` for none.
        names: class -> its folder; other classes are left out.
        change: made to every picture.
    """
    for row in faces.rows:
        split, name = faces.splits[faces.usage[row]], faces.classes[faces.labels[row]]
        if split in splits and name in names:
            folder = root / splits[split] / names[name]
            folder.mkdir(parents=True, exist_ok=True)
            change(Image.fromarray(faces.faces[row, 0])).save(folder / f"{row:04}.png")
    return root
