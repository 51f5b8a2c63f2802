"""URLs of remote objects: what may be shown of them, and what their servers say of a version.

Decides what a version token is made of. Never opens a connection.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

from builder.errors import BuilderError, error

_REMOTE = r"[A-Za-z][\w.+-]*(?:://|::.*://)"
_SECRETS = r"(?<=://)[^/?#]*(?=@)|(?<=[?&])(?P<key>[^=&#]*)=[^&#]+|(?<=#).+"
_SECRET_LENGTH = 4  # a shorter query value is none, and would garble messages
_STRONG = (
    "etag",
    "versionid",
    "generation",
    "md5",
    "md5hash",
    "contentmd5",
    "checksum",
    "digest",
    "sha",
    "sha256",
    "crc32c",
)
_TIMES = ("lastmodified", "mtime", "modified", "updated", "modificationtime")
_RACY_S = 2.0
_GONE = (404, 410)


def is_remote(path: str) -> bool:
    """Whether a source's path is a URL; ``file://`` is a local path."""
    return "://" in path and bool(re.match(_REMOTE, path)) and not path.startswith("file://")


def shown_url(url: str) -> str:
    """The URL as people may see it: user, password, query values and fragments are ``***``.

    >>> shown_url("https://me:pw@host/a.csv?sig=abc&v=2")
    'https://***@host/a.csv?sig=***&v=***'
    """
    return "::".join(re.sub(_SECRETS, _masked, link) for link in url.split("::"))


def _masked(secret: re.Match[str]) -> str:
    return "***" if secret["key"] is None else f"{secret['key']}=***"


def version_token(found: Mapping[str, Any], listed_at_s: float | None = None) -> str | None:
    """What the server says of an object's version: ETag, version id, checksum or time, with the size; None without any.

    A weak ETag does not count. A time to the second does not count alone where it lies less than two seconds before
    `listed_at_s` (seconds since the epoch): the object may change again within it.
    """
    fields = {re.sub(r"[^a-z0-9]", "", str(k).lower()): v for k, v in found.items() if v not in (None, "", b"")}
    strong = [f"{k}={_plain(fields[k])}" for k in _STRONG if k in fields and not str(fields[k]).startswith("W/")]
    times = [(k, t) for k in _TIMES if (t := _seconds(fields.get(k))) is not None]
    if not strong and all(_is_racy(t, listed_at_s) for _, t in times):
        return None
    return " ".join([*strong, *(f"{k}={t!r}" for k, t in times), f"size={fields.get('size', '?')}"])


def tokens_agree(one: str | None, other: str | None) -> bool:
    """Whether two tokens can be of one version: they share a field besides the size, and no shared field differs.

    Listings and single questions give different fields of the same object.
    """
    first, second = (dict(f.split("=", 1) for f in (token or "").split(" ") if f) for token in (one, other))
    shared = first.keys() & second.keys()
    return bool(shared - {"size"}) and all(first[k] == second[k] or "?" in (first[k], second[k]) for k in shared)


def is_absence(cause: Exception) -> bool:
    """Whether an error says that nothing is there; fsspec's HTTP says so of a refusal and of a dead network as well."""
    if not isinstance(cause, (FileNotFoundError, NotADirectoryError)):
        return False
    inner = cause.__cause__
    status = getattr(inner, "status", None)
    if isinstance(status, int):
        return status in _GONE
    return not isinstance(inner, OSError) or isinstance(inner, FileNotFoundError)


class UrlSpeech:
    """Speaks of a URL without its secrets."""

    def __init__(self, url: str) -> None:
        self.shown = shown_url(url)
        found = {m[0] if m["key"] is None else m[0].partition("=")[2] for m in re.finditer(_SECRETS, url)}
        found |= {unquote(secret) for secret in found} | {s.partition(":")[2] for s in found}
        self.secrets = sorted((s for s in found if len(s) >= _SECRET_LENGTH), key=len, reverse=True)

    def missing(self) -> BuilderError:
        """The error of an object that is not there."""
        return error(
            "source-missing", f"'{self.shown}' is not there", place=self.shown, hint="put it there, or mend the URL"
        )

    def unreadable(self, cause: Exception) -> BuilderError:
        """The error of an object that cannot be read, with the cause's words less the secrets."""
        what = f"{type(cause).__name__}: {cause}"
        for secret in self.secrets:
            what = what.replace(secret, "***")
        if isinstance(cause, (ImportError, ValueError)):
            hint = "install the package that fsspec names for this scheme, or mend the URL"
        else:
            hint = "look at the network, the address and the credentials; then rebuild again"
        return error("source-unreadable", f"'{self.shown}' cannot be read: {what}", place=self.shown, hint=hint)

    def refusal(self, cause: Exception) -> BuilderError:
        """The error of an object that is not there, or that cannot be read: whichever `cause` means."""
        return self.missing() if is_absence(cause) else self.unreadable(cause)

    def cause(self, cause: Exception) -> Exception | None:
        """The cause to chain; none where its traceback could show a secret."""
        return None if self.secrets else cause


def _seconds(value: object) -> float | None:
    """A time as seconds since the epoch, None for what is no time. Listings give datetimes, numbers or texts."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            from email.utils import parsedate_to_datetime  # brings sockets and more along; few servers need it

            try:
                value = parsedate_to_datetime(str(value))
            except ValueError:
                return None
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    return float(value) if isinstance(value, (int, float)) else None


def _is_racy(time_s: float, listed_at_s: float | None) -> bool:
    return listed_at_s is not None and time_s == int(time_s) and time_s > listed_at_s - _RACY_S


def _plain(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else str(value).replace(" ", "")
