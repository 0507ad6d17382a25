"""Published tables that come as studies: each folder of `conf/study` is a document, each file in it a table."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fer_ablate.config.by_class import report_columns
from fer_ablate.config.conf_files import conf_dir
from fer_ablate.config.schema import StudyConfig
from fer_ablate.config.study_rows import baseline_of, rows_of, study_file_faults
from fer_ablate.config.yaml_files import read_yaml
from fer_ablate.errors import FaultyConfigError, UserError, choices, first_line
from fer_ablate.study.spec import StudySpec, study_file, switch_faults


def documents(config_dir: Path | None = None) -> dict[str, tuple[str, ...]]:
    """Document -> its tables, both in alphabetical order.

    Args:
        config_dir: what was given as `--config-dir`; its documents are added.
    """
    found: dict[str, set[str]] = {}
    # A table in both folders is one table; `study_file` decides which of the two files counts.
    for folder in (conf_dir(), *([config_dir] if config_dir is not None else [])):
        for file in (folder / "study").glob("*/*.yaml"):
            found.setdefault(file.parent.name, set()).add(file.stem)
    return {document: tuple(sorted(found[document])) for document in sorted(found)}


def study_names(known: Mapping[str, Sequence[str]]) -> list[str]:
    """`document/table` of all tables."""
    return [f"{document}/{table}" for document, tables in known.items() for table in tables]


def read_studies(names: Sequence[str], config_dir: Path | None = None) -> list[StudySpec]:
    """Rows, seeds and published numbers of these studies, from their files alone.

    Composing the configs of all rows, as a plan does, takes a hundred times as long.

    Args:
        names: from `study_names`.
        config_dir: what was given as `--config-dir`; its files go before those of the package.

    Raises:
        UserError: a file has faults; the message names it.
    """
    return [_read(name, config_dir) for name in names]


def published_counts(studies: Sequence[StudySpec]) -> tuple[int, int]:
    """Number of printed numbers of the rows of these studies, and of those in classification reports."""
    rows = [row for study in studies for row in study.rows]
    return sum(len(row.published) for row in rows), sum(len(report_columns(row.by_class)) for row in rows)


def _read(name: str, config_dir: Path | None) -> StudySpec:
    file = study_file(name, config_dir)
    if faults := switch_faults(file):
        raise FaultyConfigError(faults)
    try:
        study = cast(StudyConfig, OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(StudyConfig), read_yaml(file))))
    except OmegaConfBaseException as error:
        raise UserError(f"{file}: {first_line(error)}") from error
    if faults := study_file_faults(study):
        raise UserError(f"{file}: {FaultyConfigError(faults)}")
    return StudySpec(
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
        UserError: there is none; the message lists those there are.
    """
    if document not in known:
        raise UserError(f"'{document}' is no document. {choices(document, known) if known else 'There are none in conf/study.'}")
    return known[document]


def named_study(document: str, table: str, known: Mapping[str, Sequence[str]]) -> str:
    """`document/table`, if there is such a table.

    Raises:
        UserError: there is none; the message lists those there are.
    """
    tables = named_tables(document, known)
    if table not in tables:
        raise UserError(f"'{table}' is no table of {document}. {choices(table, tables)}")
    return f"{document}/{table}"
