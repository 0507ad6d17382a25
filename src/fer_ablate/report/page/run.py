"""The page of one run: its scores, figures and config, and how to reproduce it."""

from collections.abc import Mapping
from typing import Any

from fer_ablate.config.key import short
from fer_ablate.data.roles import ROLES
from fer_ablate.report.page.album import NOT_EXPLAINED, Album, explained, heat_maps, trust
from fer_ablate.report.page.elements import Code, Details, Facts, Notes, Page, Part, Section, Text, rendered
from fer_ablate.report.page.shell_commands import explain_command, run_command, steps
from fer_ablate.report.page.tables import changed_grid, class_grid, environments, in_order, scores_grid
from fer_ablate.report.quantities import count, duration, memory, metric_name, one_line
from fer_ablate.sizes import spelled
from fer_ablate.tracking.disk.run_folder import RunFolder, RunHeader
from fer_ablate.training.result import RunResult

SHEET = "Contact sheet of the images."
RUN_FIGURES = (
    ("curves.png", "Loss, accuracy and learning rate over the epochs."),
    ("confusion.png", "Confusion matrix on test: rows are the truth, columns the predictions."),
)


def run_page(folder: RunFolder, defaults: Mapping[str, Any]) -> Page:
    """The page of a finished run; the same bytes as long as nothing about the run changes.

    Args:
        folder: where the run is kept.
        defaults: dotted key -> value of the default config.
    """
    header, result, album = folder.header, folder.result, Album()
    name = f"{one_line(header.name)}, {header.repeat}"
    figures = [image for file, caption in RUN_FIGURES for image in album.read(folder.path / file, caption, caption)]
    caption = "The test faces with the most confident predictions, right ones above, wrong ones below."
    faces = album.read(folder.path / "faces.png", f"Grids of faces with predictions. {caption}", caption)
    files = sorted(folder.sheets.glob("*.png"))
    sheets = [image for file in files for image in album.read(file, SHEET, _sheet_caption(file.stem))]
    maps: tuple[Part, ...] = (*explained(album, heat_maps(folder), name), *trust(album, folder))
    hint = (Text(NOT_EXPLAINED, soft=True), Code(explain_command(header.key)))
    sections = (
        Section("lacking", "What the run lacks", (Notes(tuple(map(one_line, folder.notes.values()))),) if folder.notes else ()),
        Section("scores", "Scores", tuple(_scores(result))),
        Section("pictures", "Curves and confusions", tuple(figures)),
        Section("faces", "Faces", tuple(faces)),
        Section("heat-maps", "Heat maps", maps or hint),
        Section("config", "Config", tuple(_config(folder, header, defaults))),
        Section("environment", "Environment", tuple(environments({name: result.environment}))),
        Section("data", "Data and protocol", (Facts(tuple(_data(header, result))), *_data_notes(header), *sheets)),
        Section("reproduce", "How to reproduce", tuple(_reproduce(folder, header, result))),
        Section("left-out", "Left out", (Notes(tuple(album.left_out)),) if album.left_out else ()),
    )
    html = rendered(name, "Run", f"of {one_line(header.experiment)}", _facts(header, result), sections)
    return Page(html, 1, album.pictures, tuple(album.left_out))


def _facts(header: RunHeader, result: RunResult) -> Facts:
    test = result.splits.get("test")
    scores = [("test accuracy", f"{100 * test.metrics['acc']:.2f} % of {test.n:,} images")] if test is not None else []
    return Facts(
        (
            *scores,
            ("tested", f"weights of epoch {result.best_epoch} of {result.epochs}"),
            ("network", f"{count(result.parameters)} parameters, {count(result.macs)} MACs"),
            ("training", f"{duration(result.seconds)}, {memory(result.peak_memory_mb)}"),
            ("finished", result.finished_at[:16].replace("T", " ")),
            ("key", short(header.key)),
        )
    )


def _scores(result: RunResult) -> list[Part]:
    """All splits side by side, then the classes of the test split, and after a click those of the others."""
    grids = {split: class_grid(result.splits[split], split) for split in in_order(result.splits)}
    parts: list[Part] = [scores_grid(result.splits)]
    parts += [grids["test"]] if "test" in grids else []
    return [*parts, *(Details(f"By class on {metric_name(split)}", (grid,)) for split, grid in grids.items() if split != "test")]


def _config(folder: RunFolder, header: RunHeader, defaults: Mapping[str, Any]) -> list[Part]:
    grid = changed_grid(defaults, header.settings)
    parts: list[Part] = [grid] if grid is not None else []
    if folder.config_yaml:
        parts.append(Details("The whole config", (Code(folder.config_yaml.rstrip()),)))
    return parts


def _data(header: RunHeader, result: RunResult) -> list[tuple[str, str]]:
    """The data of the run; runs of earlier versions store fewer facts about them."""
    stored = header.dataset
    counts = [(role, f"{stored[role]:,} images") for role in ROLES if role in stored]
    if "size" in stored:
        counts.append(("images", f"{stored['channels']}x{spelled(tuple(stored['size']))}"))
    if stored.get("groups"):
        counts.append(("groups", f"{stored['groups']:,}"))
    if stored.get("left_out"):
        counts.append(("left out", ", ".join(f"{reason} {count:,}" for reason, count in sorted(stored["left_out"].items()))))
    return [*counts, ("classes", ", ".join(result.classes)), *result.protocol.items()]


def _data_notes(header: RunHeader) -> list[Part]:
    notes = tuple(map(one_line, header.dataset.get("notes", ())))
    return [Notes(notes)] if notes else []


def _sheet_caption(name: str) -> str:
    """Caption of a contact sheet by the name of its file."""
    kind, _, rest = name.partition("-")
    page = rest.removeprefix("0") if rest.isdigit() else ""
    captions = {"samples": f"Random images of {rest}", "augmented": "Originals beside augmented copies", "classes": "Classes"}
    return captions.get(kind, name) + (f", page {page}" if page else "") + "."


def _reproduce(folder: RunFolder, header: RunHeader, result: RunResult) -> list[Part]:
    dataset = str(header.dataset.get("name", ""))
    return [
        Code(steps([run_command(folder)], result.environment, dataset)),
        Facts((("key", header.key), ("data digest", header.data_digest), ("code digest", header.code_digest))),
    ]
