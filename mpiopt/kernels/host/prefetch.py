"""What LLVM knows and Python does not, for the sparse loops.

prefetch   one instruction
unsigned   none at all; numpy's `view` says the same, but is long to compile
"""

from llvmlite import ir
from numba import types
from numba.core.imputils import impl_ret_borrowed
from numba.extending import intrinsic


@intrinsic
def prefetch(typingctx, array, index):
    """Ask for the cache line of array[index], index unsigned; never faults, so index may lie past the end."""

    def codegen(context, builder, signature, args):
        array_type, index_type = signature.args
        view = context.make_array(array_type)(context, builder, args[0])
        offset = context.cast(builder, args[1], index_type, types.uintp)
        address = builder.bitcast(builder.gep(view.data, [offset]), ir.PointerType(ir.IntType(8)))
        word = ir.IntType(32)
        signature_of_call = ir.FunctionType(ir.VoidType(), [address.type, word, word, word])
        # The name's suffix (p0, p0i8) depends on the LLVM version: declare_intrinsic derives it from the type.
        call = builder.module.declare_intrinsic("llvm.prefetch", [address.type], signature_of_call)
        read, near, data = 0, 3, 1
        builder.call(call, [address, word(read), word(near), word(data)])
        return context.get_dummy_value()

    return types.void(array, index), codegen


@intrinsic
def unsigned(typingctx, array):
    """The same array of integers taken as unsigned ones of their size: an index needs no test for numbers below 0."""

    def codegen(context, builder, signature, args):
        return impl_ret_borrowed(context, builder, signature.return_type, args[0])

    return array.copy(dtype=types.Integer.from_bitwidth(array.dtype.bitwidth, signed=False))(array), codegen
