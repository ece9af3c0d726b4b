#!/usr/bin/env bash
# scripts/cuda-image.sh NVCC OUT.c: compiles kernels/cuda for all architectures into one image, as a C array.
#
# Code of a toolkit of CUDA 13 loads on no driver of CUDA 12, such as JetPack 6 has. So PTX is lowered to the oldest
# version that has what the kernels use, and code for sm_75 to sm_90 is assembled by the ptxas of CUDA 12 where
# LSRT_PTXAS12 names one (PyPI: nvidia-cuda-nvcc-cu12), else by that of the toolkit.
set -euo pipefail
nvcc=$1 out=$2
cd "$(dirname "$0")/.."
toolkit=$(dirname "$nvcc")
ptxas12=${LSRT_PTXAS12:-$toolkit/ptxas}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

for lowered in 75:6.5 80:7.0; do
  arch=${lowered%:*}
  "$nvcc" -std=c++17 -O3 -fmad=false --expt-relaxed-constexpr -I. -ptx -arch="compute_$arch" -o "$work/$arch.ptx" \
    kernels/cuda/kernels.cu
  # The pragma is a hint of later versions.
  sed -i -e "s/^\.version .*/.version ${lowered#*:}/" -e '/\.pragma "used_bytes_mask/d' "$work/$arch.ptx"
done
images=()
for pair in 75:75 86:80 87:80 90:80 110:80; do
  sm=${pair%:*}
  assembler=$ptxas12
  [ "$sm" = 110 ] && assembler=$toolkit/ptxas
  if ! "$assembler" -arch="sm_$sm" -warn-spills -Werror "$work/${pair#*:}.ptx" -o "$work/$sm.cubin"; then
    echo "cuda-image.sh: $assembler cannot assemble sm_$sm" >&2
    exit 1
  fi
  images+=("--image3=kind=elf,sm=$sm,file=$work/$sm.cubin")
done
"$toolkit/fatbinary" --create="$work/image.fatbin" -64 "${images[@]}" \
  "--image3=kind=ptx,sm=75,file=$work/75.ptx" "--image3=kind=ptx,sm=80,file=$work/80.ptx"
"$toolkit/bin2c" --name lsrt_cuda_image --const --type longlong "$work/image.fatbin" >"$work/image.c"
mv "$work/image.c" "$out"
