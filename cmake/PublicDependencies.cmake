# What Cylon's headers need, as the target CylonDependencies::public. Used by the build and, shipped beside
# CylonConfig.cmake, by programs that find_package(Cylon). Arrow comes from a system package of the right major where
# there is one, else out of the pyarrow wheel.
set(CYLON_ARROW_MAJOR 26)

find_package(Threads REQUIRED)
find_package(spdlog REQUIRED CONFIG)
find_path(CYLON_ASIO_INCLUDE_DIR asio.hpp REQUIRED)

find_package(Arrow ${CYLON_ARROW_MAJOR} QUIET CONFIG)
if(Arrow_FOUND)
  find_package(ArrowCompute REQUIRED CONFIG)
  find_package(Parquet REQUIRED CONFIG)
  set(cylon_arrow_targets Arrow::arrow_shared ArrowCompute::arrow_compute_shared Parquet::parquet_shared)
else()
  include(${CMAKE_CURRENT_LIST_DIR}/ArrowFromWheel.cmake)
  set(cylon_arrow_targets CylonArrow::arrow CylonArrow::compute CylonArrow::parquet)
endif()

if(NOT TARGET CylonDependencies::public)
  add_library(CylonDependencies::public INTERFACE IMPORTED)
  target_link_libraries(CylonDependencies::public INTERFACE ${cylon_arrow_targets} Threads::Threads spdlog::spdlog)
  target_include_directories(CylonDependencies::public SYSTEM INTERFACE ${CYLON_ASIO_INCLUDE_DIR})
  target_compile_definitions(CylonDependencies::public INTERFACE ASIO_STANDALONE ASIO_NO_DEPRECATED)
  if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
    target_compile_definitions(CylonDependencies::public INTERFACE ASIO_HAS_CO_AWAIT ASIO_HAS_STD_COROUTINE)
  endif()
endif()
