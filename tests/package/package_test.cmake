# Installs Cylon into an empty prefix, builds a program against it out of tree, and runs it.
set(work ${BUILD_DIR}/package-test)
file(REMOVE_RECURSE ${work})

function(run)
  execute_process(COMMAND ${ARGV} RESULT_VARIABLE failed OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(failed)
    message(FATAL_ERROR "${ARGV}\nended with ${failed}:\n${output}")
  endif()
  set(output "${output}" PARENT_SCOPE)
endfunction()

run(${CMAKE_COMMAND} --install ${BUILD_DIR} --prefix ${work}/prefix --component library)
# CYLON_SOURCE_DIR is nowhere in this: what the program needs comes from the prefix.
run(${CMAKE_COMMAND} -S ${SOURCE_DIR} -B ${work}/build -G ${GENERATOR} -DCMAKE_BUILD_TYPE=Release
    -DCMAKE_PREFIX_PATH=${work}/prefix)
run(${CMAKE_COMMAND} --build ${work}/build)
run(${work}/build/outside)
if(NOT output MATCHES "2 rows, 3 columns")
  message(FATAL_ERROR "the program printed '${output}', expected '2 rows, 3 columns'")
endif()
