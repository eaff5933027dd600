"""A program not written for the simulator: NVIDIA's own Python bindings, using nothing but cuda.bindings.driver.

Prints what it checked; exits 0 when all of it held. Any libcuda.so.1 will do, a real one included, except where a
check names the simulator's built-in kernels: those need FCSP_SIM_KERNELS=1 (the default when FCSP_SIM is set).
"""

import ctypes
import os

from cuda.bindings import driver as cu

PTX = b"""
.version 7.0
.target sm_80
.address_size 64
.global .align 4 .u32 counter;
.visible .entry fcsp_fill(.param .u64 p, .param .u32 value, .param .u64 n) { ret; }
.visible .entry fcsp_saxpy(.param .u64 y, .param .u64 x, .param .f32 a, .param .u64 n) { ret; }
.visible .entry fcsp_spin(.param .u64 ns) { ret; }
"""


def ck(result):
    """The values of a call that must succeed."""
    code, *values = result
    assert code == cu.CUresult.CUDA_SUCCESS, code
    return values[0] if len(values) == 1 else tuple(values)


def checked(text):
    print("ok", text)


def main():
    ck(cu.cuInit(0))
    assert ck(cu.cuDriverGetVersion()) >= 12000
    assert ck(cu.cuDeviceGetCount()) >= 1
    dev = ck(cu.cuDeviceGet(0))
    name = ck(cu.cuDeviceGetName(128, dev)).split(b"\0")[0].decode()
    total = ck(cu.cuDeviceTotalMem(dev))
    major = ck(cu.cuDeviceGetAttribute(cu.CUdevice_attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, dev))
    ck(cu.cuDeviceGetUuid(dev))
    checked(f"device {name}, {total} bytes, compute {major}.x")

    ctx = ck(cu.cuDevicePrimaryCtxRetain(dev))
    ck(cu.cuCtxSetCurrent(ctx))
    free0, total2 = ck(cu.cuMemGetInfo())
    assert total2 == total and free0 < total
    checked("primary context takes memory")

    n = 1 << 16
    a = ck(cu.cuMemAlloc(4 * n))
    b = ck(cu.cuMemAlloc(3 << 20))
    host = (ctypes.c_uint32 * n)(*range(n))
    back = (ctypes.c_uint32 * n)()
    ck(cu.cuMemcpyHtoD(a, host, 4 * n))
    ck(cu.cuMemcpyDtoD(b, a, 4 * n))
    ck(cu.cuMemcpyDtoH(back, b, 4 * n))
    assert list(back) == list(range(n))
    ck(cu.cuMemsetD32(a, 0xABCD, n))
    ck(cu.cuMemcpyDtoH(back, a, 4 * n))
    assert set(back) == {0xABCD}
    base, size = ck(cu.cuMemGetAddressRange(int(b) + 5))
    assert (int(base), size) == (int(b), 3 << 20)
    checked("allocations, copies, fills, address ranges")

    code, _ = cu.cuMemAlloc(total * 2)
    assert code == cu.CUresult.CUDA_ERROR_OUT_OF_MEMORY, code
    assert ck(cu.cuMemGetInfo())[0] == free0 - (2 << 20) - (4 << 20)
    checked("out of memory is refused and changes nothing")

    mod = ck(cu.cuModuleLoadData(PTX))
    where, size = ck(cu.cuModuleGetGlobal(mod, b"counter"))
    assert size == 4 and int(where) != 0
    fill = ck(cu.cuModuleGetFunction(mod, b"fcsp_fill"))
    assert ck(cu.cuFuncGetName(fill)) == b"fcsp_fill"
    assert ck(cu.cuFuncGetParamInfo(fill, 1)) == (8, 4)
    code, _ = cu.cuModuleGetFunction(mod, b"missing")
    assert code == cu.CUresult.CUDA_ERROR_NOT_FOUND, code
    checked("modules, functions, variables")

    simulated = os.environ.get("FCSP_SIM_KERNELS", "1" if "FCSP_SIM" in os.environ else "0") == "1"
    stream = ck(cu.cuStreamCreate(cu.CUstream_flags.CU_STREAM_NON_BLOCKING))
    start = ck(cu.cuEventCreate(0))
    end = ck(cu.cuEventCreate(0))
    args = ((a, 7, n), (None, ctypes.c_uint32, ctypes.c_uint64))
    ck(cu.cuEventRecord(start, stream))
    ck(cu.cuLaunchKernel(fill, 64, 1, 1, 256, 1, 1, 0, stream, args, 0))
    if simulated:
        # Long enough that a busy machine asks while it runs.
        spin = ck(cu.cuModuleGetFunction(mod, b"fcsp_spin"))
        ck(cu.cuLaunchKernel(spin, 1, 1, 1, 1, 1, 1, 0, stream, ((300_000_000,), (ctypes.c_uint64,)), 0))
    ck(cu.cuEventRecord(end, stream))
    if simulated:
        code, *_ = cu.cuStreamQuery(stream)
        assert code == cu.CUresult.CUDA_ERROR_NOT_READY, code
    ck(cu.cuStreamSynchronize(stream))
    ms = ck(cu.cuEventElapsedTime(start, end))
    assert ms >= (300.0 if simulated else 0.0), ms
    if simulated:
        ck(cu.cuMemcpyDtoH(back, a, 4 * n))
        assert set(back) == {7}
        saxpy = ck(cu.cuModuleGetFunction(mod, b"fcsp_saxpy"))
        floats = (ctypes.c_float * n)(*([2.0] * n))
        ck(cu.cuMemcpyHtoD(a, floats, 4 * n))
        ck(cu.cuMemcpyHtoD(b, floats, 4 * n))
        types = (None, None, ctypes.c_float, ctypes.c_uint64)
        ck(cu.cuLaunchKernel(saxpy, 64, 1, 1, 256, 1, 1, 0, stream, ((a, b, 3.0, n), types), 0))
        ck(cu.cuStreamSynchronize(stream))
        ck(cu.cuMemcpyDtoH(floats, a, 4 * n))
        assert set(floats) == {8.0}
    checked(f"launches, streams, events ({ms:.3f} ms)")

    pool = ck(cu.cuDeviceGetDefaultMemPool(dev))
    reserved = cu.CUmemPool_attribute.CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT
    p = ck(cu.cuMemAllocAsync(33 << 20, stream))
    assert int(ck(cu.cuMemPoolGetAttribute(pool, reserved))) >= 33 << 20
    ck(cu.cuMemFreeAsync(p, stream))
    ck(cu.cuStreamSynchronize(stream))
    assert int(ck(cu.cuMemPoolGetAttribute(pool, reserved))) == 0
    checked("stream-ordered allocation")

    ck(cu.cuStreamBeginCapture(stream, cu.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_GLOBAL))
    assert ck(cu.cuStreamIsCapturing(stream)) == cu.CUstreamCaptureStatus.CU_STREAM_CAPTURE_STATUS_ACTIVE
    args = ((a, 9, n), (None, ctypes.c_uint32, ctypes.c_uint64))
    ck(cu.cuLaunchKernel(fill, 64, 1, 1, 256, 1, 1, 0, stream, args, 0))
    ck(cu.cuMemcpyDtoDAsync(b, a, 4 * n, stream))
    graph = ck(cu.cuStreamEndCapture(stream))
    nodes, count = ck(cu.cuGraphGetNodes(graph, 2))
    assert count == 2, count
    kinds = {ck(cu.cuGraphNodeGetType(node)) for node in nodes}
    types = cu.CUgraphNodeType
    assert kinds == {types.CU_GRAPH_NODE_TYPE_KERNEL, types.CU_GRAPH_NODE_TYPE_MEMCPY}
    params = ck(cu.cuGraphKernelNodeGetParams(next(
        node for node in nodes if ck(cu.cuGraphNodeGetType(node)) == types.CU_GRAPH_NODE_TYPE_KERNEL)))
    assert (params.gridDimX, params.blockDimX) == (64, 256)
    ready = ck(cu.cuGraphInstantiate(graph, 0))
    ck(cu.cuGraphLaunch(ready, stream))
    ck(cu.cuStreamSynchronize(stream))
    if simulated:
        ck(cu.cuMemcpyDtoH(back, b, 4 * n))
        assert set(back) == {9}
    ck(cu.cuGraphExecDestroy(ready))
    ck(cu.cuGraphDestroy(graph))
    checked("capture and graphs")

    prop = cu.CUmemAllocationProp()
    prop.type = cu.CUmemAllocationType.CU_MEM_ALLOCATION_TYPE_PINNED
    prop.location.type = cu.CUmemLocationType.CU_MEM_LOCATION_TYPE_DEVICE
    prop.location.id = 0
    grain = ck(cu.cuMemGetAllocationGranularity(
        prop, cu.CUmemAllocationGranularity_flags.CU_MEM_ALLOC_GRANULARITY_MINIMUM))
    space = ck(cu.cuMemAddressReserve(2 * grain, 0, 0, 0))
    piece = ck(cu.cuMemCreate(2 * grain, prop, 0))
    ck(cu.cuMemMap(space, 2 * grain, 0, piece, 0))
    access = cu.CUmemAccessDesc()
    access.location = prop.location
    access.flags = cu.CUmemAccess_flags.CU_MEM_ACCESS_FLAGS_PROT_READWRITE
    ck(cu.cuMemSetAccess(space, 2 * grain, [access], 1))
    ck(cu.cuMemRelease(piece))
    ck(cu.cuMemsetD8(space, 3, 2 * grain))
    ck(cu.cuMemUnmap(space, 2 * grain))
    ck(cu.cuMemAddressFree(space, 2 * grain))
    checked("virtual memory")

    ck(cu.cuStreamDestroy(stream))
    ck(cu.cuModuleUnload(mod))
    ck(cu.cuMemFree(a))
    ck(cu.cuMemFree(b))
    free = ck(cu.cuMemGetInfo())[0]
    assert free == free0, (free, free0)
    ck(cu.cuDevicePrimaryCtxRelease(dev))
    checked("everything was given back")


if __name__ == "__main__":
    main()
