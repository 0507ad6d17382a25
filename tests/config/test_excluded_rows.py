import pytest

from fer_ablate.config.excluded_rows import exclusion_faults, exclusion_of, is_excluded, without_effect

ROW = ["optimizer=adam", "+optimizer.lr=1e-1", "model.depths=[1,2]", "model.norm='none'"]


@pytest.mark.parametrize(
    ("exclusion", "expected"),
    [
        ({"optimizer": "adam"}, True),
        ({"optimizer": ["sgd", "adam"]}, True),
        ({"optimizer": "sgd"}, False),
        ({"optimizer.lr": 0.1}, True),
        ({"optimizer.lr": ">0.05"}, True),
        ({"optimizer.lr": "<= 0.05"}, False),
        ({"optimizer": "!=adam"}, False),
        ({"optimizer": ">1"}, False),  # a name has no order
        ({"model.depths": [[1, 2]]}, True),
        ({"model.norm": "none"}, True),
        ({"optimizer": "adam", "optimizer.lr": 0.01}, False),
        ({"optimizer": "adam", "seed": 0}, False),  # no word of the row sets it
    ],
)
def test_all_conditions_of_an_exclusion_hold(exclusion, expected):
    assert is_excluded(ROW, [{"optimizer": "nosuch"}, exclusion]) is expected


def test_the_last_override_of_a_key_counts():
    assert not is_excluded([*ROW, "optimizer=sgd"], [{"optimizer": "adam"}])


def test_malformed_exclusions_are_faults():
    assert exclusion_faults([{"optimizer": "adam", "optimizer.lr": [0.1]}, {"a": ">=1"}]) == []
    for wrong in (3, {}, {"a": {"b": 1}}, {"a": []}, {"a": ">choice(1,2)"}):
        assert [fault.key for fault in exclusion_faults([wrong])] == ["study.exclude"], wrong


def test_exclusions_without_effect_are_faults():
    (fault,) = without_effect([{"optimizer": "adam"}, {"optimiser": "adam"}], [ROW])
    assert "optimiser" in fault.problem
    assert "optimizer.lr" in fault.remedy


def test_the_way_out_leaves_out_what_it_should():
    words = [["base=1", f"a={a}", f"b={b}"] for a in (1, 2) for b in (1, 2)]
    assert exclusion_of(words[:2], words[2:]) == "[{a: 1}]"
    assert exclusion_of([words[0], words[3]], words[1:3]) == "[{a: 1, b: 1}, {a: 2, b: 2}]"
