"""The published tables that come as studies: a document is a folder of `conf/study`, each of its files one table."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from fer_ablate.config.compose import conf_dir
from fer_ablate.config.schema import StudyConfig
from fer_ablate.config.study_rows import baseline_of, check_study, rows_of
from fer_ablate.errors import FaultyConfigError, UserError, choices
from fer_ablate.study.spec import Asked


def documents(config_dir: Path | None = None) -> dict[str, tuple[str, ...]]:
    """Document -> its tables, both in the order of the alphabet.

    Args:
        config_dir: what was given as `--config-dir`; its documents are added.
    """
    found: dict[str, set[str]] = {}
    for folder in (conf_dir(), *([config_dir] if config_dir is not None else [])):
        for file in (folder / "study").glob("*/*.yaml"):
            found.setdefault(file.parent.name, set()).add(file.stem)
    return {document: tuple(sorted(found[document])) for document in sorted(found)}


def study_names(known: Mapping[str, Sequence[str]]) -> list[str]:
    """`document/table` of all tables."""
    return [f"{document}/{table}" for document, tables in known.items() for table in tables]


def read_studies(names: Sequence[str], config_dir: Path | None = None) -> list[Asked]:
    """Rows, seeds and published numbers of these studies as their files give them.

    The files alone are read: composing their configs as well, which a plan does, takes a hundred times as long.

    Args:
        names: of `study_names`.
        config_dir: what was given as `--config-dir`; its files go before those that come with the package.

    Raises:
        UserError: a file has faults; the message names it.
    """
    return [_read(name, config_dir) for name in names]


def _read(name: str, config_dir: Path | None) -> Asked:
    own = [config_dir / "study" / f"{name}.yaml"] if config_dir is not None else []
    file = next((file for file in own if file.is_file()), conf_dir() / "study" / f"{name}.yaml")
    try:
        study = cast(StudyConfig, OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(StudyConfig), OmegaConf.load(file))))
    except (OSError, YAMLError, OmegaConfBaseException) as error:
        raise UserError(f"{file}: {next(iter(str(error).splitlines()), type(error).__name__)}") from error
    if faults := check_study(study):
        raise UserError(f"{file}: {FaultyConfigError(faults)}")
    return Asked(
        name=name,
        study=study,
        from_file=True,
        rows=tuple(rows_of(study)),
        seeds=tuple(study.seeds),
        baseline=baseline_of(study),
        typed=(),
        factor=None,
    )


def named_tables(document: str, known: Mapping[str, Sequence[str]]) -> Sequence[str]:
    """The tables of a document, if there is such a document.

    Raises:
        UserError: there is not; with what there is.
    """
    if document not in known:
        raise UserError(f"'{document}' is no document. {choices(document, known) if known else 'There are none in conf/study.'}")
    return known[document]


def named_study(document: str, table: str, known: Mapping[str, Sequence[str]]) -> str:
    """`document/table`, if there is such a table.

    Raises:
        UserError: there is not; with what there is.
    """
    tables = named_tables(document, known)
    if table not in tables:
        raise UserError(f"'{table}' is no table of {document}. {choices(table, tables)}")
    return f"{document}/{table}"
