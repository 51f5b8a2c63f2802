"""New projects: an empty one that runs, or a copy of a shipped example."""

from __future__ import annotations

import shutil
from importlib import resources
from pathlib import Path

from builder.errors import error

CONFIG = """# Every key has a default; docs/concepts.md explains them.
name = "{name}"

[lanes]

[cluster]
# workers = 2
"""
SOURCE = "id,name,amount\n1,first,10\n2,second,20\n3,third,\n"
RECIPE = '''"""A first recipe: change data/orders.csv, then run builder status."""

import builder as b
import pandas as pd

orders = b.source("orders", "data/orders.csv", key="id")


@b.recipe(key="id")
def paid_orders(orders: pd.DataFrame) -> pd.DataFrame:
    """Orders with an amount."""
    return orders[orders["amount"].notna()]


@b.recipe
def summary(paid_orders: pd.DataFrame) -> dict:
    """How many orders were paid, and how much."""
    return {"orders": len(paid_orders), "amount": int(paid_orders["amount"].sum())}
'''
IGNORE = ".builder/\nout/\n"
LEFT_OUT = (".builder", "out", "schemas", "__pycache__", ".ipynb_checkpoints")


def examples() -> dict[str, Path]:
    """The shipped examples by name, with their folders: in the installed package, or in the checkout beside it."""
    package = Path(str(resources.files("builder")))
    roots = (package / "_examples", package.parent / "recipes")
    found: dict[str, Path] = {}
    for root in roots:
        if root.is_dir():
            found |= {
                p.name: p for p in sorted(root.iterdir()) if (p / "builder.toml").is_file() and p.name not in found
            }
    return found


def init(folder: str | Path, example: str | None = None) -> Path:
    """The folder of a new project that runs: a small one, or a copy of an example.

    Raises
    ------
    ConfigError
        ``config``: the folder is not empty, or there is no such example.
    """
    target = Path(folder)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise error("config", f"'{folder}' is not empty", place=str(target), hint="name a new folder")
    if example is not None:
        known = examples()
        if example not in known:
            raise error(
                "config",
                f"there is no example '{example}'",
                place=example,
                facts=[("examples", ", ".join(known) or "none")],
                hint="name one of these",
            )
        shutil.copytree(known[example], target, ignore=shutil.ignore_patterns(*LEFT_OUT), dirs_exist_ok=True)
        if not (target / ".gitignore").exists():
            (target / ".gitignore").write_text(IGNORE)
        return target
    (target / "recipes").mkdir(parents=True)
    (target / "data").mkdir()
    (target / "builder.toml").write_text(CONFIG.format(name=_name(target)))
    (target / "recipes" / "orders.py").write_text(RECIPE)
    (target / "data" / "orders.csv").write_text(SOURCE)
    (target / ".gitignore").write_text(IGNORE)
    return target


def _name(folder: Path) -> str:
    """A project's name from its folder's."""
    name = "".join(c if c.isalnum() or c in "_-" else "_" for c in folder.resolve().name)
    return name if name and not name[0].isdigit() else f"project_{name}"
