"""The studies of the documents hold every published number, and no other.

`published.csv` transcribes the numbers of rows, `per_class.csv` the classification reports and, of lenet5, all printed digits.
"""

import csv
import os
import re
from collections import defaultdict
from pathlib import Path

import pytest

from fer_ablate.config.conf_files import conf_dir
from fer_ablate.errors import UserError
from fer_ablate.judgement.row_runs import published_by_class, published_numbers
from fer_ablate.labels import EMOTIONS
from fer_ablate.metrics import AVERAGES, is_of_class, report_metric
from fer_ablate.study.documents import documents, published_counts, read_studies, study_names
from fer_ablate.study.spec import study_spec

from .shipped_studies import shipped

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SHARED = Path(os.environ.get("FER_ABLATE_DATA", HERE)).resolve().parents[1] / "papers"
"""The transcription beside the data of the machine on which it is maintained."""

SPLITS = {"train_pooled": "train", "test_pooled": "test", "train_eval": "train"}
"""What the transcription calls splits whose predictions were pooled over epochs, or made of the train images afterwards."""

REPORTS, REPEATED = 266, 19
"""Numbers of the seven reports by class; and numbers of `per_class.csv` that are those of rows again, some with more digits."""


def lines_of(name, folder=HERE):
    with (folder / f"{name}.csv").open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


IN_A_NOTE = {"survey/ensemble": {"ResNet": {}, "eight ResNets": {"test/acc": "75.2"}}}
"""Rows of a number that the transcription has in the note of another one alone: that of ResNet in survey/networks."""

IN_A_LOG = {"pisa/class_weight": {"CNN": {"val/acc": "63.88"}}, "pisa/balanced_cnn": {"CNN balanced": {"val/acc": "64.97"}}}
"""Numbers of the epoch whose weights are tested, which the document's log has and the transcription has not."""

BESIDES = sum(len(numbers) for place in (IN_A_NOTE, IN_A_LOG) for rows in place.values() for numbers in rows.values())
"""Published numbers that the transcription does not have in a line of their own."""


def transcribed():
    studies = defaultdict(lambda: defaultdict(dict))
    for line in lines_of("published"):
        studies[line["study"]][line["row"]][f"{line['split']}/{line['metric']}"] = line["value"]
    for study, rows in IN_A_LOG.items():
        for label, numbers in rows.items():
            studies[study][label] |= numbers
    return studies | IN_A_NOTE


def named(column):
    split, _, metric = column.partition("/")
    return f"{SPLITS.get(split, split)}/{metric}"


def written(study):
    return {
        row.label: {named(column): number.value for column, number in published_numbers(row).items()}
        for row in shipped(study).rows
        if not row.auxiliary
    }


def test_there_are_seventeen_studies_with_71_rows():
    found = transcribed()
    files = {str(file.relative_to(conf_dir() / "study").with_suffix("")) for file in (conf_dir() / "study").glob("*/*.yaml")}
    assert set(found) == files
    assert (len(found), sum(map(len, found.values()))) == (17, 71)


@pytest.mark.long
@pytest.mark.parametrize("study", sorted(transcribed()))
def test_a_study_has_its_documents_rows_and_numbers(study):
    found, expected = written(study), transcribed()[study]
    assert list(found) == list(expected)
    for label, numbers in expected.items():
        assert set(found[label]) == set(numbers)
        for column, text in numbers.items():
            # Where a document prints more digits than the transcription, the study has all of them.
            assert round(found[label][column], len(text.partition(".")[2])) == float(text), (label, column)


def test_every_published_number_has_its_column():
    studies = {name: shipped(name) for name in transcribed()}
    published = {name: {column for row in one.rows for column in row.published} for name, one in studies.items()}
    assert [name for name, one in studies.items() if not published[name] <= set(one.study.columns)] == []


def numbers_by_class():
    """Every line of `per_class.csv` with what the study states for it: the reports, and the numbers of rows."""
    rows = {(name, row.label): row for name in transcribed() for row in shipped(name).rows}
    for line in lines_of("per_class"):
        row = rows[line["study"], line["row"]]
        column = f"{line['split']}/{report_metric(line['class'], line['metric'])}"
        stated = [(named(name), number.value) for name, number in published_by_class(row).items()]
        stated += [(named(name), number.value) for name, number in published_numbers(row).items()]
        yield line, column, [value for name, value in stated if name == column]


def test_every_number_by_class_stands_in_a_study():
    found = list(numbers_by_class())
    assert len(found) == REPORTS + REPEATED == 285
    for line, column, values in found:
        assert any(value == pytest.approx(float(line["value"]), rel=1e-12) for value in values), (line, column, values)


def test_no_study_prints_another_number_by_class():
    known = {(line["study"], line["row"], column) for line, column, _ in numbers_by_class()}
    for name in transcribed():
        for row in shipped(name).rows:
            assert {(name, row.label, named(column)) for column in published_by_class(row)} <= known


def test_reports_name_the_classes_of_fer2013():
    known = {*EMOTIONS, "accuracy", *AVERAGES}
    for name in transcribed():
        for row in shipped(name).rows:
            metrics = (column.partition("/")[2] for column in published_by_class(row))
            assert {metric.partition("/")[2] for metric in metrics if is_of_class(metric)} <= known


def test_the_ensemble_s_number_stands_in_a_note():
    (line,) = (line for line in lines_of("published") if (line["study"], line["row"]) == ("survey/networks", "ResNet"))
    assert IN_A_NOTE["survey/ensemble"]["eight ResNets"]["test/acc"] in line["note"]


@pytest.mark.skipif(not (SHARED / "per_class.csv").is_file(), reason="the transcriptions are beside the data of another machine")
@pytest.mark.parametrize("name", ["published", "per_class"])
def test_the_copies_here_are_the_shared_transcriptions(name):
    assert lines_of(name) == lines_of(name, SHARED)


@pytest.mark.long
def test_readme_and_docs_state_the_true_counts():
    names = study_names(documents())
    rows, reports = published_counts(read_studies(names))
    assert (rows, reports) == (len(lines_of("published")) + BESIDES, REPORTS)
    stated = f"{rows + reports} published numbers ({rows} in the rows of tables, {reports} by class)"
    for file in ("README.md", "docs/documents.md"):
        text = re.sub(r"\s+", " ", (ROOT / file).read_text(encoding="utf-8"))
        assert stated in text, f"{file} does not say: {stated}"
        assert set(re.findall(r"(\d+) published numbers", text)) == {str(rows + reports)}


def test_a_user_may_state_a_report(tmp_path):
    """In a file of their own; a fault in it is one message."""
    (tmp_path / "study" / "mine").mkdir(parents=True)
    file = tmp_path / "study" / "mine" / "table.yaml"
    text = "rows:\n  - label: one\n    by_class:\n      test:\n        fear: [51, 33, 40, 496]\n"
    file.write_text(text)
    (read,) = read_studies(["mine/table"], tmp_path)
    assert [number.value for number in published_by_class(read.rows[0]).values()] == [51, 33, 40, 496]
    assert study_spec(["study=mine/table"], tmp_path).rows[0].by_class == read.rows[0].by_class
    file.write_text(text.replace("33,", "333,"))
    for reading in (lambda: read_studies(["mine/table"], tmp_path), lambda: study_spec(["study=mine/table"], tmp_path)):
        with pytest.raises(UserError, match="by_class test, fear: 333 is not a percentage") as raised:
            reading()
        assert str(raised.value).count("by_class") == 1
