"""Space of a search: the keys that it varies, where each of them counts (`when`), and combinations left out (`exclude`)."""

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import Any

from hydra.errors import HydraException
from optuna.distributions import BaseDistribution, CategoricalDistribution

from fer_ablate.addresses import PLACES
from fer_ablate.config.excluded_rows import Exclusion, applies, exclusion_faults, holds, in_words, values_in
from fer_ablate.config.key import IRRELEVANT
from fer_ablate.config.multirun import PARAMS
from fer_ablate.config.overrides import ParsedOverride, key_of, parsed_overrides, value_of
from fer_ablate.errors import Fault, FaultyConfigError, choices, first_line
from fer_ablate.search.optuna_internals import distributions

KEY = "hydra.sweeper"
WHEN, EXCLUDE = f"{KEY}.when", f"{KEY}.exclude"

WHEN_REMEDY = "Write when: {optimizer.momentum: {optimizer: sgd_nesterov}}."

VALUES = "Give choice(a,b), range(1,5), interval(0.1,1), or tag(log, interval(1e-4,1e-1)) with positive ends; null as in null,1."

CLOSE = 1e-6
"""Share of a bound by which a number beside it differs from it."""

ATTEMPTS = 1000
"""Combinations drawn to find one that `exclude` does not leave out."""

Params = Mapping[str, Any]
"""Key -> value of a trial."""


@dataclass(frozen=True)
class SearchSpace:
    """What a search varies, and what is the same for all of its trials.

    Args:
        varied: key -> values that the sampler may suggest; keys with conditions come after those that the conditions name.
        fixed: overrides with one value.
        when: key without prefix -> what must hold for it to be searched; keys that are not named are searched in every trial.
        exclude: combinations that are not trained.
    """

    varied: dict[str, BaseDistribution]
    fixed: tuple[str, ...]
    when: Mapping[str, Exclusion] = field(default_factory=dict)
    exclude: tuple[Exclusion, ...] = ()

    def words(self, params: Params) -> list[str]:
        """The overrides of a trial."""
        return [*self.fixed, *(f"{key}={value}" for key, value in params.items())]

    def active(self, key: str, params: Params) -> bool:
        """Whether a key is searched beside these values of the keys before it."""
        conditions = self.when.get(key_of(key))
        return conditions is None or applies(conditions, self.words(params))

    def left_out(self, params: Params) -> str:
        """The exclusion that leaves a trial out, as people read it; empty if none does."""
        words = self.words(params) if self.exclude else []
        return next((in_words(one) for one in self.exclude if applies(one, words)), "")

    def searched(self, params: Params) -> dict[str, Any]:
        """Values for all keys -> those of the keys that are searched beside them."""
        found: dict[str, Any] = {}
        for key in self.varied:
            if self.active(key, found):
                found[key] = params[key]
        return found

    def point(self, params: Params) -> frozenset[tuple[str, Any]] | None:
        """What is equal for two points of a grid if they are the same trial; None for one that is left out."""
        found = self.searched(params)
        return None if self.left_out(found) else frozenset(found.items())

    def examples(self) -> list[dict[str, Any]]:
        """Trials that together have every key, as few as possible; what is wrong with a key shows before any of them is trained.

        Raises:
            FaultyConfigError: `exclude` leaves out all that were drawn.
        """
        # The last ones need most others, so few trials have them all.
        conditional = [key for key in reversed(self.varied) if key_of(key) in self.when]
        found: list[dict[str, Any]] = []
        for key in (None, *conditional):
            if key is not None and any(key in one for one in found):
                continue
            needed = self._needed(key) if key is not None else {}
            example = next((one for one in self._drawn(needed) if not self.left_out(one)), None)
            if example is not None:
                found.append(example)
            elif key is None:
                problem = f"leaves out every combination, of {ATTEMPTS:,} that were drawn."
                raise FaultyConfigError([Fault(EXCLUDE, problem, "Leave out less.")])
        return found

    def _drawn(self, needed: Params) -> Iterator[dict[str, Any]]:
        """Trials with the needed values; the first has the first values of all other keys."""
        draw = random.Random(0)
        for number in range(ATTEMPTS if self.exclude else 1):
            values = {
                key: needed[key] if key in needed else listed[draw.randrange(len(listed)) if number else 0]
                for key, listed in self._values.items()
            }
            yield self.searched(values)

    @property
    def _values(self) -> dict[str, list[Any]]:
        """Some values of every key: all that differ for the conditions and exclusions."""
        named = [*self.when.values(), *self.exclude]
        return {
            key: _candidates(one, [value for names in named if key_of(key) in names for value in _numbers(names, key_of(key))])
            for key, one in self.varied.items()
        }

    def _needed(self, key: str) -> dict[str, Any]:
        """Values of other keys with which a key is searched; those that cannot be are missing."""
        return {name: found[0] for name, found in self._meeting(self._conditions(key_of(key))).items() if found}

    def _conditions(self, key: str) -> list[Exclusion]:
        """What must hold for a key, with what must hold for the keys of its own conditions."""
        own = self.when.get(key, {})
        return [own, *(one for name in own for one in self._conditions(name))]

    def _meeting(self, conditions: Sequence[Exclusion]) -> dict[str, list[Any]]:
        """Each searched key of these conditions -> its values that meet all of them."""
        return {
            key: [value for value in listed if all(holds(one[key_of(key)], f"{key_of(key)}={value}") for one in those)]
            for key, listed in self._values.items()
            if (those := [one for one in conditions if key_of(key) in one])
        }

    def unmet(self, conditions: Exclusion) -> str:
        """A key of the conditions no value of which meets them; empty if they can all hold.

        Args:
            conditions: on keys that are searched or fixed.
        """
        every = [conditions, *(one for name in conditions for one in self._conditions(name))]
        without = [key for key, found in self._meeting(every).items() if not found]
        fixed = [word for word in self.fixed if not all(holds(one[key_of(word)], word) for one in every if key_of(word) in one)]
        return next(map(key_of, (*without, *fixed)), "")


def read_space(params: Mapping[str, Any] | None, typed: Sequence[str], when: Any = None, exclude: Any = None) -> SearchSpace:
    """Separate searched keys from fixed ones; of several overrides of one key the last counts.

    Args:
        params: `hydra.sweeper.params`.
        typed: overrides of the command line, without those of Hydra itself.
        when: `hydra.sweeper.when`: key -> conditions without which it is not searched.
        exclude: `hydra.sweeper.exclude`: list of conditions.

    Raises:
        FaultyConfigError: with every key that cannot be searched, or if there is none to search; with every condition that
            cannot hold.
    """
    parsed = _parsed(params or {}, typed)
    varied: dict[str, BaseDistribution] = {}
    faults = []
    if "study" in parsed:
        faults.append(Fault("study", "a search has no rows.", "Leave study= out, or hydra/sweeper=optuna."))
    for one in parsed.values():
        if not one.is_sweep_override():
            continue
        try:
            varied |= distributions(str(one.input_line))
            faults += _useless(one)
        except (HydraException, ValueError, NotImplementedError, AssertionError) as error:
            faults.append(Fault(one.key_or_group, f"{value_of(str(one.input_line))} cannot be searched: {error}", VALUES))
    if not varied and not faults:
        remedy = "Give key=choice(a,b) or key=interval(0.1,1)."
        faults.append(Fault("", "no key has several values, so there is nothing to search.", remedy))
    if faults:
        raise FaultyConfigError(faults)
    fixed = tuple(str(one.input_line) for one in parsed.values() if not one.is_sweep_override())
    return _conditioned(varied, fixed, when or {}, exclude or [])


def _parsed(params: Any, typed: Sequence[str]) -> dict[str, ParsedOverride]:
    """The last override of each key; what is typed was parsed before."""
    if not isinstance(params, Mapping):
        raise FaultyConfigError([Fault(PARAMS, f"{params} is no mapping of keys to values.", "Write KEY: choice(a,b) below it.")])
    found, faults = {}, []
    for key, value in params.items():
        if value is None or isinstance(value, list | Mapping):
            faults.append(Fault(f"{PARAMS}.{key}", f"{value} is no text of values.", VALUES))
            continue
        try:
            (one,) = parsed_overrides([f"{key}={value}"])
        except HydraException as error:
            faults.append(Fault(f"{PARAMS}.{key}", f"{value} is no text of values: {first_line(error)}", VALUES))
        else:
            found[one.key_or_group] = one
    if faults:
        raise FaultyConfigError(faults)
    return found | {one.key_or_group: one for one in parsed_overrides(typed)}


def single_valued(typed: Sequence[str]) -> list[str]:
    """The overrides with one value."""
    return [text for text in typed if not parsed_overrides([text])[0].is_sweep_override()]


def _conditioned(varied: dict[str, BaseDistribution], fixed: tuple[str, ...], when: Any, exclude: Any) -> SearchSpace:
    """The space with its conditions, once they are sound."""
    if faults := [*_when_faults(when), *_exclude_faults(exclude)]:
        raise FaultyConfigError(faults)
    searched = {key_of(key): key for key in varied}
    known = list(dict.fromkeys([*searched, *map(key_of, fixed)]))
    for place, one in _named(when, exclude):
        faults += [_unknown(place, name, known) for name in one if name not in known]
    for key in when:
        if key not in searched:
            problem = "has one value." if key in known else "is not searched."
            faults.append(Fault(f"{WHEN}.{key}", problem, f"Give it several: choice(a,b). {choices(str(key), searched)}"))
    faults = faults or _circles(when)
    if faults:
        raise FaultyConfigError(faults)
    # Sorted, since the same keys in another order are the same search.
    order = sorted(varied, key=lambda key: (_depth(key_of(key), when), key))
    space = SearchSpace({key: varied[key] for key in order}, fixed, when, tuple(exclude))
    if faults := [
        Fault(place, f"{in_words(one)} never holds: {_what_is(unmet, space)}.", "Correct it, or leave it out.")
        for place, one in _named(when, exclude)
        if (unmet := space.unmet(one))
    ]:
        raise FaultyConfigError(faults)
    return space


def _when_faults(when: Any) -> list[Fault]:
    if not isinstance(when, Mapping):
        return [Fault(WHEN, f"{when!r} is no mapping of keys to conditions.", WHEN_REMEDY)]
    return [fault for key, one in when.items() for fault in exclusion_faults([one], f"{WHEN}.{key}")]


def _exclude_faults(exclude: Any) -> list[Fault]:
    if not isinstance(exclude, list):
        return [Fault(EXCLUDE, f"{exclude!r} is no list of conditions.", "Write exclude: [{optimizer: adam, model.width: 2}].")]
    return exclusion_faults(exclude, EXCLUDE)


def _named(when: Mapping[str, Exclusion], exclude: Sequence[Exclusion]) -> list[tuple[str, Exclusion]]:
    """All conditions, each with its place in the config."""
    return [*((f"{WHEN}.{key}", one) for key, one in when.items()), *((EXCLUDE, one) for one in exclude)]


def _unknown(place: str, name: str, known: Sequence[str]) -> Fault:
    return Fault(
        place, f"'{name}' is neither searched nor given.", f"Conditions are on keys of the search. {choices(name, known)}"
    )


def _circles(when: Mapping[str, Exclusion]) -> list[Fault]:
    """Keys that are searched only if they are searched."""
    try:
        TopologicalSorter(when).prepare()
    except CycleError as error:
        return [Fault(WHEN, f"{' needs '.join(reversed(error.args[1]))}.", "Break the circle.")]
    return []


def _depth(key: str, when: Mapping[str, Exclusion]) -> int:
    """Number of keys after each other that must be known before this one."""
    return max((1 + _depth(name, when) for name in when.get(key, {})), default=0)


def _what_is(key: str, space: SearchSpace) -> str:
    """The values of a key, for people."""
    found = next((one for name, one in space.varied.items() if key_of(name) == key), None)
    if found is None:
        return next(word for word in space.fixed if key_of(word) == key)
    if isinstance(found, CategoricalDistribution):
        return f"{key} is one of {', '.join(map(str, found.choices))}"
    return f"{key} is between {vars(found)['low']} and {vars(found)['high']}"


def _numbers(conditions: Exclusion, key: str) -> list[float]:
    """The numbers that a condition compares a key with."""
    found = [one for one in values_in(conditions[key], key) if isinstance(one, int | float) and not isinstance(one, bool)]
    return [one for one in found if math.isfinite(one)]


def _candidates(one: BaseDistribution, bounds: Sequence[float]) -> list[Any]:
    """Some values of a distribution: its choices, or its ends and what is on either side of each bound."""
    if isinstance(one, CategoricalDistribution):
        return list(one.choices)
    parts = vars(one)
    low, high, step = parts["low"], parts["high"], parts["step"]
    if step is None:
        # A number of an interval is never exactly this bound.
        near = [bound + sign * CLOSE * (abs(bound) or high - low) for bound in bounds for sign in (-1, 1)]
        return [low, *(value for value in near if low < value < high), high]
    near = [low + step * (math.floor((bound - low) / step) + more) for bound in bounds for more in (0, 1)]
    near += [value - step for value in near]
    return [low, *(value for value in near if low < value < high), high]


def _useless(one: ParsedOverride) -> list[Fault]:
    """Faults of a key that can be searched but should not be."""
    key = one.key_or_group
    if key == "seed":
        remedy = "Search with one seed, then train the best with several: -m seed=1,2,3 and its parameters."
        return [Fault(key, "a search over seeds finds the luckiest.", remedy)]
    if key in PLACES and key.startswith("data."):
        return [Fault(key, "is a place of images, and trials on different images cannot be compared.", "Give it one value.")]
    if key != "init_from" and any(key == name or key.startswith(f"{name}.") for name in IRRELEVANT):
        return [Fault(key, "does not change what a run gives, so all its trials would be one.", "Give it one value.")]
    return []
