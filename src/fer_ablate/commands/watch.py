"""`watch`: how far a study or a grid is while another process trains it. Trains nothing."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from fer_ablate.cli import console
from fer_ablate.cli.words import read_command
from fer_ablate.execution.live_view import POLL_SECONDS, LiveView, live_view
from fer_ablate.execution.planning import plan_with_bar, summary
from fer_ablate.tracking.disk.run_state import RunState

USAGE = """Show how far a study or a grid is while it trains, in this or another terminal, with any launcher.

  python -m fer_ablate watch study=quickstart                   a line for each running row, and one for the whole
  python -m fer_ablate watch study=quickstart follow=true       also waits for runs that have not begun
  python -m fer_ablate watch optimizer=adam,adamw seed=0,1,2    a grid: the words that it was started with

{words}
Beside these, everything that `plan` takes. In a pipe, a line when a run starts or ends, and the whole every minute. Ends when
nothing runs any more. Only files in the folders of the runs are read, so nothing here disturbs the training."""

QUIET_SECONDS = 30.0
"""How long nothing must run before the watch ends: while a sweep starts its workers, and between two rows, no run is running."""


@dataclass(frozen=True, kw_only=True)
class WatchWords:
    """Words of `watch`."""

    follow: bool = False  # wait until every run has ended, also while nothing runs


def run(arguments: Sequence[str]) -> int:
    """Watch until nothing runs."""
    words, rest = read_command(arguments, WatchWords, USAGE)
    plan, _, _ = plan_with_bar(rest)
    console.facts([("study" if plan.spec.from_file else "grid", f"{plan.spec.name}, {summary(plan)}")])
    try:
        with live_view(plan.runs, watching=True) as view:
            _wait(view, words.follow)
    except KeyboardInterrupt:  # the usual way to leave: it ends nothing but the view
        console.console.print("  the view ended; the runs go on")
        return 0
    failed = sum(one.state is RunState.failed for one in view.progress)
    if not failed and view.whole.waiting and not words.follow:
        console.facts([("note", "nothing runs now; follow=true waits for the rest, -m trains it")])
    return int(bool(failed))


def _wait(view: LiveView, follow: bool) -> None:
    """Return when every run has ended, or nothing runs and nobody wants to wait."""
    last_busy = time.monotonic()
    while True:
        now = view.whole
        if view.ended:
            return
        if now.running:
            last_busy = time.monotonic()
        elif not now.waiting or (not follow and time.monotonic() - last_busy > QUIET_SECONDS):
            return
        time.sleep(POLL_SECONDS)
