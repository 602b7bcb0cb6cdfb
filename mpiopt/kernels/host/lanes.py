"""Loops over the entries of a sparse row in vector units: several vectors side by side, of which each entry meets neighbours.

What LLVM knows and Python does not, as `prefetch`: numba makes no vectors of so short inner loops, and took four times as long.
Products are rounded before they are added, on every CPU alike.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

_LONG, _WORD, _DOUBLE = ir.IntType(64), ir.IntType(32), ir.DoubleType()


class _Loop:
    """A loop over entries k, k + 1, ... below an end, at most one an iteration, and what is loaded of each."""

    def __init__(self, context: Any, builder: Any, kinds: tuple[Any, ...], given: tuple[Any, ...], lanes: int) -> None:
        self.context, self.builder, self.kinds, self.vector = context, builder, kinds, ir.VectorType(_DOUBLE, lanes)
        self.lanes = lanes
        self.first, self.end, index, data, flat, self.width, self.place, self.ahead = given[:8]
        arrays = zip(kinds[2:5], (index, data, flat), strict=True)
        self.index, self.data, self.flat = (context.make_array(kind)(context, builder, one).data for kind, one in arrays)

    def line(self, k: Any) -> Any:
        """Where the numbers that entry k meets begin."""
        column = self.builder.zext(self.builder.load(self.builder.gep(self.index, [k])), _LONG)
        return self.builder.gep(self.flat, [self.builder.add(self.builder.mul(column, self.width), self.place)])

    def value(self, k: Any) -> Any:
        """The entry, in all lanes."""
        value = self.builder.load(self.builder.gep(self.data, [k]))
        return self.spread(value if value.type == _DOUBLE else self.builder.fpext(value, _DOUBLE))

    def spread(self, value: Any) -> Any:
        """A number in all lanes."""
        one = self.builder.insert_element(ir.Constant(self.vector, ir.Undefined), value, _WORD(0))
        return self.builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(_WORD, self.lanes), [0] * self.lanes))

    def load(self, place: Any) -> Any:
        """The numbers there."""
        found = self.builder.load(self.builder.bitcast(place, ir.PointerType(self.vector)))
        found.align = 8
        return found

    def store(self, value: Any, place: Any) -> None:
        """Put them there."""
        self.builder.store(value, self.builder.bitcast(place, ir.PointerType(self.vector))).align = 8

    def ask(self, k: Any) -> None:
        """Ask for what entry k meets; the index may lie in the padding."""
        address = self.builder.bitcast(self.line(k), ir.PointerType(ir.IntType(8)))
        kind = ir.FunctionType(ir.VoidType(), [address.type, _WORD, _WORD, _WORD])
        call = self.builder.module.declare_intrinsic("llvm.prefetch", [address.type], kind)
        self.builder.call(call, [address, _WORD(0), _WORD(3), _WORD(1)])

    def run(self, body: Callable[[Any, Any], Any], start: Any) -> Any:
        """body(k, sum) -> the next sum, from ``start`` on; the last one."""
        builder = self.builder
        before, loop, after = builder.block, builder.append_basic_block("entries"), builder.append_basic_block("done")
        builder.cbranch(builder.icmp_unsigned("<", self.first, self.end), loop, after)
        builder.position_at_end(loop)
        k, total = builder.phi(_LONG), builder.phi(self.vector)
        self.ask(builder.add(k, self.ahead))
        found = body(k, total)
        following = builder.add(k, _LONG(1))
        k.add_incoming(self.first, before)
        k.add_incoming(following, loop)
        total.add_incoming(start, before)
        total.add_incoming(found, loop)
        builder.cbranch(builder.icmp_unsigned("<", following, self.end), loop, after)
        builder.position_at_end(after)
        out = builder.phi(self.vector)
        out.add_incoming(start, before)
        out.add_incoming(found, loop)
        return out


@cache
def row_dot(lanes: int) -> Any:
    """A function (k, end, index, data, flat, width, place, ahead, out, at), all but the arrays uint64:

    out[at + c] = sum over k <= j < end of data[j] flat[index[j] width + place + c], c < lanes; each is asked for ``ahead``
    entries before its turn.
    """

    @intrinsic
    def dot(typingctx, k, end, index, data, flat, width, place, ahead, out, at):
        def codegen(context, builder, signature, given):
            loop = _Loop(context, builder, signature.args, given, lanes)
            start = ir.Constant(loop.vector, [0.0] * lanes)
            total = loop.run(lambda k, total: builder.fadd(total, builder.fmul(loop.value(k), loop.load(loop.line(k)))), start)
            into = context.make_array(signature.args[8])(context, builder, given[8]).data
            loop.store(total, builder.gep(into, [given[9]]))
            return context.get_dummy_value()

        return types.void(k, end, index, data, flat, width, place, ahead, out, at), codegen

    return dot


@cache
def row_add(lanes: int) -> Any:
    """A function (k, end, index, data, flat, width, place, ahead, factors, at): flat[index[j] width + place + c] +=
    data[j] factors[at + c]."""

    @intrinsic
    def add(typingctx, k, end, index, data, flat, width, place, ahead, factors, at):
        def codegen(context, builder, signature, given):
            loop = _Loop(context, builder, signature.args, given, lanes)
            source = context.make_array(signature.args[8])(context, builder, given[8]).data
            factors = loop.load(builder.gep(source, [given[9]]))

            def body(k, total):
                line = loop.line(k)
                loop.store(builder.fadd(loop.load(line), builder.fmul(loop.value(k), factors)), line)
                return total

            loop.run(body, factors)
            return context.get_dummy_value()

        return types.void(k, end, index, data, flat, width, place, ahead, factors, at), codegen

    return add
