# Tests, found by name: tests/*/*_test.cc, _test.c and _test.sh. Exit status 77 = skipped.
enable_testing()
function(lsrt_add_test name)
  add_test(NAME ${name} COMMAND ${ARGN})
  set_tests_properties(${name} PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 600)
  if(LSRT_SANITIZE OR CMAKE_CROSSCOMPILING)
    set_tests_properties(${name} PROPERTIES TIMEOUT 1500
      ENVIRONMENT "UBSAN_OPTIONS=print_stacktrace=1;TSAN_OPTIONS=halt_on_error=1")
  endif()
  # How many random models (percent) and damaged ones: most where a sanitizer watches, few where that takes long.
  if(LSRT_SANITIZE MATCHES address)
    set_property(TEST ${name} APPEND PROPERTY ENVIRONMENT "LSRT_MUTATIONS=100000")
  elseif(LSRT_SANITIZE OR CMAKE_CROSSCOMPILING)
    set_property(TEST ${name} APPEND PROPERTY ENVIRONMENT "LSRT_MODELS=10;LSRT_MUTATIONS=1000")
  endif()
endfunction()

# For few sources: what depends on where the project lies, a compiler's cache cannot give to another clone.
set(test_definitions LSRT_TEST_DATA="${PROJECT_SOURCE_DIR}/tests/data"
  LSRT_SHARED_DIR="${PROJECT_SOURCE_DIR}/../shared")
if(TARGET lsrt_cli)
  # The start of a shell command; a test that is emulated itself starts the tool through the emulator, too.
  list(JOIN CMAKE_CROSSCOMPILING_EMULATOR " " emulator)
  string(STRIP "${emulator} $<TARGET_FILE:lsrt_cli>" cli_command)
  list(APPEND test_definitions LSRT_CLI="${cli_command}")
endif()
include(tests/cuda/cuda.cmake)
file(GLOB test_sources CONFIGURE_DEPENDS tests/*/*_test.cc tests/*/*_test.c)
if(NOT TARGET lsrt_cuda_watched)
  list(FILTER test_sources EXCLUDE REGEX "/cuda_faults_test\\.cc$")
endif()
if(CMAKE_CROSSCOMPILING)  # emulated, they would take many minutes, and what they test is the same everywhere
  list(FILTER test_sources EXCLUDE REGEX
    "/(cuda_[a-z]+|endurance|file_failures|hostile_readers|memory_failures|mutated_models)_test\\.cc$")
endif()
add_library(lsrt_test_main STATIC tests/support/main.cc tests/support/folders.cc)
target_compile_definitions(lsrt_test_main PRIVATE ${test_definitions})
target_include_directories(lsrt_test_main PRIVATE "${PROJECT_SOURCE_DIR}")
target_link_libraries(lsrt_test_main PUBLIC lsrt_doctest PRIVATE lsrt_flags)
foreach(source ${test_sources})
  get_filename_component(name "${source}" NAME_WE)
  add_executable(${name} "${source}")
  if(source MATCHES "\\.c$")
    target_compile_definitions(${name} PRIVATE ${test_definitions})
    target_link_libraries(${name} PRIVATE lsrt::lsrt lsrt_flags)  # sees what a user of the C API sees
    set_target_properties(${name} PROPERTIES LINKER_LANGUAGE CXX)
    if(TARGET lsrt_cli)  # makes its models
      add_dependencies(${name} lsrt_cli)
    endif()
  else()
    target_link_libraries(${name} PRIVATE lsrt_test_main lsrt_converter lsrt_internal lsrt_kernels lsrt_xnnpack
      lsrt_json lsrt_flags)
    if(source MATCHES "/tests/cuda/")
      lsrt_link_cuda(${name})
    endif()
    if(TARGET lsrt_image)
      target_link_libraries(${name} PRIVATE lsrt_image)
    endif()
  endif()
  lsrt_add_test(${name} ${name})
endforeach()

file(GLOB test_scripts CONFIGURE_DEPENDS tests/*/*_test.sh)
if(NOT LSRT_CUDA)
  list(FILTER test_scripts EXCLUDE REGEX "/cuda_(cli|static)_test\\.sh$")
endif()
foreach(script ${test_scripts})
  get_filename_component(name "${script}" NAME_WE)
  lsrt_add_test(${name} bash "${script}" "${PROJECT_BINARY_DIR}")
  if(emulator)
    set_property(TEST ${name} APPEND PROPERTY ENVIRONMENT "LSRT_EMULATOR=${emulator}")
  endif()
endforeach()

lsrt_add_test(schema_drift bash "${PROJECT_SOURCE_DIR}/scripts/schema.sh" --check)

# An inline function that an ISA file shares with other files could be kept from that file by the linker, and then
# run on a CPU that lacks the instructions.
if(NOT LSRT_SANITIZE)
  file(GENERATE OUTPUT "${PROJECT_BINARY_DIR}/kernel_objects.txt"
    CONTENT "$<JOIN:$<TARGET_OBJECTS:lsrt_kernels>,\n>\n")
  lsrt_add_test(kernel_symbols bash "${PROJECT_SOURCE_DIR}/scripts/check_symbols.sh" "${CMAKE_NM}"
    "${PROJECT_BINARY_DIR}/kernel_objects.txt")
endif()
