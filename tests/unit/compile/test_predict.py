"""Predicted seconds, from what was measured; the values are worked out by hand."""

from __future__ import annotations

import pytest

from builder.compile.predict import COLD_S, FIXED_S, Experience, Forecast, History, Measured, scaled


def seconds(history: History, step: str, bytes_in: int = 0, rows_in: int = 0) -> float | None:
    found = history.predict(step, step.partition("[")[0], bytes_in, rows_in)
    return None if found is None else found.s


def test_a_step_takes_what_it_took() -> None:
    assert seconds(History.of({"a": [Measured(2.0)]}), "a") == 2.0


def test_a_step_takes_the_middle_of_its_last_times_and_their_spread_is_told() -> None:
    history = History.of({"a": [Measured(2.0), Measured(9.0), Measured(1.0)]})
    assert history.predict("a", "a") == Forecast(2.0, pytest.approx(1.2), pytest.approx(7.6))


def test_twice_the_bytes_take_twice_the_time_beyond_the_fixed_cost() -> None:
    history = History.of({"a": [Measured(1.0 + FIXED_S, 100)] * 2})
    assert seconds(history, "a", 200) == pytest.approx(2.0 + FIXED_S)
    assert seconds(history, "a", 50) == pytest.approx(0.5 + FIXED_S)


def test_an_amount_that_is_out_of_all_proportion_counts_tenfold() -> None:
    history = History.of({"a": [Measured(1.0 + FIXED_S, 100)] * 2})
    assert seconds(history, "a", 10**9) == pytest.approx(10.0 + FIXED_S)
    assert seconds(history, "a", 1) == pytest.approx(0.1 + FIXED_S)


def test_the_only_time_of_a_step_may_have_been_that_of_a_process_that_had_just_begun() -> None:
    history = History.of({"a": [Measured(1.5, 100)], "b": [Measured(COLD_S, 100)]})
    assert seconds(history, "a", 200) == pytest.approx(COLD_S + 2 * (1.5 - COLD_S))
    assert seconds(history, "b", 200) == COLD_S


def test_each_last_time_is_scaled_from_what_it_read() -> None:
    history = History.of({"a": [Measured(4.0 + FIXED_S, 400), Measured(1.0 + FIXED_S, 100)]})
    assert seconds(history, "a", 200) == pytest.approx(2.0 + FIXED_S)


def test_rows_count_where_bytes_are_not_known() -> None:
    assert scaled(Measured(1.0 + FIXED_S, 0, 10), 0, 30) == pytest.approx(3.0 + FIXED_S)
    assert scaled(Measured(1.0 + FIXED_S, 0, 10), 500, 30) == pytest.approx(3.0 + FIXED_S)
    assert scaled(Measured(1.0 + FIXED_S, 7, 10), 14, 30) == pytest.approx(2.0 + FIXED_S), "bytes go first"


def test_a_step_that_only_costs_its_start_is_not_scaled() -> None:
    assert scaled(Measured(FIXED_S / 2, 10), 1000) == FIXED_S / 2


def test_an_unknown_step_takes_what_its_recipe_takes() -> None:
    steps = {"f[x=1]": [Measured(1.0)], "f[x=2]": [Measured(3.0)], "f[x=3]": [Measured(2.0)], "g": [Measured(50.0)]}
    assert seconds(History.of(steps), "f[x=4]") == 2.0


def test_an_unknown_step_takes_what_those_with_its_parameters_take() -> None:
    steps = {
        "f[state=CA,year=2023]": [Measured(9.0)],
        "f[state=CA,year=2022]": [Measured(7.0)],
        "f[state=WY,year=2023]": [Measured(1.0)],
        "f[state=WY,year=2022]": [Measured(1.0)],
    }
    assert seconds(History.of(steps), "f[state=CA,year=2024]") == 8.0


def test_an_unknown_recipe_takes_what_the_project_takes() -> None:
    steps = {"a": [Measured(1.0)], "b": [Measured(5.0)], "c": [Measured(2.0)]}
    assert seconds(History.of(steps), "d") == 2.0


def test_nothing_measured_predicts_nothing() -> None:
    assert History.of({}).predict("a", "a") is None


def test_a_run_learns_the_longest_of_each_recipe_and_the_middle_of_all_once_it_has_seen_enough() -> None:
    seen = Experience()
    for n in range(7):
        seen.add("f", 1.0 + n)
    assert (seen.of("f"), seen.of("g")) == (7.0, None)
    seen.add("f", 0.5)
    assert seen.of("g") == pytest.approx(3.5)
