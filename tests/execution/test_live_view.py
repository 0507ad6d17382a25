"""How far runs are, from their folders, and what a person sees of it on a terminal and in a pipe."""

import math
import os
import pty
import re
import signal
import sys
import threading
import time
from contextlib import contextmanager

import pytest

from fer_ablate.execution import live_view as module
from fer_ablate.execution.live_view import LiveView
from fer_ablate.execution.run_log import output_to_log
from fer_ablate.execution.run_progress import RunProgress, RunReader, WatchedRun, whole
from fer_ablate.tracking.disk.progress_file import PROGRESS, StepProgress, read_progress, write_progress
from fer_ablate.tracking.disk.run_folder import RunFolder
from fer_ablate.tracking.disk.run_state import RunState

from ..finished_runs import epoch_metrics, finish_run, make_header


@pytest.fixture
def watched(tmp_path):
    """A run of ten epochs; it is of another row for each name."""

    def build(name="4 layers", number="1/1", **changes):
        folder = RunFolder(tmp_path / "depth" / name)
        return WatchedRun(f"[{number}] {name}, seed 3", name, folder, 10, "val/acc", True, **changes)

    return build


@pytest.fixture(autouse=True)
def _hasty(monkeypatch):
    """Views that look often, so that no test has to wait."""
    monkeypatch.setattr(module, "POLL_SECONDS", 0.02)
    monkeypatch.setattr(module, "POLL_SHARE", 0)


@contextmanager
def training(run, epochs=0):
    """Hold the lock of a run that is resumed after some epochs, as its process does."""
    for epoch in range(1, epochs + 1):
        run.folder.append_epoch(epoch, epoch_metrics(epoch), 1000)
    with run.folder.lock():
        run.folder.write_header(make_header())
        yield


def at(path, seconds):
    """Let a file be this much younger than now."""
    now = time.time() + seconds
    os.utime(path, (now, now))


def test_a_run_goes_through_its_states(watched):
    run = watched()
    reader = RunReader(run, fresh=True)
    assert reader.read() == RunProgress(run, RunState.missing)
    with training(run):
        begun = reader.read()
        assert (begun.state, begun.epochs, begun.resumed, begun.seconds_left) == (RunState.running, 0, False, None)
        run.folder.append_epoch(1, {**epoch_metrics(1), "val/acc": 0.6}, 1000)
        run.folder.append_epoch(2, {**epoch_metrics(2), "val/acc": 0.5}, 1000)
        write_progress(run.folder.path / PROGRESS, StepProgress(2.25, 2.25, 9.0))
        found = reader.read()
        assert (found.epoch, found.epochs, found.value, found.best) == (3, 2.25, 0.5, 0.6)
        assert found.seconds_left == pytest.approx(7.75 * 4)
        (run.folder.path / PROGRESS).unlink()
        assert reader.read().testing
        finish_run(run.folder)
    ended = reader.read()
    assert (ended.state, ended.result.epochs) == (RunState.finished, 3)


def test_less_is_better_where_the_mode_says_so(watched):
    run = watched()
    run = WatchedRun(run.title, run.row, run.folder, 10, "val/loss", higher=False)
    with training(run, epochs=2):
        assert RunReader(run, fresh=True).read().best == 1.25


def test_files_of_earlier_attempts_do_not_count(watched):
    run = watched(anew=True)
    finish_run(run.folder)
    run.folder.write_failure("No memory.", "Traceback")
    run.folder.append_epoch(1, epoch_metrics(1), 1000)
    write_progress(run.folder.path / PROGRESS, StepProgress(5.0, 5.0, 1.0))
    assert RunReader(run, fresh=False).read().state is RunState.finished
    reader = RunReader(run, fresh=True)
    assert reader.read().state is RunState.missing
    for file in (PROGRESS, "metrics.csv"):
        at(run.folder.path / file, -60)
    with training(run):
        resumed = reader.read()
        assert (resumed.state, resumed.epochs, resumed.resumed, resumed.testing) == (RunState.running, 1.0, True, False)
    time.sleep(0.01)
    run.folder.write_failure("No memory again.", "Traceback")
    assert reader.read().problem == "No memory again."


def test_damaged_files_stop_no_view(watched):
    run = watched()
    with training(run, epochs=1):
        run.folder.metrics_file.write_text("epoch,time_ms\nx,y\n")
        (run.folder.path / PROGRESS).write_text("{")
        assert RunReader(run, fresh=True).read().state is RunState.running
    run.folder.result_file.write_text("{")
    assert RunReader(run, fresh=True).read().result is None


def test_the_rest_is_shared_by_running_runs(watched):
    runs = [watched(name) for name in ("a", "b", "c", "a", "d")]
    progress = [
        RunProgress(runs[0], RunState.running, epochs=5, seconds_per_epoch=2.0),  # 10 s left
        RunProgress(runs[1], RunState.running, epochs=9, seconds_per_epoch=4.0),  # 4 s left
        RunProgress(runs[2], RunState.failed),
        RunProgress(runs[3], RunState.missing),  # 20 s, like the other run of its row
        RunProgress(runs[4], RunState.missing),  # 30 s, by the median of the rows
    ]
    found = whole(progress)
    assert (found.total, found.running, found.failed, found.waiting, found.finished) == (5, 2, 1, 2, 0)
    assert found.seconds_left == pytest.approx((10 + 4 + 20 + 30) / 2)
    assert whole(progress[2:]).seconds_left is None
    for epoch in range(1, 7):
        runs[3].folder.append_epoch(epoch, epoch_metrics(epoch), 1000)
    assert whole([*progress[:3], RunReader(runs[3], fresh=True).read()]).seconds_left == pytest.approx((10 + 4 + 4 * 2) / 2)


def test_a_pipe_gets_lines(watched, capsys):
    runs = [watched(name, f"{number}/3") for number, name in enumerate(("good", "bad", "killed"), start=1)]
    view = LiveView(runs, fresh=True)
    view.start()
    for run in runs:
        with training(run, epochs=2):
            time.sleep(0.3)  # until the view has looked
            if run.row == "good":
                finish_run(run.folder)
            if run.row == "bad":
                run.folder.write_failure("No memory.", "Traceback")
    view.stop(summary=True)
    printed = capsys.readouterr()
    assert printed.out.splitlines()[:-1] == [
        "  [1/3] good, seed 3 ...  resumes after epoch 2",
        "  [1/3] good, seed 3: val/acc 0.7500  test/acc 0.7500  3 epochs in 12 s",
        "  [2/3] bad, seed 3 ...  resumes after epoch 2",
        "  [3/3] killed, seed 3 ...  resumes after epoch 2",
        "  [3/3] killed, seed 3: interrupted after epoch 2",
    ]
    assert printed.out.splitlines()[-1].startswith("  1 of 3 runs done, 1 failed, 1 not done in ")
    log = runs[1].folder.log_file
    assert printed.err == f"fer_ablate: [2/3] bad, seed 3: failed: No memory.\n    log: {log}\n"


def test_a_pipe_gets_the_whole_now_and_then(watched, capsys, monkeypatch):
    monkeypatch.setattr(module, "PLAIN_SECONDS", 0.0)
    run = watched()
    with training(run, epochs=2):
        view = LiveView([run], fresh=False)
        view.start()
        time.sleep(0.2)
        view.stop()
    out = capsys.readouterr().out
    assert "  [1/1] 4 layers, seed 3: epoch 3/10  val/acc 0.2000, best 0.2000  32 s left\n" in out
    assert "  0 of 1 run done, 1 running; about 32 s left\n" in out


@pytest.fixture
def terminal(monkeypatch):
    """A function that makes a real terminal standard output and error; returns one that gives what was written to it so far."""
    ours, theirs = pty.openpty()
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "110")
    monkeypatch.setenv("LINES", "12")
    stream = os.fdopen(theirs, "w", buffering=1)
    written = bytearray()

    def read():
        try:
            while part := os.read(ours, 4096):
                written.extend(part)
        except OSError:  # the other end was closed
            pass

    reader = threading.Thread(target=read)
    reader.start()

    # Within the test, since pytest sets both streams anew before it.
    def show():
        monkeypatch.setattr(sys, "stdout", stream)
        monkeypatch.setattr(sys, "stderr", stream)
        return text

    def text():
        stream.flush()
        time.sleep(0.1)
        return re.sub(r"\x1b\[[0-9;]*m", "", written.decode())

    yield show
    stream.close()
    reader.join()
    os.close(ours)


def test_a_terminal_gets_bars(watched, terminal):
    written = terminal()
    runs = [watched(f"row {number}", f"{number}/20") for number in range(20)]
    with training(runs[0], epochs=2):
        view = LiveView(runs, fresh=False)
        with view.printing_above():
            view.start()
            print("said by the sweep")
            sys.stderr.write("an unfinished")
            time.sleep(0.3)
            view.stop(summary=True)
        out = written()
    assert re.search(r"\[0/20\] row 0, seed 3 +━+╸?╺?━+ +epoch 3/10 +val/acc 0.2000, best 0.2000 +32 s left", out)
    assert "0 of 20 runs done, 1 running, 19 waiting; about 13.2 min left" in out
    assert "said by the sweep\r\n" in out
    assert out.index("said by the sweep") < out.rindex("epoch 3/10")
    assert "an unfinished\r\n" in out


def test_many_running_rows_fit_the_screen(watched, terminal):
    written = terminal()
    runs = [watched(f"row {number}") for number in range(20)]
    view = LiveView(runs, fresh=False)
    view.progress = [RunProgress(run, RunState.running, epochs=1, value=math.nan) for run in runs]
    view._screen.print(view._display())
    out = written()
    assert len(out.splitlines()) <= 12
    assert "and 11 more are running" in out
    wide = watched("幅を広げたネットワーク" * 9)
    view.progress = [RunProgress(run, RunState.running, epochs=1, value=0.5, best=0.5) for run in (wide, *runs[:3])]
    view._screen.print(view._display())
    assert written().count("epoch 2/10  val/acc 0.5000, best 0.5000") == 4


def interrupt_soon():
    time.sleep(0.2)
    raise KeyboardInterrupt


def test_an_interruption_leaves_the_terminal_whole(watched, terminal):
    written = terminal()
    before = sys.stdout, sys.stderr
    run = watched()
    view = LiveView([run], fresh=False)
    with training(run, epochs=1), pytest.raises(KeyboardInterrupt), module.showing(view):
        interrupt_soon()
    assert (sys.stdout, sys.stderr) == before
    out = written()
    assert out.rindex("\x1b[?25h") > out.rindex("\x1b[?25l")  # the cursor is shown again
    assert not view._thread.is_alive()


def test_a_terminated_process_leaves_a_cursor(watched, terminal):
    written = terminal()
    view = LiveView([watched()], fresh=False)
    process = os.fork()
    if process == 0:
        with module.showing(view):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(10)
        os._exit(0)
    _, status = os.waitpid(process, 0)
    out = written()
    assert os.WTERMSIG(status) == signal.SIGTERM
    assert out.rindex("\x1b[?25h") > out.rindex("\x1b[?25l")


def test_trials_of_a_search_join_the_view(watched, capsys):
    view = LiveView([], fresh=True)
    with module.showing(view):
        view.add([watched("trial 0", "1/3"), watched("trial 1", "2/3")], to_come=1)
        assert (view.whole.total, view.whole.waiting) == (3, 3)
        finish_run(view.progress[0].run.folder)
        view.add([watched("trial 2", "3/3")], to_come=0)
        finish_run(view.progress[2].run.folder)
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].startswith("  2 of 3 runs done, 1 not done in ")
    assert [line.partition(":")[0] for line in lines[:-1]] == ["  [1/3] trial 0, seed 3", "  [3/3] trial 2, seed 3"]


def test_trials_may_join_during_a_look(watched):
    view = LiveView([watched("trial 0")], fresh=True)
    lock = view._reading

    class Late:
        """A lock on whose release a search adds a trial."""

        def __enter__(self):
            pass

        def __exit__(self, *_):
            view._reading = lock
            view.add([watched("trial 1")], to_come=0)

    view._reading = Late()
    view._look()
    assert [one.run.row for one in view.progress] == ["trial 0", "trial 1"]


def test_runs_to_come_take_as_long_as_others(watched):
    known = RunProgress(watched(), RunState.finished, epochs=10, seconds_per_epoch=2.0)
    assert whole([known], to_come=3).seconds_left == 3 * 10 * 2.0


def test_training_anew_empties_the_log_in_use(watched):
    folder = watched().folder
    folder.path.mkdir(parents=True)
    folder.log_file.write_text("an earlier attempt\n")
    with output_to_log(folder.log_file, whole_process=False):
        folder.clear()
        print("this attempt")
    assert folder.log_file.read_text() == "this attempt\n"


def test_what_a_run_prints_goes_to_its_log(tmp_path, capfd):
    log = tmp_path / "run" / "log.txt"
    for whole_process in (False, True):
        with output_to_log(log, whole_process):
            print("from Python")
            print("an error", file=sys.stderr)
            os.write(1, b"from C\n")
        print("after it")
    assert log.read_text() == "from Python\nan error\n" * 2 + "from C\n"
    assert capfd.readouterr().out == "from C\nafter it\nafter it\n"


def test_an_unreadable_progress_is_none(tmp_path):
    file = tmp_path / PROGRESS
    assert read_progress(file) is None
    write_progress(file, StepProgress(0.5, 0.5, 2.0))
    assert read_progress(file).seconds_per_epoch == 4.0
    assert read_progress(file).epochs == 0.5
    write_progress(tmp_path / "none" / PROGRESS, StepProgress(1, 1, 1))  # a lost folder fails no training
    file.write_text('{"epochs": 1}')
    assert read_progress(file) is None
