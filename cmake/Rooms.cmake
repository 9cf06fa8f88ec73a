# A room is a folder under cpp/cylon. Its sources make one object library; its tests, one program.
# A room links only the rooms above it, in this order.
set(CYLON_ROOMS base table kernels wire bootstrap net comm exchange ops io)

# A test's own code is compiled once for every time it runs: -O1 takes a quarter less than -O3.
set(CYLON_TEST_OPTIONS $<$<CONFIG:Release>:-O1>)

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
  target_compile_options(${program} PRIVATE -fPIC ${CYLON_TEST_OPTIONS})
  target_compile_definitions(${program} PRIVATE CYLON_BUILDING)
  target_link_libraries(${program} PRIVATE GTest::gtest GTest::gmock GTest::gtest_main)
  target_precompile_headers(${program} REUSE_FROM cylon_test_pch)
endfunction()

function(cylon_add_test name program)
  add_test(NAME ${name} COMMAND ${program})
  set_tests_properties(${name} PROPERTIES TIMEOUT 600)
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
    set_property(GLOBAL APPEND PROPERTY CYLON_ROOM_TARGETS cylon_${room})
  endif()

  if(tests AND CYLON_BUILD_TESTS)
    get_property(above GLOBAL PROPERTY CYLON_ROOM_TARGETS)
    add_executable(cylon_${room}_test ${tests})
    target_include_directories(cylon_${room}_test PRIVATE ${PROJECT_SOURCE_DIR}/cpp)
    target_link_libraries(cylon_${room}_test PRIVATE ${above} cylon_dependencies cylon_options)
    cylon_use_test_pch(cylon_${room}_test)
    cylon_add_test(${room} cylon_${room}_test)
  endif()
endfunction()
