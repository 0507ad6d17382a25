"""Several finished networks as one: members chosen on val, their average scored on val and test, compared with the best of them.

Letters: N images, K classes.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats

from fer_ablate.config.choices import Roles
from fer_ablate.ensemble.choice import AVERAGES, average_of, check_selection, chosen, ranked
from fer_ablate.ensemble.members import Candidate, Votes, check_alike, votes_of
from fer_ablate.errors import UserError, choices
from fer_ablate.judgement.evidence import COPIES
from fer_ablate.judgement.records import LEVEL, Difference
from fer_ablate.judgement.statistics import image_difference, mcnemar
from fer_ablate.judgement.verdicts import Comparison, judged
from fer_ablate.metrics import SplitResult, score
from fer_ablate.tracking.disk.run_folder import StoredPredictions

TRAINED_ON_VAL = (Roles.combined.name, Roles.combined_swapped.name)
"""Roles in which the images of val are trained on as well, so that val can choose nothing."""


@dataclass(frozen=True)
class Member:
    """A network in the average.

    Args:
        candidate: the run.
        weight: how often it is counted.
        val, test: its own accuracy.
    """

    candidate: Candidate
    weight: int
    val: float
    test: float


@dataclass(frozen=True)
class Ensemble:
    """The average of several networks.

    Args:
        members: in the order of the candidates.
        left_out: candidates that were not chosen, with their accuracy on val; on test they were not looked at.
        average: what was averaged.
        select: how the members were chosen.
        predictions: of the average, on the images of val and test.
        splits: `val`, `test` -> scores of the average.
        low, high: 95 % interval of the accuracy on test over the draw of the images (Wilson); not numbers where the images
            are copies of each other.
        best: the member that is best on val.
        difference: the ensemble against it on test; not numbers where the images are copies of each other.
        notes: what a reader has to know.
    """

    members: tuple[Member, ...]
    left_out: tuple[tuple[Candidate, float], ...]
    average: str
    select: str
    predictions: StoredPredictions
    splits: dict[str, SplitResult]
    low: float
    high: float
    best: Member
    difference: Difference
    notes: tuple[str, ...]

    @property
    def mean_test(self) -> float:
        """Accuracy on test of a member, on average; each counts once."""
        return float(np.mean([member.test for member in self.members]))

    @property
    def mean_val(self) -> float:
        """Accuracy on val of a member, on average; each counts once."""
        return float(np.mean([member.val for member in self.members]))

    @property
    def digest(self) -> str:
        """The same for the same networks, weights and kind of average; 32 hexadecimal digits."""
        weights = sorted((member.candidate.run.header.key, member.weight) for member in self.members)
        return hashlib.sha256(json.dumps([weights, self.average]).encode()).hexdigest()[:32]


def build_ensemble(candidates: Sequence[Candidate], average: str = "probabilities", select: str = "all") -> Ensemble:
    """Choose members on val, then average and score them.

    Nothing about the images of test is read before the members are fixed.

    Args:
        candidates: finished runs, each once.
        average: `probabilities`, or `logits`.
        select: `all`; `greedy`; or `best:N`, by accuracy on val.

    Raises:
        UserError: there are fewer than two, they were not tested alike, their predictions are missing or damaged, or there is
            no such average or selection.
    """
    _check(candidates, average, select)
    val = votes_of(candidates, "val")
    weights = chosen(select, val.probabilities, val.labels, average)
    inside = np.flatnonzero(weights).tolist()
    best = next(index for index in ranked(val.probabilities, val.labels) if weights[index])
    # Only now: members may not depend on anything that was said about test.
    test = votes_of([candidates[index] for index in inside], "test")
    right_on_val, right_on_test = _right(val), _right(test)
    members = tuple(
        Member(candidates[index], int(weights[index]), float(right_on_val[index].mean()), float(right_on_test[place].mean()))
        for place, index in enumerate(inside)
    )
    shares = {
        "val": average_of(val.probabilities[inside], weights[inside], average),
        "test": average_of(test.probabilities, weights[inside], average),
    }
    protocol, classes = candidates[0].run.result.protocol, candidates[0].run.result.classes
    splits = {
        name: score(torch.from_numpy(shares[name]), torch.from_numpy(votes.labels), classes)
        for name, votes in (("val", val), ("test", test))
    }
    copies = protocol.get("balance", "none") != "none"
    right = shares["test"].argmax(axis=1) == test.labels
    low, high = (np.nan, np.nan) if copies else _wilson(right)
    return Ensemble(
        members=members,
        left_out=tuple((one, float(right_on_val[at].mean())) for at, one in enumerate(candidates) if not weights[at]),
        average=average,
        select=select,
        predictions=_joined(val, test, shares),
        splits=splits,
        low=low,
        high=high,
        best=members[inside.index(best)],
        difference=_difference(right, right_on_test[inside.index(best)], copies),
        notes=_notes(members, average, select, protocol),
    )


def _check(candidates: Sequence[Candidate], average: str, select: str) -> None:
    """Refuse what cannot be averaged, or chosen from."""
    if average not in AVERAGES:
        raise UserError(f"average={average}: there is no such average. {choices(average, AVERAGES)}")
    if len(candidates) < 2:
        there = f" There is one: {candidates[0].label}." if candidates else ""
        raise UserError(f"An ensemble needs two finished networks or more.{there} Name more, or train more rows or seeds.")
    check_selection(select, len(candidates))
    check_alike(candidates)
    roles = candidates[0].run.result.protocol.get("roles", "")
    if select != "all" and roles in TRAINED_ON_VAL:
        raise UserError(
            f"select={select} chooses on val, but with data.roles={roles} the networks were trained on these very images. "
            "Use select=all, or networks trained with data.roles=official."
        )


def _right(votes: Votes) -> NDArray[np.bool_]:
    """(M, N) whether each network was right about each image."""
    return np.asarray(votes.probabilities.argmax(axis=2) == votes.labels)


def _wilson(right: NDArray[np.bool_]) -> tuple[float, float]:
    found = stats.binomtest(int(right.sum()), len(right)).proportion_ci(LEVEL, method="wilson")
    return float(found.low), float(found.high)


def _difference(right: NDArray[np.bool_], best: NDArray[np.bool_], copies: bool) -> Difference:
    """The ensemble against one network on the same images, in the words of the judged table."""
    value = float(right.mean() - best.mean())
    if copies:
        return Difference(value, np.nan, np.nan, np.nan, np.nan, f"no test: {COPIES}")
    estimate = image_difference(right[None].astype(float), best[None].astype(float))
    p = mcnemar(right, best)
    # The exact test decides; the interval of the mean, which is no exact one, may at most weaken it.
    between = judged("acc", Comparison(value, p, estimate), max(p, estimate.p))
    networks = judged("acc", Comparison(value, p, None), p)
    return Difference(value, between.low, between.high, p, p, f"{between.verdict}; {networks.verdict}")


def _joined(val: Votes, test: Votes, shares: dict[str, NDArray[np.float32]]) -> StoredPredictions:
    """Both splits in one, each image once, in the order of the rows."""
    rows, first = np.unique(np.concatenate([val.rows, test.rows]), return_index=True)
    both: list[NDArray[Any]] = [
        np.concatenate(parts)[first]
        for parts in ((val.usage, test.usage), (val.labels, test.labels), (shares["val"], shares["test"]))
    ]
    splits = {"val": np.isin(rows, val.rows), "test": np.isin(rows, test.rows)}
    return StoredPredictions(rows, both[0], both[1], both[2], splits)


def _notes(members: Sequence[Member], average: str, select: str, protocol: Mapping[str, str]) -> tuple[str, ...]:
    notes = ["This is one ensemble (n=1): the interval is over test images; other seeds would give another ensemble."]
    if select != "all":
        notes.append("The members were chosen on val, which flatters the score there; the score on test is not touched by it.")
    if len(members) == 1:
        notes.append("A single network was chosen: on val no average was better than it.")
    roles, tta = protocol.get("roles", ""), protocol.get("tta", "none")
    if roles in TRAINED_ON_VAL:
        notes.append(f"With data.roles={roles} val was trained on: which member is best on it says little about new images.")
    if average == "logits":
        over = "" if tta == "none" else f" of the mean over the views ({tta})"
        notes.append(f"Logits are averaged as log p{over} of the stored 32-bit probabilities; 0 counts as the smallest float.")
    stale = sum(member.candidate.run.stale for member in members)
    if stale:
        notes.append(f"{stale} of the members are of an earlier config, data or code.")
    return tuple(notes)
