"""Ensembles: members are chosen on val, and their average is scored on val and test and compared with the best member.

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
from fer_ablate.errors import UserError, choices
from fer_ablate.judgement.evidence import COPIES
from fer_ablate.judgement.joint_predictions import EnsembleCandidate, JointPredictions, check_same_tests, joint_predictions
from fer_ablate.judgement.judged_table import LEVEL, Difference
from fer_ablate.judgement.statistics import image_difference, mcnemar
from fer_ablate.judgement.verdicts import Comparison, judged_difference
from fer_ablate.metrics import SplitResult
from fer_ablate.metrics.scores import score
from fer_ablate.tracking.disk.run_folder import StoredPredictions

TRAINED_ON_VAL = (Roles.combined.name, Roles.combined_swapped.name)
"""Roles in which the images of val are trained on as well, so that val cannot choose members."""


@dataclass(frozen=True)
class Member:
    """A network of the ensemble.

    Args:
        candidate: the run.
        weight: how often it counts in the average.
        val, test: its own accuracy.
    """

    candidate: EnsembleCandidate
    weight: int
    val: float
    test: float


@dataclass(frozen=True)
class Ensemble:
    """The average of several networks.

    Args:
        members: in the order of the candidates.
        left_out: candidates that were not chosen, with their accuracy on val; their predictions on test are never read.
        average: what was averaged.
        select: how the members were chosen.
        predictions: of the average, on the images of val and test.
        splits: `val`, `test` -> scores of the average.
        low, high: 95 % interval of the accuracy on test over the draw of the images (Wilson); NaN if some images are
            copies of each other.
        best: the member with the best accuracy on val.
        difference: ensemble minus `best` on test; untested if some images are copies of each other.
        notes: sentences for the reader.
    """

    members: tuple[Member, ...]
    left_out: tuple[tuple[EnsembleCandidate, float], ...]
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
        """Mean accuracy of the members on test; each counts once."""
        return float(np.mean([member.test for member in self.members]))

    @property
    def mean_val(self) -> float:
        """Mean accuracy of the members on val; each counts once."""
        return float(np.mean([member.val for member in self.members]))

    @property
    def digest(self) -> str:
        """Identity of networks, weights and kind of average: 32 hexadecimal digits."""
        # Labels are left out: the same networks are the same ensemble under any names.
        weights = sorted((member.candidate.run.header.key, member.weight) for member in self.members)
        return hashlib.sha256(json.dumps([weights, self.average]).encode()).hexdigest()[:32]


def build_ensemble(candidates: Sequence[EnsembleCandidate], average: str = "probabilities", select: str = "all") -> Ensemble:
    """Choose members on val, then average and score them.

    Nothing about the images of test is read before the members are fixed.

    Args:
        candidates: finished runs, each once.
        average: `probabilities`, or `logits`.
        select: `all`; `greedy`; or `best:N`, by accuracy on val.

    Raises:
        UserError: there are fewer than two, they were tested differently, their predictions are missing or damaged, or there
            is no such average or selection.
    """
    _check(candidates, average, select)
    val = joint_predictions(candidates, "val")
    weights = chosen(select, val.probabilities, val.labels, average)
    inside = np.flatnonzero(weights).tolist()
    best = next(index for index in ranked(val.probabilities, val.labels) if weights[index])
    # Only now: members must not depend on anything about test.
    test = joint_predictions([candidates[index] for index in inside], "test")
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
        name: score(torch.from_numpy(shares[name]), torch.from_numpy(joint.labels), classes)
        for name, joint in (("val", val), ("test", test))
    }
    # Copies of an image are not independent draws, which both the interval and the test assume.
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


def _check(candidates: Sequence[EnsembleCandidate], average: str, select: str) -> None:
    """Refuse candidates that cannot be averaged or chosen from."""
    if average not in AVERAGES:
        raise UserError(f"average={average}: there is no such average. {choices(average, AVERAGES)}")
    if len(candidates) < 2:
        found = f" There is one: {candidates[0].label}." if candidates else ""
        raise UserError(f"An ensemble needs two finished networks or more.{found} Name more, or train more rows or seeds.")
    check_selection(select, len(candidates))
    check_same_tests(candidates)
    roles = candidates[0].run.result.protocol.get("roles", "")
    if select != "all" and roles in TRAINED_ON_VAL:
        raise UserError(
            f"select={select} chooses on val, but with data.roles={roles} the networks were trained on these very images. "
            "Use select=all, or networks trained with data.roles=official."
        )


def _right(joint: JointPredictions) -> NDArray[np.bool_]:
    """(M, N) whether each network was right about each image."""
    return np.asarray(joint.probabilities.argmax(axis=2) == joint.labels)


def _wilson(right: NDArray[np.bool_]) -> tuple[float, float]:
    found = stats.binomtest(int(right.sum()), len(right)).proportion_ci(LEVEL, method="wilson")
    return float(found.low), float(found.high)


def _difference(right: NDArray[np.bool_], best: NDArray[np.bool_], copies: bool) -> Difference:
    """Ensemble minus one network on the same images, worded as in the judged table."""
    value = float(right.mean() - best.mean())
    if copies:
        return Difference(value, np.nan, np.nan, np.nan, np.nan, f"no test: {COPIES}")
    estimate = image_difference(right[None].astype(float), best[None].astype(float))
    p = mcnemar(right, best)
    # The exact test decides. The interval of the mean is approximate, so it may weaken a verdict but never strengthen it.
    between = judged_difference("acc", Comparison(value, p, estimate), max(p, estimate.p))
    networks = judged_difference("acc", Comparison(value, p, None), p)
    return Difference(value, between.low, between.high, p, p, f"{between.verdict}; {networks.verdict}")


def _joined(val: JointPredictions, test: JointPredictions, shares: dict[str, NDArray[np.float32]]) -> StoredPredictions:
    """The averages of both splits in one set of predictions, each image once, by row."""
    # An image of both splits has the same average in both, so either one will do.
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
