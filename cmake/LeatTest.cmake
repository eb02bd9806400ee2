# SPDX-License-Identifier: Apache-2.0
# leat_add_test(NAME [LABEL unit] [SOURCES ...] [LINK ...] [TIMEOUT s] [PLAIN]): a test program built
# from test_NAME.c. With Criterion, or PLAIN with an own main. This call is the only list of tests.

function(leat_add_test name)
    cmake_parse_arguments(T "PLAIN" "LABEL;TIMEOUT" "SOURCES;LINK" ${ARGN})
    if(NOT T_LABEL)
        set(T_LABEL unit)
    endif()
    if(NOT T_TIMEOUT)
        set(T_TIMEOUT 120)
    endif()
    add_executable(test_${name} test_${name}.c ${T_SOURCES})
    target_link_libraries(test_${name} PRIVATE leat_flags ${T_LINK})
    if(NOT T_PLAIN)
        target_link_libraries(test_${name} PRIVATE Criterion::Criterion)
    endif()
    set_target_properties(test_${name} PROPERTIES
        RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/tests")
    target_compile_definitions(test_${name} PRIVATE
        LEAT_SOURCE_DIR="${PROJECT_SOURCE_DIR}" LEAT_BINARY_DIR="${CMAKE_BINARY_DIR}")
    if(T_PLAIN OR NOT LEAT_SANITIZE STREQUAL "thread")
        add_test(NAME ${name} COMMAND test_${name})
        # A leaking Criterion program exits 0 under ASan unless it aborts.
        set_tests_properties(${name} PROPERTIES LABELS "${T_LABEL}" TIMEOUT ${T_TIMEOUT}
            ENVIRONMENT "ASAN_OPTIONS=abort_on_error=1:detect_leaks=1;UBSAN_OPTIONS=print_stacktrace=1")
    endif()
endfunction()

# leat_add_script_test(NAME LABEL l COMMAND ... [TIMEOUT s]): a script as a test.
function(leat_add_script_test name)
    cmake_parse_arguments(T "" "LABEL;TIMEOUT" "COMMAND" ${ARGN})
    if(NOT T_TIMEOUT)
        set(T_TIMEOUT 120)
    endif()
    add_test(NAME ${name} COMMAND ${T_COMMAND} WORKING_DIRECTORY "${PROJECT_SOURCE_DIR}")
    set_tests_properties(${name} PROPERTIES LABELS "${T_LABEL}" TIMEOUT ${T_TIMEOUT}
        ENVIRONMENT "LEAT_BUILD=${CMAKE_BINARY_DIR}")
endfunction()
