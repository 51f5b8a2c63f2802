"""Files that arrive at a recipe or are made by it: `Files`, and the attempt's workspace.

Decides what a recipe may call a file. Imports nothing heavy.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from builder.errors import error
from builder.sources import LOG_ENDING
from builder.store import disk

_workspace: list[Path] = []


def workspace() -> Path:
    """The folder that belongs to the running attempt alone; made when it is first asked for, removed when it ends.

    Raises
    ------
    ConfigError
        ``recipe-declaration`` where no recipe is running.
    StoreError
        ``store-full`` or another where it cannot be made.
    """
    if not _workspace:
        raise error(
            "recipe-declaration",
            "b.workspace() was called outside of a running recipe",
            hint="call it inside the recipe's function",
        )
    disk.make_folder(_workspace[-1])
    return _workspace[-1]


def enter(folder: Path) -> None:
    """Make a folder the workspace of the attempt that begins."""
    _workspace.append(folder)


def leave() -> None:
    """End the attempt's workspace."""
    _workspace.pop()


class Files(Mapping[str, Path]):
    """The files of a source, or of an output of files: names relative to it -> paths to read, in name order.

    Names are content: a renamed file is a change.
    """

    def __init__(self, paths: Mapping[str, Path]) -> None:
        self._paths = dict(sorted(paths.items()))

    def __getitem__(self, name: str) -> Path:
        return self._paths[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)

    def __repr__(self) -> str:
        return f"Files({', '.join(self._paths)})"

    @property
    def path(self) -> Path:
        """The path of the only file; the log of a GeoPackage that is open goes with that one.

        Raises
        ------
        ValueError
            There are several files, or none.
        """
        logs = {name + LOG_ENDING for name in self._paths}
        (path,) = (path for name, path in self._paths.items() if name not in logs)
        return path
