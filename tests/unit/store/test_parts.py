"""A part is a file under a fresh name, or a small one's bytes, which are never read as others than were written."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from builder.digests import digest_bytes
from builder.errors import BuilderError
from builder.store.manifest import Part
from builder.store.parts import INLINE_BYTES, PartFolder, content_of, inlined, is_whole


def test_what_is_small_is_said_by_who_opens_the_folder(tmp_path: Path) -> None:
    assert [PartFolder(tmp_path, 10).is_small(n) for n in (0, 10, 11)] == [True, True, False]
    assert not PartFolder(tmp_path).is_small(0)
    assert PartFolder(tmp_path, INLINE_BYTES).is_small(4096)


@pytest.mark.parametrize("content", [b"", b"x", bytes(range(256)), "ä€\n".encode()])
def test_a_small_part_travels_as_json_with_its_bytes(content: bytes) -> None:
    part = inlined(content, name="a/b.txt")
    assert Part.from_json(json.loads(json.dumps(part.to_json()))) == part
    assert (content_of(part), part.bytes, part.digest) == (content, len(content), digest_bytes(content))
    assert is_whole(part)


def test_a_part_in_a_file_is_written_as_before_there_were_others() -> None:
    part = Part("parts/ab/abcd.bin", 3, 40, "name", "digest")
    assert part.to_json() == ["parts/ab/abcd.bin", 3, 40, "name", "digest"]
    assert Part.from_json(part.to_json()) == part and part.content is None


def test_each_small_part_has_a_name_of_its_own() -> None:
    one, other = inlined(b"x"), inlined(b"x")
    assert one.path != other.path and one.path.startswith("inline/")


@pytest.mark.parametrize("content", [b"", b"good ", b"goob", b"food"])
def test_other_bytes_than_were_written_are_never_given_out(content: bytes) -> None:
    spoiled = replace(inlined(b"good"), content=content)
    assert not is_whole(spoiled)
    with pytest.raises(BuilderError) as caught:
        content_of(spoiled)
    assert (caught.value.code, caught.value.hint) == ("store-damaged", "builder fsck --repair")
