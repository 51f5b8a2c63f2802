"""Which values are the same to a recipe, and which differ."""

from __future__ import annotations

import collections
import decimal
import enum
import fractions
import functools
import logging
import operator
import pathlib
import pickle
import re
import socket
import subprocess
import sys
import threading
import types
import uuid
import zoneinfo
from datetime import UTC, date, datetime, time, timedelta, timezone

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from builder.authoring.values import Opaque, hash_value
from builder.digests import Digest, Hasher


def digest(value: object) -> Digest:
    hasher = Hasher("test")
    hash_value(value, hasher)
    return hasher.digest()


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


class Level(enum.IntEnum):
    ONE = 1


class Plain:
    def __init__(self, value: object) -> None:
        self.value = value

    def method(self) -> object:
        return self.value


Pair = collections.namedtuple("Pair", "a b")

DIFFERENT = [
    None,
    True,
    1,
    1.0,
    1 + 0j,
    "1",
    b"1",
    bytearray(b"1"),
    0,
    False,
    0.0,
    -0.0,
    "",
    b"",
    10**5000,
    -(10**5000),
    float("inf"),
    float("nan"),
    (),
    [],
    {},
    set(),
    frozenset(),
    (1,),
    [1],
    {1},
    frozenset({1}),
    {1: 1},
    [[1], []],
    [[], [1]],
    [1, "a"],
    [1, ["a"]],
    {"a": 1, "b": 2},
    {"b": 2, "a": 1},
    ...,
    NotImplemented,
    range(3),
    range(0, 3, 2),
    slice(1, 2),
    date(2024, 1, 1),
    datetime(2024, 1, 1),
    datetime(2024, 1, 1, tzinfo=UTC),
    datetime(2024, 1, 1, fold=1),
    datetime(2024, 1, 1, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin")),
    datetime(2024, 1, 1, tzinfo=timezone(timedelta(hours=1))),
    time(1),
    timedelta(1),
    timedelta(0, 1),
    decimal.Decimal("1.0"),
    decimal.Decimal("1.00"),
    fractions.Fraction(1, 2),
    uuid.UUID(int=1),
    pathlib.PurePosixPath("a/b"),
    pathlib.PurePosixPath("a/c"),
    re.compile("a"),
    re.compile("a", re.I),
    Colour.RED,
    Colour.BLUE,
    Level.ONE,
    Plain(1),
    Plain(2),
    Plain([1]),
    Plain(1).method,
    Plain(2).method,
    Pair(1, 2),
    Pair(2, 1),
    types.SimpleNamespace(a=1),
    types.SimpleNamespace(a=2),
    types.MappingProxyType({"a": 1}),
    collections.OrderedDict(a=1),
    collections.defaultdict(int, a=1),
    collections.defaultdict(float, a=1),
    collections.Counter("ab"),
    collections.deque([1]),
    functools.partial(int, "1"),
    functools.partial(int, "2"),
    functools.partial(int, base=2),
    operator.itemgetter(1),
    operator.itemgetter(2),
    len,
    print,
    int,
    str,
    Plain,
    Colour,
    list[int],
    int | str,
    "a".upper,
    "b".upper,
    3.14,
    logging.getLogger("a"),
    logging.getLogger("b"),
    sys,
    types,
    np,
    np.float64(1),
    np.float32(1),
    np.int64(1),
    np.bool_(True),
    np.array([1, 2]),
    np.array([1, 3]),
    np.array([[1, 2]]),
    np.array([1.0, 2.0]),
    np.array(["a"]),
    np.array([[1], "a"], dtype=object),
    np.array([2, 1], dtype="datetime64[s]"),
    np.zeros(2, dtype=[("a", "i4")]),
    np.zeros(2, dtype=[("b", "i4")]),
    np.dtype("i4"),
    np.sin,
    np.cos,
    np.ma.masked_array([1, 2], [0, 1]),
    np.ma.masked_array([1, 2], [1, 0]),
    pd.DataFrame({"a": [1, 2]}),
    pd.DataFrame({"a": [1, 3]}),
    pd.DataFrame({"b": [1, 2]}),
    pd.DataFrame({"a": [1, 2]}, index=[1, 2]),
    pd.DataFrame({"a": [1.0, 2.0]}),
    pd.DataFrame({"a": ["x", "y"]}),
    pd.DataFrame({"a": pd.array([1, None], "Int64")}),
    pd.DataFrame({"a": pd.array([1, 2], "Int64")}),
    pd.DataFrame([[1, 2]], columns=["a", "a"]),
    pd.DataFrame({"a": pd.Categorical(["x", "y"])}),
    pd.DataFrame({"a": pd.Categorical(["x", "y"], ["y", "x"])}),
    pd.Series([1, 2]),
    pd.Series([1, 2], name="n"),
    pd.Index([1, 2]),
    pd.MultiIndex.from_tuples([(1, 2)]),
    pd.MultiIndex.from_tuples([(1, 3)]),
    pd.Timestamp("2024-01-01"),
    pd.Timestamp("2024-01-01", tz="UTC"),
    pd.NA,
    pd.NaT,
    pd.Timedelta(1, "s"),
    pd.Series(pd.to_datetime(["2024-01-01"])),
    pd.Series(pd.to_datetime(["2024-01-01"], utc=True)),
    pa.table({"a": [1]}),
    pa.table({"a": [2]}),
    pa.table({"a": [1.0]}),
    pa.array([1]),
    pa.int64(),
    pa.int32(),
    pa.schema([("a", pa.int64())]),
    pa.scalar(1),
    shapely.Point(1, 2),
    shapely.Point(2, 1),
    shapely.Point(1, 2, 3),
    shapely.set_srid(shapely.Point(1, 2), 4326),
    gpd.GeoDataFrame({"a": [1]}, geometry=[shapely.Point(1, 2)], crs=4326),
    gpd.GeoDataFrame({"a": [1]}, geometry=[shapely.Point(1, 2)]),
    gpd.GeoSeries([shapely.Point(1, 2)]),
    gpd.GeoSeries([shapely.Point(2, 2)]),
    gpd.GeoSeries([None]),
]


def test_values_that_differ_have_different_digests() -> None:
    seen: dict[Digest, object] = {}
    for value in DIFFERENT:
        made = digest(value)
        assert made not in seen, (value, seen[made])
        seen[made] = value


def test_the_same_value_made_anew_has_the_same_digest() -> None:
    again = 0
    for value in DIFFERENT:
        try:
            other = pickle.loads(pickle.dumps(value))
        except (TypeError, AttributeError, pickle.PicklingError):
            continue
        assert digest(other) == digest(value), value
        again += other is not value
    assert again > 80


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ([1, 2, 3] * 10, list(map(int, "123" * 10))),
        ({"a", "b", "c"}, {"c", "b", "a"}),
        ({(1, "x"), (2, "y")}, {(2, "y"), (1, "x")}),
        ([[1]] * 2, [[1], [1]]),
        (np.arange(6)[::2], np.array([0, 2, 4])),
        (np.asfortranarray(np.ones((2, 3))), np.ones((2, 3))),
        (pd.DataFrame({"a": [1, 2, 3]}).iloc[1:].reset_index(drop=True), pd.DataFrame({"a": [2, 3]})),
        (
            pd.DataFrame({"a": ["x", None]}, dtype="str"),
            pd.DataFrame({"a": ["y", "x", None]}, dtype="str").iloc[1:].reset_index(drop=True),
        ),
        (pa.table({"a": [1, 2, None]}).slice(1), pa.table({"a": [2, None]})),
        (pa.chunked_array([[1], [2]]), pa.chunked_array([[1, 2]])),
    ],
)
def test_how_a_value_was_made_does_not_count(one, other) -> None:
    assert digest(one) == digest(other)


@pytest.mark.parametrize(
    "value",
    [
        threading.Lock(),
        (x for x in "a"),
        [threading.Lock()],
        Plain(threading.RLock()),
        sys._getframe(),
        (lambda: 0).__code__,
    ],
)
def test_what_has_no_content_is_opaque(value) -> None:
    with pytest.raises(Opaque):
        digest(value)


def test_open_files_and_sockets_are_opaque(tmp_path) -> None:
    with (tmp_path / "x").open("w") as stream, pytest.raises(Opaque):
        digest(stream)
    with socket.socket() as connection, pytest.raises(Opaque):
        digest({"c": connection})


def test_cycles_end_and_count_by_their_shape() -> None:
    def ring(length: int, value: int) -> list:
        first: list = [value]
        last = first
        for _ in range(length - 1):
            last.append([value])
            last = last[1]
        last.append(first)
        return first

    assert digest(ring(3, 1)) == digest(ring(3, 1))
    assert len({digest(ring(3, 1)), digest(ring(3, 2)), digest(ring(4, 1))}) == 3


def test_a_thing_that_all_point_to_all_is_opaque_rather_than_endless() -> None:
    nodes = [Plain([]) for _ in range(40)]
    for node in nodes:
        node.value.extend(nodes)
    with pytest.raises(Opaque):
        digest(nodes)


def test_parts_shared_many_times_are_read_once() -> None:
    shared: list = []
    for _ in range(60):
        shared = [shared, shared]
    assert digest(shared) == digest(shared)


def test_deep_nesting_is_opaque() -> None:
    value: list = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(Opaque):
        digest(value)
    while value:  # freed step by step, for the interpreter frees recursively
        value = value.pop()


def test_texts_are_spelled_by_the_caller_even_in_long_lists() -> None:
    def made(root: str, values: object) -> Digest:
        hasher = Hasher("test")
        hash_value(values, hasher, shown=lambda text: text.replace(root, "<root>"))
        return hasher.digest()

    assert made("/a", ["/a/x"] * 20) == made("/b", ["/b/x"] * 20)
    assert made("/a", pathlib.PurePosixPath("/a/x")) == made("/b", pathlib.PurePosixPath("/b/x"))


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(plain, plain)
def test_plain_values_are_equal_just_when_python_spells_them_equally(one, other) -> None:
    assert (digest(one) == digest(other)) == (repr(one) == repr(other))


SCRIPT = """
import re, collections
from builder.authoring.values import hash_value
from builder.digests import Hasher
hasher = Hasher("test")
sets = [{"a", "b", "c", ("d", 1)}, frozenset("xyz"), {1: {"p", "q"}}, {"k"} | {"l"}, {"a": 1, "b": 2}.keys()]
hash_value([sets, re.compile("a"), object()], hasher)
print(hasher.digest())
"""


def test_the_hash_seed_of_python_does_not_count() -> None:
    outs = set()
    for seed in ("0", "5", "random"):
        run = subprocess.run(
            [sys.executable, "-c", SCRIPT], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        )
        outs.add(run.stdout)
    assert len(outs) == 1
