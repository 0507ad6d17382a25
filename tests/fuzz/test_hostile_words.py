import pytest
from hypothesis import strategies as st

from .attempts import type_all
from .hostile_words import overrides

pytestmark = pytest.mark.long

FEW = ("data.synthetic.train=14", "data.synthetic.val=7", "data.synthetic.test=7")
VERBS = ("plan", "plan", "plan", "describe", "data")


def test_hostile_overrides_end_with_a_message():
    def commands(drawn):
        verb, words = drawn
        yield (verb, *FEW, *words)

    type_all("overrides", 0.2, st.tuples(st.sampled_from(VERBS), st.lists(overrides(), min_size=1, max_size=2)), commands)
