"""What is printed on consoles that lack letters, and what is left out of it."""

import io
import sys

import pytest

from fer_ablate.cli.console import console
from fer_ablate.cli.output import fit_output


@pytest.fixture
def stdout_in(monkeypatch):
    """Print to a console with this encoding; gives its bytes."""

    def make(encoding):
        stream = io.BytesIO()
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(stream, encoding=encoding, write_through=True))
        return stream

    return make


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [("ascii", "64.1 +- 0.3 ..."), ("latin-1", "64.1 ± 0.3 ..."), ("utf-8", "64.1 ± 0.3 …")],
)
def test_letters_that_a_console_lacks_are_replaced(stdout_in, encoding, shown):
    stream = stdout_in(encoding)
    with fit_output():
        console.print("64.1 ± 0.3 …")
        print("表")
    assert stream.getvalue().decode(encoding).startswith(shown)


def test_passwords_are_not_printed(stdout_in):
    stream = stdout_in("utf-8")
    with fit_output():
        print("at http://me:hunter2@host/x")
    assert stream.getvalue() == b"at http://host/x\n"
