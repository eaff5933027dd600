/* Stands in for the collective library: collectives of one rank, which launch by the runtime as the true ones do. Compiled
 * against the official header, so that a wrong signature cannot pass. */
#include <stddef.h>
#include <stdint.h>
extern "C" {
int rtKernelLaunch(const void *stub, uint32_t blocks, void *args, uint32_t size, void *shared, void *stream);
int rtDevBinaryRegister(const void *binary, void **handle);
int rtFunctionRegister(void *binary, const void *stub, const char *name, const void *info, uint32_t mode);
int rtMalloc(void **place, uint64_t size, uint32_t kind, uint16_t module);
}
#include <hccl/hccl.h>

static const char stub = 0;
static void *buffer;

/* Two kernels of half a millisecond, and a buffer at the first call. */
static HcclResult collective(aclrtStream stream) {
    static const char code[] = "\x7f" "ELF collectives";
    struct { uint32_t magic, version; const void *data; uint64_t length; } image = {0, 0, code, sizeof code};
    uint64_t ns = 500000;
    if (!buffer) {
        void *binary;
        if (rtMalloc(&buffer, 32 << 20, 0, 3)) return HCCL_E_MEMORY;
        if (rtDevBinaryRegister(&image, &binary)) return HCCL_E_RUNTIME;
        if (rtFunctionRegister(binary, &stub, "fcsp_spin", NULL, 0)) return HCCL_E_RUNTIME;
    }
    for (int i = 0; i < 2; i++)
        if (rtKernelLaunch(&stub, 1, &ns, sizeof ns, NULL, stream)) return HCCL_E_RUNTIME;
    return HCCL_SUCCESS;
}

HcclResult HcclAllReduce(void *, void *, uint64_t, HcclDataType, HcclReduceOp, HcclComm, aclrtStream stream) {
    return collective(stream);
}
HcclResult HcclBarrier(HcclComm, aclrtStream stream) {
    return collective(stream);
}
