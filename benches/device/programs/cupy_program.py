"""CuPy with its default pool and with the driver's asynchronous pool: element-wise, reduction, matmul, FFT, sort and a raw kernel."""
import cupy as cp, numpy as np
from report import Report, arguments


def main():
    a = arguments(["default", "async"])
    pool = None
    if a.mode == "async":
        pool = cp.cuda.MemoryAsyncPool()
        cp.cuda.set_allocator(pool.malloc)
    r = Report()
    rng = np.random.default_rng(0)
    x = cp.asarray(rng.standard_normal((1024, 1024), dtype=np.float32))
    r.value("elementwise", cp.asnumpy(cp.tanh(x) * 2 + x ** 2))
    r.value("sum", cp.asnumpy(x.sum(axis=0)))
    r.value("matmul", cp.asnumpy(x @ x.T))
    r.value("fft", cp.asnumpy(cp.abs(cp.fft.fft(x, axis=1))))
    r.value("sort", cp.asnumpy(cp.sort(x, axis=1)))
    saxpy = cp.RawKernel(r'extern "C" __global__ void saxpy(const float* x, float* y, float a, int n) { int i = blockIdx.x * blockDim.x + threadIdx.x; if (i < n) y[i] = a * x[i] + y[i]; }', "saxpy")
    y = cp.ones_like(x)
    for _ in range(16):
        saxpy((x.size // 256,), (256,), (x, y, np.float32(1.5), np.int32(x.size)))
    r.value("raw_kernel", cp.asnumpy(y))
    r.look(mem_get_info_total=cp.cuda.runtime.memGetInfo()[1], properties_total=cp.cuda.runtime.getDeviceProperties(0)["totalGlobalMem"])
    if a.quota:
        def release():
            cp.cuda.Stream.null.synchronize()
            if pool is None:
                cp.get_default_memory_pool().free_all_blocks()
            else:
                pool.free_all_blocks()
        r.fill(a.quota, lambda n: cp.empty(n, dtype=cp.uint8), (cp.cuda.memory.OutOfMemoryError, cp.cuda.runtime.CUDARuntimeError), release, lambda: cp.asnumpy(x @ x))
    r.print()


if __name__ == "__main__":
    main()
