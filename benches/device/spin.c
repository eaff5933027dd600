// Kernels of a chosen length, launched from C so that a 5 us kernel can keep the device busy. Loaded by share_worker.py as a
// library into a process whose context PyTorch made.
//
// The length is a number of dependent multiply-adds, not a time read from a clock: a clock goes on while another tenant has
// the device, and the kernel would then seem to have done work that it did not.
#include "driver.h"

static Driver api, direct;
static CUfunction spin;

// 16 dependent fused multiply-adds a turn; the store can never happen, and keeps the loop from being removed
static const char *PTX =
    ".version 6.4\n.target sm_70\n.address_size 64\n"
    ".visible .entry spin(.param .u32 turns, .param .u64 out) {\n"
    " .reg .f32 %f<4>; .reg .b32 %r<4>; .reg .b64 %d<2>; .reg .pred %p<3>;\n"
    " ld.param.u32 %r1, [turns]; ld.param.u64 %d1, [out]; mov.f32 %f1, 0f3F800000; mov.f32 %f2, 0f3F7FFFFF; mov.f32 %f3, 0f33800000; mov.u32 %r2, 0;\n"
    "again:\n"
    " fma.rn.f32 %f1, %f1, %f2, %f3; fma.rn.f32 %f1, %f1, %f2, %f3; fma.rn.f32 %f1, %f1, %f2, %f3; fma.rn.f32 %f1, %f1, %f2, %f3;\n"
    " fma.rn.f32 %f1, %f1, %f2, %f3; fma.rn.f32 %f1, %f1, %f2, %f3; fma.rn.f32 %f1, %f1, %f2, %f3; fma.rn.f32 %f1, %f1, %f2, %f3;\n"
    " fma.rn.f32 %f1, %f1, %f2, %f3; fma.rn.f32 %f1, %f1, %f2, %f3; fma.rn.f32 %f1, %f1, %f2, %f3; fma.rn.f32 %f1, %f1, %f2, %f3;\n"
    " fma.rn.f32 %f1, %f1, %f2, %f3; fma.rn.f32 %f1, %f1, %f2, %f3; fma.rn.f32 %f1, %f1, %f2, %f3; fma.rn.f32 %f1, %f1, %f2, %f3;\n"
    " add.u32 %r2, %r2, 1; setp.lt.u32 %p1, %r2, %r1; @%p1 bra again;\n"
    " setp.lt.f32 %p2, %f1, 0fC0000000; @%p2 st.global.f32 [%d1], %f1;\n"
    " ret;\n}\n";

int spin_open(void) {
    CUmodule module;
    driver_load("proc", &api, &direct);
    CUresult r = api.ModuleLoadData(&module, PTX);
    return r ? r : api.ModuleGetFunction(&spin, module, "spin");
}

// `count` launches of `blocks` x 256 threads, each of `turns` turns. Returns the first error.
int spin_launch(void *stream, unsigned turns, unsigned blocks, int count) {
    unsigned long long out = 0;
    void *arguments[] = {&turns, &out};
    for (int i = 0; i < count; i++) {
        CUresult r = api.LaunchKernel(spin, blocks, 1, 1, 256, 1, 1, 0, stream, arguments, NULL);
        if (r) return r;
    }
    return 0;
}
