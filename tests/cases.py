"""Cases of parametrised tests by name."""

import pytest


def cases(named, slow=()):
    """Return the cases of one argument for `pytest.mark.parametrize`.

    Args:
        named: name of each case -> value of the argument.
        slow: names of the cases that are left to the slow tests; `...` means all but the first.
    """
    first = next(iter(named))
    late = {name for name in named if name != first} if slow is ... else set(slow)
    assert late <= named.keys(), late - named.keys()
    return [pytest.param(value, id=name, marks=[pytest.mark.slow] if name in late else []) for name, value in named.items()]
