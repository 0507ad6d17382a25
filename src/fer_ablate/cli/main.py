"""The command line: picks the verb, and turns an error into one message and an exit code."""

import gc
import importlib
import os
import re
import sys
from collections.abc import Sequence
from importlib.metadata import version

from fer_ablate.cli.interrupts import INTERRUPTED, show_interrupted, uninterrupted
from fer_ablate.cli.output import fit_output, show_bug
from fer_ablate.cli.program_help import FLAGS, asks_for_help_alone, program_help
from fer_ablate.cli.quiet_libraries import quiet_libraries
from fer_ablate.cli.typed import typed_words
from fer_ablate.errors import UserError, choices

VERBS = {
    "train": "train one run, or with -m a study, a grid or a search (the default verb)",
    "init": "a folder for a study of your own that runs as it is: init my_study",
    "plan": "what a study would train, what is finished or stale and why, and the cost: plan study=quickstart",
    "table": "the judged table of a study: table study=quickstart [format=markdown|latex|csv|html|json] [output=FILE]",
    "path": "from the baseline to the best row, one change at a time: path study=quickstart to=SGD [reverse=true] [plan=true]",
    "watch": "how far a study or grid is while it trains, from any terminal: watch study=quickstart",
    "runs": "what is on disk: runs [experiment=quickstart] [state=failed] [sort=age|size|score] [format=csv]",
    "compare": "two runs side by side, with the paired test: compare run=<id> run=<id>",
    "clean": "what could be deleted, and with yes=true deletes it: clean [study=quickstart] [what=failed,stale,checkpoints]",
    "evaluate": "test a finished run again: evaluate run=<id> | ckpt=<file> [evaluation.tta=ten_crop] [data=...]",
    "across": "several networks on several data sets, one table: across run=<id> run=<id> data=fer2013 data=folder data.path=raf",
    "explain": "where in a face a finished network looks: explain run=<id> | ckpt=<file> [methods=gradcam,occlusion]",
    "predict": "expressions in pictures, videos or from a camera: predict run=<id> source=photos/ [detector=haar|none]",
    "export": "a finished network as ONNX, torch.export or MLflow model: export run=<id> format=onnx [quantise=static]",
    "report": "a study or a run as one page of HTML: report study=quickstart | run=<id>",
    "ensemble": "the average of finished networks: ensemble study=quickstart [rows=[...]] [select=greedy]",
    "describe": "layers, shapes, parameters and MACs of a network: describe model=fer_kd",
    "data": "what a data set holds and what is wrong with it; contact sheets: data data=fer2013 [show=samples|augmented|classes]",
    "bench": "images per second of training against a bare loop: bench model=pisa augment=vggnet",
    "reproduce": "the tables of the documents, their state and cost: reproduce [fer_kd [table1]] [trial=true]",
    "results": "published and measured numbers: results [study=fer_kd/table1] exports its runs and writes docs/results.md",
    "sync": "bring runs into MLflow that could not be recorded while they ran",
}
"""Verb -> its line in the list of verbs. Each is a module of `fer_ablate.commands` with `run(arguments) -> exit code`."""

SPEED = {
    # Threads that wait for each other sleep: beside a busy process two of them train 1.5 times as fast as when they spin, and
    # 6 % slower on a quiet machine (benchmarks/README.md).
    "OMP_WAIT_POLICY": "passive",
    # Linux gives out the memory of large tensors in huge pages: the C library returns it after every step, and clearing it again
    # in pages of 4 KiB takes up to half of the time of a step.
    "THP_MEM_ALLOC_ENABLE": "1",
}
"""Settings of OpenMP and torch, which read them when torch is imported; what the environment says wins."""

COMPLETION = frozenset({"-sc", "--shell-completion"})
"""Flag with which a shell asks for completions of `COMP_LINE`."""

DEFAULT = "train"
"""Verb of a command that names none."""

WORKER = "worker"
"""Verb that the program itself types: one of the processes that share a run."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: what was typed after the program's name; None takes those of this process.

    Returns:
        0 if all went well, 1 if something was wrong, 130 after Ctrl-C.
    """
    if arguments is None:
        sys.excepthook = show_bug
        code = uninterrupted(lambda: main(sys.argv[1:]))
        # This process ends: Python would look for garbage among all that the libraries hold, for up to a second.
        gc.freeze()
        return code
    with fit_output():
        return _command(list(arguments))


def _command(given: list[str]) -> int:
    verb = ""
    try:
        named = bool(given) and given[0] in VERBS
        verb = _verb(given)
        if named and FLAGS & set(given):
            print(f"{verb}: {VERBS[verb]}\n", flush=True)
        if given == ["--version"]:
            print(f"fer_ablate {version('fer_ablate')}")
            return 0
        if verb == DEFAULT and asks_for_help_alone(given):
            print(program_help())
            return 0
        if COMPLETION & set(given):
            _complete_behind_verb()
        for name, value in SPEED.items():
            os.environ.setdefault(name, value)
        given = typed_words(given)
        # Imported only now, so that a typo is answered at once and no verb waits for the libraries of another.
        command = importlib.import_module(f"fer_ablate.commands.{verb}")
        quiet_libraries()
        return int(command.run(given))
    except UserError as error:
        print(f"fer_ablate: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        if verb == WORKER:
            return INTERRUPTED  # the process that launched it prints the message
        show_interrupted()
        return INTERRUPTED
    except SystemExit as left:  # after a help text, and from rich when the reader of a pipe is gone
        return left.code if isinstance(left.code, int) else int(left.code is not None)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # keeps Python's own flush at exit silent
        return 1


def _complete_behind_verb() -> None:
    """Take the verb off the line that a shell completes: Hydra knows overrides alone."""
    line = os.environ.get("COMP_LINE", "")
    found = re.match(r"(.*?fer[-_]ablate\s+)(\w+\s+)", line)
    if found and found[2].strip() in VERBS:
        os.environ["COMP_LINE"] = found[1] + line[found.end() :]
        point = os.environ.get("COMP_POINT", "")
        os.environ["COMP_POINT"] = str(int(point) - len(found[2])) if point.isdecimal() else point


def _verb(given: list[str]) -> str:
    """Take the verb off the arguments; without one it is the default."""
    first = given[0] if given else ""
    if first in VERBS or first == WORKER:
        return given.pop(0)
    if first and not first.startswith(("-", "+", "~")) and "=" not in first:
        listed = "\n".join(f"  {verb:<9} {meaning}" for verb, meaning in VERBS.items())
        raise UserError(f"'{first}' is neither a verb nor key=value. {choices(first, VERBS)}\n{listed}")
    return DEFAULT
