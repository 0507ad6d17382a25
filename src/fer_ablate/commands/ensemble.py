"""`ensemble`: the average of finished networks, from their stored predictions. Trains and predicts nothing."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from fer_ablate.cli import console
from fer_ablate.cli.command_line import raise_faults
from fer_ablate.cli.words import read_command
from fer_ablate.config.constraints import one_of
from fer_ablate.config.key import short
from fer_ablate.config.schema import TrackingConfig
from fer_ablate.ensemble.average import Ensemble, build_ensemble
from fer_ablate.ensemble.choice import AVERAGES
from fer_ablate.ensemble.members import ensemble_candidate, ensemble_candidates, with_unique_labels
from fer_ablate.errors import UserError
from fer_ablate.execution.finished_network import read_overrides
from fer_ablate.execution.planning import plan_with_bar
from fer_ablate.judgement.joint_predictions import EnsembleCandidate
from fer_ablate.judgement.planned_rows import rows_with_runs
from fer_ablate.report.ensemble_files import EnsembleFolder
from fer_ablate.report.quantities import interval, number
from fer_ablate.shell import program
from fer_ablate.study.plan import Plan
from fer_ablate.tracking.disk.lookup import find_run
from fer_ablate.tracking.disk.scan import ensemble_path
from fer_ablate.tracking.mlflow.attach import EnsembleSummary, record_ensemble
from fer_ablate.tracking.mlflow.connection import tracking_faults

USAGE = """Average finished networks, from the predictions that their tests stored.

  python -m fer_ablate ensemble study=quickstart                              all finished seeds of all rows
  python -m fer_ablate ensemble study=quickstart 'rows=[small,-1 Conv]'      of some rows
  python -m fer_ablate ensemble study=quickstart select=greedy                forward selection with replacement, on val
  python -m fer_ablate ensemble study=quickstart select=best:5                the best five on val
  python -m fer_ablate ensemble run=ab12cd run='quickstart/-1 Conv'           runs by key, or row of a study

{words}

With study=, everything that `plan` takes may be given, such as study.accept_stale=true; with run=, runs_dir and tracking.
Prints the accuracy on test with a 95 % interval and an exact paired test against the member that is best on val."""

CHANGEABLE = ("runs_dir", "tracking", "plugins")


@dataclass(frozen=True, kw_only=True)
class EnsembleWords:
    """Words of `ensemble`."""

    # Finished run: its key (first digits do), a row of a study ('quickstart/-1 Conv'), MLflow id or folder.
    run: tuple[str, ...] = ()
    rows: str = ""  # labels of the rows of study= whose runs may enter, as [small,-1 Conv]
    average: Annotated[str, one_of(*AVERAGES)] = "probabilities"  # what is averaged
    select: str = "all"  # members: all, greedy or best:N; chosen on val, never on test
    name: str = ""  # name of its folder below <runs_dir>/<experiment>/ensembles and of its run in MLflow


@dataclass(frozen=True)
class Candidates:
    """Runs that may enter the ensemble, and where the ensemble is recorded.

    Args:
        candidates: finished runs.
        runs_dir: folder below which they are.
        study: study whose run in MLflow the ensemble is shown below.
        tracking: where it is recorded.
        notes: what is missing, in sentences.
    """

    candidates: list[EnsembleCandidate]
    runs_dir: Path
    study: str
    tracking: TrackingConfig
    notes: tuple[str, ...] = ()


def run(arguments: Sequence[str]) -> int:
    """Print the scores, keep them in a folder, and record them."""
    words, rest = read_command(arguments, EnsembleWords, USAGE)
    found = _named_runs(words, rest) if words.run else _study_runs(words, rest)
    name = words.name or words.select
    ensemble = build_ensemble(with_unique_labels(found.candidates), words.average, words.select)
    path = ensemble_path(found.runs_dir, found.tracking.experiment, name, ensemble.digest)
    folder = EnsembleFolder(path)
    digest = folder.write(name, ensemble)
    _show(ensemble, found)
    facts = [("kept", str(path))]
    warning = _record(found, ensemble, name, folder, digest) if found.tracking.enabled else ""
    if found.tracking.enabled and not warning:
        facts.append(("mlflow", f"run {folder.recorded(found.tracking.uri).run} of experiment {found.tracking.experiment}"))
    console.console.print()
    console.facts(facts)
    if warning:
        console.console.print(f"  {warning}", style="yellow")
    return 0


def _named_runs(words: EnsembleWords, rest: Sequence[str]) -> Candidates:
    """Runs that were named one by one."""
    if words.rows or any(text.startswith(("study=", "study.")) for text in rest):
        raise UserError("Give either study=... (and rows=[...]), or run=... run=...; run='quickstart/-1 Conv' names a row.")
    overrides = read_overrides(rest, EnsembleWords, CHANGEABLE)
    candidates = [ensemble_candidate(find_run(overrides.runs_dir, name)) for name in words.run]
    headers = [one.run.header for one in candidates]
    tracking = replace(overrides.config.tracking, experiment=headers[0].experiment)
    if not any(text.startswith("tracking") for text in overrides.overrides):
        # In the store of the members; an ensemble of runs that were never recorded is not recorded either.
        uri = next((header.mlflow_uri for header in headers if header.mlflow_uri), None)
        tracking = replace(tracking, enabled=uri is not None, uri=uri or tracking.uri)
    raise_faults(tracking_faults(tracking))
    return Candidates(candidates, overrides.runs_dir, headers[0].experiment, tracking)


def _study_runs(words: EnsembleWords, rest: Sequence[str]) -> Candidates:
    """Finished runs of a study or a grid."""
    if words.rows and not any(text.startswith("study=") for text in rest):
        raise UserError(f"rows={words.rows} are rows of a study: name it as well, such as study=quickstart.")
    plan, cells, _ = plan_with_bar([*rest, *([f"study.rows={words.rows}"] if words.rows else [])])
    config = cells[0].config
    rows = [row for row in rows_with_runs(plan) if row.average is None]
    missing = [row.label for row in rows if not row.runs]
    if missing and (words.rows or len(missing) == len(rows)):
        way_out = f"Train: {program('-m', *rest)}"
        raise UserError(f"No run of {', '.join(missing)} is finished{_stale_hint(plan)}. {way_out}")
    finished, expected = sum(len(row.runs) for row in rows), sum(row.expected for row in rows)
    notes = (f"{finished} of {expected} runs are finished{_stale_hint(plan)}.",) if finished < expected else ()
    return Candidates(ensemble_candidates(rows), Path(config.runs_dir), plan.spec.name, config.tracking, notes)


def _stale_hint(plan: Plan) -> str:
    """How many stale runs are left out, and the key that takes them."""
    stale = sum(planned.has_stale for planned in plan.runs)
    hidden = stale and not plan.spec.switches.accept_stale
    return f" ({stale} of an earlier config, data or code: study.accept_stale=true takes them)" if hidden else ""


def _show(ensemble: Ensemble, found: Candidates) -> None:
    """Print the members, the scores, and the comparison with the best member."""
    candidates = len(ensemble.members) + len(ensemble.left_out)
    chosen = f"{len(ensemble.members)} of {console.counted(candidates, 'network')} (select={ensemble.select})"
    protocol = ensemble.best.candidate.run.result.protocol
    console.facts(
        [
            ("ensemble", f"{chosen}, average of {ensemble.average}"),
            ("tested", ", ".join(f"{part} {value}" for part, value in protocol.items())),
        ]
    )
    console.console.print()
    val, test = (ensemble.splits[name].metrics["acc"] for name in ("val", "test"))
    rows = [
        [member.candidate.label, str(member.weight), _percent(member.val), _percent(member.test)]
        for member in sorted(ensemble.members, key=lambda member: -member.val)
    ]
    rows += [[one.label, "—", _percent(accuracy), "—"] for one, accuracy in ensemble.left_out]
    rows.append(["mean of the members", "", _percent(ensemble.mean_val), _percent(ensemble.mean_test)])
    rows.append(["ensemble", "", _percent(val), _percent(test)])
    console.table("", ["network", "weight", "val acc, %", "test acc, %"], rows)
    console.console.print()
    console.split_table(ensemble.splits)
    console.console.print()
    between = interval(100 * ensemble.low, 100 * ensemble.high, 2)
    difference = number(100 * ensemble.difference.value, 2, signed=True)
    console.facts(
        [
            ("test acc", f"{_percent(test)} %, 95 % interval over test images {between}"),
            ("against", f"{ensemble.best.candidate.label}, the best member on val: {difference} points on test"),
            ("verdict", ensemble.difference.verdict),
        ]
    )
    for note in (*found.notes, *ensemble.notes):
        console.console.print(f"  {note}", style="dim")


def _percent(fraction: float) -> str:
    return number(100 * fraction, 2)


def _record(found: Candidates, ensemble: Ensemble, name: str, folder: EnsembleFolder, digest: str) -> str:
    """Bring the ensemble to MLflow; gives the reason if that failed, else an empty text."""
    splits = ensemble.splits
    metrics = {
        **{f"{split}/{metric}": value for split, result in splits.items() for metric, value in result.metrics.items()},
        "test/acc/ci_low": ensemble.low,
        "test/acc/ci_high": ensemble.high,
        "test/acc/best_member": ensemble.best.test,
        "test/acc/members_mean": ensemble.mean_test,
        "test/acc/difference": ensemble.difference.value,
        "members": float(len(ensemble.members)),
    }
    summary = EnsembleSummary(
        name=f"ensemble {name}",
        tags={
            "members": "; ".join(
                f"{member.weight} x {member.candidate.label} ({short(member.candidate.run.header.key)})"
                for member in ensemble.members
            ),
            "average": ensemble.average,
            "select": ensemble.select,
            "verdict": ensemble.difference.verdict,
        },
        metrics=metrics,
        files=folder.files,
        digest=digest,
    )
    uri = found.tracking.uri
    before = folder.recorded(uri)
    recorded, warning = record_ensemble(found.tracking, found.runs_dir, found.study, before, summary)
    if recorded != before:
        folder.remember(uri, recorded)
    return warning
