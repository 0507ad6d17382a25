"""Averages of networks as runs of a row: their predictions are the mean of their members' stored probabilities.

An average is kept in a folder of its own, as a trained run is, so that it is computed once and read like any other.
Letters: M networks, N images, K classes.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from fer_ablate.config.choices import AverageOver
from fer_ablate.config.study_rows import FOLD_KEYS, Row
from fer_ablate.errors import UserError
from fer_ablate.judgement.joint_predictions import EnsembleCandidate, JointPredictions, check_same_tests, joint_predictions
from fer_ablate.judgement.row_runs import Average, RowRuns, ScoredRun, published_by_class, published_numbers, scored_run
from fer_ablate.judgement.split_images import PREDICTED
from fer_ablate.metrics import SplitResult
from fer_ablate.study.averaged_rows import AveragedNetwork
from fer_ablate.study.plan import Plan
from fer_ablate.tracking.disk.files import read_json
from fer_ablate.tracking.disk.run_folder import RunFolder, RunHeader, StoredPredictions
from fer_ablate.tracking.disk.scan import ensemble_path
from fer_ablate.training.result import RunResult

RULES = 1
"""Number of the way in which averages are computed; kept ones of another number are computed anew."""

TEST = "test"


class AveragedFolder(RunFolder):
    """The folder of an average. Its key is made from its members, hence not by the rules for trained runs."""

    @property
    def header(self) -> RunHeader:
        """The stored header as it is; `UserError` if missing or damaged."""
        return cast(RunHeader, read_json(self.header_file, lambda stored: RunHeader(**stored)))


def averaged_row(row: Row, networks: Sequence[AveragedNetwork], plan: Plan) -> RowRuns:
    """A row of averages, as far as their members are finished.

    Args:
        row: one that has `average_of`.
        networks: its averages, at least one.
        plan: the one that has the row and the runs to average.
    """
    runs, problems = [], []
    for network in networks:
        if network.reason:
            problems.append(network.reason)
            continue
        try:
            found, left_out = averaged_run(network, plan.spec.switches.accept_stale)
        except UserError as error:  # such as members of an earlier state that were tested on other images
            # Notes of a table are one sentence each, to which the table adds the full stop.
            problems.append(" ".join(line.strip() for line in str(error).splitlines()).rstrip("."))
            continue
        runs.append(found)
        problems += [f"its networks were tested on different images of {split}, which has no average" for split in left_out]
    return RowRuns(
        label=row.label,
        seeds=tuple(dict.fromkeys(network.repeat.seed for network in networks)),
        runs=tuple(runs),
        published=published_numbers(row),
        by_class=published_by_class(row),
        folds=plan.spec.folds,
        average=Average(
            row.average_of,
            max(len(network.members) for network in networks),
            row.average_over is AverageOver.seeds,
            tuple(dict.fromkeys(problems)),
        ),
    )


def averaged_run(network: AveragedNetwork, accept_stale: bool = False) -> tuple[ScoredRun, list[str]]:
    """The average of finished networks, computed unless it is kept already.

    Args:
        network: the average; all of its members are finished.
        accept_stale: whether members of an earlier config, data or code count.

    Returns:
        The average, and the splits that all members have but it has not, since their images differ.

    Raises:
        UserError: the members were tested differently or on different images, their predictions are missing or damaged, or
            the average cannot be kept.
    """
    runs = [(planned.cell.name, scored_run(planned, accept_stale)) for planned in network.members]
    members = [EnsembleCandidate(name, run) for name, run in runs if run is not None]
    check_same_tests(members)
    config = network.members[0].cell.config
    header = _header(network, members)
    # An average over seeds belongs to no single seed, so its folder is not named after one.
    name = network.row.label if network.row.average_over is AverageOver.seeds else f"{network.row.label} {network.repeat}"
    path = ensemble_path(Path(config.runs_dir), config.tracking.experiment, name, header.key)
    folder, stale = AveragedFolder(path), any(member.run.stale for member in members)
    splits = [split for split in PREDICTED if all(split in member.run.result.splits for member in members)]
    # The name of a folder has only the first digits of the key.
    if folder.finished and folder.header.key == header.key:
        kept = folder.result
        return ScoredRun(folder, header, kept, stale), [split for split in splits if split not in kept.splits]
    shares, joint = _averages(members, splits)
    result = _result(header, members, {split: _scored(shares[split], joint[split], members) for split in shares})
    _add_own_metrics(result, shares, joint, network)
    folder.write_header(header)
    folder.write_predictions(_together(shares, joint))
    folder.write_result(result)  # last, since it makes the average a kept one
    return ScoredRun(folder, header, result, stale), [split for split in splits if split not in shares]


def _header(network: AveragedNetwork, members: Sequence[EnsembleCandidate]) -> RunHeader:
    headers, repeat = [member.run.header for member in members], network.repeat
    # With the time, since a run that is trained anew on another machine has the same key.
    parts = [[header.key, member.run.result.finished_at] for header, member in zip(headers, members, strict=True)]
    content = [RULES, network.row.label, repeat.seed, repeat.fold, parts]
    content += [own] if (own := _own_metrics(network)) else []
    folds: dict[str, Any] = {name: value for name, value in headers[0].settings.items() if name in FOLD_KEYS}
    return replace(
        headers[0],
        key=hashlib.sha256(json.dumps(content).encode()).hexdigest()[:32],
        name=network.row.label,
        seed=repeat.seed,
        experiment=network.members[0].cell.config.tracking.experiment,
        changed=averaged_settings(network.row, len(members)),
        overrides=[],
        code_digest=" / ".join(dict.fromkeys(header.code_digest for header in headers)),
        started_at=min(header.started_at for header in headers),
        mlflow_run_id=None,
        mlflow_uri=None,
        attempt="",
        parent_run_id=None,
        settings=folds if repeat.fold is not None else {},
        earlier_key="",
    )


def averaged_settings(row: Row, networks: int) -> dict[str, str]:
    """What distinguishes an average from a trained run, in place of the settings that the latter has."""
    return {"average_of": ", ".join(row.average_of), "average_over": row.average_over.name, "networks": str(networks)}


def _averages(
    members: Sequence[EnsembleCandidate], splits: Sequence[str]
) -> tuple[dict[str, NDArray[np.float32]], dict[str, JointPredictions]]:
    """Split -> (N, K) mean probabilities; and split -> predictions of all members."""
    shares, found = {}, {}
    for split in splits:
        try:
            joint = joint_predictions(members, split)
        except UserError:
            if split == TEST:
                raise
            continue  # networks with val images of their own can still be averaged on test
        found[split] = joint
        # In double precision the order of the members hardly ever shows in the rounded mean.
        shares[split] = joint.probabilities.mean(axis=0, dtype=np.float64).astype(np.float32)
    if TEST not in found:
        raise UserError(f"{members[0].label} was not scored on {TEST}.")
    return shares, found


def _scored(shares: NDArray[np.float32], joint: JointPredictions, members: Sequence[EnsembleCandidate]) -> SplitResult:
    # torch takes seconds to import, which only the first command after the training of the members pays.
    import torch

    from fer_ablate.metrics.scores import score

    return score(torch.from_numpy(shares), torch.from_numpy(joint.labels), members[0].run.result.classes)


def _own_metrics(network: AveragedNetwork) -> dict[str, Any]:
    """The metrics of the user's own that all members have, as their configs say it."""
    every = [planned.cell.config.evaluation.metrics for planned in network.members]
    return {name: part for name, part in every[0].items() if all(one.get(name) == part for one in every)}


def _add_own_metrics(
    result: RunResult,
    shares: Mapping[str, NDArray[np.float32]],
    joint: Mapping[str, JointPredictions],
    network: AveragedNetwork,
) -> None:
    """Measure the averages of all splits by the metrics of the user's own."""
    if not (section := _own_metrics(network)):
        return
    import torch

    from fer_ablate.training.own_metrics import build_metrics

    own = build_metrics(section, len(result.classes), network.members[0].cell.config.plugins)
    for split, probabilities in shares.items():
        shown, labels = torch.from_numpy(probabilities), torch.from_numpy(joint[split].labels)
        result.splits[split].metrics.update(own.values(shown, labels))
        result.without_blocks[split] = own.without_blocks(shown, labels, joint[split].groups)
    result.own_metrics.update(own.directions)


def _together(shares: Mapping[str, NDArray[np.float32]], joint: Mapping[str, JointPredictions]) -> StoredPredictions:
    """The averages of all splits in one set of predictions, each image once, by row."""
    # An image of two splits has the same average in both, so either one will do.
    rows, first = np.unique(np.concatenate([joint[split].rows for split in shares]), return_index=True)
    usage, labels = (np.concatenate([getattr(joint[split], name) for split in shares])[first] for name in ("usage", "labels"))
    probabilities = np.concatenate(list(shares.values()))[first]
    known = [groups for split in shares if (groups := joint[split].groups) is not None]
    groups = np.concatenate(known)[first] if len(known) == len(shares) else None
    inside = {split: np.isin(rows, joint[split].rows) for split in shares}
    return StoredPredictions(rows, usage, labels, probabilities, inside, groups)


def _result(header: RunHeader, members: Sequence[EnsembleCandidate], splits: dict[str, SplitResult]) -> RunResult:
    """The result of an average: costs are those of all members together, since each image passes through every one."""
    results = [member.run.result for member in members]
    seconds, epochs = sum(result.seconds for result in results), sum(result.epochs for result in results)
    return RunResult(
        key=header.key,
        name=header.name,
        seed=header.seed,
        splits=splits,
        classes=results[0].classes,
        protocol=results[0].protocol,
        # The members were kept at epochs of their own, so the average has none.
        best_epoch=0,
        epochs=epochs,
        seconds=seconds,
        seconds_per_epoch=seconds / max(epochs, 1),
        # Members are trained as runs of their own: a machine that holds the largest can train them all.
        peak_memory_mb=max(result.peak_memory_mb for result in results),
        parameters=sum(result.parameters for result in results),
        macs=sum(result.macs for result in results),
        # The date of the last member rather than of today, so that an average computed anew is the same.
        finished_at=max(result.finished_at for result in results),
    )
