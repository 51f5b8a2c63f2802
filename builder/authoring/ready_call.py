"""What a ready-made recipe calls: a public transform, with the columns and options of one member.

Decides how a recipe's inputs and its declaration become a transform's arguments. Imports a transform only when it is
called, on a worker; never knows of a store: indexes of regions are given to it.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from builder.digests import Scalar
from builder.graph.declare import Read, ReadyMade
from builder.names import PARAMETER, filled, plain_text

if TYPE_CHECKING:
    from builder.transforms import Counters

INDEX = "builder.transforms.RegionIndex"
"""The annotation of regions that arrive as the index of them."""

_COLUMNS = frozenset({"lon", "lat", "region_id", "id_column", "keep", "by", "counts", "sums", "taxonomy_on", "key"})
"""The options that name columns; a parameter is a text in them, whatever its type."""


class ReadyCall:
    """The function of a ready-made recipe: called with its inputs, and with the parameters of its member.

    ``key`` names the rows of the output, ``reads`` the columns of each input, as `authoring.ready_keys` found them.
    """

    def __init__(
        self,
        name: str,
        made: ReadyMade,
        key: tuple[str, ...] = (),
        reads: Mapping[str, tuple[str, ...] | None] | None = None,
    ) -> None:
        self.__name__ = name
        self.__doc__ = f"The transform `{made.transform}` as a recipe."
        self.made = made
        self.key = key
        self.reads = reads or {}
        kind = inspect.Parameter.KEYWORD_ONLY
        arriving = [inspect.Parameter(n, kind, annotation=_annotation(n, made)) for n in made.inputs]
        rest = inspect.Parameter("parameters", inspect.Parameter.VAR_KEYWORD)
        self.__signature__ = inspect.Signature([*arriving, rest])

    def inputs(self, **parameters: Scalar) -> dict[str, Read]:
        """What one member reads."""
        text = partial(filled, values=parameters, spelled=plain_text)
        reads = {n: None if cs is None else tuple(dict.fromkeys(map(text, cs))) for n, cs in self.reads.items()}
        return {n: Read(reading.ref, reads[n]) for n, reading in self.made.inputs.items()}

    def warm(self) -> None:
        """Import the transform, and compile what it compiles, so that no step's time has it."""
        from builder import transforms

        getattr(transforms, self.made.transform)
        if self.made.transform == "assign_regions":
            from builder.transforms import region_index

            region_index.warm(has_pairs=self.made.options.get("ties") == "all")
        if self.made.transform == "count_by":
            import pandas as pd

            transforms.count_by(pd.DataFrame({"of": ["a"], "n": [1]}), ["of"], sums={"total": "n"})

    def column(self, option: str, parameters: Mapping[str, Scalar]) -> str:
        """The column that an option names, for one member."""
        return str(_of_member(option, self.made.options[option], parameters))

    def counters(self, parameters: Mapping[str, Scalar], taxonomy: Any = None) -> Counters:
        """Counters as this recipe counts, of no rows yet."""
        from builder.transforms import Counters

        return Counters(taxonomy=taxonomy, **self._options(parameters))

    def merge(self, parts: Iterable[Any], parameters: Mapping[str, Scalar]) -> Any:
        """The counters of a whole from those of its parts, each as this recipe counts."""
        from builder.transforms import merge_counts

        return merge_counts(parts, **self._counting(parameters))

    def _options(self, parameters: Mapping[str, Scalar]) -> dict[str, Any]:
        return {name: _of_member(name, value, parameters) for name, value in self.made.options.items()}

    def _counting(self, parameters: Mapping[str, Scalar]) -> dict[str, Any]:
        return {o: _of_member(o, self.made.options[o], parameters) for o in ("by", "counts")}

    def __call__(self, **arrived: Any) -> Any:
        """The transform's result; `arrived` holds the inputs and the member's parameters."""
        inputs = {name: arrived.pop(name) for name in self.made.inputs}
        options = self._options(arrived)
        if self.made.transform == "assign_regions":
            options["key"] = _of_member("key", self.key, arrived)
        result = _CALLS[self.made.transform](options, **inputs)
        for what, count in getattr(result, "attrs", {}).items():
            if isinstance(count, int) and count:  # what a transform left out is told in the step's log
                sys.stdout.write(f"{what.replace('_', ' ')}: {count:,}\n")
        return result


def _annotation(parameter: str, made: ReadyMade) -> str:
    """How an input arrives."""
    if made.transform == "assign_regions" and parameter == "regions":
        return INDEX
    has_geometry = parameter in ("regions", "outline") or made.options.get("method") == "dissolve"
    return "gpd.GeoDataFrame" if has_geometry else "pd.DataFrame"


def _of_member(option: str, value: Any, parameters: Mapping[str, Scalar]) -> Any:
    """An option with the member's parameters in it; one that stands alone, and names no column, keeps its type."""
    if isinstance(value, str):
        alone = PARAMETER.fullmatch(value)
        if alone and alone[1] in parameters and option not in _COLUMNS:
            return parameters[alone[1]]
        return filled(value, parameters, plain_text)
    if isinstance(value, Mapping):
        return {_of_member(option, k, parameters): _of_member(option, v, parameters) for k, v in value.items()}
    if isinstance(value, (tuple, list)):
        return [_of_member(option, v, parameters) for v in value]
    return value


def _assign_regions(options: dict[str, Any], *, points: Any, regions: Any) -> Any:
    from builder.transforms import assign_regions

    regions.ids = regions.ids.rename(options["region_id"])
    kept = {*options.pop("key"), *options.pop("keep")}
    del options["id_column"]
    return assign_regions(points, regions, keep=[c for c in points.columns if c in kept], **options)


def _count_by(options: dict[str, Any], *, of: Any, taxonomy: Any = None) -> Any:
    from builder.transforms import count_by

    return count_by(of, taxonomy=taxonomy, **options)


def _smooth_regions(options: dict[str, Any], *, regions: Any) -> Any:
    from builder.transforms import smooth_regions

    return smooth_regions(regions, **options)


def _infer_regions(options: dict[str, Any], *, points: Any, **outline: Any) -> Any:
    from builder.transforms import infer_regions

    return infer_regions(points, **options, **outline)


_CALLS: dict[str, Callable[..., Any]] = {
    "assign_regions": _assign_regions,
    "count_by": _count_by,
    "infer_regions": _infer_regions,
    "smooth_regions": _smooth_regions,
}
