"""How the runs of a sweep share this machine: how many train at once, and with how many threads each. Arithmetic only."""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from fer_ablate import machine
from fer_ablate.cli.console import counted
from fer_ablate.config.choices import Block
from fer_ablate.config.schema import Config, StageConfig
from fer_ablate.models.stages import resolved, stage_sizes
from fer_ablate.sizes import Size

VISIBLE = "CUDA_VISIBLE_DEVICES"
"""Environment variable with the GPUs that a process may use."""

THREADS = "OMP_NUM_THREADS"
"""Environment variable with the number of threads of libraries that are not given one."""

BASE_MB = 650.0
"""Memory of a process that trains next to nothing, measured; most of it are the libraries."""

HOST_MB = 3000.0
"""Main memory of a run on a GPU, where what is measured is the memory of the card."""

COPIES = 2
"""Copies of each map of a batch: that are in memory together, by measurements of four networks."""

UNKNOWN_MB = 1500.0
"""Memory on top of that of the process for a network of the user's own, of which nothing is known."""

USABLE = 0.9
"""Share of the free memory that runs are given; the rest is for what else happens on the machine."""

USUAL_SIDE = 48
"""Side of images in pixels where the config names none, as in FER2013."""


@dataclass(frozen=True)
class Machine:
    """What this process may use.

    Args:
        cores: number of cores.
        gpus: value of CUDA_VISIBLE_DEVICES for each card.
        memory_mb: free memory in MiB.
    """

    cores: int
    gpus: tuple[str, ...] = ()
    memory_mb: float = math.inf


@dataclass(frozen=True)
class Need:
    """What a run takes while it trains.

    Args:
        cores: threads of all its processes.
        gpus: how many.
        memory_mb: main memory in MiB.
    """

    cores: int
    gpus: int
    memory_mb: float


@dataclass(frozen=True)
class Sharing:
    """How the runs of a sweep share a machine.

    Args:
        machine: the machine.
        at_once: most runs at once.
        threads: of a run that names no number, over all its processes.
        memory_mb: that the largest run takes.
        measured: whether that is the peak of a finished run; otherwise it is an estimate.
    """

    machine: Machine
    at_once: int
    threads: int
    memory_mb: float
    measured: bool

    def need(self, config: Config) -> Need:
        """What a run takes; never more than the machine has, so that each run gets its turn."""
        trainer, gpus = config.trainer, _gpus(config, self.machine)
        cores = trainer.devices * (trainer.num_threads or self._threads_of_process(config))
        return Need(min(cores, self.machine.cores), gpus, min(self.memory_mb, USABLE * self.machine.memory_mb))

    def with_threads(self, config: Config) -> Config:
        """The config with the number of threads that the run trains with, which is stored with the run."""
        # A run that has the machine for itself takes all cores anyway.
        if config.trainer.num_threads is not None or self.at_once == 1:
            return config
        return replace(config, trainer=replace(config.trainer, num_threads=self._threads_of_process(config)))

    def _threads_of_process(self, config: Config) -> int:
        return max(1, self.threads // config.trainer.devices)

    @property
    def described(self) -> str:
        """In words, such as `2 runs at once, one thread each (2 cores, 0.6 GB a run)`."""
        each = "one thread" if self.threads == 1 else f"up to {self.threads} threads"
        cards = f"{counted(len(self.machine.gpus), 'GPU')}, " if self.machine.gpus else ""
        memory = f"{self.memory_mb / 1024:.1f} GB a run{'' if self.measured else ', estimated'}"
        runs = "one run after another" if self.at_once == 1 else f"{self.at_once} runs at once"
        return f"{runs}, {each} each ({cards}{counted(self.machine.cores, 'core')}, {memory})"


def this_machine() -> Machine:
    """What this process may use, by its limits and those of its container or job."""
    visible = [card.strip() for card in os.environ.get(VISIBLE, "").split(",") if card.strip()]
    gpus = [str(card.index) for card in machine.cuda_gpus()]
    # Within CUDA GPUs are counted from 0, whatever they are called in the variable.
    named = [visible[int(index)] if int(index) < len(visible) else index for index in gpus]
    return Machine(machine.granted_cores(), tuple(named), machine.free_memory_mb())


def share(configs: Sequence[Config], here: Machine, peaks: Mapping[str, float], most: int | None = None) -> Sharing:
    """Share a machine among runs: a card for each, or else as many at once as cores and memory allow.

    All runs of a study count, finished ones too: the last ones that are missing train with as many threads as the others did,
    since the number of threads can change a result in its last digits.

    Args:
        configs: of all runs, each run once.
        here: the machine.
        peaks: name of a run -> measured memory of a finished run of this name in MiB.
        most: runs at once that the user allows; None: as many as fit.
    """
    known = [peaks[name] for config in configs if (name := config.name or "") in peaks]
    guessed = [estimated_mb(config) for config in configs if (config.name or "") not in peaks]
    if any(_gpus(config, here) for config in configs):
        known, guessed = [], [HOST_MB]
    memory = max([*known, *guessed])
    fits = max(1, int(USABLE * here.memory_mb / memory)) if math.isfinite(here.memory_mb) else here.cores
    places = max(_places(config, here) for config in configs)
    at_once = max(1, min(len(configs), fits, places, most or places))
    return Sharing(here, at_once, max(1, here.cores // at_once), memory, measured=memory in known)


def _places(config: Config, here: Machine) -> int:
    """How many runs like this one the GPUs or the cores have room for."""
    if gpus := _gpus(config, here):
        return len(here.gpus) // gpus
    return here.cores // (config.trainer.devices * (config.trainer.num_threads or 1))


def _gpus(config: Config, here: Machine) -> int:
    return min(config.trainer.devices, len(here.gpus)) if config.trainer.accelerator != "cpu" else 0


def estimated_mb(config: Config) -> float:
    """Main memory of a run on a CPU in MiB, from the maps of a batch and the weights; right within a factor of two."""
    if not config.model.stages:
        return BASE_MB + UNKNOWN_MB
    network, size = resolved(config.model), _image_size(config)
    channels, values, weights = network.in_channels, 0, 0
    for stage in network.stages:
        if not stage.depth:
            continue
        sizes = stage_sizes(stage, size)
        values += sum(_width(stage) * height * width for height, width in sizes[: stage.depth])
        weights += stage.depth * stage.kernel**2 * stage.channels * max(channels, stage.channels)
        size, channels = sizes[-1], stage.channels
    features = channels * size[0] * size[1]
    for layer in network.hidden:
        weights, features = weights + features * layer.features, layer.features
    # Without gradients, a batch of the evaluation needs a single copy of each map.
    batch = max(config.trainer.batch_size, config.trainer.evaluation_batch_size // COPIES)
    # Weights, their gradients and two moments of Adam.
    return BASE_MB + 4 * (COPIES * batch * values + 4 * weights) / 2**20


def _width(stage: StageConfig) -> int:
    """Channels of all maps of one block."""
    inner = stage.inner or (stage.channels // 2 if stage.block is Block.bottleneck else 3 * stage.channels)
    return stage.channels if stage.block is Block.conv else stage.channels + inner


def _image_size(config: Config) -> Size:
    given = config.data.size
    if isinstance(given, int):
        return given, given
    return (int(given[0]), int(given[1])) if given else (USUAL_SIDE, USUAL_SIDE)
