"""Which records stand for one thing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from builder.errors import BuilderError
from builder.transforms import deduplicate

TOWNS = pd.DataFrame(
    {
        "id": [5, 2, 4, 1, 3, 6],
        "name": ["Saint Louis", "SAINT-LOUIS", "Ely", "Saint Luis", None, None],
        "st": ["MO", "MO", "NV", "MO", "NV", "NV"],
        "people": [10, 30, 5, 20, 1, 1],
        "lon": [-90.2, -90.2, -114.9, -97.0, 0.0, 0.0],
        "lat": [38.6, 38.61, 39.2, 31.0, 0.0, 0.0],
    }
)


def ids(frame: pd.DataFrame) -> list[int]:
    return frame["id"].tolist()


@pytest.mark.parametrize(
    ("how", "kept", "duplicates"),
    [
        ("exact", [1, 2, 3, 4, 5, 6], []),
        ("normalised", [1, 2, 3, 4, 6], [2, 5]),
        ("fuzzy", [1, 3, 4, 6], [1, 2, 5]),
    ],
)
def test_each_way_finds_what_the_one_before_finds(how: str, kept: list[int], duplicates: list[int]) -> None:
    found = deduplicate(TOWNS, by="name", how=how)
    assert (ids(found[0]), ids(found[1])) == (kept, duplicates)


def test_the_frames_have_stated_columns_dtypes_and_order() -> None:
    kept, duplicates = deduplicate(TOWNS.set_index("st", drop=False), by="name", how="fuzzy", order_by="-people")
    assert kept.dtypes.equals(TOWNS.dtypes) and list(kept.index) == list(range(len(kept)))
    assert kept["people"].tolist() == [30, 5, 1, 1]
    assert list(duplicates.columns) == ["group", "is_kept", *TOWNS.columns]
    assert str(duplicates["group"].dtype) == "int64" and duplicates["is_kept"].dtype == bool
    assert duplicates[["group", "is_kept", "people"]].values.tolist() == [[0, True, 30], [0, False, 20], [0, False, 10]]


def test_groups_are_connected_sets() -> None:
    frame = pd.DataFrame({"name": ["aaaaaaaaaa", "aaaaaaaabb", "aaaaaabbbb", "zzzzzzzzzz"]})
    kept, duplicates = deduplicate(frame, by="name", how="fuzzy", threshold=0.8, fuzzy="ratio")
    assert kept["name"].tolist() == ["aaaaaaaaaa", "zzzzzzzzzz"] and duplicates["group"].tolist() == [0, 0, 0]


def test_blocks_part_and_distance_parts() -> None:
    frame = pd.DataFrame(
        {"id": [1, 2, 3, 4], "name": "Ely", "st": ["NV", "nv", "MN", None], "lon": [0.0, 0.0, 0.01, 0.02], "lat": 0.0}
    )
    for how in ("normalised", "fuzzy"):
        assert ids(deduplicate(frame, by="name", block="st", how=how)[0]) == [1, 3, 4]
        assert ids(deduplicate(frame, by="name", near=["lon", "lat"], within_m=1200, how=how)[0]) == [1]
        assert ids(deduplicate(frame, by="name", near=["lon", "lat"], within_m=1000, how=how)[0]) == [1, 3, 4]
    assert ids(deduplicate(frame, by="name", near=["lon", "lat"], within_m=1000)[0]) == [1, 3, 4]
    assert ids(deduplicate(frame, by="name", block="st")[0]) == [1, 2, 3, 4]


def test_exact_compares_columns_of_any_kind() -> None:
    frame = pd.DataFrame({"n": [1.0, 1.0, np.nan, np.nan, -0.0, 0.0], "day": pd.to_datetime(["2020-01-01"] * 6)})
    kept, duplicates = deduplicate(frame, by=["n", "day"])
    assert kept["n"].tolist()[:2] == [0.0, 1.0] and len(kept) == 4 and duplicates["group"].tolist() == [0, 0, 1, 1]


def test_ties_in_the_order_are_broken_by_the_other_columns() -> None:
    frame = pd.DataFrame({"name": ["a", "a", "a"], "rank": [1, 1, 1], "note": [None, "y", "x"]})
    for order in ([0, 1, 2], [2, 1, 0], [1, 2, 0]):
        kept, duplicates = deduplicate(frame.iloc[order], by="name", order_by=["rank"])
        assert kept["note"].tolist() == ["x"] and duplicates["note"].fillna("-").tolist() == ["x", "y", "-"]


def test_rows_equal_in_all_columns_leave_one() -> None:
    frame = pd.DataFrame({"name": ["a"] * 5, "n": [1] * 5})
    kept, duplicates = deduplicate(frame, by="name")
    assert len(kept) == 1 and duplicates["is_kept"].tolist() == [True, False, False, False, False]


def test_a_column_may_be_named_with_a_leading_minus() -> None:
    frame = pd.DataFrame({"name": ["a", "a"], "-n": [1, 2]})
    assert deduplicate(frame, by="name", order_by="-n")[0]["-n"].tolist() == [1]


def test_nothing_to_compare_keeps_everything() -> None:
    frame = pd.DataFrame({"id": range(4), "name": [None, "", " ", "?"]})
    for how in ("exact", "normalised", "fuzzy"):
        kept, duplicates = deduplicate(frame, by="name", how=how)
        assert ids(kept) == [0, 1, 2, 3] and len(duplicates) == 0
    for how in ("exact", "normalised", "fuzzy"):
        assert [len(f) for f in deduplicate(frame[:0], by="name", how=how)] == [0, 0]


def test_geometry_columns_order_rows_and_stay() -> None:
    geopandas = pytest.importorskip("geopandas")
    points = geopandas.points_from_xy([1, 0, None, 1], [0, 0, None, 0])
    frame = geopandas.GeoDataFrame({"name": ["a", "a", "a", "b"]}, geometry=points, crs="EPSG:4326")
    kept, _ = deduplicate(frame, by="name")
    assert isinstance(kept, geopandas.GeoDataFrame) and kept.crs == "EPSG:4326"
    assert kept.equals(deduplicate(frame[::-1], by="name")[0])


@pytest.mark.parametrize(
    ("change", "code", "word"),
    [
        ({"by": []}, "recipe-declaration", "'by'"),
        ({"by": "nam"}, "bad-value", "did you mean 'name'?"),
        ({"by": "id", "how": "normalised"}, "bad-value", "not text"),
        ({"how": "sounds"}, "recipe-declaration", "'sounds'"),
        ({"order_by": "-peple"}, "bad-value", "'peple'"),
        ({"how": "fuzzy", "fuzzy": None}, "recipe-declaration", "scorer"),
        ({"how": "fuzzy", "threshold": 1.5}, "recipe-declaration", "threshold"),
        ({"near": ["lon", "lat"]}, "recipe-declaration", "within_m"),
    ],
)
def test_wrong_arguments_are_told(change: dict[str, Any], code: str, word: str) -> None:
    with pytest.raises(BuilderError) as caught:
        deduplicate(TOWNS, **{"by": "name"} | change)
    assert caught.value.code == code and word in str(caught.value)


@pytest.mark.parametrize("name", ["group", "is_kept"])
def test_a_column_with_a_name_of_the_result_is_told(name: str) -> None:
    with pytest.raises(BuilderError) as caught:
        deduplicate(TOWNS.rename(columns={"people": name}), by="name")
    assert caught.value.code == "bad-value" and f"'{name}'" in caught.value.message


def test_a_column_without_an_order_is_told() -> None:
    with pytest.raises(BuilderError) as caught:
        deduplicate(pd.DataFrame({"name": ["a", "b"], "tags": [[1], [2]]}), by="name")
    assert caught.value.code == "bad-value" and "'tags'" in caught.value.message
