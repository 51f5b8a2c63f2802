"""The compiled loops that make a region grid: edges to top cells, then top cells to leaves.

Decides what a cell holds. A leaf that no edge touches holds its region, none, or the record of a set. A leaf with
edges holds the regions that contain its lower left corner and a copy of its edges, each with the one or two regions
it bounds. The corner's regions are known by walking from corner to corner along each row, from outside of everything.
Equal edges of neighbours meet in the same top cell and become one there. Leaves with many edges are divided again, as
deep as it pays. Never looks at points. `region_query` says how records are read; `region_grid` calls these loops,
from several threads.

Layout of a record, in words of 8 bytes: int32 [edges, regions]; the regions that hold the corner, as bits of the list;
the list of regions, int32, lowest first, padded to a word; then of all edges x1, y1, x2, y2 and a word: bits of their
regions.
Beyond `NARROW` regions, the list starts with those that hold the corner, their number stands in place of the bits, and
an edge's word has two places in the list (31 bits each, `NO_PLACE` for none). Bit 62 of it says that the corner is left
of the edge. A node: int32 [-1, divisions], first cell, x, y of its corner, 1/width and 1/height of its cells, width,
height. A cell: region >= 0, -1 none, -2 - word for a record or node. A top cell: place * 256 + divisions of a block of
cells, of one cell where it is not divided: so that no look-up has to choose.
"""

from __future__ import annotations

import numpy as np

from builder.transforms.compiling import njit
from builder.transforms.orientation import compiled, crosses_south, crosses_west, is_left

NARROW = 62
NO_PLACE = 0x7FFFFFFF
MAX_DIVISIONS = 255
_CROWDED = 24  # edges beyond which a leaf is divided again
_MAX_DEPTH = 8
_MAX_COPIES = 6  # a division that copies each edge more often than this parts nothing
_HAIR = 1e-9  # cells are widened by this share of their size: rounding never hides an edge from them


@njit(**compiled)
def bin_edges(xy, region, start, stop, grid, places, entries):  # type: ignore[no-untyped-def]
    """Count the edges that touch each top cell into `places`; given `entries`, list the edges instead, from `places`
    on.

    Edge k runs from vertex k to k + 1; there is none where `region[k]` is -1.
    """
    x0, y0, width, height, per_x, per_y, n, m = grid
    is_listing = len(entries) > 0
    for k in range(start, stop):
        if region[k] < 0:
            continue
        ax, ay, bx, by = xy[k, 0], xy[k, 1], xy[k + 1, 0], xy[k + 1, 1]
        i0 = max(int((min(ax, bx) - x0) * per_x - _HAIR), 0)
        i1 = min(int((max(ax, bx) - x0) * per_x + _HAIR), n - 1)
        j0 = max(int((min(ay, by) - y0) * per_y - _HAIR), 0)
        j1 = min(int((max(ay, by) - y0) * per_y + _HAIR), m - 1)
        is_one_row = i0 == i1 or j0 == j1
        for j in range(j0, j1 + 1):
            for i in range(i0, i1 + 1):
                if is_one_row or _touches(
                    ax, ay, bx, by, x0 + (i + 0.5) * width, y0 + (j + 0.5) * height, width, height
                ):
                    cell = j * n + i
                    if is_listing:
                        entries[places[cell]] = k
                    places[cell] += 1


@njit(**compiled)
def _touches(ax, ay, bx, by, cx, cy, width, height):  # type: ignore[no-untyped-def]
    """Whether the edge's line may touch the box about a centre: never a false no."""
    dx, dy = bx - ax, by - ay
    left, right = dx * (cy - ay), dy * (cx - ax)
    reach = (0.5 + 1e-6) * (abs(dx) * height + abs(dy) * width)
    return abs(left - right) <= reach + 1e-15 * (abs(left) + abs(right))


@njit(**compiled)
def _room(array, need):  # type: ignore[no-untyped-def]
    """The array, or a larger copy where it is shorter than need."""
    if need <= len(array):
        return array
    larger = np.empty(max(need, 2 * len(array)), array.dtype)
    _copy(array, 0, len(array), larger, 0)
    return larger


@njit(**compiled)
def _copy(source, start, stop, target, at):  # type: ignore[no-untyped-def]
    """What a slice assignment does; those take seconds to compile."""
    for k in range(start, stop):
        target[at + k - start] = source[k]


@njit(**compiled)
def _unique_edges(xy, bits, region, entries, start, stop, edges, owners, table):  # type: ignore[no-untyped-def]
    """The number of different edges among entries, in `edges` (4 each) with their one or two `owners`."""
    size = 4
    while size < 2 * (stop - start):
        size *= 2
    for k in range(size):
        table[k] = 0
    count = 0
    for entry in range(start, stop):
        a = np.int64(entries[entry])
        b = a + 1
        owner = region[a]
        if xy[a, 0] > xy[b, 0] or (xy[a, 0] == xy[b, 0] and xy[a, 1] > xy[b, 1]):
            a, b = b, a
        h = (bits[a, 0] * np.uint64(0x9E3779B97F4A7C15)) ^ bits[a, 1]
        h = (h ^ (h >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
        h = (h ^ bits[b, 0] ^ (bits[b, 1] << np.uint64(17))) * np.uint64(0x94D049BB133111EB)
        slot = np.int64((h ^ (h >> np.uint64(32))) & np.uint64(size - 1))
        while table[slot] > 0:
            e = table[slot] - 1
            if (
                owners[2 * e + 1] < 0
                and edges[4 * e] == xy[a, 0]
                and edges[4 * e + 1] == xy[a, 1]
                and edges[4 * e + 2] == xy[b, 0]
                and edges[4 * e + 3] == xy[b, 1]
            ):
                owners[2 * e + 1] = owner
                break
            slot = (slot + 1) & (size - 1)
        else:
            table[slot] = count + 1
            edges[4 * count], edges[4 * count + 1] = xy[a, 0], xy[a, 1]
            edges[4 * count + 2], edges[4 * count + 3] = xy[b, 0], xy[b, 1]
            owners[2 * count], owners[2 * count + 1] = owner, -1
            count += 1
    return count


@njit(**compiled)
def _toggle(held, count, region):  # type: ignore[no-untyped-def]
    """The size of the sorted set `held` after a region entered or left it."""
    if region < 0:
        return count
    t = count
    while t > 0 and held[t - 1] >= region:
        t -= 1
    if t < count and held[t] == region:
        for s in range(t + 1, count):
            held[s - 1] = held[s]
        return count - 1
    for s in range(count, t, -1):
        held[s] = held[s - 1]
    held[t] = region
    return count + 1


@njit(**compiled)
def _walk_east(edges, owners, listed, a, b, x_from, x_to, y, held, count):  # type: ignore[no-untyped-def]
    for p in range(a, b):
        e = listed[p]
        x1, y1, x2, y2 = edges[4 * e], edges[4 * e + 1], edges[4 * e + 2], edges[4 * e + 3]
        if (y1 <= y) != (y2 <= y) and crosses_west(x1, y1, x2, y2, x_to, y) != crosses_west(x1, y1, x2, y2, x_from, y):
            count = _toggle(held, count, owners[2 * e])
            count = _toggle(held, count, owners[2 * e + 1])
    return count


@njit(**compiled)
def _walk_north(edges, owners, listed, a, b, x, y_from, y_to, held, count):  # type: ignore[no-untyped-def]
    for p in range(a, b):
        e = listed[p]
        x1, y1, x2, y2 = edges[4 * e], edges[4 * e + 1], edges[4 * e + 2], edges[4 * e + 3]
        if x1 <= x < x2 and crosses_south(x1, y1, x2, y2, x, y_to) != crosses_south(x1, y1, x2, y2, x, y_from):
            count = _toggle(held, count, owners[2 * e])
            count = _toggle(held, count, owners[2 * e + 1])
    return count


@njit(**compiled)
def _spread(edges, listed, a, b, node, divisions, hair, cells, members):  # type: ignore[no-untyped-def]
    """The pairs of a cell of the node and an edge that touches it, and their number."""
    bx, by, width, height = node
    per_x, per_y = 1.0 / width, 1.0 / height
    count = 0
    for p in range(a, b):
        e = listed[p]
        x1, y1, x2, y2 = edges[4 * e], edges[4 * e + 1], edges[4 * e + 2], edges[4 * e + 3]
        i0 = max(int((x1 - bx) * per_x - hair), 0)
        i1 = min(int((x2 - bx) * per_x + hair), divisions - 1)
        j0 = max(int((min(y1, y2) - by) * per_y - hair), 0)
        j1 = min(int((max(y1, y2) - by) * per_y + hair), divisions - 1)
        is_one_row = i0 == i1 or j0 == j1
        need = count + max(i1 - i0 + 1, 0) * max(j1 - j0 + 1, 0)
        if need > len(cells):
            cells, members = _room(cells, need), _room(members, need)
        for j in range(j0, j1 + 1):
            cy = by + (j + 0.5) * height
            for i in range(i0, i1 + 1):
                if is_one_row or _touches(x1, y1, x2, y2, bx + (i + 0.5) * width, cy, width, height):
                    cells[count] = j * divisions + i
                    members[count] = e
                    count += 1
    return cells, members, count


@njit(**compiled)
def record_words(edges, regions):  # type: ignore[no-untyped-def]
    """The length of a record."""
    return 2 + (regions + 1) // 2 + 5 * edges


@njit(**compiled)
def _write_set(words, at, held, count):  # type: ignore[no-untyped-def]
    """The records with the record of a set of regions at a word, and the word after it."""
    size = record_words(0, count)
    words = _room(words, at + size)
    ints = words.view(np.int32)
    ints[2 * (at + size) - 1] = 0
    ints[2 * at], ints[2 * at + 1] = 0, count
    words[at + 1] = (np.int64(1) << np.int64(count)) - 1 if count <= NARROW else count
    for t in range(count):
        ints[2 * at + 4 + t] = held[t]
    return words, at + size


@njit(**compiled)
def _list_regions(words, at, owners, listed, a, b, held, count, place_of):  # type: ignore[no-untyped-def]
    """The number of regions of a leaf, listed in its record; `place_of` says where in the list."""
    ints = words.view(np.int32)
    first = 2 * at + 4
    regions = 0
    for t in range(count):
        ints[first + regions] = held[t]
        place_of[held[t]] = t
        regions += 1
    for p in range(2 * a, 2 * b):
        owner = owners[2 * listed[p // 2] + p % 2]
        if owner >= 0 and place_of[owner] < 0:
            place_of[owner] = regions
            ints[first + regions] = owner
            regions += 1
    if regions % 2 == 1:
        ints[first + regions] = 0
    words[at + 1] = count
    if regions <= NARROW:
        for t in range(1, regions):
            region, s = ints[first + t], t
            while s > 0 and ints[first + s - 1] > region:
                ints[first + s] = ints[first + s - 1]
                s -= 1
            ints[first + s] = region
        for t in range(regions):
            place_of[ints[first + t]] = t
        corner = np.int64(0)
        for t in range(count):
            corner |= np.int64(1) << np.int64(place_of[held[t]])
        words[at + 1] = corner
    return regions


@njit(**compiled)
def _write_leaf(words, at, edges, owners, listed, a, b, x, y, held, count, place_of):  # type: ignore[no-untyped-def]
    """The records with a leaf's record at a word, and the word after it; `place_of` is all -1 before and after."""
    words = _room(words, at + record_words(b - a, count + 2 * (b - a)))
    ints, floats = words.view(np.int32), words.view(np.float64)
    regions = _list_regions(words, at, owners, listed, a, b, held, count, place_of)
    ints[2 * at], ints[2 * at + 1] = b - a, regions
    w = at + record_words(0, regions)
    for p in range(a, b):
        e = listed[p]
        for t in range(4):
            floats[w + t * (b - a)] = edges[4 * e + t]
        one = np.int64(place_of[owners[2 * e]])
        other = np.int64(place_of[owners[2 * e + 1]]) if owners[2 * e + 1] >= 0 else np.int64(NO_PLACE)
        if regions > NARROW:
            word = one | other << np.int64(31)
        else:
            word = np.int64(1) << one
            if other != NO_PLACE:
                word ^= np.int64(1) << other
        if is_left(edges[4 * e], edges[4 * e + 1], edges[4 * e + 2], edges[4 * e + 3], x, y):
            word |= np.int64(1) << np.int64(62)
        words[w + 4 * (b - a)] = word
        w += 1
    for t in range(regions):
        place_of[ints[2 * at + 4 + t]] = -1
    return words, at + record_words(b - a, regions)


@njit(**compiled)
def _is_same_set(words, at, held, count):  # type: ignore[no-untyped-def]
    if at < 0:
        return False
    ints = words.view(np.int32)
    if ints[2 * at + 1] != count:
        return False
    is_same = True
    for t in range(count):
        is_same &= ints[2 * at + 4 + t] == held[t]
    return is_same


@njit(**compiled)
def build_rows(xy, bits, region, starts, entries, grid, rows, limits, top):  # type: ignore[no-untyped-def]
    """The cells of some rows of the grid, their records, and where among these the nodes are; `top` is filled in.

    One long loop on purpose: its growing arrays would cross every seam. A top cell's work is a queue of nodes; a node
    is a range of listed edges, the regions at its corner, its box, and the cell that will point to it.
    """
    x0, y0, top_width, top_height, _, _, n, _ = grid
    region_count, cells_per_edge, magnitude = limits
    held_top = np.empty(region_count + 1, np.int32)
    held_row = np.empty(region_count + 1, np.int32)
    held = np.empty(region_count + 1, np.int32)
    place_of = np.full(region_count, -1, np.int32)
    edges, owners = np.empty(4096), np.empty(2048, np.int32)
    table, listed = np.empty(4096, np.int32), np.empty(4096, np.int32)
    pair_cells, pair_edges = np.empty(4096, np.int32), np.empty(4096, np.int32)
    starts_in = np.empty(MAX_DIVISIONS * MAX_DIVISIONS + 1, np.int64)
    queue, boxes, corner_sets = np.empty(6 * 64, np.int64), np.empty(4 * 64), np.empty(4096, np.int32)
    cells, words, nodes = np.empty(4096, np.int32), np.empty(8192, np.int64), np.empty(16, np.int64)
    cell_count, word, node_count = 0, 0, 0
    for j in range(rows[0], rows[1]):
        y = y0 + j * top_height
        count_top, last_set, last_cell = 0, -1, -1  # west of the grid is outside of everything
        for i in range(n):
            c = j * n + i
            x = x0 + i * top_width
            crowd = starts[c + 1] - starts[c]
            if crowd == 0:
                if count_top <= 1:
                    value = held_top[0] if count_top else np.int32(-1)
                else:
                    if not _is_same_set(words, last_set, held_top, count_top):
                        last_set = word
                        words, word = _write_set(words, word, held_top, count_top)
                    value = np.int32(-2 - last_set)
                if last_cell < 0 or cells[last_cell] != value:
                    cells = _room(cells, cell_count + 1)
                    last_cell, cells[cell_count] = cell_count, value
                    cell_count += 1
                top[c] = last_cell << 8 | 1
                continue
            edges, owners = _room(edges, 4 * crowd), _room(owners, 2 * crowd)
            table, listed = _room(table, 4 * crowd), _room(listed, crowd)
            crowd = _unique_edges(xy, bits, region, entries, starts[c], starts[c + 1], edges, owners, table)
            for e in range(crowd):
                listed[e] = e
            divisions = min(int(np.ceil(np.sqrt(crowd * cells_per_edge))), MAX_DIVISIONS)
            if divisions <= 1:
                cells = _room(cells, cell_count + 1)
                top[c], cells[cell_count] = cell_count << 8 | 1, -2 - word
                cell_count += 1
                words, word = _write_leaf(
                    words, word, edges, owners, listed, 0, crowd, x, y, held_top, count_top, place_of
                )
            else:
                queued, sets_end, listed_end = 1, count_top, crowd
                corner_sets = _room(corner_sets, count_top)
                _copy(held_top, 0, count_top, corner_sets, 0)
                queue[0], queue[1], queue[2], queue[3], queue[4], queue[5] = 0, crowd, 0, count_top, 0, -1
                boxes[0], boxes[1], boxes[2], boxes[3] = x, y, top_width, top_height
                t = 0
                while t < queued:
                    a, b, set_from, set_to = queue[6 * t], queue[6 * t + 1], queue[6 * t + 2], queue[6 * t + 3]
                    depth, parent = queue[6 * t + 4], queue[6 * t + 5]
                    bx, by = boxes[4 * t], boxes[4 * t + 1]
                    divisions = max(min(int(np.ceil(np.sqrt((b - a) * cells_per_edge))), MAX_DIVISIONS), 2)
                    width, height = boxes[4 * t + 2] / divisions, boxes[4 * t + 3] / divisions
                    t += 1
                    count_row = set_to - set_from
                    _copy(corner_sets, set_from, set_to, held_row, 0)
                    hair = _HAIR + 2e-15 * magnitude / min(width, height)
                    pair_cells, pair_edges, pairs = _spread(
                        edges, listed, a, b, (bx, by, width, height), divisions, hair, pair_cells, pair_edges
                    )
                    if depth > 0 and pairs > _MAX_COPIES * (b - a):
                        cells[parent] = -2 - word
                        words, word = _write_leaf(
                            words, word, edges, owners, listed, a, b, bx, by, held_row, count_row, place_of
                        )
                        continue
                    # the edges of each cell, listed together
                    squares = divisions * divisions
                    for z in range(squares + 1):
                        starts_in[z] = 0
                    for p in range(pairs):
                        starts_in[pair_cells[p] + 1] += 1
                    starts_in[0] = listed_end
                    for z in range(squares):
                        starts_in[z + 1] += starts_in[z]
                    listed = _room(listed, listed_end + pairs)
                    for p in range(pairs):
                        z = pair_cells[p]
                        listed[starts_in[z]] = pair_edges[p]
                        starts_in[z] += 1
                    for z in range(squares, 0, -1):
                        starts_in[z] = starts_in[z - 1]
                    starts_in[0] = listed_end
                    listed_end += pairs
                    base = cell_count
                    cell_count += squares
                    cells = _room(cells, cell_count)
                    if parent < 0:
                        top[c] = base << 8 | divisions
                    else:
                        cells[parent] = -2 - word
                        words, nodes = _room(words, word + 8), _room(nodes, node_count + 1)
                        ints, floats = words.view(np.int32), words.view(np.float64)
                        ints[2 * word], ints[2 * word + 1], words[word + 1] = -1, divisions, base
                        floats[word + 2], floats[word + 3] = bx, by
                        floats[word + 4], floats[word + 5] = 1.0 / width, 1.0 / height
                        floats[word + 6], floats[word + 7] = width, height
                        nodes[node_count] = word
                        node_count += 1
                        word += 8
                    can_divide = depth < _MAX_DEPTH and 2e-15 * magnitude / min(width, height) < 1e-6
                    z = 0
                    for row in range(divisions):
                        y_row = by + row * height
                        count = count_row
                        _copy(held_row, 0, count, held, 0)
                        row_from, row_to = starts_in[z], starts_in[z + 1]
                        for column in range(divisions):
                            x_column = bx + column * width
                            a, b = starts_in[z], starts_in[z + 1]
                            if a == b:
                                if count <= 1:
                                    cells[base + z] = held[0] if count else -1
                                else:
                                    if not _is_same_set(words, last_set, held, count):
                                        last_set = word
                                        words, word = _write_set(words, word, held, count)
                                    cells[base + z] = -2 - last_set
                            else:
                                if b - a > _CROWDED and can_divide:
                                    queue, boxes = _room(queue, 6 * queued + 6), _room(boxes, 4 * queued + 4)
                                    corner_sets = _room(corner_sets, sets_end + count)
                                    _copy(held, 0, count, corner_sets, sets_end)
                                    q = 6 * queued
                                    queue[q], queue[q + 1], queue[q + 2], queue[q + 3] = (
                                        a,
                                        b,
                                        sets_end,
                                        sets_end + count,
                                    )
                                    queue[q + 4], queue[q + 5] = depth + 1, base + z
                                    q = 4 * queued
                                    boxes[q], boxes[q + 1], boxes[q + 2], boxes[q + 3] = x_column, y_row, width, height
                                    sets_end += count
                                    queued += 1
                                else:
                                    cells[base + z] = -2 - word
                                    words, word = _write_leaf(
                                        words, word, edges, owners, listed, a, b, x_column, y_row, held, count, place_of
                                    )
                                x_next = bx + (column + 1) * width
                                count = _walk_east(edges, owners, listed, a, b, x_column, x_next, y_row, held, count)
                            z += 1
                        y_next = by + (row + 1) * height
                        count_row = _walk_north(
                            edges, owners, listed, row_from, row_to, bx, y_row, y_next, held_row, count_row
                        )
            count_top = _walk_east(edges, owners, listed, 0, crowd, x, x0 + (i + 1) * top_width, y, held_top, count_top)
    return cells[:cell_count].copy(), words[:word].copy(), nodes[:node_count].copy()


@njit(**compiled)
def most_regions(words):  # type: ignore[no-untyped-def]
    """The length of the longest list of regions; -1 where the words are not records end to end."""
    ints = words.view(np.int32)
    most, at = np.int64(1), np.int64(0)
    while at < len(words):
        edges, regions = np.int64(ints[2 * at]), np.int64(ints[2 * at + 1])
        if edges < -1 or regions < 0:
            return -1
        if edges < 0:
            at += 8
        else:
            if regions > most:
                most = regions
            at += record_words(edges, regions)
    return most if at == len(words) else -1


@njit(**compiled)
def move_band(cells, words, nodes, top, first_cell, first_word):  # type: ignore[no-untyped-def]
    """Make a band's places count from the start of all bands."""
    for z in range(len(cells)):
        if cells[z] < -1:
            cells[z] -= first_word
    for at in nodes:
        words[at + 1] += first_cell
    for c in range(len(top)):
        top[c] += first_cell << 8
