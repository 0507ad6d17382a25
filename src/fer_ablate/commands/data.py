"""`data`: what a data set holds and what is wrong with it."""

from collections.abc import Sequence

from fer_ablate.commands import console
from fer_ablate.commands.request import Request, run_hydra
from fer_ablate.data.audit import audit
from fer_ablate.data.load import load_faces
from fer_ablate.data.roles import role_rows
from fer_ablate.data.summary import counts, flaws


def run(arguments: Sequence[str]) -> int:
    """Print counts per split and class, the roles, and the audit."""
    return run_hydra(arguments, _show)


def _show(request: Request) -> int:
    config = request.config.data
    with console.bar("reading the images") as tell:
        faces = load_faces(config, tell)
    height, width = faces.size
    what = f"{config.source.name}, {faces.channels}x{height}x{width}, digest {faces.digest[:16]}"
    console.facts([("data", what), *(("note", note) for note in faces.notes)])
    console.console.print()
    splits = counts(faces)
    rows = [[split.split, f"{split.total:,}", *(f"{number:,}" for number in split.per_class)] for split in splits]
    console.table("images", ["split", "all", *faces.classes], rows)
    roles = role_rows(faces, config)
    console.console.print()
    console.table(f"roles ({config.roles.name})", ["role", "images"], [[name, f"{len(part):,}"] for name, part in roles.items()])
    console.console.print()
    console.table("audit", ["flaw", "count"], [[name, f"{number:,}"] for name, number in flaws(audit(faces))])
    dropped = ", ".join(kind.name for kind in config.drop)
    console.console.print(
        f"  dropped: {dropped}"
        if dropped
        else "  nothing is dropped; data.drop=[duplicates_of_train,conflicts,blank] leaves flawed images out"
    )
    return 0
