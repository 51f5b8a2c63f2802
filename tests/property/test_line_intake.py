"""A version taken in by lines is the version that a full intake gives: rows, digests, errors and their places."""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from blake3 import blake3

from builder.digests import Digest
from builder.errors import BuilderError
from builder.execute.spec import IntakeSpec
from builder.formats import byfile, byline, byrow, fileindex, linefiles, lineindex, lines, text
from builder.formats.intake import take_in
from builder.nouns import replace
from builder.sources import SourceFile
from builder.store.parts import PartFolder
from builder.tables.read import read_table

COLUMNS = ("id", "place", "count", "size", "note")
TEXTS = ("", "a", "Zürich", "two words", 'say "hi"', "comma, inside", "two\nlines", "cr\r\nlf", "lone\rcr", "x" * 300)
KEYS = {"number": ("id",), "text": ("place",), "both": ("id", "place")}


class Document:
    """A CSV file as rows and as a way to write them."""

    def __init__(self, rng: random.Random, world: World) -> None:
        self.rows = [world.row(rng) for _ in range(rng.choice((0, 1, 5, 40)))]
        self.names = list(COLUMNS)
        self.end = "\n"
        self.is_ended = True
        self.mark = b""
        self.quotes = 0.2
        self.blanks = 0.0
        self.wrong: bytes | None = None

    def content(self, seed: int) -> bytes:
        rng = random.Random(seed)
        lines = [",".join(self.names)]
        for row in self.rows:
            if rng.random() < self.blanks:
                lines.append("")
            # The same row is written in the same way wherever it stands.
            style = random.Random(repr(row))
            lines.append(",".join(self._field(row[COLUMNS.index(n)], style) for n in self.names))
        text = self.end.join(lines) + (self.end if self.is_ended else "")
        raw = self.mark + text.encode()
        return raw if self.wrong is None else raw + (b"" if raw.endswith((b"\n", b"\r")) else b"\n") + self.wrong

    def _field(self, value: object, style: random.Random) -> str:
        if value is None:
            return ""
        text = str(value)
        if text == "" or style.random() < self.quotes or any(c in text for c in ',"\r\n'):
            return '"' + text.replace('"', '""') + '"'
        return text


class World:
    """Files of one source, and edits of them."""

    def __init__(self, seed: int, files: Sequence[int]) -> None:
        self.rng = random.Random(seed)
        self.next = 1000
        self.kind = self.rng.choice(list(KEYS))
        self.file_column = "file" if self.rng.random() < 0.2 else None
        self.key = KEYS[self.kind]
        self.files = {f"{n}.csv": Document(self.rng, self) for n in "abcde"[: self.rng.choice(files)]}

    def row(self, rng: random.Random) -> tuple:
        self.next += 1
        place = f"p{self.next}" + rng.choice(TEXTS)
        count = rng.choice((None, 0, 7, -12, 10**12))
        return (self.next, place, count, rng.choice((None, 1.5, "1e3", "-0.0", 2)), rng.choice((None, *TEXTS)))

    def edit(self) -> str:
        rng = self.rng
        document = rng.choice(list(self.files.values()))
        rows = document.rows
        at = rng.randrange(len(rows)) if rows else None
        edits = ["insert", "add", "append"] + (["drop file", "rename"] if len(self.files) > 1 else ["rename"])
        edits += ["lf", "crlf", "cr", "ended", "mark", "blanks", "header", "same", "fewer", "undo header"]
        edits += ["bad count", "short", "open quote", "bad byte", "no id"]
        if at is not None:
            edits += ["cell", "cell", "cell", "many cells", "delete", "shuffle", "rotate", "reverse", "move", "key"]
            edits += ["swap", "twice", "twice elsewhere", "null key"]
        what = rng.choice(edits)
        document.wrong = None
        if what == "insert":
            rows.insert(rng.randrange(len(rows) + 1), self.row(rng))
        elif what == "append":
            rows.extend(self.row(rng) for _ in range(rng.choice((1, 30))))
        elif what == "add":
            self.files[f"{rng.choice('abdz')}{self.next}.csv"] = Document(rng, self)
        elif what in ("drop file", "rename"):
            name = rng.choice(list(self.files))
            document = self.files.pop(name)
            if what == "rename":
                self.files["n" + name] = document
        elif what in ("lf", "crlf", "cr"):
            document.end = {"lf": "\n", "crlf": "\r\n", "cr": "\r"}[what]
        elif what == "ended":
            document.is_ended = not document.is_ended
        elif what == "mark":
            document.mark = b"" if document.mark else b"\xef\xbb\xbf"
        elif what == "blanks":
            document.blanks = rng.choice((0, 0.3))
        elif what == "header":
            rng.shuffle(document.names)
        elif what == "undo header":
            document.names = list(COLUMNS)
        elif what == "fewer":
            del rows[len(rows) // 2 :]
        elif what in ("bad count", "short", "open quote", "bad byte", "no id"):
            self.next += 1
            document.wrong = {
                "bad count": f"{self.next},w{self.next},many,1,x\n",
                "short": f"{self.next},w{self.next}\n",
                "open quote": f'{self.next},w{self.next},1,1,"x\n',
                "bad byte": f"{self.next},w{self.next},1,1,".encode() + b"\xff\n",
                "no id": f",w{self.next},1,1,x\n",
            }[what]
            if isinstance(document.wrong, str):
                document.wrong = document.wrong.encode()
            if document.names != list(COLUMNS) and what not in ("short", "open quote", "bad byte"):
                document.wrong = None
        elif at is not None:
            self._edit_rows(what, document, at)
        return what

    def _edit_rows(self, what: str, document: Document, at: int) -> None:
        rng, rows = self.rng, document.rows
        if what in ("cell", "many cells"):
            for row in range(len(rows)) if what == "many cells" else (at,):
                rows[row] = (*rows[row][:2], *self.row(rng)[2:])
        elif what == "delete":
            del rows[at]
        elif what == "shuffle":
            rng.shuffle(rows)
        elif what == "rotate":
            rows[:] = rows[at:] + rows[:at]
        elif what == "reverse":
            rows.reverse()
        elif what == "move":
            rng.choice(list(self.files.values())).rows.append(rows.pop(at))
        elif what == "key":
            rows[at] = (*self.row(rng)[:2], *rows[at][2:])
        elif what == "swap":
            other = rng.randrange(len(rows))
            a, b = rows[at], rows[other]
            rows[at], rows[other] = (*b[:2], *a[2:]), (*a[:2], *b[2:])
        elif what == "twice":
            rows.insert(rng.randrange(len(rows) + 1), rows[at])
        elif what == "twice elsewhere":
            rng.choice(list(self.files.values())).rows.append((*rows[at][:2], *self.row(rng)[2:]))
        elif what == "null key":
            rows[at] = (None, None, *rows[at][2:])

    def write(self, folder: Path, spec_rest: dict) -> IntakeSpec:
        files = []
        for name, document in sorted(self.files.items()):
            path = folder / name
            path.write_bytes(document.content(self.rng.randrange(1 << 30)))
            stat = os.stat(path)
            token = (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino, stat.st_dev)
            digest = Digest(blake3(path.read_bytes()).hexdigest())
            files.append(SourceFile(name, str(path), f"data/{name}", stat.st_size, digest, token))
        return IntakeSpec("shops", "csv", tuple(files), key=self.key, file_column=self.file_column, **spec_rest)


def taken(spec: IntakeSpec, folder: PartFolder, scratch: Path) -> tuple:
    """What an intake gives, whatever way it went: (what counts of it, its result)."""
    try:
        result = take_in(spec, folder, scratch)
    except BuilderError as cause:
        return ("error", cause.to_json()), None
    manifest = result.manifest
    rows = read_table(folder.store, manifest).to_pydict()
    return ("rows", manifest.digest, manifest.rows, manifest.columns, manifest.nulls, result.schema, rows), result


@pytest.fixture
def small(monkeypatch):
    """Sizes at which a file of a few records is in many blocks, parts and layers."""
    monkeypatch.setattr(linefiles, "MIN_BYTES", 0)
    monkeypatch.setattr(linefiles, "PART_ROWS", 16)
    monkeypatch.setattr(lineindex, "PART_ROWS", 16)
    monkeypatch.setattr(lineindex, "MOST_LAYERS", 3)
    monkeypatch.setattr(lines, "READ_BYTES", 64)
    monkeypatch.setattr(lines, "_RECORDS", 4)
    for module in (byline, byrow):
        monkeypatch.setattr(module, "_MOST_NEW", 2)
    monkeypatch.setattr(byfile, "_MOST_READ", 2)


@pytest.mark.parametrize("chain", range(24))
def test_a_chain_of_versions_by_lines_is_what_full_intakes_give(tmp_path, small, chain):
    ways = follow(tmp_path, chain)
    assert ways["lines"] > ways["rows"] + ways["full"], ways


@pytest.mark.parametrize("chain", range(24, 36))
def test_a_chain_of_versions_by_rows_is_what_full_intakes_give(tmp_path, small, monkeypatch, chain):
    monkeypatch.setattr(linefiles, "MIN_BYTES", 1 << 30)
    ways = follow(tmp_path, chain)
    assert ways["rows"] > ways["full"] and not ways["lines"], ways


@pytest.mark.parametrize("chain", range(36, 54))
def test_a_chain_of_versions_by_files_is_what_full_intakes_give(tmp_path, small, monkeypatch, chain):
    for module in (byline, fileindex, text):
        monkeypatch.setattr(module, "can_be_indexed", lambda spec: False)
    ways = follow(tmp_path, chain, files=(3, 4, 5))
    assert ways["files"] > 4 and not ways["lines"], ways


def follow(tmp_path: Path, chain: int, files: Sequence[int] = (1, 1, 2, 3)) -> Counter[str]:
    """The ways that the versions of one chain took, after each was compared with a full intake."""
    world = World(chain, files)
    data, scratch = tmp_path / "data", tmp_path / "scratch"
    data.mkdir()
    inline_bytes = 4096 if chain % 2 else None
    first = take_in(world.write(data, {"columns": declared(chain)}), PartFolder(tmp_path / "s", inline_bytes), scratch)
    base, pinned = first.manifest, first.schema
    ways: Counter[str] = Counter()
    for number in range(16):
        before = {name: vars(d) | {"rows": list(d.rows), "names": list(d.names)} for name, d in world.files.items()}
        kept = dict(world.files)
        said = [world.edit() for _ in range(world.rng.choice((1, 1, 3)))]
        rest = {"columns": declared(chain), "pinned": pinned, "pin_shown": "schemas/shops.json"}
        spec = world.write(data, rest)
        full, _ = taken(spec, PartFolder(tmp_path / "f", inline_bytes), scratch)
        following = IntakeSpec.from_json(replace(spec, base=base, read_apart=tuple(base.columns)).to_json())
        mine, result = taken(following, PartFolder(tmp_path / "s", inline_bytes), scratch)
        assert mine == full, (chain, number, said)
        if result is None:
            world.files = kept
            for name, state in before.items():
                vars(kept[name]).update(state)
            continue
        ways[result.via] += 1
        base = result.manifest
    return ways


def declared(chain: int) -> tuple:
    """Declared dtypes of some chains; a source without rows has nothing to infer its dtypes from."""
    some = (("id", "int64"), ("place", "string"), ("count", "Int64"), ("size", "float64"), ("note", "string"))
    return some if chain % 3 == 0 else some[1:]
