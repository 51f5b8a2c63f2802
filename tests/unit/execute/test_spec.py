"""Specs and records cross the wire unchanged, whatever stands in them."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from builder.digests import Digest, digest_bytes
from builder.errors import error
from builder.execute.spec import (
    AttemptRecord,
    AttemptSpec,
    InputSpec,
    IntakeSpec,
    Item,
    Output,
    RecipeSpec,
    SourceFile,
)
from builder.store.manifest import Layer, Manifest, Part
from builder.tables.schema import Column, Schema

TEXT = st.text(st.characters(), max_size=6)
MAYBE = st.none() | TEXT
COUNT = st.integers(0, 2**60)
DIGESTS = st.binary(max_size=2).map(digest_bytes)
SCALARS = st.one_of(TEXT, st.integers(), st.booleans(), st.dates())
PARAMS = st.lists(st.tuples(TEXT, SCALARS), max_size=2).map(tuple)
PAIRS = st.lists(st.tuples(TEXT, TEXT), max_size=2).map(tuple)
TEXTS = st.lists(TEXT, max_size=2).map(tuple)
SCHEMAS = st.sampled_from([Schema(()), Schema((Column("a", "int64"), Column("g", "geometry", "EPSG:4326")), ("a",))])
PARTS = st.builds(Part, TEXT, COUNT, COUNT, TEXT, TEXT)
LAYERS = st.builds(Layer, st.lists(PARTS, max_size=2).map(tuple), st.lists(PARTS, max_size=1).map(tuple))
TABLES = st.builds(
    Manifest,
    kind=st.just("table"),
    digest=DIGESTS,
    layers=st.lists(LAYERS, max_size=2).map(tuple),
    rows=COUNT,
    bytes=COUNT,
    schema=SCHEMAS,
    columns=st.dictionaries(TEXT, TEXT, max_size=2),
    base=st.none() | DIGESTS,
)
VALUES = st.builds(
    Manifest, st.sampled_from(["json", "files"]), DIGESTS, st.lists(LAYERS, max_size=1).map(tuple), bytes=COUNT
)
MANIFESTS = TABLES | VALUES
FILES = st.builds(SourceFile, TEXT, TEXT, TEXT, COUNT, DIGESTS, st.none() | st.tuples(*[COUNT] * 5))
INTAKES = st.builds(
    IntakeSpec,
    source=TEXT,
    format=TEXT,
    files=st.lists(FILES, max_size=2).map(tuple),
    key=TEXTS,
    columns=PAIRS,
    pinned=st.none() | SCHEMAS,
    pin_shown=TEXT,
    crs=MAYBE,
    layer=MAYBE,
    delimiter=MAYBE,
    encoding=MAYBE,
    null=st.none() | TEXTS,
    file_column=MAYBE,
)
ITEMS = st.builds(Item, TEXT, PARAMS, st.none() | MANIFESTS, st.none() | st.lists(FILES, max_size=2).map(tuple))
INPUTS = st.builds(
    InputSpec,
    parameter=TEXT,
    shape=st.sampled_from(["one", "gather", "list"]),
    items=st.lists(ITEMS, max_size=2).map(tuple),
    columns=st.none() | TEXTS,
    where=st.lists(st.tuples(TEXT, st.none() | SCALARS), max_size=2).map(tuple),
)
RECIPES = st.builds(
    RecipeSpec,
    recipe=TEXT,
    bundle=DIGESTS,
    fingerprint=DIGESTS,
    params=PARAMS,
    inputs=st.lists(INPUTS, max_size=2).map(tuple),
    outputs=PAIRS,
)
ATTEMPTS = st.builds(
    AttemptSpec,
    id=TEXT,
    step=TEXT,
    project=TEXT,
    recipes=TEXT,
    store=TEXT,
    log=TEXT,
    scratch=TEXT,
    work=RECIPES | INTAKES,
    previous=st.dictionaries(TEXT, MANIFESTS, max_size=1),
)
OUTPUTS = st.builds(Output, TEXT, MANIFESTS, st.none() | st.tuples(COUNT, COUNT, COUNT))
RECORDS = st.builds(
    AttemptRecord,
    id=TEXT,
    outputs=st.lists(OUTPUTS, max_size=2).map(tuple),
    error=st.none() | st.just(error("bad-value", "'x' is wrong", facts=[("column", "a")], place="a.csv:3").to_json()),
    wall_s=st.floats(0, 1e6),
    cpu_s=st.floats(0, 1e6),
    peak_rss_bytes=COUNT,
)


@settings(max_examples=120, deadline=None)
@given(ATTEMPTS)
def test_a_spec_crosses_the_wire_unchanged(spec: AttemptSpec) -> None:
    raw = spec.to_bytes()
    back = AttemptSpec.from_bytes(raw)
    assert back == spec
    assert type(back.work) is type(spec.work)
    assert back.to_bytes() == raw


@settings(max_examples=80, deadline=None)
@given(RECORDS)
def test_a_record_crosses_the_wire_unchanged(record: AttemptRecord) -> None:
    assert AttemptRecord.from_bytes(record.to_bytes()) == record


def test_the_wire_is_ascii_and_keeps_odd_file_names() -> None:
    file = SourceFile("\udcff.csv", "/d/\udcff.csv", "d/\udcff.csv", 3, Digest("0" * 64), (1, 2, 3, 4, 5))
    spec = IntakeSpec("s", "csv", (file,))
    attempt = AttemptSpec("1", "s", "p", "r", "st", "l", "sc", spec)
    assert attempt.to_bytes().isascii()
    assert AttemptSpec.from_bytes(attempt.to_bytes()).work == spec


def test_types_of_parameters_are_kept() -> None:
    spec = RecipeSpec("r", Digest("0"), Digest("1"), (("a", True), ("b", 1), ("c", "1")), (), ())
    back = RecipeSpec.from_json(spec.to_json())
    assert [type(v) for _, v in back.params] == [bool, int, str]
    assert back != replace(spec, params=(("a", "true"), ("b", 1), ("c", "1")))
