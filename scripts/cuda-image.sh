#!/usr/bin/env bash
# Compiles kernels/cuda.
#
#   scripts/cuda-image.sh NVCC list            the architectures of the image, as words
#   scripts/cuda-image.sh NVCC image OUT.c     one image for all devices, packed by xz, as a C array
#   scripts/cuda-image.sh NVCC cubins FOLDER   code for every architecture that is checked (scripts/cuda_static.py)
#
# The image has code for the Jetsons; other devices' drivers compile its PTX when a model is loaded first, and keep it.
#
# Code of a toolkit of CUDA 13 loads on no driver of CUDA 12, such as JetPack 6 has. So PTX is lowered to the oldest
# version that has what the kernels use, and code up to sm_90 is assembled by the ptxas of CUDA 12 where LSRT_PTXAS12
# names one (scripts/setup.sh brings it), else by that of the toolkit. Drivers could unpack the image, too, old ones only
# a format that takes three times the space.
set -euo pipefail
nvcc=$1 what=$2
cd "$(dirname "$0")/.."
toolkit=$("$nvcc" --dryrun kernels/cuda/kernels.cu 2>&1 | sed -n 's/^#\$ _HERE_=//p')  # nvcc may be a script
ptxas12=${LSRT_PTXAS12:-$toolkit/ptxas}

knows() { "$nvcc" --list-gpu-code | grep -qx "sm_$1"; }
devices=(87)
! knows 110 || devices+=(110)
if [ "$what" = list ]; then
  printf 'sm_%s, ' "${devices[@]}"
  echo "PTX for sm_75 and later"
  exit
fi
[ "$what" = image ] || devices=(75 86 87 90 110)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for lowered in 75:6.5 80:7.0; do
  arch=${lowered%:*}
  "$nvcc" -std=c++17 -O3 -fmad=false --expt-relaxed-constexpr -I. -ptx -arch="compute_$arch" -o "$work/$arch.ptx" \
    kernels/cuda/kernels.cu &
done
wait -n && wait -n  # both, or the error of one
for lowered in 75:6.5 80:7.0; do
  # The pragma is a hint of later versions.
  sed -i -e "s/^\.version .*/.version ${lowered#*:}/" -e '/\.pragma "used_bytes_mask/d' "$work/${lowered%:*}.ptx"
done
images=()
for sm in "${devices[@]}"; do
  assembler=$ptxas12 ptx=$work/80.ptx
  [ "$sm" -lt 80 ] && ptx=$work/75.ptx
  [ "$sm" -gt 90 ] && assembler=$toolkit/ptxas
  if ! "$assembler" -arch="sm_$sm" -warn-spills -Werror "$ptx" -o "$work/$sm.cubin"; then
    echo "cuda-image.sh: $assembler cannot assemble sm_$sm" >&2
    exit 1
  fi
  images+=("--image3=kind=elf,sm=$sm,file=$work/$sm.cubin")
done
if [ "$what" = cubins ]; then
  mkdir -p "$3"
  cp "$work"/*.cubin "$3"
  exit
fi
"$toolkit/fatbinary" --create="$work/image.fatbin" -64 --compress=false "${images[@]}" \
  "--image3=kind=ptx,sm=75,file=$work/75.ptx" "--image3=kind=ptx,sm=80,file=$work/80.ptx"
xz --keep --extreme --check=crc32 "$work/image.fatbin"
{
  "$toolkit/bin2c" --name lsrt_cuda_packed --const --type longlong "$work/image.fatbin.xz"
  echo "const unsigned long long lsrt_cuda_packed_bytes = $(stat -c %s "$work/image.fatbin.xz");"
  echo "const unsigned long long lsrt_cuda_image_bytes = $(stat -c %s "$work/image.fatbin");"
} >"$work/image.c"
mv "$work/image.c" "$3"
