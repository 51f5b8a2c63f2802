"""One schema for all members of a family of sources, found over all their files before any is taken in.

Decides that a member whose file cannot be read has no say; its own intake reports the problem.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from builder.errors import BuilderError
from builder.execute.spec import IntakeSpec
from builder.formats.intake import open_source
from builder.tables.schema import Schema


def infer_family(spec: IntakeSpec, scratch: Path) -> Schema:
    """The schema over every file of the spec that can be read.

    Raises
    ------
    BuilderError
        The first file's error where none can be read.
    """
    try:
        return open_source(spec, scratch, is_certain=True).schema
    except BuilderError:
        if len(spec.files) == 1:
            raise
    readable = []
    first: BuilderError | None = None
    for file in spec.files:
        try:
            open_source(replace(spec, files=(file,)), scratch, is_certain=True)
            readable.append(file)
        except BuilderError as cause:
            first = first or cause
    if not readable:
        assert first is not None
        raise first
    return open_source(replace(spec, files=tuple(readable)), scratch, is_certain=True).schema
