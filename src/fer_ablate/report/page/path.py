"""An ablation path on the page of the study that its rows are: the waterfall, and what each step gains."""

from dataclasses import replace
from pathlib import Path

from fer_ablate.errors import UserError
from fer_ablate.judgement.judged_table import JudgedTable
from fer_ablate.judgement.path import FILE, AblationPath
from fer_ablate.report.page.album import Album
from fer_ablate.report.page.elements import Details, Grid, Notes, Part
from fer_ablate.report.plain_table import PlainTable
from fer_ablate.report.quantities import metric_name, one_line
from fer_ablate.report.table.path import candidates_table, judged_columns, path_notes, path_table, verdicts_of, without_verdicts
from fer_ablate.tracking.disk.files import read_text
from fer_ablate.tracking.disk.scan import folder_name

TITLE = "Ablation path"


def path_parts(album: Album, folder: Path, table: JudgedTable) -> tuple[Part, ...]:
    """For each judged column the waterfall and the steps; none where no path was made of just these runs.

    Args:
        album: takes the images.
        folder: where the table is.
        table: judged, of the rows of a path.
    """
    # The rows as a study of their own have a folder of their own.
    places = (folder, *sorted(folder.parents[1].glob(f"*/{folder_name(table.study)}-table")))
    place, path = next(((place, path) for place in places if (path := _path_in(place, table)) is not None), (folder, None))
    if path is None:
        return ()
    parts: list[Part] = []
    for column in judged_columns(path):
        caption = f"From {one_line(path.baseline)} to {one_line(path.target)}: {metric_name(column)} after each step."
        plot = place / f"waterfall-{column.replace('/', '-')}.png"
        parts += album.read(plot, f"Waterfall plot. {caption} The table below has the numbers.", caption)
        steps = path_table(path, column)
        parts += [
            _grid(without_verdicts(steps)),
            _grid(replace(verdicts_of(steps), title=f"Verdicts on the gains in {metric_name(column)}")),
        ]
    if any(len(step.decided.candidates) > 1 for step in path.steps):
        tried = _grid(candidates_table(path))
        parts.append(Details(tried.caption, (tried,)))
    return (*parts, Notes(path_notes(path)))


def _path_in(folder: Path, table: JudgedTable) -> AblationPath | None:
    """The path that the verb `path` left, unless its rows have other scores here, such as those of fresh seeds."""
    try:
        path = AblationPath.from_json(read_text(folder / FILE))
    except (UserError, ValueError):
        return None
    here = {row.label: row.scores for row in table.rows}
    there = {path.baseline: path.start, **{step.decided.label: step.scores for step in path.steps}}
    same = all(repr(here.get(label)) == repr(scores) for label, scores in there.items())  # NaN equals nothing, not even itself
    return path if path.steps and same else None


def _grid(table: PlainTable) -> Grid:
    return Grid(table.title, table.header, table.rows, words=frozenset(range(table.left)))
