"""Bounds of the schema: Hydra and OmegaConf compose the fields as before, and each value outside is named with the way out."""

from dataclasses import dataclass, field
from typing import Annotated, Any

import pytest
from annotated_types import Ge, Gt, Interval, Unit
from omegaconf import OmegaConf
from omegaconf.errors import ValidationError

from fer_ablate.config.bounds import bound_faults, field_texts
from fer_ablate.config.choices import LOSSES, PRETRAINED, Mode
from fer_ablate.config.compose import composed, composer, from_yaml, to_config, to_yaml
from fer_ablate.config.constraints import DIFFERENT, SIZE, one_of
from fer_ablate.config.schema import Config, RowConfig, StudyConfig
from fer_ablate.models.published import PUBLISHED
from fer_ablate.training.checks import run_faults

Positive = Annotated[int, Ge(1)]


@dataclass(kw_only=True)
class Layer:
    width: Annotated[Positive, Unit("channels")] = 1  # channels of the layer
    rate: Annotated[float, Interval(ge=0, lt=1)] | None = None  # dropout rate; null: none


@dataclass(kw_only=True)
class Example:
    layers: list[Layer] = field(default_factory=list)
    last: Layer | None = None
    counts: Annotated[list[Positive], DIFFERENT] = field(default_factory=list)  # numbers without repetition
    named: dict[str, Positive] = field(default_factory=dict)
    # Speed of the thing,
    # in both directions.
    speed: Annotated[float, Gt(0), Unit("m/s")] = 1.0
    kind: Annotated[str, one_of("slow", "fast")] = "slow"
    mode: Mode = Mode.max
    size: Annotated[Any, SIZE] = None
    mixed: Annotated[str | list[str], DIFFERENT] = "a"


def composed_example(**values):
    return OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(Example), OmegaConf.create(values)))


def faults(**values):
    return [str(fault) for fault in bound_faults(composed_example(**{"counts": [1], **values}), "example")]


@pytest.mark.parametrize(
    "values",
    [
        {"layers": [{"width": "3"}], "last": {"rate": None}},
        {"named": {"a": 2}, "mixed": ["a", "b"], "mode": "min"},
        {"size": [56, 40], "speed": 2},
    ],
    ids=str,
)
def test_omegaconf_reads_the_bare_types(values):
    assert faults(**values) == []


@pytest.mark.parametrize("values", [{"layers": [{"width": "wide"}]}, {"counts": ["x"]}, {"named": {"a": "x"}}, {"speed": "x"}])
def test_omegaconf_still_refuses_other_types(values):
    with pytest.raises(ValidationError, match="could not be converted to"):
        composed_example(**values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"layers": [{}, {"width": 0}]},
            "example.layers[1].width: 0 is below 1.\n    Give a whole number of channels from 1: channels of the layer.",
        ),
        ({"last": {"rate": 1}}, "example.last.rate: 1.0 is not below 1.\n    Give a number from 0 and below 1: dropout rate"),
        ({"last": {"rate": -0.5}}, "example.last.rate: -0.5 is below 0."),
        ({"named": {"a": 0}}, "example.named.a: 0 is below 1."),
        ({"counts": [2, 0]}, "example.counts[1]: 0 is below 1.\n    Give a whole number from 1: numbers without repetition."),
        ({"counts": [2, 2]}, "example.counts: [2, 2] is not a list of one or more different values."),
        ({"speed": 0}, "0.0 is not above 0.\n    Give a number of m/s above 0: speed of the thing, in both directions."),
        ({"speed": float("nan")}, "example.speed: nan is not above 0."),
        ({"speed": float("inf")}, "example.speed: inf is not finite.\n    Give a number of m/s above 0: speed of the thing"),
        ({"kind": "fats"}, "example.kind: 'fats' is not known.\n    Did you mean 'fast'? Choices: slow, fast."),
        ({"size": "large"}, "example.size: 'large' is not a side in pixels, such as 48, or [height, width]."),
        ({"mixed": ["a", "a"]}, "example.mixed: ['a', 'a'] is not a list of one or more different values."),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_fault_names_key_value_bound_and_remedy(values, message):
    (fault,) = faults(**values)
    assert message in fault


def test_all_faults_are_found_at_once():
    found = faults(layers=[{"width": 0, "rate": 2}], speed=-1, kind="?")
    assert [fault.partition(":")[0] for fault in found] == [
        "example.layers[0].width",
        "example.layers[0].rate",
        "example.speed",
        "example.kind",
    ]


def test_values_that_are_still_missing_are_no_faults():
    assert bound_faults(StudyConfig(rows=[RowConfig()]), "study") == []


def test_every_section_of_a_run_is_checked(config_of):
    values = {
        "seed": -1,
        "data.synthetic.train": 6,
        "data.balance.copies": 0,
        "model.width": 0,
        "loss.gamma": -1,
        "trainer.batch_size": 1,
        "trainer.early_stopping.min_delta": -1,
        "evaluation.crop": 0,
        "search.objective": "[]",
        "runs_dir": "",
        "data.std": "[inf]",
        "data.synthetic.pixel_noise": "inf",
        "model.norm_eps": "inf",
    }
    found = [fault.key for fault in run_faults(config_of(*(f"{key}={value}" for key, value in values.items())))]
    assert sorted(found) == sorted(values)


def test_a_config_outside_bounds_is_still_readable():
    """A finished run stays readable, whatever bounds a later version sets."""
    with composer():
        config = to_config(composed(["trainer.batch_size=1"]))
    assert from_yaml(to_yaml(config)) == config


def sections(owner, seen=()):
    yield owner
    for text in field_texts(owner).values():
        if text.section is not None:
            yield from sections(text.section)


def test_every_key_has_its_meaning():
    nameless = [
        f"{owner.__name__}.{name}"
        for owner in sections(Config)
        for name, text in field_texts(owner).items()
        if not text.meaning and text.section is None
    ]
    assert nameless == []


def test_lists_of_choices_agree_with_the_code():
    assert set(PRETRAINED) == set(PUBLISHED)
    assert "cross_entropy" in LOSSES
