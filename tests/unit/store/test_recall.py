"""What planning recalls: the present key of a step, its outputs, its last failure."""

from __future__ import annotations

from typing import Any

from builder.digests import digest_of
from builder.errors import error


def test_the_key_of_a_step_is_that_of_all_its_present_outputs(shop: Any) -> None:
    made = shop.build("split", "d1", **{"split.a": "1", "split.b": "2"})
    recall = shop.recall
    assert recall.built_key("split") == made
    assert (recall.current_key("split.a"), recall.current_key("split")) == (made, None)
    assert recall.present("split", made).keys() == {"split.a", "split.b"}
    assert recall.present("split", made) == recall.trace(made)
    assert recall.fields(made)[0] == ("source", "s", "d1")


def test_outputs_under_different_keys_have_no_common_one(shop: Any) -> None:
    first = shop.build("split", "d1", **{"split.a": "1", "split.b": "2"})
    second = shop.build("split", "d2", **{"split.a": "3"})
    recall = shop.recall
    assert recall.built_key("split") is None
    assert set(recall.present("split", first)) == {"split.b"}
    assert set(recall.present("split", second)) == {"split.a"}


def test_what_was_never_built_is_not_recalled(shop: Any) -> None:
    recall = shop.recall
    assert recall.built_key("a") is None and recall.current_key("a") is None
    assert recall.present("a", digest_of("k")) == {} and recall.fields(digest_of("k")) == []


def test_a_failure_tells_no_failure_an_unknown_key_and_a_key_apart(shop: Any) -> None:
    run = shop.begin()
    for step, key in (("none", None), ("some", digest_of("k"))):
        shop.committer.failed(run, step, key, error("recipe-error", "'it' failed"), None)
    recall = shop.recall
    assert (recall.failed_key("fine"), recall.failed_key("none")) == (False, None)
    assert recall.failed_key("some") == digest_of("k")


def test_commits_are_seen_after_a_reload(shop: Any) -> None:
    recall = shop.recall
    made = shop.build("a", "d1")
    assert recall.built_key("a") is None
    recall.reload()
    assert recall.built_key("a") == made
    assert recall.manifest(recall.currents["a"].manifest_id).digest == recall.currents["a"].digest
