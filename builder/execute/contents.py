"""Small inputs that are many: their bytes lie in one file beside the attempt, instead of travelling in its spec.

Decides when a spec would be too large: it goes through a scheduler, which holds it, and each of its bytes costs a third
more as text. Never looks at the bytes: whoever reads them checks their digests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from builder.execute.spec import AttemptSpec, Item, RecipeSpec
from builder.nouns import replace
from builder.store import disk
from builder.store.manifest import Layer, Manifest, Part

MOST_CARRIED_BYTES = 1 << 20
FILE = "contents"


def set_apart(spec: AttemptSpec) -> AttemptSpec:
    """The spec, without its inputs' bytes where they are many: those are in its scratch folder then, in order.

    Raises
    ------
    StoreError
        ``store-full`` or another where they cannot be written.
    """
    if not isinstance(spec.work, RecipeSpec):
        return spec
    contents = [p.content for m in _manifests(spec.work) for p in m.parts if p.content is not None]
    if sum(map(len, contents)) <= MOST_CARRIED_BYTES:
        return spec
    disk.write_whole(Path(spec.scratch) / FILE, b"".join(contents), is_durable=False)
    work = _with_parts(spec.work, lambda part: replace(part, content=b""))
    return replace(spec, work=work, is_set_apart=True)


def brought_back(spec: AttemptSpec) -> AttemptSpec:
    """The spec with the bytes that `set_apart` took from it; as it is where none were."""
    if not spec.is_set_apart or not isinstance(spec.work, RecipeSpec):
        return spec
    with open(Path(spec.scratch) / FILE, "rb") as file:
        work = _with_parts(spec.work, lambda part: replace(part, content=file.read(part.bytes)))
    return replace(spec, work=work, is_set_apart=False)


def _manifests(work: RecipeSpec) -> Iterator[Manifest]:
    return (item.manifest for given in work.inputs for item in given.items if item.manifest is not None)


def _with_parts(work: RecipeSpec, change: Callable[[Part], Part]) -> RecipeSpec:
    """The work with each part changed that has its bytes with it, in the order of `_manifests` and their parts."""

    def parts(old: tuple[Part, ...]) -> tuple[Part, ...]:
        return tuple(p if p.content is None else change(p) for p in old)

    def layer(old: Layer) -> Layer:
        return Layer(parts(old.upserts), parts(old.deletes))

    def manifest(old: Manifest | None) -> Manifest | None:
        if old is None or all(p.content is None for p in old.parts):
            return old
        layers = tuple(layer(one) for one in old.layers)
        delta = None if old.delta is None else layer(old.delta)
        return replace(old, layers=layers, delta=delta, index=parts(old.index))

    def items(given: tuple[Item, ...]) -> tuple[Item, ...]:
        return tuple(replace(item, manifest=manifest(item.manifest)) for item in given)

    return replace(work, inputs=tuple(replace(given, items=items(given.items)) for given in work.inputs))
