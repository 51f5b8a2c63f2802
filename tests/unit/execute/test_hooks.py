"""What is kept of hooks that fail."""

from typing import Any

from builder.execute.hooks import MOST_PROBLEMS, Hooks


def test_a_hook_that_always_fails_is_told_some_times_and_then_counted() -> None:
    def bad(event: dict[str, Any]) -> None:
        raise ValueError("no")

    hooks = Hooks({"before": [bad]})
    for number in range(MOST_PROBLEMS + 5):
        hooks.event("started", f"t{number}")
    hooks.finish()
    assert len(hooks.problems) == MOST_PROBLEMS + 1
    assert hooks.problems[0] == "a hook failed at 't0': ValueError: no"
    assert hooks.problems[-1] == "5 more calls of hooks failed"
