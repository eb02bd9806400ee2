# SPDX-License-Identifier: Apache-2.0
# leat_add_operator(NAME SOURCES...): one operator as a loadable module NAME.so that exports
# leat_operator_entry alone and links against nothing of Leat. Also installed, for operators outside
# the tree.

function(leat_add_operator name)
    add_library(${name} MODULE ${ARGN})
    target_link_libraries(${name} PRIVATE leat::operator)
    target_compile_features(${name} PRIVATE c_std_11)
    set_target_properties(${name} PROPERTIES PREFIX "" SUFFIX ".so" C_VISIBILITY_PRESET hidden
        CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON)
    if(LEAT_OPERATOR_OUTPUT_DIRECTORY)
        set_target_properties(${name} PROPERTIES
            LIBRARY_OUTPUT_DIRECTORY "${LEAT_OPERATOR_OUTPUT_DIRECTORY}")
    endif()
    # A typo in a call is a link error; the sanitizers' runtime lives in the executable (clang).
    if(NOT LEAT_SANITIZE)
        target_link_options(${name} PRIVATE -Wl,-z,defs)
    endif()
    if(TARGET leat_flags)
        target_link_libraries(${name} PRIVATE leat_flags)
        install(TARGETS ${name} LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}/leat/operators)
    endif()
endfunction()
