"""What effects say in sentences: which levels differ from their reference, and whether that depends on another factor."""

import itertools
from collections.abc import Mapping, Sequence

from fer_ablate.judgement.judged_table import Effect, EffectKind, Factor, FactorTest, Verdict
from fer_ablate.judgement.wording import Judging
from fer_ablate.metrics import in_percent

ALPHA = 0.05

DECIDED = (Verdict.better, Verdict.worse, Verdict.higher, Verdict.lower)

Levels = tuple[str, ...]


def sentences(
    factors: Sequence[Factor],
    effects: Sequence[Effect],
    tests: Sequence[FactorTest],
    cells: Mapping[Levels, float],
    judging: Judging,
) -> tuple[str, ...]:
    """A sentence or more for each factor.

    That a level differs "whatever" the level of another factor is only said if no interaction of the two is certain and the
    level is better, or worse, in every single combination. That it helps "only" with one level needs a certain interaction, and
    an effect that is certain there and in no other place.

    Args:
        factors: in order.
        effects: all of a column, also those that are not shown.
        tests: analysis of variance.
        cells: levels -> mean of the row; empty if each row changes one factor.
        judging: metric of the column, and whether more of it is better.
    """
    words = _Words(factors, effects, tests, cells, judging)
    return tuple(sentence for place in range(len(factors)) for sentence in words.of_factor(place))


class _Words:
    """The sentences of a column."""

    def __init__(
        self,
        factors: Sequence[Factor],
        effects: Sequence[Effect],
        tests: Sequence[FactorTest],
        cells: Mapping[Levels, float],
        judging: Judging,
    ) -> None:
        self.factors, self.effects, self.cells, self.judging = factors, effects, cells, judging
        self.higher, self.percent = judging.higher_is_better, in_percent(judging.metric)
        self.unit = " points" if self.percent else ""
        self.certain = {frozenset(one.factors) for one in tests if one.p < ALPHA}

    def of_factor(self, place: int) -> list[str]:
        """What is certain about a factor, level by level; one sentence if nothing is."""
        factor = self.factors[place]
        found = [one for one in self.effects if one.kind is EffectKind.main and one.factors == (factor.name,)]
        certain = [sentence for effect in found if (sentence := self._of_level(place, effect))]
        if certain:
            quiet = [one.levels[0] for one in found if not self._of_level(place, one) and one.difference.kind is Verdict.noise]
            verb = "is" if len(quiet) == 1 else "are"
            more = [f"{factor.name}: {_listed(quiet)} {verb} within noise of {factor.reference}."] if quiet else []
            return [f"{factor.name}: {sentence}." for sentence in certain] + more
        tested = [one for one in found if one.difference.kind is Verdict.noise]
        if not tested:
            return []
        # The verdicts have intervals that agree with them, as wide as the correction requires.
        each = [f"{one.levels[0]} {_reach(one.difference.verdict)}" for one in tested]
        words = f"{_listed(each)} {'is' if len(each) == 1 else 'are'} within noise of {factor.reference}"
        if frozenset((factor.name,)) in self.certain and len(found) > 1:
            words += ", although the levels differ among each other (ANOVA)"
        return [f"{factor.name}: {words}."]

    def _of_level(self, place: int, effect: Effect) -> str:
        """What is certain about a level; empty if nothing is."""
        (level,), factor = effect.levels, self.factors[place]
        depends = [other for at, other in enumerate(self.factors) if at != place and self._interacts(factor, level, other)]
        if depends:
            return "; ".join(self._by_level(factor, level, other) for other in depends)
        if effect.difference.kind not in DECIDED:
            return ""
        others = [other for at, other in enumerate(self.factors) if at != place]
        words = self._gain(level, effect.difference.value, f"over {factor.reference}", f"to {factor.reference}")
        if not self.cells:
            return f"{words}, all else as in the baseline"
        names = " and ".join(other.name for other in others)
        # The analysis of variance may see an interaction that no single comparison shows.
        uncertain = any(frozenset((factor.name, other.name)) in self.certain for other in others)
        if not uncertain and self._same_sign(place, level):
            return f"{words} whatever the {names}"
        return f"{words} on average over the {names}"

    def _interacts(self, factor: Factor, level: str, other: Factor) -> bool:
        """Whether the effect of a level certainly depends on another factor."""
        return any(
            one.difference.kind in DECIDED
            for one in self.effects
            if one.kind is EffectKind.interaction and (factor.name, level) in zip(one.factors, one.levels, strict=True)
            if other.name in one.factors
        )

    def _by_level(self, factor: Factor, level: str, other: Factor) -> str:
        """The effect of a level within each level of a factor that it depends on."""
        found = {
            one.levels[1]: one.difference
            for one in self.effects
            if one.kind is EffectKind.simple and one.factors == (factor.name, other.name) and one.levels[0] == level
        }
        decided = {within: one for within, one in found.items() if one.kind in DECIDED}
        if not decided:
            return f"the effect of {level} depends on the {other.name}, but with none of its levels is it certain by itself"
        quiet = [within for within in found if within not in decided]
        if len(decided) == 1 and self._apart(factor, level, other, next(iter(decided)), quiet):
            ((within, one),) = decided.items()
            verb = self._verb(one.value, ("helps", "hurts", "changes"))
            amount = f"{self._signed(one.value)}{self.unit} against {factor.reference}"
            return f"{level} {verb} with {within} only ({amount}); {_with(quiet)} it is within noise"
        parts = [
            self._gain("", one.value, f"over {factor.reference}", f"to {factor.reference}").strip() + f" with {within}"
            for within, one in decided.items()
        ]
        text = f"the effect of {level} depends on the {other.name}: it {_listed(parts)}"
        return text + (f"; {_with(quiet)} it is within noise" if quiet else "")

    def _apart(self, factor: Factor, level: str, other: Factor, within: str, quiet: Sequence[str]) -> bool:
        """Whether the effect with one level of another factor certainly differs from that with each of the others."""
        seen = set()
        for one in self.effects:
            if (
                one.kind is EffectKind.interaction
                and one.difference.kind in DECIDED
                and set(one.factors) == {factor.name, other.name}
            ):
                levels = dict(zip(one.factors, one.levels, strict=True))
                if levels[factor.name] == level:
                    seen.add(levels[other.name])
        # Interactions compare with the reference alone, so between two other levels nothing is known.
        return all(other.reference in (within, one) and ({within, one} - {other.reference} <= seen) for one in quiet)

    def _same_sign(self, place: int, level: str) -> bool:
        """Whether a level is better, or worse, than the reference in every combination of the other factors."""
        rest = itertools.product(*(factor.levels for at, factor in enumerate(self.factors) if at != place))
        reference = self.factors[place].reference
        signs = set()
        for one in rest:
            here, there = ((*one[:place], which, *one[place:]) for which in (level, reference))
            signs.add(self.cells[here] > self.cells[there])
            if self.cells[here] == self.cells[there]:
                return False
        return len(signs) == 1

    def _gain(self, level: str, value: float, over: str, to: str) -> str:
        amount = f"{self.judging.amount(abs(value))}{self.unit}"
        more = value > 0
        if self.higher is None:
            return f"{level} is {'higher' if more else 'lower'} by {amount} than {over.partition(' ')[2]}"
        if self.percent and self.higher:
            return f"{level} gains {amount} {over}" if more else f"{level} loses {amount} {to}"
        return f"{level} is {'better' if more == self.higher else 'worse'} by {amount} than {over.partition(' ')[2]}"

    def _verb(self, value: float, words: tuple[str, str, str]) -> str:
        return words[2] if self.higher is None else words[0] if (value > 0) == self.higher else words[1]

    def _signed(self, value: float) -> str:
        return f"{'-' if value < 0 else '+'}{self.judging.amount(abs(value))}"


def _reach(verdict: str) -> str:
    """The interval of a verdict within noise, without how many seeds would show more."""
    interval, more, _ = verdict.removeprefix("within noise").strip().partition(";")
    return interval + ")" * bool(more)


def _with(levels: Sequence[str]) -> str:
    return f"with {_listed(levels)}"


def _listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
