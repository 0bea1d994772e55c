"""Eight float32 at a time, where numba's own vectoriser cannot see that two arrays do not overlap."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

__all__ = ["LANES", "add_mixed"]

LANES = 8
_VECTOR = ir.VectorType(ir.FloatType(), LANES)
_NOTHING = ir.Constant(_VECTOR, ir.Undefined)
_FIRST = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)


def _add_mixed(_: Any, total: Any, at: Any, x: Any, first: Any, one: Any, two: Any) -> Any:
    """total[at + k] += x[first + k] * one + x[first + 8 + k] * two for k = 0..7; float32 arrays, no bounds check.

    Products and sums are rounded one by one, as in torch.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        def vector(array: Any, kind: Any, index: Any) -> Any:
            data = context.make_array(kind)(context, builder, array).data
            return builder.bitcast(builder.gep(data, [index]), _VECTOR.as_pointer())

        def spread(scalar: Any) -> Any:
            single = builder.insert_element(_NOTHING, scalar, ir.Constant(ir.IntType(32), 0))
            return builder.shuffle_vector(single, _NOTHING, _FIRST)

        total, at, x, first, one, two = arguments
        second = builder.add(first, ir.Constant(first.type, LANES))
        left, right = (builder.load(vector(x, signature.args[2], i), align=4) for i in (first, second))
        mixed = builder.fadd(builder.fmul(left, spread(one)), builder.fmul(right, spread(two)))
        target = vector(total, signature.args[0], at)
        builder.store(builder.fadd(builder.load(target, align=4), mixed), target, align=4)
        return context.get_dummy_value()

    return types.void(total, at, x, first, one, two), generate


add_mixed: Any = intrinsic(_add_mixed)
