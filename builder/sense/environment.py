"""Versions of the libraries that count for a recipe, without importing them.

Decides what part of a version counts: major.minor. Reads the names of installed distributions and nothing else.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Mapping

from builder.digests import digest_of
from builder.errors import error

# Compiled where they are used: a project that names no library needs none of them.
_SEPARATORS = r"[-_.]+"
_INSTALLED = r"(?P<name>.+?)(?:-(?P<version>\d[^-]*)(?:-py[\d.]+.*)?)?\.(?:dist|egg)-info"
_VERSION = r"v?((?:\d+!)?\d+(?:\.\d+)?)"


def library_versions(
    names: Iterable[str], path: Iterable[str] | None = None, places: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Each name's major.minor as installed on `path` (None: where Python looks); ``python`` is the interpreter.

    Where a distribution is installed in two folders, the first counts, as for an import. `places` tells where each
    name is declared.

    Raises
    ------
    ConfigError
        ``config``: a name that is not installed, with the nearest that are.
    """
    names = list(names)
    installed = _installed(sys.path if path is None else path) if set(names) - {"python"} else {}
    versions = {}
    for name in names:
        if name == "python":
            versions[name] = f"{sys.version_info.major}.{sys.version_info.minor}"
        elif found := installed.get(_normal(name)):
            versions[name] = major_minor(found[1] or _version_inside(found[0]))
        else:
            raise _not_installed(name, installed, (places or {}).get(name))
    return versions


def major_minor(version: str) -> str:
    """The part of a version that counts: ``1.0.11`` -> ``1.0``, ``0.13.0rc1`` -> ``0.13``, ``2026`` -> ``2026``.

    What does not begin with a number counts whole.
    """
    match = re.match(_VERSION, version)
    return match[1] if match else version


def _installed(path: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Folder (or file) of metadata and version (empty where its name does not tell) by normalised name."""
    found: dict[str, tuple[str, str]] = {}
    installed = re.compile(_INSTALLED)
    for folder in path:
        here: dict[str, tuple[str, str]] = {}
        # Left-overs of an older version may lie beside the new one, in whatever order the disk gives them.
        for entry in sorted(_entries(folder), key=_numbers):
            if match := installed.fullmatch(entry):
                here[_normal(match["name"])] = (os.path.join(folder, entry), match["version"] or "")
        found = here | found
    return found


def installed_digest(path: Iterable[str] | None = None) -> str:
    """The digest of all that is installed, by name and version, on `path` (None: where Python looks)."""
    folders = list(sys.path if path is None else path)
    return digest_of("installed", *(e for folder in folders for e in sorted(_entries(folder))))


def _entries(folder: str) -> list[str]:
    try:
        return [name for name in os.listdir(folder or ".") if name.endswith("-info")]
    except OSError:
        return []  # zip files and folders that are not there stand on sys.path as well


def _numbers(entry: str) -> list[int]:
    return [int(n) for n in re.findall(r"\d+", entry)]


def _version_inside(metadata: str) -> str:
    """The version that a metadata folder without one in its name holds; empty where there is none."""
    for file in (os.path.join(metadata, "METADATA"), os.path.join(metadata, "PKG-INFO"), metadata):
        try:
            with open(file, encoding="utf-8", errors="replace") as lines:
                return next((line[8:].strip() for line in lines if line.startswith("Version:")), "")
        except OSError:
            continue
    return ""


def _normal(name: str) -> str:
    """The name as PEP 503 compares it."""
    return re.sub(_SEPARATORS, "-", name).lower()


def _not_installed(name: str, installed: Iterable[str], place: str | None) -> Exception:
    from difflib import get_close_matches

    near = get_close_matches(_normal(name), list(installed), n=3)
    hint = "install it, or name the distribution as pip does"
    return error(
        "config",
        f"the environment names '{name}', which is not installed",
        place=place,
        facts=[("nearest", ", ".join(near))] if near else (),
        hint=f"did you mean {' or '.join(near)}? else {hint}" if near else hint,
    )
