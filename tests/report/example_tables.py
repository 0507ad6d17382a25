"""Judged tables to render and draw, with plausible numbers made by a seeded generator."""

import math
from pathlib import Path

import numpy as np

from fer_ablate.config.study_rows import Repeat
from fer_ablate.judgement.judged_table import Difference, Failure, JudgedTable, Published, Score, TableRow, Verdict

NAN = math.nan
FER_KD = {
    "+1 FC +1 Conv": (65.35, 62.29),
    "+1 Conv": (64.67, 63.14),
    "+1 FC": (64.42, 63.25),
    "FER_KD": (65.43, 62.62),
    "-1 Conv": (63.82, 60.78),
    "-2 Conv": (60.12, 58.96),
    "-3 Conv": (55.43, 53.84),
    "-4 Conv": (48.96, 46.20),
}
PROTOCOL = {
    "source": "fer2013",
    "roles": "swapped",
    "labels": "hard",
    "classes": "all",
    "drop": "none",
    "crop": "48",
    "tta": "none",
}


def difference(value, half, n=3):
    """Row minus baseline with an interval of this half width, and the words for it."""
    if n == 1:
        return Difference(value, NAN, NAN, 0.21, 0.42, "n=1: these two networks only (p = 0.21)")
    low, high, p = value - half, value + half, 0.01
    if low > 0:
        kind, words = Verdict.better, f"better by {100 * low:.1f} to {100 * high:.1f} points"
    elif high < 0:
        kind, words = Verdict.worse, f"worse by {-100 * high:.1f} to {-100 * low:.1f} points"
    else:
        p, kind, words = 0.3, Verdict.noise, f"within noise (could be {100 * low:+.1f} to {100 * high:+.1f})"
    return Difference(value, low, high, p, 2 * p, words, kind)


def score(mean, sd=0.004, n=3, **rest):
    """Of 3,589 images."""
    half = 0.009
    low, high = (NAN, NAN) if n == 1 else (mean - half, mean + half)
    return Score(n, 3589, mean, NAN if n == 1 else sd, low, high, True, **rest)


def row(label, scores=None, *, seeds=(0, 1, 2), n=None, finished=None, **rest):
    """A row with as many finished seeds as its scores have, unless the finished runs are named."""
    scores = scores or {}
    n = n if n is not None else max((value.n for value in scores.values()), default=0)
    costs = {"parameters": 3_660_000, "macs": 515_700_000, "seconds": 754.0, "peak_memory_mb": 1890.0} if n else {}
    given = {"baseline": False, "stale": 0, "failures": (), "published": {}, "factor": None}
    finished = tuple(map(Repeat, seeds[:n])) if finished is None else tuple(finished)
    costs = {**dict.fromkeys(("parameters", "macs", "seconds", "peak_memory_mb")), **costs}
    return TableRow(label=label, seeds=seeds, finished=finished, scores=scores, **{**given, **costs, **rest})


def table(rows, columns=("test/acc",), notes=(), factor=None, study="fer_kd/table1", source="FER_KD, Table 1"):
    """A table of these rows."""
    return JudgedTable(study, source, tuple(columns), tuple(rows), PROTOCOL, tuple(notes), factor)


def fer_kd_table(n=3):
    """Eight rows of two metrics with published values, everything finished."""
    rng = np.random.default_rng(0)
    rows = []
    for place, (label, printed) in enumerate(FER_KD.items()):
        scores = {}
        for column, value, base in zip(("val/acc", "test/acc"), printed, FER_KD["FER_KD"], strict=True):
            mean, sd = value / 100 + rng.normal(0, 0.004), rng.uniform(0.002, 0.006)
            scores[column] = score(
                mean,
                sd,
                n,
                difference=None if label == "FER_KD" else difference(mean - base / 100, 0.012, n),
                published=Published(value),
                gap=100 * mean - value,
                agrees=None if n == 1 else bool(abs(100 * mean - value) < 400 * sd),
            )
        notes = {"test/acc": "PublicTest"} if label == "FER_KD" else {}
        published = {name: Published(100 * item.mean - item.gap, notes.get(name, "")) for name, item in scores.items()}
        published = {name: Published(round(item.value, 2), item.note) for name, item in published.items()}
        depth = (6, 6, 5, 5, 4, 3, 2, 1)[place]
        size = {"parameters": 10_479_111 * 4**depth // 4**5, "macs": 1_190_000_000 * depth // 5, "seconds": 600.0 + 97 * depth}
        rows.append(
            row(label, scores, seeds=tuple(range(n)), published=published, baseline=label == "FER_KD", factor=depth, **size)
        )
    notes = ("Holm's correction over 7 rows of each column.",)
    return table(rows, ("val/acc", "test/acc"), notes, "model.conv_layers")


def long_table(count=14, n=1):
    """Many rows of one metric with long labels, whose networks are of equal size."""
    rng = np.random.default_rng(1)
    names = ("sgd_nesterov", "adam", "adamw", "rmsprop", "adagrad", "adadelta", "lion")
    rows = []
    for place in range(count):
        label = f"optimizer={names[place % 7]} scheduler={('plateau', 'cosine_annealing')[place // 7 % 2]}"
        label += f" {place // 14}" * (place > 13)
        mean = 0.63 + rng.normal(0, 0.015)
        against = None if place == 0 else difference(mean - 0.63, 0.013, n)
        rows.append(
            row(
                label,
                {"test/acc": score(mean, 0.005, n, difference=against)},
                seeds=tuple(range(n)),
                baseline=place == 0,
                factor=names[place % 7],
                seconds=900 + rng.normal(0, 60),
            )
        )
    return table(rows, factor="optimizer", notes=("n=1: differences are of these two networks only.",), study="optimizers")


def unfinished_table():
    """A baseline with one seed missing, a row not yet run, one failed, one stale, and one half failed."""
    log = Path("runs/fer_kd/table1/minus-2-conv-0-1a2b3c4d5e/log.txt")
    error = "RuntimeError: CUDA out of memory. Tried to allocate 2.00 GiB\nTraceback ..."
    return table(
        [
            row("FER_KD", {"test/acc": score(0.626, n=2)}, baseline=True, published={"test/acc": Published(62.62)}),
            row("+1 Conv", published={"test/acc": Published(63.14)}),
            row("-2 Conv", failures=(Failure(1, error, log),), published={"test/acc": Published(58.96)}),
            row("+1 FC", {"test/acc": score(0.63, difference=difference(0.004, 0.01))}, stale=2),
            row(
                "-1 Conv",
                {"test/acc": score(0.60, n=1, difference=difference(-0.02, 0.01, 1))},
                failures=(Failure(2, error, log),),
            ),
        ]
    )


def odd_tables():
    """Tables that nothing may stumble over, by what is odd about them."""
    log = Path("log.txt")
    broken = Failure(0, "", log)
    return {
        "one row": table([row("only", {"test/acc": score(0.6)}, baseline=True)]),
        "no row": table([]),
        "no baseline finished": table([row("a", baseline=True), row("b", {"test/acc": score(0.6)}, factor=3.0)], factor="k"),
        "nothing run": table([row("a", baseline=True), row("b")], columns=("val/acc", "test/acc")),
        "all failed": table([row("a", baseline=True, failures=(broken,)), row("b", failures=(broken, Failure(1, "x | y", log)))]),
        "not numbers": table([row("a", {"test/loss": score(NAN, NAN)}, baseline=True)], columns=("test/loss",)),
        "no spread": table([row("a", {"test/acc": score(1.0, 0.0)}, baseline=True), row("b", {"test/acc": score(0.0, NAN)})]),
        "strange labels": table(
            [
                row("<b>β_1 & 50% #2 {x} ~ ^ \\ $a$ | é 表 [y]</b>", {"test/acc": score(0.6)}, baseline=True, factor="_a"),
                row("[x]\n*", {"test/acc": score(0.61, difference=difference(0.01, 0.02))}, factor="$"),
                row("_hidden $", {"test/acc": score(0.61, difference=difference(0.01, 0.02))}, factor="y" * 90),
            ],
            factor="a_b$",
        ),
        "thirty rows": long_table(30, 3),
    }
