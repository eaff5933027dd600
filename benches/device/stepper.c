// A tenant whose host does most of the work, as turns.py needs it: steps of many short kernels, each step ended by a synchronisation, and
// how far it is in a page that another process reads. Run by turns.py, without any preload.
//
//   stepper PAGE   reads commands, answers each with one JSON line:
//     token KERNELS KERNEL_US HOST_US SECONDS     a step submits KERNELS kernels, spread over HOST_US of host time
//     period MS KERNEL_US SECONDS                 one kernel each MS, timed from when it was due
//
// Words of the page: 0 whether the host waits for the device; 1 when the last step ended, ns of CLOCK_MONOTONIC.
#include "spin.c"
#include <fcntl.h>
#include <sys/mman.h>
#include <time.h>

static double now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec + t.tv_nsec * 1e-9; }
static int ascending(const void *a, const void *b) { double x = *(const double *)a, y = *(const double *)b; return (x > y) - (x < y); }

static void report(double *v, size_t n, double seconds) {
    if (!n) { printf("{\"rate\":0}\n"); return; }
    qsort(v, n, sizeof *v, ascending);
    printf("{\"rate\":%.2f,\"p50_ms\":%.4f,\"p99_ms\":%.4f}\n", n / seconds, v[n / 2] * 1e3, v[(size_t)((n - 1) * 0.99)] * 1e3);
}

int main(int argc, char **argv) {
    CUdevice device; CUcontext context; char line[256];
    if (argc != 2) return 2;
    int file = open(argv[1], O_RDWR);
    volatile unsigned long long *page = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    size_t room = 1 << 20; double *times = malloc(room * sizeof *times);
    if (file < 0 || (void *)page == MAP_FAILED || !times) return 2;
    driver_load("proc", &api, &direct);
    CHECK(api.Init(0)); CHECK(api.DeviceGet(&device, 0)); CHECK(api.DevicePrimaryCtxRetain(&context, device)); CHECK(api.CtxSetCurrent(context)); CHECK(spin_open());
    CHECK(spin_launch(NULL, 1000, 132, 50)); CHECK(api.CtxSynchronize());
    double began = now();
    CHECK(spin_launch(NULL, 5000, 132, 200)); CHECK(api.CtxSynchronize());
    double turn = (now() - began) / 200 / 5000; // seconds
    printf("{\"ready\":1}\n"); fflush(stdout);
    while (fgets(line, sizeof line, stdin)) {
        int kernels; double us, host, seconds, ms; size_t n = 0;
        if (sscanf(line, "token %d %lf %lf %lf", &kernels, &us, &host, &seconds) == 4) {
            unsigned turns = us * 1e-6 / turn;
            double start = now(), end = start + seconds;
            while (now() < end && n < room) {
                double s = now();
                for (int i = 0; i < kernels; i++) { CHECK(spin_launch(NULL, turns, 132, 1)); while (now() < s + (i + 1) * host * 1e-6 / kernels) ; }
                page[0] = 1; CHECK(api.CtxSynchronize()); page[0] = 0;
                page[1] = (unsigned long long)(now() * 1e9);
                times[n++] = now() - s;
            }
            report(times, n, now() - start);
        } else if (sscanf(line, "period %lf %lf %lf", &ms, &us, &seconds) == 3) {
            unsigned turns = us * 1e-6 / turn;
            double due = now() + 0.001, end = due + seconds;
            while (due < end && n < room) {
                while (now() < due) ;
                page[0] = 1; CHECK(spin_launch(NULL, turns, 132, 1)); CHECK(api.CtxSynchronize()); page[0] = 0;
                double e = now();
                page[1] = (unsigned long long)(e * 1e9);
                times[n++] = e - due;
                due = due + ms * 1e-3 > e ? due + ms * 1e-3 : e;
            }
            report(times, n, seconds);
        } else return 2;
        fflush(stdout);
    }
    return 0;
}
