"""Shell commands that reproduce a study, a run or its environment."""

from collections.abc import Mapping, Sequence

from fer_ablate.config.conf_files import conf_dir
from fer_ablate.config.key import short
from fer_ablate.config.overrides import Override
from fer_ablate.config.study_rows import rows_of
from fer_ablate.shell import program
from fer_ablate.study.spec import StudySpec
from fer_ablate.tracking.disk.run_folder import RunFolder

PLACES = ("runs_dir=", "tracking=", "tracking.", "force=", "hydra/", "hydra.", "init_from=")
"""Beginnings of words that name places, which differ for every reader."""

OWN_PACKAGE = "fer-ablate"

NOT_PACKAGES = ("device", "devices", "hardware", "threads", "precision", "python", "platform", OWN_PACKAGE)
"""Entries of an environment that pip cannot install from an index."""


def study_command(spec: StudySpec, verb: str = "-m") -> str:
    """The command for a study or a grid with this verb; seeds and folds are written out."""
    own = rows_of(spec.study) if spec.from_file else []
    # Every row of the file is crossed with the same grid, so the first one's part shows all of it.
    rows = spec.rows[: len(spec.rows) // len(own)] if own else spec.rows
    known, typed = len(own[0].overrides) if own else 0, len(spec.typed)
    grid: dict[str, list[str]] = {}
    for row in rows:
        for word in row.overrides[known : len(row.overrides) - typed]:
            override = Override.parse(word)
            grid.setdefault(override.prefix + override.key, []).append(override.value or "")
    words = [f"study={spec.name}"] if spec.from_file else []
    words += [f"{key}={','.join(dict.fromkeys(values))}" for key, values in grid.items()]
    words += [word for word in spec.typed if not word.startswith(PLACES)]
    if spec.seeds is not None:
        words.append(f"seed={','.join(map(str, spec.seeds))}")
    if spec.folds is not None:
        words.append(f"study.folds={spec.folds}")
    return program(verb, *words)


def own_file(spec: StudySpec) -> bool:
    """Whether the study's file is the user's own, so that its folder must be given."""
    return spec.from_file and not (conf_dir() / "study" / f"{spec.name}.yaml").is_file()


def run_command(folder: RunFolder) -> str:
    """The command that trains one run."""
    header = folder.header
    words = [word for word in header.overrides if not word.startswith(PLACES)]
    if start := folder.init_from:
        # A key is of letters and digits alone; all else is a path or an address.
        words.append(f"init_from={short(start) if start.isalnum() else start}")
    return program(*words)


def explain_command(key: str) -> str:
    """The command that draws the heat maps of a run."""
    return program("explain", f"run={short(key)}")


def installing(environment: Mapping[str, str]) -> str:
    """The command that installs the versions of a run, for the folder of the package's sources."""
    # PyPI has no local versions such as 2.4.0+cu121.
    packages = [f"{name}=={version.split('+')[0]}" for name, version in environment.items() if name not in NOT_PACKAGES]
    return " ".join(["pip install -e .", *packages])


def steps(commands: Sequence[str], environment: Mapping[str, str], dataset: str) -> str:
    """Lines to type in the folder of the package's sources: installation, data, then these commands."""
    version = environment.get(OWN_PACKAGE, "")
    lines = [f"# in the folder of the sources of {OWN_PACKAGE} {version}".rstrip(), installing(environment)]
    if dataset != "synthetic":
        lines.append(f"export FER_ABLATE_DATA=...   # the folder or file with the images of {dataset}")
    return "\n".join([*lines, *commands])
