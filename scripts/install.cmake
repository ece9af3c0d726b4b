# What is installed: the tool with its manual, the C and C++ API, and what finds them, find_package(lsrt) and pkg-config.
# Two components, of which scripts/package.sh makes packages: tool, and dev for those who compile programs.
include(CMakePackageConfigHelpers)

# ---- the tool

install(TARGETS lsrt_cli COMPONENT tool)
install(FILES scripts/completion.bash RENAME lsrt DESTINATION "${CMAKE_INSTALL_DATADIR}/bash-completion/completions"
  COMPONENT tool)
add_custom_command(OUTPUT "${PROJECT_BINARY_DIR}/lsrt.1" DEPENDS lsrt_cli scripts/man.sh VERBATIM
  COMMAND "${PROJECT_SOURCE_DIR}/scripts/man.sh" "${PROJECT_BINARY_DIR}/lsrt.1" ${CMAKE_CROSSCOMPILING_EMULATOR}
    "$<TARGET_FILE:lsrt_cli>"
  COMMENT "Writing the manual page")
add_custom_target(lsrt_manual ALL DEPENDS "${PROJECT_BINARY_DIR}/lsrt.1")
install(FILES "${PROJECT_BINARY_DIR}/lsrt.1" DESTINATION "${CMAKE_INSTALL_MANDIR}/man1" COMPONENT tool)

# ---- the library; of a static one also the parts that it links with, in lsrt/; those of XNNPACK call each other

install(TARGETS lsrt COMPONENT dev)
install(FILES runtime/lsrt.h runtime/lsrt.hpp DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}" COMPONENT dev)
set(LSRT_STATIC_PARTS)
if(NOT BUILD_SHARED_LIBS)
  set(parts lsrt_kernels)
  install(TARGETS lsrt_kernels ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}/lsrt" COMPONENT dev)
  if(LSRT_XNNPACK)
    list(APPEND parts XNNPACK microkernels-prod XNNPACK pthreadpool cpuinfo)
    install(DIRECTORY "${LSRT_XNNPACK_DIR}/lib/" DESTINATION "${CMAKE_INSTALL_LIBDIR}/lsrt" COMPONENT dev)
  endif()
  list(TRANSFORM parts REPLACE "(.+)" "@lib@/lsrt/lib\\1.a" OUTPUT_VARIABLE LSRT_STATIC_PARTS)
  if(LSRT_CUDA)
    list(APPEND LSRT_STATIC_PARTS -llzma)
  endif()
endif()
if(LSRT_XNNPACK)  # whose code is in tool and library
  set(licenses DIRECTORY "${LSRT_XNNPACK_DIR}/licenses/" DESTINATION "${CMAKE_INSTALL_DATADIR}/doc")
  install(${licenses}/lsrt/licenses COMPONENT tool)
  install(${licenses}/lsrt-dev/licenses COMPONENT dev)
endif()
if(CMAKE_CROSSCOMPILING)  # JPEG, PNG and zlib are in the tool, too
  file(GLOB copyrights "${deps}/sysroot-${LSRT_ARCH}/usr/share/doc/*/copyright")
  foreach(copyright ${copyrights})
    get_filename_component(name "${copyright}" DIRECTORY)
    get_filename_component(name "${name}" NAME)
    install(FILES "${copyright}" RENAME "${name}" DESTINATION "${CMAKE_INSTALL_DATADIR}/doc/lsrt/licenses" COMPONENT tool)
  endforeach()
endif()

# ---- what finds it

set(config_folder "${CMAKE_INSTALL_LIBDIR}/cmake/lsrt")
file(RELATIVE_PATH LSRT_PREFIX_FROM_CONFIG "/prefix/${config_folder}" "/prefix")
string(REPLACE "@lib@" "\${lsrt_lib}" LSRT_CONFIG_PARTS "${LSRT_STATIC_PARTS}")
configure_file(scripts/lsrtConfig.cmake.in lsrtConfig.cmake @ONLY)
write_basic_package_version_file("${PROJECT_BINARY_DIR}/lsrtConfigVersion.cmake" COMPATIBILITY SameMinorVersion)
install(FILES "${PROJECT_BINARY_DIR}/lsrtConfig.cmake" "${PROJECT_BINARY_DIR}/lsrtConfigVersion.cmake"
  DESTINATION "${config_folder}" COMPONENT dev)

set(pc_folder "${CMAKE_INSTALL_LIBDIR}/pkgconfig")
file(RELATIVE_PATH LSRT_PREFIX_FROM_PC "/prefix/${pc_folder}" "/prefix")
string(REPLACE "@lib@" "\${libdir}" LSRT_PC_PARTS "${LSRT_STATIC_PARTS}")
if(LSRT_STATIC_PARTS)
  list(APPEND LSRT_PC_PARTS -lstdc++ -lpthread -ldl -lm)
endif()
list(JOIN LSRT_PC_PARTS " " LSRT_PC_PARTS)
configure_file(scripts/lsrt.pc.in lsrt.pc @ONLY)
install(FILES "${PROJECT_BINARY_DIR}/lsrt.pc" DESTINATION "${pc_folder}" COMPONENT dev)

# ---- packages

set(CPACK_GENERATOR "DEB;TGZ")
set(CPACK_PACKAGE_NAME lsrt)
set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
set(CPACK_PACKAGE_CONTACT "The lsrt maintainers <lsrt@localhost>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "Int8 inference of Transformer-LS and Mamba models")
set(CPACK_PACKAGE_DESCRIPTION "Writes text in constant memory, classifies images and long documents.")
set(CPACK_PACKAGE_FILE_NAME "lsrt-${PROJECT_VERSION}-linux-${LSRT_ARCH}")  # the archive, with both components
set(CPACK_PACKAGE_DIRECTORY "${PROJECT_BINARY_DIR}/packages")
set(CPACK_STRIP_FILES ON)
set(CPACK_COMPONENTS_ALL tool dev)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_TOOL_PACKAGE_NAME lsrt)
set(CPACK_DEBIAN_TOOL_PACKAGE_SECTION science)
if(CMAKE_CROSSCOMPILING)
  # What the tool needs, at the versions that it was linked with, the packages of the cross compiler know.
  set(CPACK_DEBIAN_PACKAGE_ARCHITECTURE arm64)
  foreach(library libc6 libgcc-s1 libstdc++6)
    execute_process(COMMAND dpkg-query -W "-f=\${Version}" ${library}-arm64-cross OUTPUT_VARIABLE version ERROR_QUIET)
    string(REGEX MATCH "^[0-9]+\\.[0-9]+" version "${version}")
    list(APPEND cross_depends "${library} (>= ${version})")
  endforeach()
  list(JOIN cross_depends ", " CPACK_DEBIAN_TOOL_PACKAGE_DEPENDS)
else()
  set(CPACK_DEBIAN_TOOL_PACKAGE_SHLIBDEPS ON)  # JPEG, PNG, the C++ library: at the versions that the tool was linked with
endif()
set(CPACK_DEBIAN_DEV_PACKAGE_NAME lsrt-dev)
set(CPACK_DEBIAN_DEV_PACKAGE_SECTION libdevel)
set(CPACK_COMPONENT_DEV_DESCRIPTION "The library, its headers for C and C++, and what CMake and pkg-config need.")
set(CPACK_COMPONENT_TOOL_DESCRIPTION "The command line tool.")
include(CPack)
