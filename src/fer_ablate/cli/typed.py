"""Words of a command line as the program takes them: paths quoted for Hydra, and addresses without their credentials."""

import os
import re
from collections.abc import Iterable

from fer_ablate.addresses import PLACES, without_credentials
from fer_ablate.errors import UserError

PATHS = (*PLACES, "hydra.sweeper.storage")
"""Keys with a path or an address."""

_MEANS_MORE = re.compile(r"[,()\[\]{}'\"$\\]")
"""Signs of lists, choices, quotes and interpolations: what they mean is left to Hydra."""

_REFUSED = re.compile(r"[=?#&;!<>|^`~]|[^\x00-\x7f]")
"""Signs and letters that Hydra's grammar does not take outside of quotes, although they are common in paths and addresses."""


def typed_words(words: Iterable[str]) -> list[str]:
    """The words of a command line, ready for Hydra, see `typed_word`; variables that they name may be read (`${oc.env:NAME}`).

    Raises:
        UserError: a word has bytes that are no UTF-8, which Python gives as lone surrogates and no file could hold.
    """
    words = [typed_word(word) for word in words]
    for word in words:
        if any("\ud800" <= letter <= "\udfff" for letter in word):
            raise UserError(f"{word!a} is not UTF-8 text. Type it in a terminal that uses UTF-8.")
    if any("oc.env" in word for word in words):
        from fer_ablate.config.environment import allow_typed  # a tenth of a second, which few commands need

        allow_typed(words)
    return words


def typed_word(word: str) -> str:
    """One word of a command line, ready for Hydra.

    Credentials of an address are remembered by this process and by those that it starts, so that nothing that is written or
    shown from the words can have them.

    >>> typed_word("init_from=x/epoch=3-step=99.ckpt"), typed_word("tracking.uri=http://me:secret@host/a?b=c")
    ("init_from='x/epoch=3-step=99.ckpt'", "tracking.uri='http://host/a?b=c'")
    """
    word = without_credentials(word)
    key, _, value = word.partition("=")
    if key.lstrip("+") in PATHS and _REFUSED.search(value) and not _MEANS_MORE.search(value):
        return f"{key}='{value}'"
    return word


def plain_place(name: str, value: str) -> str:
    """A path that a verb reads itself rather than Hydra: without the quotes of `typed_word`, and with the home folder for `~`.

    Args:
        name: of the word.
        value: as `typed_words` gives it.
    """
    if name in PATHS and len(value) > 1 and value[0] == value[-1] == "'":
        value = value[1:-1]
    # Only some shells write out a `~` behind an equals sign. Path.expanduser would fail for a user who does not exist.
    return os.path.expanduser(value)
