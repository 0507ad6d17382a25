"""Writes an explanation to disk: pictures, tables, and one JSON file with everything.

A killed process leaves no half-written file. Files of an earlier explanation that the new one does not have are removed.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from fer_ablate.data.faces import Progress
from fer_ablate.explain.attributions import GRAY, PATCH, STEPS, STRIDE
from fer_ablate.explain.choose import ConfusionDirection
from fer_ablate.explain.explanation import Explanation
from fer_ablate.explain.figures import confusions_figure, mean_maps_figure, regions_figure, right_faces_figure
from fer_ablate.explain.regions import REGIONS, Shares, areas
from fer_ablate.explain.sanity import SIMILAR
from fer_ablate.report.plots.canvas import save_figure
from fer_ablate.sizes import spelled
from fer_ablate.tracking.disk.files import write_json, write_text
from fer_ablate.tracking.disk.scan import folder_name

JSON = "explain.json"

MEAN = "mean"
"""What stands in place of a class name for the mean over the classes."""


def write_explanation(found: Explanation, folder: Path, about: Mapping[str, str], progress: Progress) -> list[Path]:
    """Write an explanation into a folder, in place of an earlier one.

    Args:
        found: the explanation.
        folder: made if missing; files that `explain` did not write stay.
        about: facts about the network and the images for the JSON file.
        progress: takes the finished fraction.

    Returns:
        The files.
    """
    earlier = _earlier(folder)
    pictures = dict(_pictures(found))
    for done, (name, draw) in enumerate(pictures.items(), 1):
        save_figure(draw(), folder / name)
        progress(done / len(pictures))
    write_text(folder / "regions.csv", region_frame(found).to_csv(index=False, lineterminator="\n"))
    write_text(folder / "sanity.csv", sanity_frame(found).to_csv(index=False, lineterminator="\n"))
    names = [*pictures, "regions.csv", "sanity.csv", JSON]
    # Written last: until then, the earlier list still names every file that has to be removed.
    write_json(folder / JSON, {**about, **as_json(found), "files": names})
    for name in earlier - set(names):
        (folder / name).unlink(missing_ok=True)
    return [folder / name for name in names]


def region_frame(found: Explanation) -> pd.DataFrame:
    """Tabulate for each method, class (and `mean` over them) and region the share of the weight, of the pixels, and their ratio.

    A region that the crop cuts off has no ratio; a class without correct images has no shares.
    """
    lines = []
    expected = areas(found.masks)
    for method in found.spec.methods:
        for name, images, shares in _classes(found, method):
            for place, region in enumerate(REGIONS):
                area, share = float(expected[place]), None if shares is None else float(shares[place])
                # 1 means no more weight than a region of this size gets by chance.
                preference = None if share is None or not area else share / area
                lines.append((method, name, images, region, share, area, preference))
    return pd.DataFrame(lines, columns=["method", "class", "images", "region", "share", "area", "preference"])


def sanity_frame(found: Explanation) -> pd.DataFrame:
    """Tabulate for each method the rank correlation of the maps of trained and redrawn weights."""
    lines = [(method, one.correlation, one.images, one.verdict) for method, one in found.sanity.items()]
    return pd.DataFrame(lines, columns=["method", "rank_correlation", "images", "verdict"])


def explanation_metrics(found: Explanation) -> dict[str, float]:
    """Give the numbers for MLflow: `explain/<method>/<region>`, mean over the classes, and `explain/<method>/sanity`."""
    numbers: dict[str, float] = {}
    for method in found.spec.methods:
        shares = found.mean_shares(method)
        if shares is not None:
            numbers |= {f"explain/{method}/{name}": float(share) for name, share in zip(REGIONS, shares, strict=True)}
        correlation = found.sanity[method].correlation
        if correlation is not None:
            numbers[f"explain/{method}/sanity"] = correlation
    return numbers


def as_json(found: Explanation) -> dict[str, Any]:
    """Collect the settings, the row numbers of the images, and all numbers."""
    classes = found.faces.classes
    return {
        "settings": {
            "methods": list(found.spec.methods),
            "size": spelled(found.explainer.size),
            "baseline": GRAY,
            "integrated_gradients_steps": STEPS,
            "occlusion_patch_of_48": PATCH,
            "occlusion_stride_of_48": STRIDE,
            "sanity_threshold": SIMILAR,
        },
        "right": {name: rows.tolist() for name, rows in zip(classes, found.right, strict=True)},
        "averaged": {name: rows.tolist() for name, rows in zip(classes, found.spread, strict=True)},
        "confusions": [
            {"images": confusion.count, "directions": [_direction(one, classes) for one in confusion.directions]}
            for confusion in found.confusions
        ],
        "areas": dict(zip(REGIONS, areas(found.masks).tolist(), strict=True)),
        "regions": {
            method: {name: _named(shares) for name, _, shares in _classes(found, method)} for method in found.spec.methods
        },
        "sanity": {
            method: {"rank_correlation": one.correlation, "images": one.images, "verdict": one.verdict}
            for method, one in found.sanity.items()
        },
    }


def _classes(found: Explanation, method: str) -> Iterator[tuple[str, int, Shares | None]]:
    """Yield every class, and their mean, with its number of images and its shares."""
    for label, name in enumerate(found.faces.classes):
        yield name, len(found.spread[label]), found.shares(method, label)
    yield MEAN, sum(map(len, found.spread)), found.mean_shares(method)


def _named(shares: Shares | None) -> dict[str, float] | None:
    return None if shares is None else dict(zip(REGIONS, shares.tolist(), strict=True))


def _direction(direction: ConfusionDirection, classes: tuple[str, ...]) -> dict[str, Any]:
    truth, predicted = classes[direction.truth], classes[direction.predicted]
    return {"truth": truth, "prediction": predicted, "images": direction.count, "rows": direction.rows.tolist()}


def _pictures(found: Explanation) -> Iterator[tuple[str, Callable[[], Figure]]]:
    """Yield the name of each picture and a function that draws it; pictures that would be empty are left out."""
    names = _file_names(found.faces.classes)
    for label, name in enumerate(names):
        if len(found.right[label]):
            yield f"right_{name}.png", partial(right_faces_figure, found, label)
    for method in found.spec.methods if found.confusions else ():
        yield f"confusions_{method}.png", partial(confusions_figure, found, method)
    yield "mean_maps.png", partial(mean_maps_figure, found)
    yield "regions.png", partial(regions_figure, found)


def _file_names(classes: Sequence[str]) -> list[str]:
    """Turn class names into distinct parts of file names; a class name from a list may hold slashes."""
    names: list[str] = []
    for name in classes:
        base = folder_name(name)
        names.append(base if base not in names else f"{base}_{len(names)}")
    return names


def _earlier(folder: Path) -> set[str]:
    """Read the names of the files that an earlier explanation in this folder wrote."""
    try:
        names = json.loads((folder / JSON).read_text(encoding="utf-8"))["files"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return set()
    return {name for name in (names if isinstance(names, list) else ()) if isinstance(name, str) and Path(name).name == name}
