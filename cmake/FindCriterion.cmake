# SPDX-License-Identifier: Apache-2.0
# Finds Criterion: target Criterion::Criterion, by pkg-config first, else by header and library.
include(FindPackageHandleStandardArgs)
find_package(PkgConfig QUIET)
if(PkgConfig_FOUND)
    pkg_check_modules(PC_Criterion QUIET criterion)
endif()
find_path(Criterion_INCLUDE_DIR criterion/criterion.h HINTS ${PC_Criterion_INCLUDE_DIRS})
find_library(Criterion_LIBRARY criterion HINTS ${PC_Criterion_LIBRARY_DIRS})
set(Criterion_VERSION "${PC_Criterion_VERSION}")
find_package_handle_standard_args(Criterion REQUIRED_VARS Criterion_LIBRARY Criterion_INCLUDE_DIR
    VERSION_VAR Criterion_VERSION)
if(Criterion_FOUND AND NOT TARGET Criterion::Criterion)
    add_library(Criterion::Criterion UNKNOWN IMPORTED)
    set_target_properties(Criterion::Criterion PROPERTIES IMPORTED_LOCATION "${Criterion_LIBRARY}"
        INTERFACE_INCLUDE_DIRECTORIES "${Criterion_INCLUDE_DIR}")
endif()
mark_as_advanced(Criterion_INCLUDE_DIR Criterion_LIBRARY)
