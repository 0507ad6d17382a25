import pytest

from fer_ablate.errors import UserError
from fer_ablate.tracking.disk.history import append_epoch, read_history


def test_epochs_come_back_as_they_were_written(tmp_path):
    file = tmp_path / "metrics.csv"
    append_epoch(file, 1, {"seconds": 2.5, "lr": 0.1, "val/acc": 0.25}, 1000)
    append_epoch(file, 2, {"seconds": 2.0, "lr": 0.01, "val/acc": 1 / 3}, 2000)
    assert read_history(file) == [
        {"epoch": 1, "time_ms": 1000, "seconds": 2.5, "lr": 0.1, "val/acc": 0.25},
        {"epoch": 2, "time_ms": 2000, "seconds": 2.0, "lr": 0.01, "val/acc": 1 / 3},
    ]
    assert file.read_text().splitlines()[0] == "epoch,time_ms,seconds,lr,val/acc"


def test_a_torn_line_is_replaced(tmp_path):
    file = tmp_path / "metrics.csv"
    file.write_text("epoch,time_ms,lr\n1,1000,0.1\n2,20")
    assert [row["epoch"] for row in read_history(file)] == [1]
    append_epoch(file, 2, {"lr": 0.2}, 2000)
    assert file.read_text() == "epoch,time_ms,lr\n1,1000,0.1\n2,2000,0.2\n"


def test_a_resumed_run_replaces_repeated_epochs(tmp_path):
    file = tmp_path / "metrics.csv"
    for epoch in (1, 2, 3, 4):
        append_epoch(file, epoch, {"lr": 0.1}, epoch)
    append_epoch(file, 3, {"lr": 0.2}, 33)
    assert [(row["epoch"], row["time_ms"], row["lr"]) for row in read_history(file)] == [(1, 1, 0.1), (2, 2, 0.1), (3, 33, 0.2)]


def test_a_metric_that_appears_later_gets_a_column(tmp_path):
    file = tmp_path / "metrics.csv"
    append_epoch(file, 1, {"lr": 0.1}, 1)
    append_epoch(file, 2, {"lr": 0.1, "val/acc": 0.5}, 2)
    append_epoch(file, 3, {"lr": 0.1}, 3)
    rows = read_history(file)
    assert "val/acc" not in rows[0]
    assert rows[1]["val/acc"] == 0.5
    assert "val/acc" not in rows[2]


def test_a_nan_loss_can_be_read_back(tmp_path):
    file = tmp_path / "metrics.csv"
    append_epoch(file, 1, {"train/loss": float("nan")}, 1)
    assert read_history(file)[0]["train/loss"] != read_history(file)[0]["train/loss"]


def test_a_damaged_line_is_named(tmp_path):
    file = tmp_path / "metrics.csv"
    file.write_text("epoch,time_ms,lr\n1,1000,0.1\n2,oops,0.1\n")
    with pytest.raises(UserError, match=r"metrics\.csv, line 3 is damaged"):
        read_history(file)
