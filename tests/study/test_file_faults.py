"""A study's file as it is written: labels that YAML reads as something else, and lists that are none."""

import pytest

from fer_ablate.study.file_faults import written_faults


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        (
            "rows:\n  - {label: off}\n  - {label: 1e-3}\n  - {label: 010}\n  - {label: 'on'}",
            ["label: off", "label: 1e-3", "label: 010"],
        ),
        ("rows:\n  - {label: a, start_from: no}\nbaseline: 2026-01-01", ["start_from: no"]),
        ("rows:\n  - {label: a, average_of: [yes, b]}", ["average_of: yes"]),
        ("published: {0.1: {test/acc: 3}, a: {test/acc: 3}}", ["published: 0.1"]),
        ("rows:\n  - {label: 4}\n  - {label: 0.1}\n  - {label: null}\n  - {label: a b}\n  - label: 1, 2", []),
        ("seeds: 3\npublished: [1]\nrows: {label: a}", ["3 is no list", "[1] is no mapping", "{'label': 'a'} is no list"]),
        ("no yaml: [", []),
        ("", []),
    ],
)
def test_faults_name_what_is_written(tmp_path, text, problems):
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    found = [str(fault) for fault in written_faults(file)]
    assert len(found) == len(problems)
    assert all(any(problem in fault for fault in found) for problem in problems)


def test_a_missing_file_has_no_faults(tmp_path):
    assert written_faults(tmp_path / "none.yaml") == []
