# SPDX-License-Identifier: Apache-2.0
# bin/topology, include/leat/, lib/leat/operators/, lib/cmake/leat/, leat.pc
include(CMakePackageConfigHelpers)

set(leat_cmake_dir ${CMAKE_INSTALL_LIBDIR}/cmake/leat)
if(TARGET topology)
    install(TARGETS topology RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()
install(DIRECTORY include/leat DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(TARGETS leat_operator EXPORT leat-targets)
install(EXPORT leat-targets NAMESPACE leat:: DESTINATION ${leat_cmake_dir})
install(FILES cmake/LeatOperator.cmake DESTINATION ${leat_cmake_dir})
configure_package_config_file(cmake/leat-config.cmake.in leat-config.cmake
    INSTALL_DESTINATION ${leat_cmake_dir})
write_basic_package_version_file(leat-config-version.cmake COMPATIBILITY SameMinorVersion
    ARCH_INDEPENDENT)
install(FILES "${CMAKE_CURRENT_BINARY_DIR}/leat-config.cmake"
    "${CMAKE_CURRENT_BINARY_DIR}/leat-config-version.cmake" DESTINATION ${leat_cmake_dir})
configure_file(cmake/leat.pc.in leat.pc @ONLY)
install(FILES "${CMAKE_CURRENT_BINARY_DIR}/leat.pc" DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
