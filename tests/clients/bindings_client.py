"""NVIDIA's Python bindings under a quota, which find every function by cuGetProcAddress: memory by several routes until
it is refused, with the driver's own error, from which the program recovers. Argument: the quota in bytes."""

import ctypes
import sys

from cuda.bindings import driver as cu

QUOTA = int(sys.argv[1])
OUT_OF_MEMORY = cu.CUresult.CUDA_ERROR_OUT_OF_MEMORY
BLOCK = 32 << 20


def ck(result):
    """The values of a call that must succeed."""
    code, *values = result
    assert code == cu.CUresult.CUDA_SUCCESS, code
    return values[0] if len(values) == 1 else tuple(values)


ck(cu.cuInit(0))
device = ck(cu.cuDeviceGet(0))
assert ck(cu.cuDeviceTotalMem(device)) == QUOTA
context = ck(cu.cuDevicePrimaryCtxRetain(device))
ck(cu.cuCtxSetCurrent(context))
free, total = ck(cu.cuMemGetInfo())
assert total == QUOTA and free < QUOTA

prop = cu.CUmemAllocationProp()
prop.type = cu.CUmemAllocationType.CU_MEM_ALLOCATION_TYPE_PINNED
prop.location.type = cu.CUmemLocationType.CU_MEM_LOCATION_TYPE_DEVICE
prop.location.id = 0
stream = ck(cu.cuStreamCreate(0))
routes = {
    "plain": (lambda: cu.cuMemAlloc(BLOCK), cu.cuMemFree),
    "managed": (lambda: cu.cuMemAllocManaged(BLOCK, 1), cu.cuMemFree),
    "async": (lambda: cu.cuMemAllocAsync(BLOCK, stream), lambda p: cu.cuMemFreeAsync(p, stream)),
    "handle": (lambda: cu.cuMemCreate(BLOCK, prop, 0), cu.cuMemRelease),
}
counts = {}
for name, (take, give) in routes.items():
    taken = []
    while True:
        code, value = take()
        if code != cu.CUresult.CUDA_SUCCESS:
            assert code == OUT_OF_MEMORY, code
            break
        taken.append(value)
        assert len(taken) * BLOCK <= QUOTA, name
    assert ck(cu.cuMemGetInfo())[0] < BLOCK, name
    for value in taken:
        assert give(value)[0] == cu.CUresult.CUDA_SUCCESS
    ck(cu.cuStreamSynchronize(stream))
    counts[name] = len(taken)
assert len(set(counts.values())) == 1, counts

# After a refusal everything goes on as before.
n = 1 << 16
address = ck(cu.cuMemAlloc(4 * n))
host = (ctypes.c_uint32 * n)(*range(n))
back = (ctypes.c_uint32 * n)()
ck(cu.cuMemcpyHtoD(address, host, 4 * n))
ck(cu.cuMemcpyDtoH(back, address, 4 * n))
assert list(back) == list(range(n))
ck(cu.cuMemFree(address))
print(counts)
print("ok")
