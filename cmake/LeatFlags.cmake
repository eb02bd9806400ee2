# SPDX-License-Identifier: Apache-2.0
# The flags of all our own targets, on INTERFACE targets that are linked PRIVATE.

add_library(leat_flags INTERFACE)
target_compile_features(leat_flags INTERFACE c_std_11)
target_compile_definitions(leat_flags INTERFACE _GNU_SOURCE)
target_compile_options(leat_flags INTERFACE
    -Wall -Wextra -Wconversion -Wshadow -Wformat=2 -Wstrict-prototypes -Wmissing-prototypes
    $<$<C_COMPILER_ID:GNU>:-Wno-format-truncation> # cut text is meant to be cut
    -fvisibility=hidden -fno-common
    $<$<BOOL:${LEAT_WERROR}>:-Werror>)

# Hardening; tests/unit/test_hardening inspects the binary for it.
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
include(CheckPIESupported)
check_pie_supported(LANGUAGES C)
if(NOT LEAT_SANITIZE)
    target_compile_options(leat_flags INTERFACE
        -fstack-protector-strong -fstack-clash-protection -fcf-protection=full
        $<$<NOT:$<CONFIG:Debug>>:-U_FORTIFY_SOURCE>
        $<$<NOT:$<CONFIG:Debug>>:-D_FORTIFY_SOURCE=3>)
endif()
target_link_options(leat_flags INTERFACE -Wl,-z,relro,-z,now,-z,noexecstack)

# Sanitizers and coverage go on everything that is linked together.
if(LEAT_SANITIZE STREQUAL "address")
    set(leat_instrument -fsanitize=address,undefined -fno-sanitize-recover=all
        -fno-omit-frame-pointer)
elseif(LEAT_SANITIZE STREQUAL "thread")
    set(leat_instrument -fsanitize=thread -fno-omit-frame-pointer)
elseif(LEAT_SANITIZE STREQUAL "fuzzer")
    set(leat_instrument -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all
        -fno-omit-frame-pointer)
elseif(LEAT_SANITIZE)
    message(FATAL_ERROR "LEAT_SANITIZE is address, thread, fuzzer or empty, not ${LEAT_SANITIZE}")
endif()
if(LEAT_COVERAGE)
    list(APPEND leat_instrument --coverage)
endif()
target_compile_options(leat_flags INTERFACE ${leat_instrument})
target_link_options(leat_flags INTERFACE ${leat_instrument})
