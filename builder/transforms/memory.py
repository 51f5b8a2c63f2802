"""Reads of arrays by address, and other single instructions of the processor, for compiled loops.

Decides nothing. A function that is given an array counts its references, which costs more than the few reads of a
look-up; one that is given an address does not. Whoever takes an address keeps the array, and no index is checked.
Importing this module imports numba.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

_READ, _KEEP_IN_ALL_CACHES, _DATA = 0, 3, 1
_INT64, _BYTE = ir.IntType(64), ir.IntType(8)


def _pointer(builder: Any, address: Any, index: Any, kind: Any) -> Any:
    return builder.gep(builder.inttoptr(address, kind.as_pointer()), [index])


def _reader(number: Any, kind: Any, name: str) -> Any:
    """What reads element `index` of an array of a kind of numbers that starts at an address."""

    def read(typing_context: Any, address: Any, index: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.load(_pointer(builder, arguments[0], arguments[1], kind))

        return number(types.int64, types.int64), generate

    read.__name__ = read.__qualname__ = name
    return intrinsic(read)


def _writer(number: Any, kind: Any, name: str) -> Any:
    """What puts a value of a kind of numbers at element `index` of an array that starts at an address."""

    def write(typing_context: Any, address: Any, index: Any, value: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            builder.store(arguments[2], _pointer(builder, arguments[0], arguments[1], kind))
            return context.get_dummy_value()

        return types.void(types.int64, types.int64, number), generate

    write.__name__ = write.__qualname__ = name
    return intrinsic(write)


def _prefetch(typing_context: Any, address: Any, index: Any) -> Any:
    """Start to fetch the 8 bytes at an index, which may lie anywhere: a hint that changes no result."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        number, name = ir.IntType(32), "llvm.prefetch.p0"
        pointer = builder.bitcast(_pointer(builder, arguments[0], arguments[1], _INT64), _BYTE.as_pointer())
        kind = ir.FunctionType(ir.VoidType(), [_BYTE.as_pointer(), number, number, number])
        function = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
        builder.call(function, [pointer, number(_READ), number(_KEEP_IN_ALL_CACHES), number(_DATA)])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), generate


def _lowest_bit(typing_context: Any, value: Any) -> Any:
    """The place of an int64's lowest bit that is set; 0 where none is."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 0))
        return builder.and_(place, _INT64(63))

    return types.int64(types.int64), generate


int32_at: Any = _reader(types.int32, ir.IntType(32), "int32_at")
int64_at: Any = _reader(types.int64, _INT64, "int64_at")
float64_at: Any = _reader(types.float64, ir.DoubleType(), "float64_at")
put_int32: Any = _writer(types.int32, ir.IntType(32), "put_int32")
put_int64: Any = _writer(types.int64, _INT64, "put_int64")
put_float64: Any = _writer(types.float64, ir.DoubleType(), "put_float64")
prefetch: Any = intrinsic(_prefetch)
lowest_bit: Any = intrinsic(_lowest_bit)
