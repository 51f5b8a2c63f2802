"""Digests are BLAKE3, and no two sequences of fields share their bytes."""

from __future__ import annotations

import pickle

from hypothesis import given
from hypothesis import strategies as st

from builder.digests import EMPTY_FILE, Digest, Hasher, digest_bytes, digest_of

TEXTS = st.lists(st.text(st.characters(), max_size=5), max_size=5)


def test_bytes_have_the_digest_of_the_published_test_vectors() -> None:
    assert EMPTY_FILE == "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
    assert digest_bytes(b"abc") == "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85"


@given(TEXTS, TEXTS)
def test_two_sequences_of_fields_share_a_digest_only_when_they_are_equal(one: list[str], two: list[str]) -> None:
    assert (digest_of("d", *one) == digest_of("d", *two)) == (one == two)


def test_fields_cannot_be_moved_across_their_borders() -> None:
    spellings = [("ab", "c"), ("a", "bc"), ("abc",), ("abc", ""), ("", "abc"), ("a", "b", "c")]
    assert len({digest_of("d", *fields) for fields in spellings}) == len(spellings)


def test_domains_keep_kinds_apart() -> None:
    assert digest_of("a", "b") != digest_of("b", "b")
    assert digest_of("a", "b") != digest_of("ab")


def test_names_that_are_not_unicode_are_told_apart() -> None:
    assert len({digest_of("d", t) for t in ("\udcff", "\udcfe", "\ufffd", "?")}) == 4


def test_fields_of_bytes_and_text_are_one_framing() -> None:
    assert Hasher("d").bytes(b"abc").digest() == Hasher("d").text("abc").digest()
    assert Hasher("d").number(-12).digest() == Hasher("d").text("-12").digest()


def test_a_digest_is_a_text_with_a_short_form() -> None:
    digest = digest_bytes(b"")
    assert (digest.short, len(digest)) == ("af1349b9f5f9", 64)
    assert pickle.loads(pickle.dumps(digest)) == digest
    assert isinstance(digest, Digest)
