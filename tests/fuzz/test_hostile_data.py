import shutil
from pathlib import Path

from hypothesis import strategies as st

from .attempts import type_all
from .hostile_data import FILE_NAMES, archives, lists, picture, pictures, tables

ARCHIVE_NAMES = ("fer2013.zip", "fer2013.tar", "fer2013.csv", "fer2013.tar.gz", "fer2013.csv.gz")


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

    type_all("tables", 0.1, tables(), commands)


def test_hostile_archives_end_with_a_message():
    def commands(drawn):
        name, content = drawn
        empty("images")
        Path("images", name).write_bytes(content)
        yield ("data", "data=fer2013", f"data.path=images/{name}", "data.cache_dir=cache")

    type_all("archives", 0.1, st.tuples(st.sampled_from(ARCHIVE_NAMES), archives()), commands)


def test_hostile_lists_end_with_a_message():
    def commands(content):
        empty("images")
        for number in range(4):
            Path(f"images/{number}.png").write_bytes(picture())
        Path("images/list.csv").write_bytes(content)
        yield ("data", "data=list", "data.path=images/list.csv", "data.cache_dir=cache")

    type_all("lists", 0.05, lists(), commands)


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

    type_all("pictures", 0.1, st.tuples(st.sampled_from(FILE_NAMES), pictures()), commands)
