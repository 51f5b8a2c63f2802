"""Which record of one set is which of another."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from rapidfuzz import fuzz

from builder.errors import BuilderError
from builder.transforms import reconcile

LEFT = pd.DataFrame(
    {
        "id": [4, 1, 3, 2, 5],
        "name": ["Bar Harbor", "Saint-Louis", "Springfield Muncipal", None, "Lone Star"],
        "st": ["ME", "MO", "IL", "MO", "TX"],
        "lon": [-68.2, -90.2, -89.6, -90.2, -97.0],
        "lat": [44.4, 38.6, 39.8, 38.6, 31.0],
    }
)
RIGHT = pd.DataFrame(
    {
        "ref": ["d", "a", "c", "b"],
        "title": ["springfield municipal", "Bar Harbor", "SAINT LOUIS", "Bar Harbor"],
        "state": ["IL", "ME", "MO", "CA"],
        "x": [-89.7, -68.3, -90.2, -118.0],
        "y": [39.8, 44.4, 38.6, 34.0],
    }
)


def run(left: pd.DataFrame = LEFT, right: pd.DataFrame = RIGHT, **rest: Any) -> Any:
    return reconcile(left, right, **{"left_key": "id", "right_key": "ref", "on": {"name": "title"}} | rest)


def pairs(found: Any) -> list[tuple[Any, ...]]:
    return list(zip(found.matched.iloc[:, 0], found.matched.iloc[:, 1], found.matched["how"]))


def test_each_stage_takes_what_the_one_before_left() -> None:
    found = run()
    assert pairs(found) == [(1, "c", "normalised"), (3, "d", "fuzzy"), (4, "a", "exact")]
    score = fuzz.token_sort_ratio("springfield muncipal", "springfield municipal") / 100
    assert found.matched["score"].tolist() == [1.0, score, 1.0]


def test_the_frames_have_stated_columns_dtypes_and_order() -> None:
    found = run()
    assert {n: str(d) for n, d in found.matched.dtypes.items()} == {
        "left_id": "int64", "right_ref": "str", "how": "string", "score": "float64", "rivals": "int64"
    }  # fmt: skip
    assert list(found.ambiguous.columns) == [*found.matched.columns, "other_left_id", "other_right_ref"]
    assert found.left_only.equals(LEFT.sort_values("id").query("id in (2, 5)").reset_index(drop=True))
    assert found.right_only.equals(RIGHT.query("ref == 'b'").reset_index(drop=True))


def test_a_tie_goes_to_the_lowest_keys_and_is_said_to_be_ambiguous() -> None:
    found = run()
    assert found.ambiguous.values.tolist() == [[4, "a", "exact", 1.0, 1, pd.NA, "b"]]
    assert repr(found) == (
        "Reconciliation(3 matched: 1 exact, 1 normalised, 1 fuzzy; 1 of them ambiguous; 2 left only, 1 right only)"
    )


def test_a_block_settles_a_tie_and_texts_of_blocks_agree_when_normalised() -> None:
    right = RIGHT.assign(state=["il", "CA", "mo", "me"])
    found = run(right=right, block={"st": "state"})
    assert pairs(found) == [(1, "c", "normalised"), (3, "d", "fuzzy"), (4, "b", "normalised")]
    assert len(found.ambiguous) == 0


def test_nearness_settles_a_tie_in_every_stage() -> None:
    swapped = RIGHT.assign(x=[-89.7, -118.0, -90.2, -68.3], y=[39.8, 34.0, 38.6, 44.4])
    found = run(right=swapped, near={"lon": "x", "lat": "y"}, within_m=20_000)
    assert pairs(found) == [(1, "c", "normalised"), (3, "d", "fuzzy"), (4, "b", "exact")]
    assert pairs(run(right=swapped, near={"lon": "x", "lat": "y"}, within_m=100)) == [(1, "c", "normalised")]


@pytest.mark.parametrize(
    ("one", "other", "metres"),
    [
        ((179.999, 0.0), (-179.999, 0.0), 222.39),
        ((0.0, 89.999), (180.0, 89.999), 222.39),
        ((10.0, 50.0), (10.0, 50.1), 11119.5),
    ],
)
def test_distance_knows_no_antimeridian_and_no_pole(one: Any, other: Any, metres: float) -> None:
    left = pd.DataFrame({"id": [1], "name": ["Here"], "lon": one[:1], "lat": one[1:]})
    right = pd.DataFrame({"ref": [1], "title": ["Here"], "lon": other[:1], "lat": other[1:]})
    for within_m, count in ((metres * 1.001, 1), (metres * 0.999, 0)):
        assert len(run(left, right, near=["lon", "lat"], within_m=within_m).matched) == count


def test_a_distance_round_the_world_is_no_bound() -> None:
    everywhere = run(near={"lon": "x", "lat": "y"}, left=LEFT, within_m=3e7)
    assert pairs(everywhere) == pairs(run())


def test_an_exact_stage_of_its_own_columns_asks_for_nothing_else() -> None:
    left = LEFT.assign(code=["K1", "", None, "K2", "K3"])
    right = RIGHT.assign(code=["K3", "", None, "K9"])
    assert pairs(run(left, right, exact="code", on=None)) == [(5, "d", "exact")]
    assert pairs(run(left, right, exact="code")) == [(1, "c", "normalised"), (4, "a", "normalised"), (5, "d", "exact")]
    assert pairs(run(exact=[], fuzzy=None)) == [(1, "c", "normalised"), (4, "a", "normalised")]


def test_null_empty_and_speechless_texts_match_nothing() -> None:
    left = pd.DataFrame({"id": range(5), "name": [None, "", "  ", "?!", "x"]})
    right = pd.DataFrame({"ref": range(5), "title": [None, "", "  ", "…", "y"]})
    found = run(left, right, threshold=0.01)
    assert len(found.matched) == 0
    assert found.left_only["id"].tolist() == found.right_only["ref"].tolist() == list(range(5))


def test_null_coordinates_are_near_nothing() -> None:
    left = LEFT.assign(lon=np.nan)
    assert len(run(left, near={"lon": "x", "lat": "y"}, within_m=1e6).matched) == 0


def test_empty_sides_leave_the_other_whole() -> None:
    for left, right in ((LEFT[:0], RIGHT), (LEFT, RIGHT[:0]), (LEFT[:0], RIGHT[:0])):
        for rest in ({}, {"near": {"lon": "x", "lat": "y"}, "within_m": 1e5}, {"block": {"st": "state"}}):
            found = run(left, right, **rest)
            assert (len(found.matched), len(found.left_only), len(found.right_only)) == (0, len(left), len(right))


def test_without_one_to_one_every_pair_of_a_stage_is_a_match() -> None:
    left = pd.DataFrame({"id": [1, 2], "name": ["Ely", "Ely"]})
    right = pd.DataFrame({"ref": [1, 2, 3], "title": ["Ely", "Ely", "ELY"]})
    found = run(left, right, one_to_one=False)
    assert pairs(found) == [(1, 1, "exact"), (1, 2, "exact"), (2, 1, "exact"), (2, 2, "exact")]
    assert found.matched["rivals"].sum() == 0 and found.right_only["ref"].tolist() == [3]
    assert pairs(run(left, right)) == [(1, 1, "exact"), (2, 2, "exact")]


def test_thousands_of_one_name_are_paired_by_key_without_all_their_pairs() -> None:
    left = pd.DataFrame({"id": range(60_000), "name": "Private"})
    right = pd.DataFrame({"ref": range(50_000), "title": "Private"})
    found = run(left, right, fuzzy=None)
    assert (found.matched["left_id"] == found.matched["right_ref"]).all() and len(found.matched) == 50_000
    assert found.ambiguous.iloc[0].tolist() == [0, 0, "exact", 1.0, 109_998, 1, 1]
    assert found.ambiguous.iloc[-1, -2:].tolist() == [0, 0]


def test_a_score_is_the_mean_over_the_columns() -> None:
    left = pd.DataFrame({"id": [1], "name": ["Main Feild"], "city": ["Dalas"]})
    right = pd.DataFrame({"ref": [1], "name": ["Main Field"], "city": ["Dallas"]})
    scores = fuzz.ratio("main feild", "main field") / 100, fuzz.ratio("dalas", "dallas") / 100
    found = run(left, right, on=["name", "city"], fuzzy="ratio", threshold=0.9)
    assert found.matched["score"].tolist() == pytest.approx([sum(scores) / 2], abs=1e-12)
    assert len(run(left, right, on=["name", "city"], fuzzy="ratio", threshold=sum(scores) / 2 + 1e-9).matched) == 0


@pytest.mark.parametrize("scorer", ["ratio", "partial_ratio", "token_sort_ratio", "token_set_ratio", "WRatio"])
def test_a_score_that_is_the_threshold_counts(scorer: str) -> None:
    one, other = "north field", "north feild x"
    score = getattr(fuzz, scorer)(one, other) / 100
    left, right = pd.DataFrame({"id": [1], "name": [one]}), pd.DataFrame({"ref": [1], "title": [other]})
    assert run(left, right, fuzzy=scorer, threshold=score).matched["score"].tolist() == [score]


def test_large_blocks_and_small_ones_score_alike() -> None:
    rng = np.random.default_rng(5)
    words = np.array(["north", "south", "field", "feild", "airport", "port", "lake", "st"])
    names = [" ".join(rng.choice(words, 3)) + f" {n % 7}" for n in range(400)]
    left = pd.DataFrame({"id": range(200), "name": names[:200], "all": 0, "part": np.arange(200) % 20})
    right = pd.DataFrame({"ref": range(200), "title": names[200:], "all": 0, "part": np.arange(200) % 20})
    large = run(left, right, block="all", one_to_one=False, threshold=0.8).matched
    same = large[(large["left_id"] % 20 == large["right_ref"] % 20) & (large["how"] == "fuzzy")]
    small = run(left, right, block="part", one_to_one=False, threshold=0.8).matched
    shared = small[small["how"] == "fuzzy"].merge(same, on=["left_id", "right_ref"], how="inner")
    assert len(shared) == len(same) > 10 and (shared["score_x"] == shared["score_y"]).all()


def test_keys_of_several_columns_and_any_index() -> None:
    left = LEFT.assign(part="x").set_index(pd.Index([9, 9, 9, 9, 9]))
    found = run(left, left_key=["part", "id"])
    assert found.matched[["left_part", "left_id", "right_ref"]].values.tolist() == [
        ["x", 1, "c"], ["x", 3, "d"], ["x", 4, "a"]
    ]  # fmt: skip


def test_geometries_stay_with_the_records_that_are_left() -> None:
    geopandas = pytest.importorskip("geopandas")
    left = geopandas.GeoDataFrame(LEFT, geometry=geopandas.points_from_xy(LEFT["lon"], LEFT["lat"]), crs="EPSG:4326")
    rest = run(left).left_only
    assert isinstance(rest, geopandas.GeoDataFrame) and rest.crs == "EPSG:4326" and rest.geometry.iloc[0].x == -90.2


@pytest.mark.parametrize(
    ("change", "code", "word"),
    [
        ({"left_key": "nam"}, "bad-value", "no column 'nam'"),
        ({"left_key": "name"}, "key-null", "'name'"),
        ({"left_key": "st"}, "key-duplicate", "'st'"),
        ({"left_key": []}, "recipe-declaration", "keys"),
        ({"left_key": 3}, "recipe-declaration", "left_key"),
        ({"on": None}, "recipe-declaration", "'on'"),
        ({"on": {"name": "tittle"}}, "bad-value", "no column 'tittle'"),
        ({"on": {"id": "ref"}}, "bad-value", "integer with text"),
        ({"on": {"lon": "x"}}, "bad-value", "not text"),
        ({"on": 3}, "recipe-declaration", "'on'"),
        ({"block": {"st": "x"}}, "bad-value", "text with float"),
        ({"exact": {"id": "title"}}, "bad-value", "integer with text"),
        ({"exact": {"id": "titl"}}, "bad-value", "no column 'titl'"),
        ({"fuzzy": "levenshtein"}, "recipe-declaration", "no scorer"),
        ({"threshold": 0}, "recipe-declaration", "threshold"),
        ({"threshold": 90}, "recipe-declaration", "threshold"),
        ({"threshold": "0.9"}, "recipe-declaration", "threshold"),
        ({"near": ["lon"]}, "recipe-declaration", "near"),
        ({"near": {"lon": "x", "lat": "y"}}, "recipe-declaration", "within_m"),
        ({"near": {"lon": "x", "lat": "y"}, "within_m": -1}, "recipe-declaration", "within_m"),
        ({"near": {"lon": "x", "lat": "y"}, "within_m": float("nan")}, "recipe-declaration", "within_m"),
        ({"near": {"name": "title", "lat": "y"}, "within_m": 1}, "bad-value", "not numbers"),
        ({"within_m": 5}, "recipe-declaration", "within_m"),
    ],
)
def test_wrong_arguments_are_told(change: dict[str, Any], code: str, word: str) -> None:
    with pytest.raises(BuilderError) as caught:
        run(**change)
    assert caught.value.code == code and word in str(caught.value)


@pytest.mark.parametrize("value", [91.0, -90.001, float("inf")])
def test_an_impossible_latitude_is_told(value: float) -> None:
    with pytest.raises(BuilderError) as caught:
        run(LEFT.assign(lat=value), near={"lon": "x", "lat": "y"}, within_m=5)
    assert caught.value.code == "bad-value" and ("values", repr(value)) in caught.value.facts
