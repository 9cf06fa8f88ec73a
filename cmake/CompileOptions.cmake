# Warnings are errors; sanitizers by CYLON_SANITIZE.
add_library(cylon_options INTERFACE)
target_compile_options(cylon_options INTERFACE -Wall -Wextra -Wpedantic -Werror -Wnon-virtual-dtor -Woverloaded-virtual)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # Both fire on Arrow's and the standard library's own headers at -O2 with g++ 12; coroutine frames trip the second.
  target_compile_options(cylon_options INTERFACE -Wno-maybe-uninitialized -Wno-mismatched-new-delete
                                                 -Wno-stringop-overflow -Wno-array-bounds -Wno-stringop-overread
                                                 -Wno-free-nonheap-object -Wno-restrict)
else()
  # Fields that a designated initializer leaves out have their defaults, which is why it is used.
  target_compile_options(cylon_options INTERFACE -Wno-missing-field-initializers)
  # std::stable_sort of libstdc++ 12 uses what C++17 deprecated.
  target_compile_options(cylon_options INTERFACE -Wno-deprecated-declarations)
endif()
if(CYLON_FAILPOINTS)
  target_compile_definitions(cylon_options INTERFACE CYLON_FAILPOINTS)
endif()
if(CYLON_SANITIZE)
  target_compile_options(cylon_options INTERFACE -fsanitize=${CYLON_SANITIZE} -fno-omit-frame-pointer -g1)
  target_link_options(cylon_options INTERFACE -fsanitize=${CYLON_SANITIZE})
  target_compile_definitions(cylon_options INTERFACE CYLON_SANITIZED)
  if(CYLON_FUZZ)
    # libFuzzer keeps an input where the program ends, not where it prints. (Arrow's own objects have no vptr that clang
    # would know: its library is hidden behind another's symbols.)
    target_compile_options(cylon_options INTERFACE -fno-sanitize-recover=undefined -fno-sanitize=vptr,function)
  endif()
  if(CYLON_SANITIZE MATCHES "thread")
    # tsan does not know fences, and g++ warns of them; asio's queues are ordered by their mutexes anyway.
    target_compile_definitions(cylon_options INTERFACE ASIO_DISABLE_FENCED_BLOCK)
  endif()
endif()
