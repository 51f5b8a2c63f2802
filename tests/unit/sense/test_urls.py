"""URLs are shown without their secrets, and version tokens hold what servers promise, no more."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from builder.sense.urls import UrlSpeech, is_remote, shown_url, tokens_agree, version_token

NOW_S = datetime(2026, 9, 5, 12, 0, 0, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("s3://bucket/a.csv", True),
        ("memory://a", True),
        ("https://host/a?x=1", True),
        ("simplecache::s3://b/a", True),
        ("zip://a.csv::https://h/a.zip", True),
        ("data/a.csv", False),
        ("/data/a.csv", False),
        ("file:///data/a.csv", False),
        ("data/a::b.csv", False),
        ("C:\\data\\a.csv", False),
    ],
)
def test_a_path_with_a_scheme_is_remote(path: str, expected: bool) -> None:
    assert is_remote(path) is expected


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://host/a.csv", "https://host/a.csv"),
        ("https://me:pw@host:8/a.csv", "https://***@host:8/a.csv"),
        ("https://me:p@ss@host/a.csv", "https://***@host/a.csv"),
        ("https://h/a?X-Amz-Signature=abc&v=2", "https://h/a?X-Amz-Signature=***&v=***"),
        ("https://h/a#access=abc", "https://h/a#***"),
        ("zip://x.csv::https://me:pw@h/a.zip?t=abc", "zip://x.csv::https://***@h/a.zip?t=***"),
        ("s3://bucket/@home/a.csv", "s3://bucket/@home/a.csv"),
    ],
)
def test_secrets_are_masked(url: str, shown: str) -> None:
    assert shown_url(url) == shown


def test_the_words_of_a_cause_lose_the_secrets() -> None:
    speech = UrlSpeech("https://me:hunter22@host/a?token=s3cr3t%2Fx&v=2")
    refused = speech.unreadable(
        RuntimeError("401 for https://me:hunter22@host/a?token=s3cr3t%2Fx (hunter22, s3cr3t/x)")
    )
    text = refused.render()
    assert "401" in text
    assert not any(secret in text for secret in ("hunter22", "s3cr3t"))
    assert speech.cause(RuntimeError()) is None
    plain = RuntimeError("x")
    assert UrlSpeech("https://host/a").cause(plain) is plain


def test_no_promise_of_the_server_is_no_token() -> None:
    assert version_token({}) is None
    assert version_token({"size": 5, "name": "a", "type": "file", "url": "https://h/a"}) is None
    assert version_token({"ETag": "", "size": 5}) is None
    assert version_token({"ETag": 'W/"abc"', "size": 5}) is None
    assert version_token({"created": NOW_S, "size": 5}) is None


@pytest.mark.parametrize(
    "field",
    ["ETag", "etag", "VersionId", "version_id", "generation", "md5", "md5Hash", "Content-MD5", "sha", "checksum"],
)
def test_each_strong_field_is_a_token_that_changes_with_it(field: str) -> None:
    one, two = (version_token({field: value, "size": 5}) for value in ("abc", "abd"))
    assert one is not None
    assert one != two
    assert one == version_token({field: "abc", "size": 5})
    assert one != version_token({field: "abc", "size": 6})


def test_one_instant_is_one_token_in_every_spelling() -> None:
    then = datetime(2026, 9, 1, 10, 0, 0, tzinfo=UTC)
    spellings = [
        then,
        then.replace(tzinfo=None),
        then.timestamp(),
        then.isoformat(),
        "Tue, 01 Sep 2026 10:00:00 GMT",
        "2026-09-01T12:00:00+02:00",
    ]
    tokens = {version_token({"LastModified": s, "size": 5}, NOW_S) for s in spellings}
    assert len(tokens) == 1
    assert None not in tokens
    assert version_token({"LastModified": "yesterday", "size": 5}, NOW_S) is None


def test_a_time_to_the_second_counts_alone_only_when_it_has_settled() -> None:
    now = datetime.fromtimestamp(NOW_S, UTC)
    fresh = {"LastModified": now - timedelta(seconds=1), "size": 5}
    assert version_token(fresh, NOW_S) is None
    assert version_token({**fresh, "ETag": "abc"}, NOW_S) is not None
    assert version_token({**fresh, "LastModified": now - timedelta(seconds=3)}, NOW_S) is not None
    assert version_token({**fresh, "LastModified": now - timedelta(seconds=1, microseconds=7)}, NOW_S) is not None


def test_tokens_of_one_version_agree_on_what_both_say() -> None:
    assert tokens_agree("etag=a mtime=1.0 size=5", "etag=a size=5")
    assert tokens_agree("etag=a size=?", "etag=a size=5")
    assert not tokens_agree("etag=a size=5", "etag=b size=5")
    assert not tokens_agree("etag=a mtime=1.0 size=5", "etag=a mtime=2.0 size=5")
    assert not tokens_agree("etag=a size=5", "mtime=1.0 size=5")
    assert not tokens_agree(None, "etag=a size=5")
