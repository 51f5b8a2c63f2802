"""Four edges of a leaf at a time against a point's path, in the processor's vectors.

Decides in double precision which regions' bits four edges change, and whether one of them is too near to tell; then
`region_query` does the leaf again with exact signs. A leaf's edges stand as x1…, y1…, x2…, y2…, word…, so that four of
each are read at once; what is read past the last is left out. Importing this module imports numba.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from builder.transforms.orientation import UNCERTAIN

LANES = 4
CORNER_IS_LEFT = 1 << 62
_INT64, _DOUBLE = ir.IntType(64), ir.DoubleType()
_INTS, _DOUBLES, _FLAGS = (ir.VectorType(kind, LANES) for kind in (_INT64, _DOUBLE, ir.IntType(1)))


def _all(kind: Any, value: Any) -> Any:
    return ir.Constant(kind, [value] * LANES)


def _call(builder: Any, name: str, result: Any, argument: Any) -> Any:
    kind = ir.FunctionType(result, [argument.type])
    return builder.call(builder.module.globals.get(name) or ir.Function(builder.module, kind, name), [argument])


def _spread(builder: Any, value: Any, kind: Any) -> Any:
    """A value in all lanes."""
    vector = builder.insert_element(ir.Constant(kind, ir.Undefined), value, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(vector, vector, ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES))


def _read(builder: Any, address: Any, word: Any, kind: Any) -> Any:
    pointer = builder.gep(builder.inttoptr(address, _INT64.as_pointer()), [word])
    return builder.load(builder.bitcast(pointer, kind.as_pointer()), align=8)


def _is_near(b: Any, determinant: Any, left: Any, right: Any) -> Any:
    """Whether rounding may have changed the sign of left - right."""
    sizes = [_call(b, "llvm.fabs.v4f64", _DOUBLES, value) for value in (determinant, left, right)]
    return b.fcmp_ordered("<=", sizes[0], b.fmul(_all(_DOUBLES, UNCERTAIN), b.fadd(sizes[1], sizes[2])))


def _changes(builder: Any, edges: list[Any], xs: Any, px: Any, py: Any) -> tuple[Any, Any]:
    """Per edge: whether the path corner, (xs, py), point crosses it an odd number of times; whether it is too near."""
    b = builder
    x1, y1, x2, y2, word = edges
    zero = _all(_DOUBLES, 0.0)
    dy = b.fsub(y2, y1)
    left = b.fmul(b.fsub(x2, x1), b.fsub(py, y1))
    right, right_corner = b.fmul(dy, b.fsub(px, x1)), b.fmul(dy, b.fsub(xs, x1))
    at_point, at_turn = b.fsub(left, right), b.fsub(left, right_corner)
    level = b.xor(b.fcmp_ordered("<=", y1, py), b.fcmp_ordered("<=", y2, py))
    beside = b.or_(level, b.or_(b.fcmp_ordered("==", y1, py), b.fcmp_ordered("==", y2, py)))
    upright = b.and_(b.fcmp_ordered("<=", x1, xs), b.fcmp_ordered("<", xs, x2))
    near_point = b.and_(_is_near(b, at_point, left, right), beside)
    near_turn = b.and_(_is_near(b, at_turn, left, right_corner), b.or_(level, upright))
    point_is_left, turn_is_left = b.fcmp_ordered(">", at_point, zero), b.fcmp_ordered(">", at_turn, zero)
    corner_is_left = b.icmp_signed("!=", b.and_(word, _all(_INTS, CORNER_IS_LEFT)), _all(_INTS, 0))
    odd = b.xor(b.and_(level, b.xor(point_is_left, turn_is_left)), b.and_(upright, b.xor(turn_is_left, corner_is_left)))
    return odd, b.or_(near_point, near_turn)


def _cross_four(typing_context: Any, words: Any, at: Any, edges: Any, first: Any, xs: Any, px: Any, py: Any) -> Any:
    """The bits that four edges of a leaf from `first` on change, its edges at a word; negative where uncertain."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        b = builder
        address, word, count, start, *path = arguments
        lanes = ir.Constant(_INTS, list(range(LANES)))
        is_edge = b.icmp_signed("<", lanes, _spread(b, b.sub(count, start), _INTS))
        place, read = b.add(word, start), []
        for kind in (_DOUBLES, _DOUBLES, _DOUBLES, _DOUBLES, _INTS):
            read.append(_read(b, address, place, kind))
            place = b.add(place, count)
        odd, near = _changes(b, read, *(_spread(b, value, _DOUBLES) for value in path))
        bits = b.and_(read[4], _all(_INTS, CORNER_IS_LEFT - 1))
        bits = b.select(b.and_(odd, is_edge), bits, _all(_INTS, 0))
        change = _call(b, "llvm.vector.reduce.xor.v4i64", _INT64, bits)
        uncertain = _call(b, "llvm.vector.reduce.or.v4i1", ir.IntType(1), b.and_(near, is_edge))
        return b.or_(change, b.shl(b.zext(uncertain, _INT64), _INT64(63)))

    integer, number = types.int64, types.float64
    return types.int64(integer, integer, integer, integer, number, number, number), generate


cross_four: Any = intrinsic(_cross_four)
