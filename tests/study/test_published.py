"""The studies of the documents hold every published number, and no other: `published.csv` is their transcription."""

import csv
from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest

from fer_ablate.config.conf_files import conf_dir
from fer_ablate.judgement.row_runs import published_number
from fer_ablate.study.spec import study_spec

TRANSCRIPTION = Path(__file__).parent / "published.csv"
SPLITS = {"train_pooled": "train", "test_pooled": "test"}
"""What the transcription calls splits whose predictions were pooled over epochs."""


def transcribed():
    studies = defaultdict(lambda: defaultdict(dict))
    with TRANSCRIPTION.open(newline="", encoding="utf-8") as stream:
        for line in csv.DictReader(stream):
            studies[line["study"]][line["row"]][f"{line['split']}/{line['metric']}"] = float(line["value"])
    return studies


@cache
def composed(study):
    return study_spec([f"study={study}"])


def written(study):
    rows = {}
    for row in composed(study).rows:
        if not row.auxiliary:
            splits = [(*column.split("/"), published_number(given).value) for column, given in row.published.items()]
            rows[row.label] = {f"{SPLITS.get(split, split)}/{metric}": value for split, metric, value in splits}
    return rows


def test_there_are_sixteen_studies_with_69_rows():
    found = transcribed()
    files = {str(file.relative_to(conf_dir() / "study").with_suffix("")) for file in (conf_dir() / "study").glob("*/*.yaml")}
    assert set(found) == files
    assert (len(found), sum(map(len, found.values()))) == (16, 69)


@pytest.mark.parametrize("study", sorted(transcribed()))
def test_a_study_has_its_documents_rows_and_numbers(study):
    assert written(study) == transcribed()[study]
    assert list(written(study)) == list(transcribed()[study])


@pytest.mark.parametrize("study", sorted(transcribed()))
def test_every_published_number_has_its_column(study):
    one = composed(study)
    assert {column for row in one.rows for column in row.published} <= set(one.study.columns)
