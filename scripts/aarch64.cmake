# Toolchain: 64-bit ARM Linux from another machine, tests under qemu-user. Made ready by: scripts/setup.sh aarch64
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64 -cpu max -L /usr/aarch64-linux-gnu)

set(deps "$ENV{LSRT_DEPS}")
if(NOT deps AND DEFINED ENV{XDG_CACHE_HOME})
  set(deps "$ENV{XDG_CACHE_HOME}/lsrt")
elseif(NOT deps)
  set(deps "$ENV{HOME}/.cache/lsrt")
endif()
set(CMAKE_LIBRARY_ARCHITECTURE aarch64-linux-gnu)
set(CMAKE_FIND_ROOT_PATH /usr/aarch64-linux-gnu "${deps}/sysroot-aarch64")
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE BOTH)  # headers without code, e.g. doctest, are the machine's own
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
