/* Threads before main: a constructor starts them, and they use the device while the program is still being set up. The
 * exit status is how many of them got something else than memory or the driver's refusal. */
#include <dlfcn.h>
#include <pthread.h>
#include <stddef.h>

static pthread_t threads[4];

static void *work(void *unused) {
    void *driver = dlopen("libcuda.so.1", RTLD_NOW);
    void *context = NULL;
    unsigned long long address;
    int (*init)(unsigned) = driver ? (int (*)(unsigned))dlsym(driver, "cuInit") : NULL;
    int (*retain)(void **, int) = driver ? (int (*)(void **, int))dlsym(driver, "cuDevicePrimaryCtxRetain") : NULL;
    int (*current)(void *) = driver ? (int (*)(void *))dlsym(driver, "cuCtxSetCurrent") : NULL;
    int (*alloc)(unsigned long long *, size_t) =
        driver ? (int (*)(unsigned long long *, size_t))dlsym(driver, "cuMemAlloc_v2") : NULL;
    (void)unused;
    if (!init || init(0) || retain(&context, 0) || current(context))
        return (void *)1;
    if (alloc(&address, 2ul << 30) != 2)
        return (void *)1;
    return (void *)(size_t)(alloc(&address, 64u << 20) != 0);
}

__attribute__((constructor)) static void before_main(void) {
    for (int i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, work, NULL);
}

int main(void) {
    size_t bad = 0;
    for (int i = 0; i < 4; i++) {
        void *result;
        pthread_join(threads[i], &result);
        bad += (size_t)result;
    }
    return (int)bad;
}
