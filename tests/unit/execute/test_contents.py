"""Many small inputs lie in one file beside the attempt; few travel with its spec."""

from __future__ import annotations

from pathlib import Path

import pytest

from builder.digests import Digest, digest_of
from builder.errors import BuilderError
from builder.execute.contents import FILE, MOST_CARRIED_BYTES, brought_back, set_apart
from builder.execute.spec import AttemptSpec, InputSpec, IntakeSpec, Item, RecipeSpec
from builder.nouns import replace
from builder.store.manifest import Layer, Manifest, Part
from builder.store.parts import content_of, inlined

SIZE = 4000


def output(number: int) -> Manifest:
    """Two parts with their bytes, one without any, and one in a file."""
    upserts = (inlined(f"{number:0{SIZE // 2}}".encode()), inlined(b""), Part("parts/x", 0, 7, "", "d"))
    deletes = (inlined(f"{number:0{SIZE - SIZE // 2}}".encode()),)
    return Manifest("files", digest_of(str(number)), (Layer(upserts, deletes),), bytes=SIZE + 7)


def spec_of(store: Path, count: int) -> AttemptSpec:
    gathered = InputSpec("parts", "gather", tuple(Item(f"m[k={n}]", (), output(n)) for n in range(count)))
    files = InputSpec("notes", "one", (Item("notes", (), None, ()),))
    work = RecipeSpec("r", Digest("0"), Digest("0"), (), (files, gathered), (("", "t"),))
    scratch = str(store / "scratch" / "1")
    return AttemptSpec("t-1-1-1", "t", str(store), str(store), str(store), str(store / "log"), scratch, work)


def test_few_travel_with_the_spec(tmp_path: Path) -> None:
    spec = spec_of(tmp_path, MOST_CARRIED_BYTES // SIZE)
    assert set_apart(spec) is spec and brought_back(spec) is spec
    assert not (tmp_path / "scratch").exists()


def test_many_lie_beside_the_attempt_and_come_back_as_they_were(tmp_path: Path) -> None:
    spec = spec_of(tmp_path, 2000)
    sent = set_apart(spec).to_bytes()
    assert len(sent) < 2000 * 1000 < len(spec.to_bytes())
    assert (Path(spec.scratch) / FILE).stat().st_size == 2000 * SIZE
    assert brought_back(AttemptSpec.from_bytes(sent)) == spec


def test_what_a_version_has_beside_its_layers_comes_back_too(tmp_path: Path) -> None:
    spec = spec_of(tmp_path, 300)
    assert isinstance(spec.work, RecipeSpec)
    files, gathered = spec.work.inputs
    delta = Layer((inlined(b"delta"),), (inlined(b"gone"),))
    items = tuple(
        replace(i, manifest=i.manifest and replace(i.manifest, delta=delta, index=(inlined(b"index"),)))
        for i in gathered.items
    )
    spec = replace(spec, work=replace(spec.work, inputs=(files, replace(gathered, items=items))))
    assert brought_back(AttemptSpec.from_bytes(set_apart(spec).to_bytes())) == spec


def test_the_spec_of_an_intake_is_as_it_was(tmp_path: Path) -> None:
    spec = AttemptSpec("s-1-1-1", "s", "p", "r", "s", "l", str(tmp_path / "x"), IntakeSpec("s", "csv", ()))
    assert set_apart(spec) is spec and brought_back(spec) is spec


def test_other_bytes_than_were_written_are_refused_where_they_are_read(tmp_path: Path) -> None:
    spec = set_apart(spec_of(tmp_path, 300))
    file = Path(spec.scratch) / FILE
    file.write_bytes(b"x" + file.read_bytes()[1:])
    back = brought_back(spec).work
    assert isinstance(back, RecipeSpec)
    first, second = (i.manifest.parts[0] for i in back.inputs[1].items[:2] if i.manifest is not None)
    assert content_of(second) == output(1).parts[0].content
    with pytest.raises(BuilderError) as caught:
        content_of(first)
    assert caught.value.code == "store-damaged"
