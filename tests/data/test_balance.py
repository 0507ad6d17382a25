from dataclasses import replace

import numpy as np
import pytest
import torch

from fer_ablate.config.choices import Balance, Roles, Source
from fer_ablate.config.schema import BalanceConfig, DataConfig
from fer_ablate.data.balance import balance_faults, balanced
from fer_ablate.data.faces import FaceSet
from fer_ablate.data.roles import official_rows, role_rows
from fer_ablate.errors import UserError
from fer_ablate.labels import EMOTIONS, USAGES

TURN = {"op": "affine", "rotation": 30}
SPLITS = {"Training": (30, 7, 12), "PublicTest": (6, 3, 4), "PrivateTest": (5, 2, 2)}  # images of the classes 0, 1 and 2


@pytest.fixture(scope="module")
def faces():
    labels = np.concatenate([np.repeat(np.arange(3), counts) for counts in SPLITS.values()])
    usage = np.repeat(np.arange(3), [sum(counts) for counts in SPLITS.values()]).astype(np.uint8)
    pixels = np.random.default_rng(0).integers(256, size=(len(labels), 1, 8, 8), dtype=np.uint8)
    return FaceSet(pixels, labels, None, usage, USAGES, EMOTIONS, np.arange(len(labels)), "0" * 64)


@pytest.fixture(scope="module")
def roles(faces):
    return role_rows(faces, DataConfig(source=Source.fer2013, cache_dir="", roles=Roles.swapped)).rows


def config(kind=Balance.copies, **fields):
    return BalanceConfig(kind=kind, **{"copies": 4, "steps": [TURN]} | fields)


def of_each_class(faces, rows):
    return np.bincount(faces.labels[rows]).tolist()


def test_majority_fills_every_class_of_train_only(faces, roles):
    made, filled = balanced(faces, roles, config(Balance.majority))
    assert of_each_class(made, filled["train"]) == [30, 30, 30]
    assert set(roles["train"]) < set(filled["train"])
    assert all(np.array_equal(filled[role], roles[role]) for role in ("val", "test"))


def test_majority_copies_the_originals_evenly(faces, roles):
    made, filled = balanced(faces, roles, config(Balance.majority, steps=[{"op": "flip", "p": 1}]))
    added = np.setdiff1d(filled["train"], roles["train"])
    mirrored = made.faces[added, :, :, ::-1].reshape(len(added), -1)
    _, times = np.unique(mirrored[made.labels[added] == 1], axis=0, return_counts=True)
    assert sorted(times) == [3, 3, 3, 3, 3, 4, 4]  # 23 copies of 7 images
    _, times = np.unique(mirrored[made.labels[added] == 2], axis=0, return_counts=True)
    assert sorted(times) == [1] * 6 + [2] * 6  # 18 of 12


def test_copies_takes_equal_classes_of_train_and_test(faces, roles):
    made, filled = balanced(faces, roles, config())
    assert of_each_class(made, filled["train"]) == [7 * 5] * 3
    assert of_each_class(made, filled["test"]) == [3 * 5] * 3
    assert np.array_equal(filled["val"], roles["val"])
    kept = np.intersect1d(filled["train"], roles["train"])
    assert of_each_class(faces, kept) == [7, 7, 7]


def test_originals_of_test_stand_beside_their_copies(faces, roles):
    made, filled = balanced(faces, roles, config(steps=[{"op": "flip", "p": 1}]))
    originals, copies = filled["test"][:9], filled["test"][9:]
    assert np.array_equal(made.faces[copies], np.repeat(made.faces[originals], 4, axis=0)[..., ::-1])
    assert np.array_equal(made.labels[copies], np.repeat(made.labels[originals], 4))
    old = {image.tobytes() for image in faces.faces[roles["test"]]}
    assert {image.tobytes() for image in made.faces[originals]} < old


@pytest.mark.parametrize("kind", [Balance.majority, Balance.copies], ids=lambda kind: kind.name)
def test_what_was_there_stays_what_it_was(faces, roles, kind):
    made, filled = balanced(faces, roles, config(kind))
    for name in ("faces", "labels", "usage"):
        assert np.array_equal(getattr(made, name)[: len(faces.labels)], getattr(faces, name))
    assert all(np.array_equal(rows, official_rows(faces)[split]) for split, rows in official_rows(made).items())
    assert made.splits[:3] == USAGES
    assert (made.digest, len(made)) == (faces.digest, len(made.labels))
    names = {role: {made.splits[split] for split in made.usage[rows]} for role, rows in filled.items()}
    assert names["train"] == {"Training", "balanced train"}
    assert names["test"] == ({"balanced test"} if kind is Balance.copies else {"PublicTest"})


def test_copies_differ_from_originals_and_each_other(faces, roles):
    made, filled = balanced(faces, roles, config())
    assert len(np.unique(made.faces[filled["test"]].reshape(len(filled["test"]), -1), axis=0)) == len(filled["test"])


def test_balancing_uses_only_a_seed_of_its_own(faces, roles):
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    first, _ = balanced(faces, roles, config(seed=5))
    assert torch.equal(torch.rand(3), expected)
    torch.set_num_threads(1)
    again, _ = balanced(faces, roles, config(seed=5))
    other, _ = balanced(faces, roles, config(seed=6))
    assert np.array_equal(first.faces, again.faces)
    assert not np.array_equal(first.faces, other.faces)


def test_dropped_images_and_absent_classes_stay_away(faces):
    few = replace(faces, rows=np.flatnonzero((faces.labels != 1) & (np.arange(len(faces.labels)) % 5 > 0)))
    chosen = role_rows(few, DataConfig(source=Source.fer2013, cache_dir="", roles=Roles.swapped, train_fraction=0.5)).rows
    made, filled = balanced(few, chosen, config())
    assert of_each_class(made, filled["train"]) == [25, 0, 25]  # half of the 10 images of class 2, and 4 copies of each
    assert set(filled["train"][filled["train"] < len(faces.labels)]) <= set(chosen["train"])


def test_distributions_of_votes_are_copied(faces, roles):
    targets = np.random.default_rng(1).random((len(faces.labels), 7)).astype(np.float32)
    targets[np.arange(len(targets)), faces.labels] += 7
    made, _ = balanced(replace(faces, targets=targets), roles, config())
    assert made.targets.shape == (len(made.labels), 7)
    assert np.array_equal(made.targets.argmax(1), made.labels)


def test_copies_belong_to_their_original_person_and_file(faces, roles):
    number = np.arange(len(faces.labels))
    known = replace(faces, groups=number // 3, files=tuple(f"{row}.png" for row in number), hashes=number.astype(np.uint64))
    made, filled = balanced(known, roles, config(copies=1, steps=[{"op": "flip", "p": 1}]))
    assert len(made.files) == len(made.groups) == len(made.labels)
    assert made.hashes is None
    for copied in filled["train"][-21:]:
        original = int(made.files[copied].removesuffix(".png"))
        assert np.array_equal(made.faces[copied], faces.faces[original][:, :, ::-1])
        assert made.groups[copied] == original // 3


def test_no_kind_changes_nothing(faces, roles):
    made, same = balanced(faces, roles, BalanceConfig(steps=[TURN]))
    assert made is faces
    assert same == roles


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"steps": []}, r"steps: empty, so that kind copies would train on the same .*\n.*or use loss.class_weight=balanced"),
        ({"steps": [{"op": "flp"}]}, r"data.balance.steps\[0\].op: unknown op 'flp'\n    Did you mean 'flip'"),
        ({"steps": [TURN, {"op": "crop", "size": 4}]}, r"steps\[1\].op: crop makes copies smaller .*\n    Crop in augment.steps"),
        ({"steps": [{"op": "ten_crop", "size": 4}]}, r"steps\[0\].op: ten_crop makes copies smaller"),
        (
            {"steps": [{"op": "resize", "size": 9}]},
            r"steps\[0\].op: resize makes copies of another .*\n.* data.prepare",
        ),
    ],
    ids=str,
)
def test_an_impossible_balance_is_named_with_remedy(fields, message):
    (fault,) = balance_faults(config(**fields))
    with pytest.raises(ValueError, match=message):
        raise ValueError(fault)


def test_copies_may_all_be_changed_alike(faces, roles):
    steps = [{"op": "equalize"}]
    assert balance_faults(config(steps=steps)) == []
    made, filled = balanced(faces, roles, config(copies=1, steps=steps))
    for copied in filled["train"][-21:]:  # after as many originals
        assert made.faces[copied].min() == 0
        assert made.faces[copied].max() == 255


def test_copies_too_large_for_the_images_are_refused(faces, roles):
    steps = [TURN, {"op": "clahe", "grid": 8}]
    assert balance_faults(config(steps=steps)) == []  # the size is not known before the images are
    with pytest.raises(UserError, match=r"data.balance.steps\[1\].grid: 8: tiles of a single pixel in the 8x8 images"):
        balanced(faces, roles, config(steps=steps))


def test_what_is_not_used_has_no_fault():
    assert (
        balance_faults(config(Balance.majority, copies=0))
        == balance_faults(config(Balance.none, copies=0, steps=["nonsense"]))
        == []
    )
