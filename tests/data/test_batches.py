from itertools import chain

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch import nn

from fer_ablate.data.batches import AUGMENT, LABELS, ORDER, Batches, EpochSampler, as_tensor, epoch_seed
from fer_ablate.errors import UserError


def steps(num_images, batch_size, epoch=0, **options):
    sampler = EpochSampler(num_images, batch_size, **{"shuffle": True, **options})
    sampler.set_epoch(epoch)
    batches = [batch.tolist() for batch in sampler]
    assert len(batches) == len(sampler)
    return batches


def joined(lists):
    return list(chain.from_iterable(lists))


def numbered(count, sampler, rows=None, **options):
    faces = torch.arange(count, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 4, 4)
    rows = torch.arange(count) if rows is None else rows
    return Batches(faces, rows, options.pop("targets", torch.arange(count)), sampler, **options)


def test_seed_and_epoch_alone_decide_the_order():
    assert steps(100, 10, seed=3, epoch=5) == steps(100, 10, seed=3, epoch=5)
    assert steps(100, 10, seed=3, epoch=5) != steps(100, 10, seed=3, epoch=6)
    assert steps(100, 10, seed=3, epoch=5) != steps(100, 10, seed=4, epoch=5)
    assert steps(100, 10, seed=0, epoch=1) != steps(100, 10, seed=1, epoch=0)


def test_the_order_is_independent_of_the_global_generator():
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    steps(100, 10)
    assert torch.equal(torch.rand(1), expected)


def test_seeds_of_streams_and_ranks_differ():
    seeds = [
        epoch_seed(s, e, stream, r) for s in (-1, 0, 1) for e in (0, 1) for stream in (ORDER, LABELS, AUGMENT) for r in (0, 1)
    ]
    assert len(set(seeds)) == len(seeds) == 36


@pytest.mark.parametrize("world_size", [2, 3, 4])
@pytest.mark.parametrize("shuffle", [True, False], ids=["training", "evaluation"])
def test_ranks_share_the_batch_of_one_device(world_size, shuffle):
    alone = steps(96 + 24, 24, shuffle=shuffle)
    ranks = [steps(96 + 24, 24, shuffle=shuffle, rank=rank, world_size=world_size) for rank in range(world_size)]
    for whole, *parts in zip(alone, *ranks, strict=True):
        assert sorted(whole) == sorted(joined(parts))
        assert len({len(part) for part in parts}) == 1


@pytest.mark.parametrize(
    ("num_images", "world_size", "last"),
    [(20, 1, 10), (21, 1, 10), (22, 1, 2), (23, 2, 10), (25, 2, 4), (27, 2, 6)],
)
def test_the_last_batch_is_even_over_ranks(num_images, world_size, last):
    ranks = [steps(num_images, 10, rank=rank, world_size=world_size) for rank in range(world_size)]
    assert {len(rank) for rank in ranks} == {2 if last == 10 else 3}
    assert sum(len(rank[-1]) for rank in ranks) == last


def test_batches_of_single_images_can_be_asked_for():
    assert len(steps(5, 1)) == 5


@pytest.mark.parametrize("num_images", [1, 7, 8, 9, 10, 11, 20])
@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_evaluation_sees_every_image_once_and_in_order(num_images, world_size):
    ranks = [steps(num_images, 4, shuffle=False, rank=rank, world_size=world_size) for rank in range(world_size)]
    seen = [joined(rank) for rank in ranks]
    assert sorted(joined(seen)) == list(range(num_images))
    assert all(own == sorted(own) for own in seen)


def test_an_uneven_batch_is_refused():
    with pytest.raises(UserError, match=r"trainer.batch_size = 65 .* multiple of trainer.devices = 2. Take 64"):
        EpochSampler(100, 65, shuffle=True, world_size=2)


def test_too_few_images_for_a_step_are_refused():
    with pytest.raises(UserError, match="1 training images are too few for one step"):
        EpochSampler(1, 64, shuffle=True)


def test_faces_stay_with_targets_of_their_role():
    rows = torch.tensor([3, 5, 7, 11, 13])
    batches = numbered(20, EpochSampler(5, 2, shuffle=False), rows)
    got = [(faces[:, 0, 0, 0].tolist(), targets.tolist()) for faces, targets in batches]
    assert got == [([3, 5], [3, 5]), ([7, 11], [7, 11]), ([13], [13])]
    faces, _ = next(iter(batches))
    assert (faces.shape, faces.dtype) == ((2, 1, 4, 4), torch.uint8)
    assert len(batches) == 3


def test_labels_are_drawn_anew_each_epoch():
    targets = torch.tensor([[0.0, 0.25, 0.75]]).repeat(4000, 1)
    faces = torch.zeros(4000, 1, 1, 1, dtype=torch.uint8)
    batches = Batches(faces, torch.arange(4000), targets, EpochSampler(4000, 1000, shuffle=False), draw_labels=True)
    first = torch.cat([labels for _, labels in batches])
    assert torch.equal(first, torch.cat([labels for _, labels in batches]))
    counts = first.bincount(minlength=3)
    assert (first.dtype, counts[0]) == (torch.int64, 0)
    assert 890 <= counts[1] <= 1110  # 1000 and four standard deviations
    batches.sampler.set_epoch(1)
    assert not torch.equal(first, torch.cat([labels for _, labels in batches]))


def test_drawn_labels_do_not_depend_on_devices():
    targets = torch.full((40, 4), 0.25)

    def drawn(**options):
        sampler = EpochSampler(40, 8, shuffle=True, **options)
        batches = numbered(40, sampler, targets=targets, draw_labels=True)
        return {int(face[0, 0, 0]): int(label) for faces, labels in batches for face, label in zip(faces, labels, strict=True)}

    assert drawn() == drawn(rank=0, world_size=2) | drawn(rank=1, world_size=2)


def test_a_read_only_memory_map_is_shared(tmp_path):
    np.save(tmp_path / "faces.npy", np.arange(48, dtype=np.uint8).reshape(3, 1, 4, 4))
    mapped = np.load(tmp_path / "faces.npy", mmap_mode="r")
    tensor = as_tensor(mapped)  # a warning would fail this test
    assert tensor.data_ptr() == mapped.ctypes.data
    batches = Batches(tensor, torch.arange(3), torch.arange(3), EpochSampler(3, 2, shuffle=False))
    assert torch.equal(torch.cat([faces for faces, _ in batches]), torch.from_numpy(mapped.copy()))


def test_staying_on_the_cpu_copies_nothing():
    batches = numbered(4, EpochSampler(4, 2, shuffle=False))
    before = batches._faces.data_ptr()
    assert batches.to(torch.device("cpu"))._faces.data_ptr() == before


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_the_batches_are_the_same():
    batches = numbered(20, EpochSampler(5, 2, shuffle=True), torch.tensor([3, 5, 7, 11, 13]))
    before = [(faces, targets) for faces, targets in batches]
    for (faces, targets), (faces_gpu, targets_gpu) in zip(before, batches.to(torch.device("cuda")), strict=True):
        assert faces_gpu.is_cuda
        assert torch.equal(faces, faces_gpu.cpu())
        assert torch.equal(targets, targets_gpu.cpu())


class Recorder(pl.LightningModule):
    """Learns nothing; remembers which images came in which epoch."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(16, 20)
        self.seen = {}
        self.checked = []

    def training_step(self, batch):
        faces, targets = batch
        self.seen.setdefault(self.current_epoch, []).extend(targets.tolist())
        return nn.functional.cross_entropy(self.layer(faces.float().flatten(1)), targets)

    def validation_step(self, batch):
        self.checked += batch[1].tolist()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.01)


# Lightning 2.6 uses a name that torch 2.13 has replaced.
@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")
def test_lightning_trains_on_it_and_sets_the_epoch(tmp_path):
    train, val = numbered(20, EpochSampler(20, 4, seed=1, shuffle=True)), numbered(20, EpochSampler(20, 8, shuffle=False))
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = pl.Trainer(accelerator="cpu", max_epochs=2, num_sanity_val_steps=0, default_root_dir=tmp_path, **quiet)
    module = Recorder()
    trainer.fit(module, train, val)
    assert module.seen == {epoch: joined(steps(20, 4, seed=1, epoch=epoch)) for epoch in (0, 1)}
    assert module.checked == [*range(20), *range(20)]
    assert trainer.global_step == 10
