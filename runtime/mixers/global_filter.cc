// A filter as large as the grid: its place in a model file.
#include "runtime/model/reader.h"

namespace lsrt {

Status ModelReader::mixer(const fb::GlobalFilter& source, const Rows& rows, GlobalFilter* mixer) {
  LSRT_TRY(range("cls rows", rows.cls_count, 0, 0));
  LSRT_TRY(range("grid", rows.grid, 1, kMaxFilterGrid));
  return floats("kernel", source.kernel(), {rows.width, rows.grid, rows.grid}, &mixer->kernel);
}

}  // namespace lsrt
