import shutil
from pathlib import Path

import pytest
from hypothesis import strategies as st

from .attempts import problem_of, type_all, type_words
from .hostile_words import groups
from .hostile_yaml import RUNS_CODE, files

pytestmark = pytest.mark.long

FEW = ("data.synthetic.train=14", "data.synthetic.val=7", "data.synthetic.test=7")


def own_file(group, content):
    """Put a file of this group into a folder of the user's own, and give the words that choose it."""
    shutil.rmtree("own", ignore_errors=True)
    file = Path("own") / group / "mine.yaml"
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    return ("--config-dir", "own", f"{group}=mine", *FEW)


def test_hostile_study_files_end_with_a_message():
    def commands(drawn):
        verb, content = drawn
        yield (verb, *own_file("study", content))

    type_all("study files", 0.1, st.tuples(st.sampled_from(("plan", "plan", "table")), files()), commands)


def test_hostile_config_files_end_with_a_message():
    def commands(drawn):
        verb, group, content = drawn
        yield (verb, *own_file(group, content))

    chosen = st.sampled_from([group for group in groups() if not group.startswith("study")])
    type_all("config files", 0.05, st.tuples(st.sampled_from(("plan", "describe")), chosen, files()), commands)


@pytest.mark.parametrize("content", RUNS_CODE)
def test_code_in_files_never_runs(content):
    group = "experiment" if content.startswith("# @package") else "study"
    verb = "describe" if group == "experiment" else "plan"
    answer = type_words((verb, *own_file(group, content.encode())))
    assert not problem_of(answer)
    assert answer.code == 1
