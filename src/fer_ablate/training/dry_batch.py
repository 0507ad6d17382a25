"""Passes one batch through all parts of the user's own before the first epoch, and says in words what does not fit.

Letters: N images, C channels, H W pixels, K classes.
"""

import random
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from fer_ablate.config.binding import is_own, words_of
from fer_ablate.config.choices import Roles
from fer_ablate.config.schema import Config
from fer_ablate.data.batches import as_tensor
from fer_ablate.data.checks import AUGMENT, PREPARE
from fer_ablate.data.faces import FaceSet
from fer_ablate.data.ops.build import build_op
from fer_ablate.data.ops.registry import read_op
from fer_ablate.errors import Fault, FaultyConfigError, UserError
from fer_ablate.training.assembly import build_callbacks, build_module
from fer_ablate.training.module import Classifier, has_own_step, read_step
from fer_ablate.training.own_metrics import build_metrics
from fer_ablate.training.role_set import RoleSet

IMAGES = 8
"""Images of the batch: enough for statistics of batches, and quick for a large network."""

NEAR = 1e-3
"""How far a sum may be from 1, or a pixel outside [0, 1], by rounding alone."""

UNUSED_HOOKS = ("configure_optimizers", "validation_step", "test_step", "on_train_epoch_end", "on_validation_epoch_end")
"""Methods of a LightningModule that are not called where it is the network of a run."""


def dry_batch(config: Config, faces: FaceSet) -> list[str]:
    """Do one step with the first images of a set on the CPU, if the config names parts of the user's own; nothing is kept.

    Args:
        config: of the run, without faults.
        faces: its images.

    Returns:
        Sentences for the user about what is legal and probably not meant.

    Raises:
        FaultyConfigError: parts fail, or return something else than what is expected of them.
    """
    if not config.plugins:
        return []
    with _unseen(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _Trial(config, faces).notes()


def checked_scores(network: nn.Module, name: str, images: Tensor, classes: int, plugins: Sequence[str]) -> Tensor:
    """The scores (N, K) of a network of the user's own, which is left in training mode.

    Args:
        network: the network.
        name: its dotted path.
        images: (N, C, H, W) normalised images.
        classes: K.
        plugins: the user's own packages, for messages.

    Raises:
        FaultyConfigError: it fails, or returns something else.
    """
    # Some networks return something else in training, such as the scores of auxiliary heads.
    for mode in (False, True):
        network.train(mode)
        scores = _called("model.name", name, plugins, network, images)
        _require("model.name", name, _score_problem(scores, len(images), classes))
    assert isinstance(scores, Tensor)
    return scores


@contextmanager
def _unseen() -> Iterator[None]:
    """Leave random numbers as they were: a run must give the same result whether or not it was tried before."""
    state, other = np.random.get_state(), random.getstate()
    with torch.random.fork_rng(devices=[]):
        try:
            yield
        finally:
            np.random.set_state(state)
            random.setstate(other)


class _Trial:
    """One batch on its way through a run."""

    def __init__(self, config: Config, faces: FaceSet) -> None:
        self.config, self.faces = config, faces
        self.found: list[str] = []
        rows = torch.from_numpy(faces.rows[:: max(1, len(faces.rows) // IMAGES)][:IMAGES])  # from all over the set
        self.batch = as_tensor(faces.faces).index_select(0, rows)
        targets = faces.targets if faces.targets is not None else faces.labels
        self.targets = torch.from_numpy(targets)[rows]
        self.labels = torch.from_numpy(faces.labels)[rows]
        self.faults: list[Fault] = []

    def notes(self) -> list[str]:
        """Try everything that can be tried; raises all faults at once."""
        for attempt in (self._ops, self._network, self._metrics, lambda: build_callbacks(self.config)):
            try:
                attempt()
            except FaultyConfigError as error:
                self.faults += error.faults
        if self.faults:
            raise FaultyConfigError(list(dict.fromkeys(self.faults)))
        return self.found

    def _ops(self) -> None:
        """Apply the steps of `data.prepare` and `augment.steps` one after the other, and look at those of the user's own."""
        faces = self.batch.float() / 255
        places = [(f"{PREPARE}[{number}].op", step, True) for number, step in enumerate(self.config.data.prepare)]
        places += [(f"{AUGMENT}[{number}].op", step, False) for number, step in enumerate(self.config.augment.steps)]
        for key, step, fixed in places:
            module = build_op(read_op(step, self.config.plugins))
            if not is_own(step["op"]):
                faces = module(faces)
                continue
            called = partial(self._called, key, str(step["op"]), lambda given, module=module: module(given.clone()))
            changed = called(faces)
            _require(key, str(step["op"]), _image_problem(changed, faces))
            if fixed and not torch.allclose(changed[:1], called(faces[:1]), atol=NEAR):
                problem = f"{step['op']} changes an image in another way each time, or depends on the other images of the batch."
                raise FaultyConfigError(
                    [Fault(key, problem, "Every image is prepared once and for all: move it to augment.steps.")]
                )
            faces = changed

    def _network(self) -> None:
        """Do a training step: network, loss, gradient, optimizer and scheduler."""
        config = self.config
        key, name = "model.name", config.model.name
        rows = self.faces.rows
        data = RoleSet(self.faces, {"train": rows, "val": rows, "test": rows}, {}, Roles.drawn)
        if self.faults:  # what the network would get is not known
            return
        module = build_module(config, data, "")
        network, seen = module.network, module.preprocess(self.batch)
        targets = self.targets.repeat_interleave(len(seen) // len(self.targets), dim=0)
        if is_own(name):
            scores = checked_scores(network, name, seen, len(self.faces.classes), config.plugins)
            if has_own_step(network):
                self._own_hooks(network)
            self._look_for_softmax(name, scores)
        trained = {one: parameter for one, parameter in network.named_parameters() if parameter.requires_grad}
        if not trained:
            return  # `Classifier.configure_optimizers` has the words
        loss = self._loss(module, seen, targets)
        self._called("loss.name" if is_own(config.loss.name) else key, config.loss.name, loss.backward)
        self._gradients(trained)
        self._step(module, trained)

    def _own_hooks(self, network: nn.Module) -> None:
        name = self.config.model.name
        if not network.automatic_optimization:
            problem = f"{name} optimises by hand (automatic_optimization = False)."
            raise FaultyConfigError(
                [Fault("model.name", problem, "Return the loss from training_step; the optimizer is that of the config.")]
            )
        ignored = [hook for hook in UNUSED_HOOKS if getattr(type(network), hook) is not getattr(pl.LightningModule, hook)]
        if ignored:
            self.found.append(f"Of {name} only forward and training_step are used, not {', '.join(ignored)}.")

    def _look_for_softmax(self, name: str, scores: Tensor) -> None:
        sums = scores.detach().float().sum(dim=1)
        if bool((scores >= 0).all()) and bool(((sums - 1).abs() < NEAR).all()):
            self.found.append(
                f"The scores of {name} look like probabilities: every row sums to 1. The loss applies a softmax itself, and a "
                "second one makes learning slow: leave the last softmax out."
            )

    def _loss(self, module: Classifier, seen: Tensor, targets: Tensor) -> Tensor:
        """The loss of the batch, which has a gradient; checked where it or the step that computes it is the user's own."""
        config, network = self.config, module.network
        if has_own_step(network):
            key, name = "model.name", f"{config.model.name}.training_step"
            given = self._called(key, name, network.training_step, (seen, targets), 0)
            try:
                loss, scores = read_step(given)
            except UserError as error:
                raise FaultyConfigError([Fault(key, str(error).replace("training_step", name, 1))]) from error
            if scores is not None:
                _require(key, name, _score_problem(scores, len(seen), len(self.faces.classes)))
        else:
            key, name = "loss.name", config.loss.name
            scores = network(seen)
            if not scores.requires_grad:
                problem = f"{config.model.name} returns scores without a gradient."
                raise FaultyConfigError([Fault("model.name", problem, "Leave detach(), no_grad() and NumPy out of its forward.")])
            loss = self._called(key, name, module.loss, scores, targets)
        _require(key, name, _loss_problem(loss))
        return loss

    def _gradients(self, trained: Mapping[str, nn.Parameter]) -> None:
        without = [one for one, parameter in trained.items() if parameter.grad is None]
        broken = [one for one, parameter in trained.items() if parameter.grad is not None and not parameter.grad.isfinite().all()]
        key, name = "model.name", self.config.model.name
        if len(without) == len(trained):
            problem = "no weight of the network gets a gradient."
            raise FaultyConfigError(
                [Fault(key, f"{name}: {problem}", "Compute the loss from the scores, without detach() or item().")]
            )
        if broken:
            problem = f"the gradient of {_first(broken)} is not finite on the first batch."
            raise FaultyConfigError([Fault(key, f"{name}: {problem}", "A root or a logarithm of 0 is the usual cause.")])
        if without:
            self.found.append(f"{_first(without)} of {name} get no gradient, so they keep their first values.")

    def _step(self, module: Classifier, trained: Mapping[str, nn.Parameter]) -> None:
        config = self.config
        optimizer = module._make_optimizer(trained.items())
        if is_own(config.optimizer["name"]):
            # A closure, since some optimizers call it more than once; the gradients are there already.
            self._called("optimizer.name", config.optimizer["name"], optimizer.step, lambda: torch.zeros(()))
        else:
            optimizer.step()
        if is_own(config.scheduler["name"]):
            key, name = "scheduler.name", config.scheduler["name"]
            for entry in module._make_schedules(optimizer, 2):
                self._called(key, name, entry["scheduler"].step)
            rates = [float(group["lr"]) for group in optimizer.param_groups]
            if not all(np.isfinite(rate) and rate >= 0 for rate in rates):
                problem = f"{name} sets the learning rate to {rates[0]} in the second step."
                raise FaultyConfigError([Fault(key, problem, "It has to be finite and not negative.")])

    def _metrics(self) -> None:
        classes = len(self.faces.classes)
        metrics = build_metrics(self.config.evaluation.metrics, classes, self.config.plugins)
        metrics.values(torch.full((len(self.labels), classes), 1 / classes), self.labels)

    def _called(self, key: str, name: str, part: Callable[..., Any], *given: Any) -> Any:
        return _called(key, name, self.config.plugins, part, *given)


Problem = tuple[str, str] | None
"""What is wrong with a returned value, and the way out; None if nothing is."""


def _called(key: str, name: str, plugins: Sequence[str], part: Callable[..., Any], *given: Any) -> Any:
    """What a part returns; an error of any kind becomes a fault."""
    try:
        return part(*given)
    except Exception as error:  # of the user's own code
        shape = f" of shape {_shape(given[0])}" if given and isinstance(given[0], Tensor) else ""
        problem = f"{name} fails on the first batch{shape}: {words_of(error, plugins)}."
        raise FaultyConfigError([Fault(key, problem)]) from error


def _require(key: str, name: str, problem: Problem) -> None:
    if problem is not None:
        raise FaultyConfigError([Fault(key, f"{name} {problem[0]}", problem[1])])


def _score_problem(scores: Any, images: int, classes: int) -> Problem:
    if not isinstance(scores, Tensor):
        return f"returns {_kind(scores)}, not a tensor.", "Return the scores (N, K) alone: a number for each image and class."
    if scores.ndim == 2 and scores.shape[0] == images and scores.shape[1] != classes:
        problem = f"gives {scores.shape[1]} outputs for {classes} classes."
        return problem, "Make the last layer as wide as num_classes, which every network gets."
    if tuple(scores.shape) != (images, classes):
        problem = f"returns a tensor of shape {_shape(scores)} for {images} images and {classes} classes."
        return problem, f"Return scores of shape ({images}, {classes})."
    if not scores.is_floating_point():
        return f"returns whole numbers ({scores.dtype}).", "Return scores, not the numbers of classes."
    if not scores.isfinite().all():
        return (
            "returns scores that are not finite on the first batch.",
            "A root, a logarithm or a division by 0 is the usual cause.",
        )
    return None


def _loss_problem(loss: Any) -> Problem:
    if not isinstance(loss, Tensor):
        return f"returns {_kind(loss)}, not a tensor.", "Return a tensor with one number."
    if loss.numel() != 1:
        return f"returns a tensor of shape {_shape(loss)}.", "Return one number: the mean over the batch."
    if not loss.isfinite().all():
        return f"is {float(loss)} on the first batch.", "A logarithm of 0 or a division by 0 is the usual cause."
    if not loss.requires_grad:
        return "has no gradient.", "Compute it from the scores, without detach(), item(), argmax() or no_grad()."
    return None


def _image_problem(changed: Any, faces: Tensor) -> Problem:
    if not isinstance(changed, Tensor):
        return f"returns {_kind(changed)}, not a tensor.", "Return the changed images (N, C, H, W)."
    if changed.shape != faces.shape:
        return f"turns images {_shape(faces)} into {_shape(changed)}.", "Keep the shape; crop and resize change the size."
    if not changed.is_floating_point() or not changed.isfinite().all():
        return "returns pixels that are not finite numbers.", "Return floats in [0, 1]."
    if float(changed.min()) < -NEAR or float(changed.max()) > 1 + NEAR:
        low, high = float(changed.min()), float(changed.max())
        return f"returns pixels from {low:.3g} to {high:.3g}.", "Images are in [0, 1] before and after: end with clamp(0, 1)."
    return None


def _kind(value: Any) -> str:
    kind = type(value).__name__
    return f"a {kind} of {len(value)}" if isinstance(value, tuple | list) else "None" if value is None else f"a {kind}"


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "()"


def _first(names: Sequence[str]) -> str:
    """The first two names, and how many more there are."""
    more = f" and {len(names) - 2} more" if len(names) > 2 else ""
    return ", ".join(names[:2]) + more
