# What `cmake --install` puts where. Component `library`: libcylon, headers, CMake package; `programs`: the tools.
include(CMakePackageConfigHelpers)

set(cylon_package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/Cylon)
install(TARGETS cylon EXPORT CylonTargets
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT library
  INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(DIRECTORY ${PROJECT_SOURCE_DIR}/cpp/cylon DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT library
  FILES_MATCHING PATTERN "*.h" PATTERN "*_internal.h" EXCLUDE PATTERN "testing*" EXCLUDE)
install(EXPORT CylonTargets NAMESPACE Cylon:: DESTINATION ${cylon_package_dir} COMPONENT library)
configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/CylonConfig.cmake.in ${PROJECT_BINARY_DIR}/CylonConfig.cmake
  INSTALL_DESTINATION ${cylon_package_dir})
# 0.x: a minor version may change the interface.
write_basic_package_version_file(${PROJECT_BINARY_DIR}/CylonConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/CylonConfig.cmake ${PROJECT_BINARY_DIR}/CylonConfigVersion.cmake
  ${PROJECT_SOURCE_DIR}/cmake/PublicDependencies.cmake ${PROJECT_SOURCE_DIR}/cmake/ArrowFromWheel.cmake
  DESTINATION ${cylon_package_dir} COMPONENT library)
