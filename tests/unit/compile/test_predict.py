"""Predicted seconds, from what was measured."""

from __future__ import annotations

import pytest

from builder.compile.predict import FIXED_S, History, Measured


def test_a_step_takes_what_it_took() -> None:
    predictor = History({"a": Measured(2.0)}).predictor()
    assert predictor.predict("a", "a") == 2.0


def test_twice_the_bytes_take_twice_the_time_beyond_the_fixed_cost() -> None:
    predictor = History({"a": Measured(1.0 + FIXED_S, 100)}).predictor()
    assert predictor.predict("a", "a", 200) == pytest.approx(2.0 + FIXED_S)
    assert predictor.predict("a", "a", 10**9) == pytest.approx(10.0 + FIXED_S)


def test_an_unknown_step_takes_what_its_recipe_takes() -> None:
    steps = {"f[x=1]": Measured(1.0), "f[x=2]": Measured(3.0), "f[x=3]": Measured(2.0), "g": Measured(50.0)}
    assert History(steps).predictor().predict("f[x=4]", "f") == 2.0


def test_an_unknown_recipe_takes_what_the_project_takes() -> None:
    steps = {"a": Measured(1.0), "b": Measured(5.0), "c": Measured(2.0)}
    assert History(steps).predictor().predict("d", "d") == 2.0


def test_nothing_measured_predicts_nothing() -> None:
    assert History({}).predictor().predict("a", "a") is None
