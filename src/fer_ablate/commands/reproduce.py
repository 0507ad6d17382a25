"""`reproduce`: which tables of the documents there are, how far each is, and the one command that trains it."""

from collections.abc import Sequence
from pathlib import Path

from fer_ablate.cli.request import inspected, parse
from fer_ablate.commands import reproduce_listing, reproduce_trial, train
from fer_ablate.commands.reproduce_words import Wanted, show_command
from fer_ablate.commands.results import folder_of
from fer_ablate.errors import UserError, choices
from fer_ablate.study.documents import documents, named_study, named_tables

USAGE = """The published tables: how far each is here, and the command that trains it.

  python -m fer_ablate reproduce                                  all documents and their tables
  python -m fer_ablate reproduce fer_kd                           every row of one document
  python -m fer_ablate reproduce fer_kd table1                    print the command and run it
  python -m fer_ablate reproduce fer_kd table1 seed=0 trainer=gpu with overrides, as with -m
  python -m fer_ablate reproduce fer_kd table1 trial=true         one epoch of each row on few images; estimates the cost

A trial trains seed 0 in <runs_dir>/trials, on 2,000 images (images=N: others), and keeps what it measured in
docs/results/trials.csv (folder=DIR: elsewhere)."""

OWN = ("trial", "folder", "images")
SWITCH = {"true": True, "false": False}
EXAMPLE = "reproduce fer_kd table1"


def run(arguments: Sequence[str]) -> int:
    """List, or train a table."""
    if {"-h", "--help"} & set(arguments):
        print(USAGE)
        return 0
    parsed = parse([word for word in arguments if word.split("=", 1)[0] not in OWN])
    if inspected(parsed):
        raise UserError("Hydra's flags belong to the command itself: python -m fer_ablate -m study=DOCUMENT/TABLE --cfg job")
    config_dir = Path(parsed.config_dir) if parsed.config_dir else None
    names = [part for word in parsed.overrides if "=" not in word for part in word.split("/")]
    words = tuple(word for word in parsed.overrides if "=" in word)
    wanted = Wanted(words, config_dir, folder_of(arguments), _images(arguments))
    on_trial = _on_trial(arguments)
    known = documents(config_dir)
    if len(names) == 2:
        study = named_study(names[0], names[1], known)
        return reproduce_trial.run(study, wanted) if on_trial else _train(study, wanted)
    if len(names) > 2:
        raise UserError(f"{' '.join(names)}: give a document and one of its tables, as in {EXAMPLE}.")
    if on_trial:
        raise UserError(f"trial=true: of which table? Give a document and one of its tables, as in {EXAMPLE} trial=true.")
    reproduce_listing.show({name: named_tables(name, known) for name in names or known}, wanted, bool(names))
    return 0


def _on_trial(arguments: Sequence[str]) -> bool:
    given = [word.split("=", 1)[1] for word in arguments if word.startswith("trial=")]
    if given and given[-1] not in SWITCH:
        raise UserError(f"trial={given[-1]}: {choices(given[-1], SWITCH)}")
    return bool(given) and SWITCH[given[-1]]


def _images(arguments: Sequence[str]) -> int:
    given = [word.split("=", 1)[1] for word in arguments if word.startswith("images=")]
    if given and (not given[-1].isdecimal() or int(given[-1]) < 1):
        raise UserError(f"images={given[-1]} is no number of images. Give, say, images=500.")
    return int(given[-1]) if given else Wanted.images


def _train(study: str, wanted: Wanted) -> int:
    words = ["-m", *wanted.about(study)]
    show_command(words)
    return train.run(words)
