"""The last look: what it found by what, so that the next one judges anew only what may stand otherwise.

Decides when an earlier verdict holds: the graph, the environment, the present versions and the failures are the same,
digest for digest, and so is every source that the step needs, directly or not. A verdict is a pure function of these.
Pure; a lost or broken note costs time, never a wrong answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any

from builder.digests import Digest, digest_of
from builder.nouns import dataclass
from builder.situation import Situation
from builder.version import VERSION

FORMAT = 1
"""Counts up when verdicts are made otherwise."""


@dataclass(frozen=True, slots=True)
class LastLook:
    """What an earlier look at the whole graph found.

    ``versions`` has the version of each source whose content was known, ``unsettled`` the steps that were not fresh.
    All other steps were fresh, under the key that they were built under.
    """

    stamp: Digest
    versions: Mapping[str, str]
    unsettled: frozenset[str]

    def moved(self, versions: Mapping[str, str]) -> list[str]:
        """The sources whose version is not known to be that of the last look; those that are gone have no readers."""
        return [name for name, version in versions.items() if not version or self.versions.get(name) != version]

    def to_json(self) -> dict[str, Any]:
        """A plain mapping that `from_json` reads."""
        unsettled = sorted(self.unsettled)
        check = _check(self.stamp, self.versions, unsettled)
        return {"stamp": self.stamp, "versions": dict(self.versions), "unsettled": unsettled, "check": check}

    @staticmethod
    def from_json(value: Any, stamp: Digest) -> LastLook | None:
        """The look that `to_json` wrote; None for another stamp, and for anything that is not as it was written."""
        if not isinstance(value, dict) or value.get("stamp") != stamp:
            return None
        try:
            versions, unsettled = value["versions"], value["unsettled"]
            if value["check"] != _check(stamp, versions, unsettled):
                return None
        except (KeyError, TypeError, AttributeError, UnicodeEncodeError):
            return None
        return LastLook(stamp, versions, frozenset(unsettled))


def _check(stamp: str, versions: Mapping[str, str], unsettled: Iterable[str]) -> Digest:
    return digest_of("last look", stamp, "\0".join(chain.from_iterable(versions.items())), "\0".join(unsettled))


def stamp_of(situation: Situation, remembered: str) -> Digest | None:
    """The digest of all that verdicts depend on but the sources; None where the graph is none that was kept.

    `remembered` is all that planning may learn of finished work, as text.
    """
    if not situation.graph_digest:
        return None
    environment = chain.from_iterable((*situation.environment.items(), ("", ""), *situation.depends))
    settings = "\0".join((*situation.project_environment, "", *environment))
    return digest_of("look", VERSION, str(FORMAT), situation.graph_digest, settings, remembered)
