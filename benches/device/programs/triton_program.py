"""Triton kernels over PyTorch tensors: a fused softmax and a blocked matmul."""
import torch, triton, triton.language as tl
from report import Report, arguments


@triton.jit
def softmax_kernel(out, x, stride, n, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    at = tl.arange(0, BLOCK)
    v = tl.load(x + row * stride + at, mask=at < n, other=-float("inf"))
    e = tl.exp(v - tl.max(v, axis=0))
    tl.store(out + row * stride + at, e / tl.sum(e, axis=0), mask=at < n)


@triton.jit
def matmul_kernel(a, b, c, K, N, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr):
    m, n, k = tl.program_id(0) * BM + tl.arange(0, BM), tl.program_id(1) * BN + tl.arange(0, BN), tl.arange(0, BK)
    acc = tl.zeros((BM, BN), dtype=tl.float32)
    for s in range(0, K, BK):
        acc += tl.dot(tl.load(a + m[:, None] * K + (s + k)[None, :]), tl.load(b + (s + k)[:, None] * N + n[None, :]))
    tl.store(c + m[:, None] * N + n[None, :], acc)


def main():
    args = arguments(["run"])
    r = Report()
    g = torch.Generator("cuda").manual_seed(0)
    x = torch.randn(2048, 1000, device="cuda", generator=g)
    out = torch.full_like(x, float("nan"))
    softmax_kernel[(2048,)](out, x, x.stride(0), 1000, BLOCK=1024)
    r.value("softmax", out.cpu().numpy())
    a, b = (torch.randn(1024, 1024, device="cuda", dtype=torch.bfloat16, generator=g) for _ in range(2))
    c = torch.full((1024, 1024), float("nan"), device="cuda")

    def product():
        matmul_kernel[(16, 16)](a, b, c, 1024, 1024, BM=64, BN=64, BK=32)
        return c.cpu().numpy()
    for _ in range(8):
        last = product()
    r.value("matmul", last)
    r.look(mem_get_info_total=torch.cuda.mem_get_info()[1], properties_total=torch.cuda.get_device_properties(0).total_memory)
    if args.quota:
        r.fill(args.quota, lambda n: torch.empty(n, dtype=torch.uint8, device="cuda"), torch.OutOfMemoryError, torch.cuda.empty_cache, product)
    r.print()


if __name__ == "__main__":
    main()
