"""How long `plan` takes for many cells, with none and with all of them finished; whole processes, medians.

    python benchmarks/planning.py [rows=100] [seeds=10] [repeats=5]

The finished runs are headers and results without training, in a temporary folder: `plan` reads no more of a run.
"""

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from fer_ablate.config.key import KEY_RULES
from fer_ablate.execution.planning import plan_of
from fer_ablate.study.plan import PlannedRun
from fer_ablate.tracking.disk.run_folder import RunHeader


def main() -> None:
    """Print the seconds of each case."""
    given = dict(word.split("=", 1) for word in sys.argv[1:])
    rows, seeds, repeats = (int(given.get(name, default)) for name, default in (("rows", 100), ("seeds", 10), ("repeats", 5)))
    rates = ",".join(f"{0.0001 * number:.4f}" for number in range(1, rows + 1))
    folder = Path(tempfile.mkdtemp(prefix="planning-"))
    words = [f"optimizer.lr={rates}", f"seed={','.join(map(str, range(seeds)))}", f"runs_dir={folder / 'runs'}"]
    try:
        plan, _, _ = plan_of(words)
        print(f"{len(plan.runs):,} cells, {rows} rows x {seeds} seeds")
        print(f"  nothing finished          {_seconds(words, repeats)}")
        for planned in plan.runs:
            _finish(planned)
        index = folder / "runs" / ".index.json"
        print(f"  all finished, no index    {_seconds(words, repeats, without=index)}")
        print(f"  all finished, with index  {_seconds(words, repeats)}")
    finally:
        shutil.rmtree(folder)


def _finish(planned: PlannedRun) -> None:
    cell, identity = planned.cell, planned.cell.identity
    header = RunHeader(
        key=cell.key,
        name=cell.row.label,
        seed=cell.config.seed,
        experiment=cell.config.tracking.experiment,
        changed=cell.changed,
        overrides=list(cell.overrides),
        data_digest=identity.data_digest,
        code_digest=identity.code_digest,
        settings=identity.settings,
        key_rules=KEY_RULES,
        started_at="2026-01-01T00:00:00+00:00",
    )
    folder = planned.folder
    folder.path.mkdir(parents=True)
    # Not through `RunFolder`, which waits for the disk at each file.
    folder.header_file.write_text(json.dumps(asdict(header), indent=2, default=str))
    folder.result_file.write_text("{}")


def _seconds(words: list[str], repeats: int, without: Path | None = None) -> str:
    taken = []
    for _ in range(repeats):
        if without is not None:
            without.unlink(missing_ok=True)
        begin = time.perf_counter()
        subprocess.run([sys.executable, "-m", "fer_ablate", "plan", *words], check=True, stdout=subprocess.DEVNULL)
        taken.append(time.perf_counter() - begin)
    return f"median {statistics.median(taken):.2f} s of {repeats} ({min(taken):.2f} to {max(taken):.2f})"


if __name__ == "__main__":
    main()
