"""Text split into records and hashed, and hashes matched, against slower and simpler ways."""

import random
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import csv

from builder.formats import lines
from builder.formats.lines import OddText, Splitter
from builder.tables.kernels import hash_bytes
from builder.tables.matching import Matcher


def split(
    text: bytes, *, pieces: int = 1 << 20, header: int = 0, keeps_empty: bool = False
) -> list[tuple[bytes, tuple]]:
    """(bytes, hash) of each record of a text that comes in pieces."""
    splitter = Splitter(header, ",", keeps_empty=keeps_empty)
    found = []
    for at in (*range(0, len(text), pieces), None):
        piece = b"" if at is None else text[at : at + pieces]
        splitter.room(len(piece))[:] = piece
        for records in splitter.records(len(piece), is_last=at is None):
            spans = zip(records.starts, records.ends, records.low, records.high, strict=True)
            found += [(records.data[a:b].tobytes(), (int(low), int(high))) for a, b, low, high in spans]
    return found


def records(text: bytes, **rest) -> list[bytes]:
    return [record for record, _ in split(text, **rest)]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("pieces", [1, 2, 3, 7, 1000])
def test_records_end_at_any_line_end_wherever_the_text_is_cut(end, pieces):
    text = end.join([b"id,name", b'1,"two\nlines"', b'2,"a ""quoted"", word"', b"", b'3,5" pipe', b'"4"x,"', b'",last'])
    assert records(text, pieces=pieces, header=1) == [
        b'1,"two\nlines"',
        b'2,"a ""quoted"", word"',
        b'3,5" pipe',
        b'"4"x,"' + end + b'",last',
    ]


def test_a_byte_order_mark_is_no_part_of_a_record():
    assert records(b"\xef\xbb\xbfa\nb", pieces=1) == [b"a", b"b"]


def test_line_ends_and_neighbours_do_not_change_a_hash():
    assert split(b"a,b\n12,34\n")[1] == split(b"x\r\n12,34")[1]


def test_text_that_ends_in_quotes_is_odd():
    with pytest.raises(OddText, match="never closed"):
        records(b'1,"a\n2,b\n')


def test_a_record_beyond_the_limit_is_odd(monkeypatch):
    monkeypatch.setattr(lines, "MAX_RECORD_BYTES", 100)
    with pytest.raises(OddText, match="too long"):
        records(b'1,"' + b"x" * 1000, pieces=50)


def test_splitting_finds_the_rows_that_arrow_finds():
    rng = random.Random(3)
    for _ in range(400):
        body = "".join(rng.choices('x"\n\r', (4, 2, 1, 1), k=rng.randrange(1, 40))) + "\n"
        try:
            found = len(records(body.encode(), pieces=rng.choice((1, 5, 100)), keeps_empty=True))
        except OddText:
            continue
        table = csv.read_csv(
            pa.BufferReader(b"h\n" + body.encode()),
            read_options=csv.ReadOptions(use_threads=False),
            parse_options=csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False),
            convert_options=csv.ConvertOptions(column_types={"h": pa.string()}),
        )
        assert found == table.num_rows, body


def test_the_hash_is_murmur3_wherever_the_record_lies():
    rng = np.random.default_rng(4)
    for length in range(1, 100):
        record = rng.integers(97, 122, length).astype(np.uint8)
        words = np.empty((1, 2), np.uint64)
        offsets = np.array([0, length], np.int32)
        record.flags.writeable = offsets.flags.writeable = False
        hash_bytes(record, offsets, words)
        before = b"x" * int(rng.integers(0, 20))
        assert split(before + b"\n" + record.tobytes() + b"\n")[-1] == (record.tobytes(), tuple(map(int, words[0])))


def edited(rng: random.Random, old: list[int]) -> list[int]:
    new = list(old)
    for _ in range(rng.choice((0, 1, 5, 40))):
        at = rng.randrange(len(new) + 1)
        match rng.randrange(6):
            case 0:
                new[at:at] = [rng.randrange(10**9) for _ in range(rng.choice((1, 30)))]
            case 1:
                del new[at : at + rng.choice((1, 30))]
            case 2:
                new[at : at + 1] = [rng.randrange(10**9)]
            case 3:
                new = new[at:] + new[:at]
            case 4:
                new.append(rng.choice(old))
            case _:
                new.reverse()
    return new


@pytest.mark.parametrize("seed", range(30))
def test_matching_finds_each_hash_once_and_what_is_gone(seed):
    rng = random.Random(seed)
    old = [rng.randrange(1, 10**9) for _ in range(rng.choice((1, 17, 300)))]
    for at in rng.sample(range(len(old)), len(old) // 10):
        old[at] = 0  # an empty slot
    new = edited(rng, old)
    words = np.array(old, np.uint64)
    matcher = Matcher(words, words)
    seen, fresh = Counter(), Counter()
    for at in range(0, len(new), 50):
        some = np.array(new[at : at + 50], np.uint64)
        seen.update(some.tolist())
        fresh.update(some[matcher.match(some, some)].tolist())
    lost = Counter(words[matcher.gone].tolist())
    assert seen - fresh == Counter(n for n in old if n) - lost  # what was matched, on either side
    assert set(matcher.free) == set(matcher.gone) | {slot for slot, n in enumerate(old) if not n}
