// A filter as large as the grid as a layer of an image network (spec more-mixers, section 2):
// x + feed-forward(norm2 filter(norm1 x)).
#include <algorithm>
#include <vector>

#include "base/exact_math.h"
#include "runtime/mixers/image_layer.h"

namespace lsrt {
namespace {

// What GlobalFilterRows needs beside rows: of the grid, and of a kernel of each channel.
struct FilterTables {
  std::vector<float> cosines, sines, spectrum;

  FilterTables(const float* kernel, size_t n, size_t width) {
    const size_t frequencies = n / 2 + 1;
    std::vector<UnitRoot> roots;  // [n, frequencies]: of 2 pi j f / n
    for (size_t j = 0; j < n; ++j) {
      for (size_t f = 0; f < frequencies; ++f) roots.push_back(exact_root(j * f, n));
    }
    for (size_t f = 0; f < frequencies; ++f) {
      for (size_t u = 0; u < n; ++u) {
        cosines.push_back(static_cast<float>(roots[u * frequencies + f].re));
        sines.push_back(static_cast<float>(roots[u * frequencies + f].im));
      }
    }
    spectrum.resize(n * frequencies * 2 * width);
    std::vector<UnitRoot> sums(frequencies);  // complex numbers, too
    for (size_t c = 0; c < width; ++c) {
      for (size_t i = 0; i < n; ++i) {
        const float* row = kernel + (c * n + i) * n;
        std::fill(sums.begin(), sums.end(), UnitRoot{0, 0});
        for (size_t j = 0; j < n; ++j) {
          for (size_t f = 0; f < frequencies; ++f) {
            sums[f].re += row[j] * roots[j * frequencies + f].re;
            sums[f].im += row[j] * roots[j * frequencies + f].im;
          }
        }
        for (size_t f = 0; f < frequencies; ++f) {
          // A real row has each frequency twice but for these.
          const double weight = (f == 0 || 2 * f == n ? 1.0 : 2.0) / static_cast<double>(n);
          float* to = &spectrum[2 * (i * frequencies + f) * width + c];
          to[0] = static_cast<float>(sums[f].re * weight),
          to[width] = static_cast<float>(sums[f].im * weight);
        }
      }
    }
  }
};

class GlobalFilterLayer : public ImageLayer {
 public:
  GlobalFilterLayer(const Block& block, const GlobalFilter& mixer, const ImageExtents& extents,
                    Backend& backend)
      : block_(block),
        mixer_(mixer),
        extents_(extents),
        backend_(backend),
        tile_(std::min(backend.info().tile_rows, extents.rows())) {
    filter_.grid = extents.grid, filter_.width = extents.width;
  }

  void plan(StreamPlan* plan) override {
    backend_.ops().filter->plan(filter_, plan);
    backend_.ops().linear->plan(block_.feed_forward.fc1, tile_, plan);
    backend_.ops().linear->plan(block_.feed_forward.fc2, tile_, plan);
  }

  void place_tables(DeviceCarver* carver) override {
    const size_t frequencies = extents_.grid / 2 + 1;
    cosines_ = carver->take<float>(frequencies * extents_.grid);
    sines_ = carver->take<float>(frequencies * extents_.grid);
    spectrum_ = carver->take<float>(extents_.grid * frequencies * 2 * extents_.width);
  }
  void place_scratch(DeviceCarver* carver) override {
    filtered_ = carver->take<float>(extents_.rows() * extents_.width);
    hidden_ = carver->take<float>(tile_ * block_.feed_forward.fc1.outputs);
  }

  Status prepare() override {
    LSRT_ASSIGN(fc1_, backend_.prepare(block_.feed_forward.fc1));
    LSRT_ASSIGN(fc2_, backend_.prepare(block_.feed_forward.fc2));
    norm1_ = backend_.norm(block_.norm1), norm2_ = backend_.norm(block_.norm2);
    return {};
  }
  void make_tables(Stream& stream) override {
    const FilterTables tables(mixer_.kernel, extents_.grid, extents_.width);
    const auto copy = [&](Dev<float> to, const std::vector<float>& from) {
      backend_.copy_in(stream, to, from.data(), from.size() * sizeof(float));
    };
    copy(cosines_, tables.cosines), copy(sines_, tables.sines), copy(spectrum_, tables.spectrum);
    filter_.cosines = cosines_, filter_.sines = sines_, filter_.spectrum = spectrum_;
  }

  void run(Stream& stream, Dev<float> x) override {
    const RowOps& row_ops = *backend_.ops().rows;
    const LinearOps& linear = *backend_.ops().linear;
    const size_t width = extents_.width;
    row_ops.layer_norm(stream, norm1_, width, x, width, extents_.rows(), filtered_, width);
    filter_.x = filtered_, filter_.y = filtered_;
    backend_.ops().filter->global_filter(stream, filter_);
    for (size_t row = 0, count; row < extents_.rows(); row += count) {
      count = std::min(tile_, extents_.rows() - row);
      const Dev<float> rows = filtered_ + row * width;
      row_ops.layer_norm(stream, norm2_, width, rows, width, count, rows, width);
      linear.linear(stream, *fc1_, rows, count, block_.feed_forward.activation, hidden_);
      linear.linear(stream, *fc2_, hidden_, count, Activation::kNone, rows);
    }
    row_ops.add(stream, filtered_, extents_.rows() * width, x);
  }

 private:
  const Block& block_;
  const GlobalFilter& mixer_;
  const ImageExtents extents_;
  Backend& backend_;
  const size_t tile_;  // rows
  GlobalFilterRows filter_{};
  const Linear *fc1_ = nullptr, *fc2_ = nullptr;
  DeviceNorm norm1_, norm2_;
  Dev<float> cosines_, sines_, spectrum_;  // of GlobalFilterRows
  Dev<float> filtered_;                    // [rows, width]: of the first norm on
  Dev<float> hidden_;                      // [tile, feed-forward width]
};

}  // namespace

Result<std::unique_ptr<ImageLayer>> make_image_layer(const Block& block, const GlobalFilter& mixer,
                                                     const ImageExtents& extents, Backend& backend,
                                                     VisionLayouts&) {
  if (!backend.ops().filter) {
    return fail(Error::kUnsupported, "backend '%s' has no filters of a grid", backend.info().name);
  }
  return std::unique_ptr<ImageLayer>(new GlobalFilterLayer(block, mixer, extents, backend));
}

}  // namespace lsrt
