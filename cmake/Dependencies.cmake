# Finds what building Cylon takes; PublicDependencies.cmake has what its users need as well.
find_package(Python 3.11 COMPONENTS Interpreter REQUIRED)
include(${CMAKE_CURRENT_LIST_DIR}/PublicDependencies.cmake)

if(NOT CYLON_SANITIZE MATCHES "thread")
  find_package(TBB REQUIRED CONFIG)
endif()
find_package(OpenSSL 3.0 REQUIRED)
find_package(nlohmann_json REQUIRED CONFIG)
find_package(CLI11 REQUIRED CONFIG)
find_path(XXHASH_INCLUDE_DIR xxhash.h REQUIRED)
if(CYLON_BUILD_TESTS)
  find_package(GTest REQUIRED)
endif()
if(CYLON_BUILD_BENCHMARKS)
  find_package(benchmark REQUIRED CONFIG)
endif()

add_library(cylon_dependencies INTERFACE)
target_include_directories(cylon_dependencies SYSTEM INTERFACE ${XXHASH_INCLUDE_DIR})
target_compile_definitions(cylon_dependencies INTERFACE XXH_INLINE_ALL)
# OpenSSL first: libparquet carries an OpenSSL of its own, whose symbols would be found before the system's.
target_link_libraries(cylon_dependencies INTERFACE OpenSSL::SSL OpenSSL::Crypto CylonDependencies::public
                                                   nlohmann_json::nlohmann_json)
if(TARGET TBB::tbb)
  target_link_libraries(cylon_dependencies INTERFACE TBB::tbb)
else()
  target_compile_definitions(cylon_dependencies INTERFACE CYLON_PLAIN_THREADS)
endif()
