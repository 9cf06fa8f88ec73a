/// Marks what the shared library shows; everything else is hidden.
#pragma once

#define CYLON_EXPORT __attribute__((visibility("default")))

/// Hot loops are compiled for several CPUs and picked at load time. Empty where the sanitizer or compiler cannot
/// cope (g++ 12 under tsan crashes before main; clang does not take it together with templates). Never on a template.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_THREAD__)
#define CYLON_CLONES __attribute__((target_clones("default", "arch=x86-64-v3", "arch=x86-64-v4")))
#else
#define CYLON_CLONES
#endif
