"""Heat maps of a finished run, computed for a single picture."""

from dataclasses import replace

from fer_ablate.config.choices import TestTimeAugmentation
from fer_ablate.data.load import load_faces
from fer_ablate.errors import UserError, choices
from fer_ablate.explain.attributions import PASSES, Lens
from fer_ablate.explain.explanation import Explanation, Wanted, explain
from fer_ablate.inference.network import load_network
from fer_ablate.tracking.disk.run_folder import RunFolder
from fer_ablate.training import hardware
from fer_ablate.training.assembly import role_set
from fer_ablate.training.checks import tested_size
from fer_ablate.training.evaluation import Examiner

PER_CLASS, PAIRS, IMAGES = 4, 3, 16
"""As `explain` has them: surest faces of a class, confused pairs, and images of a class that means are taken over."""


def explained(folder: RunFolder, method: str, split: str) -> Explanation:
    """Explain a run by one method, on the CPU.

    Args:
        folder: of a finished run whose images are still there.
        method: one of `attributions.PASSES`.
        split: `val`, `test`, `public` or `private`.

    Raises:
        UserError: there is no such method or split, or the images or the network cannot be had.
    """
    if method not in PASSES:
        raise UserError(f"method={method!r}: there is no such method. {choices(method, PASSES)}")
    trained = load_network(folder.best_checkpoint)
    config = trained.config
    data = role_set(config, load_faces(config.data), trained.image_size)
    parts = {**data.roles, **data.official}
    if split not in parts:
        raise UserError(f"split={split!r}: the images have no such split. {choices(split, parts)}")
    trainer = replace(config.trainer, accelerator="cpu", devices=1)
    machine = replace(hardware.choose(trainer), precision="32-true")
    lens = Lens(trained.network, trained.preprocess, tested_size(config, data.image_size), machine.device)
    examiner = Examiner(TestTimeAugmentation.none, lens.size, trainer.evaluation_batch_size, machine)
    predictions = examiner.predict(lens.network, lens.preprocess, data.faces, parts[split])
    return explain(lens, data.faces, predictions, Wanted((method,), PER_CLASS, PAIRS, IMAGES), lambda _: None)
