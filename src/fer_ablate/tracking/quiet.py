"""Keeps what libraries say to their developers off the console."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet(name: str) -> Iterator[None]:
    """No warnings inside, and of a library's messages only the fatal ones; errors are raised as ever.

    Args:
        name: of its logger; empty for the one that all others hand on to.
    """
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
