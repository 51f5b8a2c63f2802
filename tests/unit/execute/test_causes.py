"""Why a worker ended: the word of its own nanny, never of another machine's."""

from builder.execute.causes import MEMORY, Causes

LOG = ["Worker tcp://a:1 (pid=8) exceeded 95% memory budget. Restarting...", "Worker process 7 exited with status 3"]


def test_the_cause_is_the_first_that_a_nanny_gave() -> None:
    causes = Causes()
    causes.hear("Worker tcp://a:1 (pid=8) exceeded 95% memory budget. Restarting...")
    causes.hear("Worker process 8 was killed by signal 15")
    causes.hear("Worker process 7 exited with status 3")
    assert causes.said(8) == MEMORY and causes.said(7) == "exited with status 3"


def test_the_same_number_on_another_machine_is_another_process() -> None:
    causes = Causes()
    assert causes.said(7, lambda: LOG) == "exited with status 3"
    assert causes.said(8, lambda: ["Worker process 8 was killed by signal 11"]) == "was killed by signal 11"
    assert causes.said(8, lambda: None) == ""


def test_a_log_elsewhere_says_nothing_of_a_process_here() -> None:
    causes = Causes()
    causes.said(7, lambda: LOG)
    causes.hear("Worker process 8 exited with status 4")
    assert causes.said(8) == "exited with status 4"
