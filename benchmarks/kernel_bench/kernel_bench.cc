// Kernels of one rank, one at a time: rows and bytes of the input a second. `kernel-bench --help` lists the choices;
// --benchmark_filter='Join/' runs some of them, and the library's options come from the environment (CYLON_THREADS=1).
#include <benchmark/benchmark.h>

BENCHMARK_MAIN();
