# IMPORTED targets on the shared libraries inside the pyarrow wheel. The files keep their versioned names;
# nothing is written into the wheel's folder. Set CYLON_PYARROW_DIR to the wheel's folder to choose one.
if(NOT CYLON_PYARROW_DIR)
  find_package(Python 3.11 COMPONENTS Interpreter REQUIRED)
  execute_process(
    COMMAND ${Python_EXECUTABLE} -c
            "import importlib.util as u; print(u.find_spec('pyarrow').submodule_search_locations[0])"
    OUTPUT_VARIABLE CYLON_PYARROW_DIR OUTPUT_STRIP_TRAILING_WHITESPACE
    RESULT_VARIABLE cylon_pyarrow_missing ERROR_QUIET)
  if(cylon_pyarrow_missing)
    message(FATAL_ERROR "Arrow C++ ${CYLON_ARROW_MAJOR} was not found: neither a system package nor the pyarrow wheel "
                        "of ${Python_EXECUTABLE}. Run 'make setup', or pip install 'pyarrow>=26.0,<26.1'.")
  endif()
endif()

foreach(pair IN ITEMS arrow:arrow compute:arrow_compute parquet:parquet)
  string(REPLACE ":" ";" pair ${pair})
  list(GET pair 0 name)
  list(GET pair 1 file)
  set(path "${CYLON_PYARROW_DIR}/lib${file}.so.${CYLON_ARROW_MAJOR}00")
  if(NOT EXISTS ${path})
    message(FATAL_ERROR "${path} does not exist; Cylon needs pyarrow >=26.0,<26.1 in ${CYLON_PYARROW_DIR}")
  endif()
  add_library(CylonArrow::${name} SHARED IMPORTED)
  set_target_properties(CylonArrow::${name} PROPERTIES
    IMPORTED_LOCATION ${path} INTERFACE_INCLUDE_DIRECTORIES "${CYLON_PYARROW_DIR}/include")
endforeach()
set_target_properties(CylonArrow::compute PROPERTIES INTERFACE_LINK_LIBRARIES CylonArrow::arrow)
set_target_properties(CylonArrow::parquet PROPERTIES INTERFACE_LINK_LIBRARIES CylonArrow::arrow)
