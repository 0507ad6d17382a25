"""Words of a command line before Hydra reads them."""

import re

import pytest

from fer_ablate.cli.command_line import parse
from fer_ablate.errors import UserError


@pytest.mark.parametrize(
    "words",
    [
        ["study.rows=[-1", "Conv]"],
        ["seed=3", "study.rows=[all,", "-1", "Conv]", "optimizer=adam"],
        ["hydra.sweeper.when={optimizer.lr:", "{optimizer:", "adam}}"],
    ],
)
def test_words_that_the_shell_split_are_whole(words):
    whole = " ".join(word for word in words if word not in ("seed=3", "optimizer=adam"))
    with pytest.raises(UserError, match=re.escape(f"the shell split {whole} at its blanks.\n    Write '{whole}'.")):
        parse(words)


@pytest.mark.parametrize("words", [["study.rows=[-1 Conv]", "seed=3"], ["optimizer.lr=[a", "b=3"], ["name=a]", "seed=[0"]])
def test_other_words_are_left_to_hydra(words):
    assert parse(words).overrides == words
