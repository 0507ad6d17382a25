"""What effects say in words."""

from fer_ablate.judgement.effect_words import sentences
from fer_ablate.judgement.judged_table import Effect, EffectKind, Factor, FactorTest, Verdict
from fer_ablate.judgement.wording import Judging

from .factors import OPTIMIZER, SCHEDULER, crossed, difference


def said(design, main=(), both=(), simple=(), tests=(), cells=None, metric="acc", higher=True):
    """Sentences; effects as (level or levels, value, certain)."""
    names = [factor.name for factor in design.factors]
    reference = {factor.name: factor.reference for factor in design.factors}

    def effect(kind, factors, levels, value, certain):
        verdict = (Verdict.better if (value > 0) == higher else Verdict.worse) if certain else Verdict.noise
        references = tuple(reference[name] for name in factors)
        return Effect(kind, tuple(factors), tuple(levels), references, difference(value, verdict))

    place = {level: factor.name for factor in design.factors for level in factor.levels}
    effects = [effect(EffectKind.main, [place[level]], [level], *rest) for level, *rest in main]
    effects += [effect(EffectKind.interaction, names, levels, *rest) for levels, *rest in both]
    effects += [effect(EffectKind.simple, [place[one] for one in levels], levels, *rest) for levels, *rest in simple]
    cells = cells or dict.fromkeys(design.combinations, 0.5)
    return sentences(design.factors, effects, tests, cells, Judging(metric, higher))


SQUARE = crossed(OPTIMIZER, Factor("scheduler", ("constant", "plateau"), "constant"))
SAME_WAY = dict(zip(SQUARE.combinations, (0.6, 0.61, 0.62, 0.62), strict=True))
CROSSING = dict(zip(SQUARE.combinations, (0.6, 0.63, 0.64, 0.62), strict=True))
QUIET = [(("sgd", "plateau"), 0.002, False)]


def test_whatever_needs_no_interaction_and_one_direction():
    main = [("sgd", 0.012, True)]
    (found,) = said(SQUARE, main, QUIET, cells=SAME_WAY)
    assert found == "optimizer: sgd gains 1.2 points over adam whatever the scheduler."
    (found,) = said(SQUARE, main, QUIET, cells=CROSSING)
    assert found == "optimizer: sgd gains 1.2 points over adam on average over the scheduler."
    test = FactorTest(("optimizer", "scheduler"), 9, 1, 8, 0.01)
    (found,) = said(SQUARE, main, QUIET, tests=[test], cells=SAME_WAY)
    assert found.endswith("on average over the scheduler.")


def test_only_needs_an_interaction_and_one_effect():
    simple = [(("plateau", "adam"), 0.001, False), (("plateau", "sgd"), 0.021, True)]
    both = [(("sgd", "plateau"), 0.02, True)]
    *_, found = said(SQUARE, [("plateau", 0.011, True)], both, simple)
    assert found == "scheduler: plateau helps with sgd only (+2.1 points against constant); with adam it is within noise."
    *_, found = said(SQUARE, [("plateau", 0.011, True)], QUIET, simple, cells=SAME_WAY)
    assert "only" not in found
    simple = [(("plateau", "adam"), -0.012, True), (("plateau", "sgd"), 0.021, True)]
    *_, found = said(SQUARE, [("plateau", 0.004, False)], both, simple)
    assert found == (
        "scheduler: the effect of plateau depends on the optimizer: it loses 1.2 points to constant with adam and "
        "gains 2.1 points over constant with sgd."
    )


def test_only_is_not_said_of_uncompared_levels():
    """Interactions compare with the reference, so nothing is known between two other levels."""
    both = [(("sgd", "cosine"), 0.03, True), (("sgd", "step"), 0.01, False)]
    simple = [(("sgd", "constant"), 0, False), (("sgd", "cosine"), 0.03, True), (("sgd", "step"), 0.01, False)]
    (found,) = said(crossed(OPTIMIZER, SCHEDULER), [("sgd", 0.01, False)], both, simple)
    assert found == (
        "optimizer: the effect of sgd depends on the scheduler: it gains 3.0 points over adam with cosine; "
        "with constant and step it is within noise."
    )


def test_noise_and_losses_have_words():
    effect = Effect(
        EffectKind.main, ("optimizer",), ("sgd",), ("adam",), difference(0.0, verdict="within noise (could be -1 to +2; x)")
    )
    assert sentences([OPTIMIZER], [effect], [], {}, Judging("acc")) == (
        "optimizer: sgd (could be -1 to +2) is within noise of adam.",
    )
    assert said(SQUARE, [("sgd", 0.002, False)]) == ("optimizer: sgd (could be -1.0 to +1.0) is within noise of adam.",)
    (found,) = said(SQUARE, [("sgd", -0.02, True)], cells=CROSSING, metric="loss", higher=False)
    assert found == "optimizer: sgd is better by 0.020 than adam on average over the scheduler."
