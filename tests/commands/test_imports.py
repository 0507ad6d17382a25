"""What trains nothing does not wait for the libraries that train, draw or record; in a process of its own, as a person has it."""

import json
import os
import subprocess
import sys

import pytest

TRAINING = ("torch", "pytorch_lightning", "torchmetrics", "kornia")
DRAWING = ("matplotlib", "pandas", "scipy.stats", "mlflow", "optuna")

SCRIPT = """
import contextlib, io, json, sys
from fer_ablate.cli.main import main

commands, watched = json.loads(sys.argv[1])
found = {}
for words in commands:
    sys.argv = ["fer_ablate"]
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        code = main(words)
    found[" ".join(words[:2])] = (code, printed.getvalue(), [name for name in watched if name in sys.modules])
print(json.dumps(found))
"""


@pytest.mark.long
@pytest.mark.parametrize("thorough", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["quick verbs", "all verbs"])
def test_only_training_imports_what_trains(finished, typed_small, cache_dir, tmp_path, thorough):
    of_run = [*typed_small, "trainer.max_epochs=1", f"runs_dir={finished.parents[1]}"]
    # Their order is that of what they import: a module once imported stays.
    commands = [
        ["--help"],
        ["plam"],
        ["-sc", "query=bash"],
        ["--cfg", "job"],
        ["runs", f"runs_dir={finished.parents[1]}"],
        ["clean", f"runs_dir={finished.parents[1]}"],
        ["plan", *of_run],
        ["watch", *of_run],
        ["table", *of_run],
        ["table", "format=markdown", *of_run],
    ]
    if thorough:
        commands += [["reproduce", "lenet5", f"runs_dir={finished.parents[1]}"], ["results", f"folder={tmp_path / 'docs'}"]]
        commands += [["report", *of_run]]
    environment = {
        **os.environ,
        "FER_ABLATE_CACHE": str(cache_dir),
        "COMP_LINE": "fer_ablate plan optimizer=ada",
        "COMP_POINT": "29",
    }
    environment.pop("FER_ABLATE_DATA", None)
    (tmp_path / "docs").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps([commands, [*TRAINING, *DRAWING]])],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env=environment,
    )
    found = json.loads(done.stdout)
    assert {name: (code, printed[-2000:]) for name, (code, printed, _) in found.items() if code != (name == "plam")} == {}
    assert "optimizer=adadelta" in found["-sc query=bash"][1]
    assert "baseline" in found["table format=markdown"][1]
    assert {name: imported for name, (_, _, imported) in found.items() if set(imported) & set(TRAINING)} == {}
    assert {name: imported for name, (_, _, imported) in found.items() if imported and not name.startswith("report ")} == {}
