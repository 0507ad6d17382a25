"""`ensemble`: the average of finished networks, from what they said when they were tested. Trains and predicts nothing."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fer_ablate.cli import console
from fer_ablate.cli.request import raise_faults
from fer_ablate.cli.usage import asks_for_help
from fer_ablate.config.key import short
from fer_ablate.config.schema import TrackingConfig
from fer_ablate.ensemble.average import Ensemble, build_ensemble
from fer_ablate.ensemble.members import Candidate, candidate_of, candidates_of, told_apart
from fer_ablate.errors import UserError
from fer_ablate.execution.finished_network import own_words, settings, single
from fer_ablate.execution.planning import prepared
from fer_ablate.judgement.gather import gathered
from fer_ablate.report.ensemble_files import EnsembleFolder
from fer_ablate.report.quantities import interval, number
from fer_ablate.study.plan import Plan, State
from fer_ablate.tracking.disk.lookup import find_run
from fer_ablate.tracking.disk.places import ensemble_path
from fer_ablate.tracking.mlflow.connection import check
from fer_ablate.tracking.mlflow.ensemble_runs import Told, record_ensemble

USAGE = """Average finished networks, from the predictions that they left behind.

  python -m fer_ablate ensemble study=quickstart                              all finished seeds of all rows
  python -m fer_ablate ensemble study=quickstart 'rows=[FER_KD,-1 Conv]'      of some rows
  python -m fer_ablate ensemble study=quickstart select=greedy                forward selection with replacement, on val
  python -m fer_ablate ensemble study=quickstart select=best:5                the best five on val
  python -m fer_ablate ensemble run=ab12cd run='quickstart/-1 Conv'           runs by key, or row of a study

average=probabilities|logits   what is averaged (probabilities)
select=all|greedy|best:N       members; chosen on val, never on test (all)
name=...                       of its folder below <runs_dir>/<experiment>/ensembles and of its run in MLflow

With study= every word of `table` may be given, such as study.accept_stale=true; with run= runs_dir and tracking.
Prints the accuracy on test with a 95 % interval and an exact paired test against the member that is best on val."""

OWN = ("run", "rows", "average", "select", "name")
CHANGEABLE = ("runs_dir", "tracking", "plugins")


@dataclass(frozen=True)
class Choice:
    """What an ensemble may be made of.

    Args:
        candidates: finished runs.
        runs_dir: below which they lie.
        study: whose run in MLflow the ensemble is shown below.
        tracking: where it is recorded.
        remarks: on what is not there.
    """

    candidates: list[Candidate]
    runs_dir: Path
    study: str
    tracking: TrackingConfig
    remarks: tuple[str, ...] = ()


def run(arguments: Sequence[str]) -> int:
    """Print the scores, keep them in a folder, and record them."""
    console.quiet_libraries()
    if asks_for_help(arguments):
        print(USAGE)
        return 0
    words, rest = own_words(arguments, OWN)
    average, select = single(words, "average", "probabilities"), single(words, "select", "all")
    name = single(words, "name") or select
    choice = _named(words["run"], words, rest) if "run" in words else _of_study(words, rest)
    ensemble = build_ensemble(told_apart(choice.candidates), average, select)
    path = ensemble_path(choice.runs_dir, choice.tracking.experiment, name, ensemble.digest)
    folder = EnsembleFolder(path)
    digest = folder.write(name, ensemble)
    _show(ensemble, choice)
    facts = [("kept", str(path))]
    warning = _record(choice, ensemble, name, folder, digest) if choice.tracking.enabled else ""
    if choice.tracking.enabled and not warning:
        facts.append(("mlflow", f"run {folder.recorded(choice.tracking.uri).run} of experiment {choice.tracking.experiment}"))
    console.console.print()
    console.facts(facts)
    if warning:
        console.console.print(f"  {warning}", style="yellow")
    return 0


def _named(names: Sequence[str], words: dict[str, list[str]], rest: Sequence[str]) -> Choice:
    """Runs that were named one by one."""
    if "rows" in words or any(text.startswith(("study=", "study.")) for text in rest):
        raise UserError("Give either study=... (and rows=[...]), or run=... run=...; run='quickstart/-1 Conv' names a row.")
    typed = settings(rest, OWN, CHANGEABLE)
    candidates = [candidate_of(find_run(typed.runs_dir, name)) for name in names]
    headers = [one.run.header for one in candidates]
    tracking = replace(typed.config.tracking, experiment=headers[0].experiment)
    if not any(text.startswith("tracking") for text in typed.overrides):
        # Where the members are; an ensemble of runs that were never recorded is not recorded either.
        uri = next((header.mlflow_uri for header in headers if header.mlflow_uri), None)
        tracking = replace(tracking, enabled=uri is not None, uri=uri or tracking.uri)
    raise_faults(check(tracking))
    return Choice(candidates, typed.runs_dir, headers[0].experiment, tracking)


def _of_study(words: dict[str, list[str]], rest: Sequence[str]) -> Choice:
    """Finished runs of a study or a grid."""
    rows = single(words, "rows")
    if rows and not any(text.startswith("study=") for text in rest):
        raise UserError(f"rows={rows} needs the study that it means: study=quickstart.")
    plan, cells, _ = prepared([*rest, *([f"study.rows={rows}"] if rows else [])])
    config = cells[0].config
    there = gathered(plan)
    missing = [row.label for row in there if not row.runs]
    if missing and (rows or len(missing) == len(there)):
        way_out = f"Train: {shlex.join(['python', '-m', 'fer_ablate', '-m', *rest])}"
        raise UserError(f"No run of {', '.join(missing)} is finished{_stale_hint(plan)}. {way_out}")
    finished, asked = sum(len(row.runs) for row in there), sum(row.asked for row in there)
    remarks = (f"{finished} of {asked} runs are finished{_stale_hint(plan)}.",) if finished < asked else ()
    return Choice(candidates_of(there), Path(config.runs_dir), plan.asked.name, config.tracking, remarks)


def _stale_hint(plan: Plan) -> str:
    stale = sum(planned.state is State.stale for planned in plan.runs)
    hidden = stale and not plan.asked.study.accept_stale
    return f" ({stale} of an earlier config, data or code: study.accept_stale=true takes them)" if hidden else ""


def _show(ensemble: Ensemble, choice: Choice) -> None:
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
    for note in (*choice.remarks, *ensemble.notes):
        console.console.print(f"  {note}", style="dim")


def _percent(fraction: float) -> str:
    return number(100 * fraction, 2)


def _record(choice: Choice, ensemble: Ensemble, name: str, folder: EnsembleFolder, digest: str) -> str:
    """Bring it to MLflow; why that did not work, or nothing."""
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
    told = Told(
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
    uri = choice.tracking.uri
    before = folder.recorded(uri)
    recorded, warning = record_ensemble(choice.tracking, choice.runs_dir, choice.study, before, told)
    if recorded != before:
        folder.remember(uri, recorded)
    return warning
