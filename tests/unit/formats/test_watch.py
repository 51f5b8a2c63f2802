"""Files that move while they are read."""

import os

import pytest
from blake3 import blake3

from builder.digests import Digest
from builder.errors import BuilderError
from builder.formats import intake
from builder.formats.watch import moved, watch
from builder.sources import SourceFile
from builder.store.parts import PartFolder

OLD_NS = 1_600_000_000 * 10**9


def sensed(path, **changes):
    stat = os.stat(path)
    token = (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino, stat.st_dev)
    values = {"token": token, "digest": Digest(blake3(path.read_bytes()).hexdigest())} | changes
    return SourceFile(path.name, str(path), path.name, stat.st_size, **values)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("k\n1\n")
    return path


def test_a_file_that_stood_still_has_not_moved(path):
    assert moved(watch([sensed(path)]), "s") is None


def test_a_write_while_reading_is_seen(path):
    watched = watch([sensed(path)])
    path.write_text("k\n2\n3\n")
    assert moved(watched, "s").code == "source-moved"


def test_a_removal_while_reading_is_seen(path):
    watched = watch([sensed(path)])
    path.unlink()
    assert moved(watched, "s").code == "source-moved"


def test_a_write_between_sensing_and_reading_is_seen(path):
    file = sensed(path)
    path.write_text("k\n2\n")
    assert moved(watch([file]), "s").code == "source-moved"


def test_a_touch_between_sensing_and_reading_does_not_matter(path):
    file = sensed(path)
    os.utime(path, ns=(OLD_NS, OLD_NS))
    assert moved(watch([file]), "s") is None


def test_a_young_file_must_have_the_bytes_that_were_sensed(path):
    file = sensed(path, digest=Digest("0" * 64))
    assert "bytes" in moved(watch([file]), "s").render()


def test_a_private_copy_is_not_watched(path):
    assert watch([sensed(path, token=None)]) == ()


def test_a_file_that_moved_explains_whatever_it_led_to(source):
    path = source.write("a.csv", "k,v\n1,2\n")
    spec = source.spec()
    path.write_text("k,v\n1\n")
    with pytest.raises(BuilderError) as caught:
        intake.take_in(spec, PartFolder(source.store), source.scratch)
    assert caught.value.code == "source-moved"


def test_a_file_that_is_gone_has_moved(source):
    path = source.write("a.csv", "k,v\n1,2\n")
    spec = source.spec()
    path.unlink()
    with pytest.raises(BuilderError) as caught:
        intake.take_in(spec, PartFolder(source.store), source.scratch)
    assert (caught.value.code, caught.value.target) == ("source-moved", "shops")
