# A room is a folder under cpp/cylon. Its sources make one object library; its tests, one program.
# A room links only the rooms above it, in this order.
set(CYLON_ROOMS base table kernels wire bootstrap net comm exchange ops io)

# What runs little is compiled for less: -O1 takes a quarter less than -O3. For tests and for programs' own code.
set(CYLON_QUICK_OPTIONS $<$<CONFIG:Release>:-O1>)

# Sources of a room compiled as one read headers and make templates once: nine of io take 12 s of CPU together and 31 s
# apart. They must not share a name at file level then. Other builds compile each alone (tsan's does not: asan's has the
# same sources), and so find what one of them forgot to include. Kernels are apart in every build: they are what is
# changed and timed again all day.
if(CMAKE_BUILD_TYPE STREQUAL "Release")
  set(CYLON_UNITY_DEFAULT ON)
else()
  set(CYLON_UNITY_DEFAULT OFF)
endif()
option(CYLON_UNITY "Compile several sources of a room as one" ${CYLON_UNITY_DEFAULT})

# cylon_unite(<target> <sources at a time>)
function(cylon_unite target batch)
  if(CYLON_UNITY)
    set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE ${batch})
    # g++ takes the sources for headers, where a class must not have a member of a type that is the source's own.
    target_compile_options(${target} PRIVATE $<$<CXX_COMPILER_ID:GNU>:-Wno-subobject-linkage>)
  endif()
endfunction()

# A program that uses the precompiled headers has to be compiled as they were: -fPIC, where CMake would say -fPIE.
function(cylon_use_pch program)
  set_target_properties(${program} PROPERTIES POSITION_INDEPENDENT_CODE OFF)
  target_compile_options(${program} PRIVATE -fPIC)
  target_compile_definitions(${program} PRIVATE CYLON_BUILDING)
  target_precompile_headers(${program} REUSE_FROM cylon_pch)
endfunction()

# The same for a test, which is linked with GoogleTest and its main.
function(cylon_use_test_pch program)
  set_target_properties(${program} PROPERTIES POSITION_INDEPENDENT_CODE OFF)
  target_compile_options(${program} PRIVATE -fPIC ${CYLON_QUICK_OPTIONS})
  target_compile_definitions(${program} PRIVATE CYLON_BUILDING)
  target_link_libraries(${program} PRIVATE GTest::gtest GTest::gmock GTest::gtest_main)
  target_precompile_headers(${program} REUSE_FROM cylon_test_pch)
endfunction()

# Seconds that one room's tests may take; the long runs of 10^5 seeds need more.
set(CYLON_TEST_TIMEOUT 600 CACHE STRING "Seconds that the tests of one room may take")

function(cylon_add_test name program)
  add_test(NAME ${name} COMMAND ${program})
  set_tests_properties(${name} PROPERTIES TIMEOUT ${CYLON_TEST_TIMEOUT})
  if(CYLON_SANITIZE)
    # Arrow's own allocator is not instrumented: asan would not see the ends of its buffers, and tsan reports its
    # internals. malloc is.
    set_tests_properties(${name} PROPERTIES TIMEOUT 1800 ENVIRONMENT ARROW_DEFAULT_MEMORY_POOL=system)
  endif()
endfunction()

function(cylon_room room)
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${room}/*.cc)
  set(tests ${sources})
  list(FILTER sources EXCLUDE REGEX "_test\\.cc$")
  list(FILTER tests INCLUDE REGEX "_test\\.cc$")

  if(sources)
    add_library(cylon_${room} OBJECT ${sources})
    target_include_directories(cylon_${room} PUBLIC ${PROJECT_SOURCE_DIR}/cpp)
    target_link_libraries(cylon_${room} PUBLIC cylon_dependencies PRIVATE cylon_options)
    target_compile_definitions(cylon_${room} PRIVATE CYLON_BUILDING)
    target_precompile_headers(cylon_${room} REUSE_FROM cylon_pch)
    if(NOT room STREQUAL "kernels")
      cylon_unite(cylon_${room} 8)
    endif()
    set_property(GLOBAL APPEND PROPERTY CYLON_ROOM_TARGETS cylon_${room})
  endif()

  if(tests AND CYLON_BUILD_TESTS)
    get_property(above GLOBAL PROPERTY CYLON_ROOM_TARGETS)
    add_executable(cylon_${room}_test ${tests})
    target_include_directories(cylon_${room}_test PRIVATE ${PROJECT_SOURCE_DIR}/cpp)
    target_link_libraries(cylon_${room}_test PRIVATE ${above} cylon_dependencies cylon_options)
    cylon_use_test_pch(cylon_${room}_test)
    if(NOT room STREQUAL "kernels")
      cylon_unite(cylon_${room}_test 4)
    endif()
    cylon_add_test(${room} cylon_${room}_test)
  endif()
endfunction()
