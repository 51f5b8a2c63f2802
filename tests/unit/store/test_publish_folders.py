"""A published folder is replaced and withdrawn as one: nobody sees a part of it, whatever is killed."""

import pytest

from builder.authoring.guard import suspended
from builder.execute.attempt import disk_crash
from builder.store import disk

RECIPE = """
    import os

    @b.recipe
    def pages(words):
        folder = b.workspace() / "pages"
        folder.mkdir()
        for name in next(iter(words.values())).read_text().split():
            (folder / name).write_text(name)
        return folder

    b.source("words", "words.txt", format="file")
"""


def seen(site) -> set[str]:
    """What stands in the published folder; looked at in the middle of a recipe as well."""
    with suspended():
        folders = [p for p in (site.root / "out").glob("pages*") if p.is_dir()]
        return {p.name for f in folders for p in f.rglob("*") if p.is_file()}


@pytest.fixture
def pages(site):
    """A project whose published output is a folder of files, built."""
    site.recipe(RECIPE)
    site.write("words.txt", "a b c d")
    site.built()
    assert seen(site) == {"a", "b", "c", "d"}
    return site


def test_no_operation_shows_a_part_of_a_folder(pages, monkeypatch):
    states = []
    monkeypatch.setattr(disk, "on_write", lambda operation, path: states.append(frozenset(seen(pages))))
    pages.write("words.txt", "e f")
    pages.built()
    assert set(states) <= {frozenset("abcd"), frozenset(), frozenset("ef")}
    assert seen(pages) == {"e", "f"}


def test_a_folder_that_leaves_goes_as_one(pages, monkeypatch):
    states = []
    monkeypatch.setattr(disk, "on_write", lambda operation, path: states.append(frozenset(seen(pages))))
    pages.recipe("@b.recipe\ndef other():\n    return {}\n")
    pages.built()
    assert set(states) == {frozenset("abcd"), frozenset()}


def test_a_kill_between_any_two_operations_leaves_nothing_half_and_nothing_hidden(pages, monkeypatch):
    count = 0
    while True:
        pages.write("words.txt", f"x{count} y{count}")
        left = [count]

        def crash(operation, path, left=left):
            left[0] -= 1
            if left[0] < 0:
                raise disk_crash

        monkeypatch.setattr(disk, "on_write", crash)
        try:
            pages.built()
            was_killed = False
        except disk_crash:
            was_killed = True
        monkeypatch.setattr(disk, "on_write", None)
        assert len(seen(pages)) != 1
        pages.built()
        assert seen(pages) == {f"x{count}", f"y{count}"}
        assert list((pages.root / "out").rglob(".*")) == []
        if not was_killed:
            break
        count += 1
    assert count > 10
