"""Paths as people type them."""

import os
from pathlib import Path


def expanded(typed: str | Path) -> Path:
    """A path with the home folder in place of a leading `~`, which few shells write out behind an equals sign.

    >>> expanded("~nobody_of_this_name/faces").parts[0]
    '~nobody_of_this_name'
    """
    return Path(os.path.expanduser(typed))  # Path.expanduser fails for a user who does not exist
