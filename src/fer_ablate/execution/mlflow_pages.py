"""Where to see runs and studies in MLflow: the command that starts its pages, and the address to open."""

from pathlib import Path

from fer_ablate.addresses import home_page, start_command
from fer_ablate.config.schema import TrackingConfig
from fer_ablate.errors import UserError
from fer_ablate.study.averaged_rows import averaged_networks
from fer_ablate.study.plan import Plan
from fer_ablate.tracking.mlflow.study_runs import comparison_address, study_address


def rows_address(plan: Plan) -> str:
    """Address of the page on which MLflow compares the rows of a study; empty without tracking, or if it shows none.

    Raises:
        UserError: what was remembered of the study cannot be read.
    """
    config = plan.runs[0].cell.config
    shown = {planned.cell.row.label for planned in plan.runs} | {network.row.label for network in averaged_networks(plan)}
    labels = [row.label for row in plan.spec.rows if row.label in shown and not row.auxiliary]
    if not config.tracking.enabled:
        return ""
    return comparison_address(config.tracking, Path(config.runs_dir), plan.spec.name, labels)


def comparison_facts(plan: Plan) -> list[tuple[str, str]]:
    """Name and value of the lines that lead to the comparison of a study's rows in MLflow; none without tracking."""
    tracking = plan.runs[0].cell.config.tracking
    try:
        address = rows_address(plan)
    except UserError:
        address = ""  # what is wrong was said when the study was sent
    return experiment_facts(tracking, address) if tracking.enabled else []


def experiment_facts(tracking: TrackingConfig, address: str) -> list[tuple[str, str]]:
    """The lines for a page of an experiment whose address is known; empty: the first page."""
    return page_facts(tracking.uri, address, f"experiment {tracking.experiment}")


def study_facts(tracking: TrackingConfig, runs_dir: Path, study: str) -> list[tuple[str, str]]:
    """The same for the page of a study or a search as a whole."""
    try:
        address = study_address(tracking, runs_dir, study)
    except UserError:
        address = ""
    return experiment_facts(tracking, address)


def page_facts(uri: str, address: str, where: str) -> list[tuple[str, str]]:
    """The command that starts the pages of a store, unless it is a server, and the address to open.

    Args:
        uri: of the store.
        address: empty: the first page.
        where: what to look for there.
    """
    if command := start_command(uri):
        return [("compare", f"{command}   ({where})"), *([("open", address)] if address else [])]
    return [("compare", address or f"{home_page(uri)}   ({where})")]
