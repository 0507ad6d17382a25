import shutil
import sys
from itertools import count
from pathlib import Path

import pytest
from hypothesis import strategies as st

from fer_ablate.config.compose import composed, composer, to_config
from fer_ablate.data.audit import audit
from fer_ablate.data.load import load_faces
from fer_ablate.data.roles import role_rows
from fer_ablate.errors import UserError

from .attempts import answer_of, type_all, type_words
from .hostile_data import FILE_NAMES, archives, lists, picture, pictures, tables

pytestmark = pytest.mark.long

ARCHIVE_NAMES = ("fer2013.zip", "fer2013.tar", "fer2013.csv", "fer2013.tar.gz", "fer2013.csv.gz")


WHOLE = 10
"""Of so many data sets one goes through the whole command, which also prints what was read."""

turn = count()


def read_data(words):
    """What `data` does with these words; mostly only its reading, since to compose takes longer than that."""
    if next(turn) % WHOLE == 0:
        return type_words(words)
    with composer():
        config = to_config(composed(words[1:])).data

    def call():
        try:
            faces = load_faces(config)
            audit(faces)
            role_rows(faces, config)
        except UserError as error:
            print(error, file=sys.stderr)
            return 1
        return 0

    return answer_of(words, call)


def empty(*folders):
    """Make folders anew, without what an earlier input left."""
    for name in ("images", "cache"):
        shutil.rmtree(name, ignore_errors=True)
    for folder in folders:
        Path(folder).mkdir(parents=True)


def test_hostile_tables_end_with_a_message():
    def commands(content):
        empty("images")
        Path("images/fer2013.csv").write_bytes(content)
        yield ("data", "data=fer2013", "data.path=images/fer2013.csv", "data.cache_dir=cache")

    type_all("tables", 0.15, tables(), commands, read_data)


def test_hostile_archives_end_with_a_message():
    def commands(drawn):
        name, content = drawn
        empty("images")
        Path("images", name).write_bytes(content)
        yield ("data", "data=fer2013", f"data.path=images/{name}", "data.cache_dir=cache")

    type_all("archives", 0.15, st.tuples(st.sampled_from(ARCHIVE_NAMES), archives()), commands, read_data)


def test_hostile_lists_end_with_a_message():
    def commands(content):
        empty("images")
        for number in range(4):
            Path(f"images/{number}.png").write_bytes(picture())
        Path("images/list.csv").write_bytes(content)
        yield ("data", "data=list", "data.path=images/list.csv", "data.cache_dir=cache")

    type_all("lists", 0.1, lists(), commands, read_data)


def test_hostile_pictures_end_with_a_message():
    def commands(drawn):
        name, content = drawn
        empty("images/train/happy", "images/train/sad")
        for label in ("happy", "sad"):
            for number in range(3):
                Path(f"images/train/{label}/{number}.png").write_bytes(picture())
        file = Path("images/train/happy", name)
        if content is None:
            file.mkdir()
        else:
            file.write_bytes(content)
        yield ("data", "data=folder", "data.path=images", "data.cache_dir=cache")

    type_all("pictures", 0.15, st.tuples(st.sampled_from(FILE_NAMES), pictures()), commands, read_data)
