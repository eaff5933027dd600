//! The kernels that programs launch, as PTX: real code for a device, and names that the simulated
//! driver knows, which does the same.

/// `fcsp_fill`, `fcsp_saxpy` and `fcsp_spin`, and a variable of 256 bytes. Ends with a NUL, as
/// drivers want it.
pub const TEXT: &str = concat!(
    r#".version 7.0
.target sm_75
.address_size 64
.visible .global .align 16 .b8 table[256];
.visible .entry fcsp_fill(.param .u64 p, .param .u32 value, .param .u64 n)
{
    .reg .pred %q;
    .reg .b32 %r<5>;
    .reg .b64 %d<6>;
    ld.param.u64 %d1, [p];
    ld.param.u32 %r1, [value];
    ld.param.u64 %d2, [n];
    mov.u32 %r2, %ctaid.x;
    mov.u32 %r3, %ntid.x;
    mov.u32 %r4, %tid.x;
    mul.wide.u32 %d3, %r2, %r3;
    cvt.u64.u32 %d4, %r4;
    add.u64 %d3, %d3, %d4;
    setp.ge.u64 %q, %d3, %d2;
    @%q bra done;
    shl.b64 %d4, %d3, 2;
    add.u64 %d5, %d1, %d4;
    st.global.u32 [%d5], %r1;
done:
    ret;
}
.visible .entry fcsp_saxpy(.param .u64 y, .param .u64 x, .param .f32 a, .param .u64 n)
{
    .reg .pred %q;
    .reg .b32 %r<5>;
    .reg .f32 %f<5>;
    .reg .b64 %d<8>;
    ld.param.u64 %d1, [y];
    ld.param.u64 %d2, [x];
    ld.param.f32 %f1, [a];
    ld.param.u64 %d3, [n];
    mov.u32 %r2, %ctaid.x;
    mov.u32 %r3, %ntid.x;
    mov.u32 %r4, %tid.x;
    mul.wide.u32 %d4, %r2, %r3;
    cvt.u64.u32 %d5, %r4;
    add.u64 %d4, %d4, %d5;
    setp.ge.u64 %q, %d4, %d3;
    @%q bra done;
    shl.b64 %d5, %d4, 2;
    add.u64 %d6, %d1, %d5;
    add.u64 %d7, %d2, %d5;
    ld.global.f32 %f2, [%d6];
    ld.global.f32 %f3, [%d7];
    fma.rn.f32 %f4, %f3, %f1, %f2;
    st.global.f32 [%d6], %f4;
done:
    ret;
}
.visible .entry fcsp_spin(.param .u64 ns)
{
    .reg .pred %q;
    .reg .b64 %d<5>;
    ld.param.u64 %d1, [ns];
    mov.u64 %d2, %globaltimer;
again:
    mov.u64 %d3, %globaltimer;
    sub.u64 %d4, %d3, %d2;
    setp.lt.u64 %q, %d4, %d1;
    @%q bra again;
    ret;
}
"#,
    "\0"
);

/// Threads of a block in every launch.
pub const BLOCK: u64 = 128;
