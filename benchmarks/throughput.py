"""Training epochs against a bare PyTorch loop, with the same network, batch size, threads and number format.

The bare loop does forward pass, backward pass and optimizer step on one batch that stays where it is. What a run does beside that
counts against it: drawing, augmenting and normalising batches, schedules, and the counts behind its metrics. The second ratio
gives the bare loop the same batches, so that augmentation is on both sides. The limit is the speed of a large matrix product in
the same process; operations are those that torch counts. Each round measures all of these in turn, on drawn faces of 48x48.
"""

import argparse
import logging
import tempfile
import warnings
from pathlib import Path

from common import middle, table, where
from omegaconf import OmegaConf

from fer_ablate.config.compose import composed, composer, to_config
from fer_ablate.data.load import load_faces
from fer_ablate.machine import cpu_has_bf16, cuda_gpus
from fer_ablate.training.bench import Round, bench
from fer_ablate.training.hardware import use_threads
from fer_ablate.training.role_set import role_set

QUICKSTART = Path(__file__).parent.parent / "conf/study/quickstart.yaml"

NETWORKS = {
    "quickstart": ([str(word) for word in OmegaConf.load(QUICKSTART).base], "flip", 60),
    "pisa": (["experiment=pisa"], "pisa", 6),
    "mobile_fer": (["experiment=mobile_fer"], "mobile_fer", 4),
}
"""Network -> words of the command line, augmentation, steps of an epoch; quickstart has no augmentation of its own."""


def measured(words: list[str], augment: str, steps: int, repeats: int, threads: int, precision: str) -> tuple[list[Round], int]:
    """Rounds of a network, and its batch size."""
    given = [
        *words,
        "data=synthetic",
        "data.roles=official",
        f"augment={augment}",
        f"trainer.num_threads={threads}",
        f"trainer.precision={precision}",
        f"trainer.max_epochs={repeats + 1}",  # the first one warms up
        "data.synthetic.val=70",
        "data.synthetic.test=70",
    ]
    with composer():
        size = to_config(composed(given)).trainer.batch_size
        config = to_config(composed([*given, f"data.synthetic.train={size * steps}"]))
    use_threads(config.trainer)
    with tempfile.TemporaryDirectory() as folder:
        return bench(config, role_set(config, load_faces(config.data)), Path(folder)), size


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1, help="1, as runs of a sweep have; a single run takes all cores")
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=list(NETWORKS))
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    print(f"{where(given.repeats)}; threads: {given.threads}")
    formats = ["fp32", "bf16"] if cpu_has_bf16() or cuda_gpus() else ["fp32"]
    rows = []
    for precision in formats:
        for name in given.networks:
            words, own, steps = NETWORKS[name]
            for augment in ("none", own):
                rounds, size = measured(words, augment, steps, given.repeats, given.threads, precision)
                values = {
                    "ours": [each.training for each in rounds],
                    "bare": [each.ceiling for each in rounds],
                    "ratio": [each.ratio for each in rounds],
                    "with batches": [each.ratio_with_batches for each in rounds],
                    "used": [each.used for each in rounds],
                }
                speeds = [f"{middle(values[key]):.0f}" for key in ("ours", "bare")]
                ratios = [f"{middle(values[key]):.3f}" for key in ("ratio", "with batches", "used")]
                rows.append([name, str(size), augment, precision, *speeds, *ratios])
                print(" | ".join(rows[-1]), flush=True)
    header = ["network", "batch", "augment", "format", "ours, images/s", "bare, images/s"]
    print(table([*header, "ours / bare", "ours / bare with the same batches", "bare / arithmetic limit"], rows))
    if len(formats) == 1:
        print("no bf16 units: only fp32 was measured")


if __name__ == "__main__":
    main()
