// The encoder of slides on a backend (spec more-mixers, section 3): the tiles of a slide as features with
// coordinates in, one embedding out. Nothing is as large as the square of the number of tiles. Internal;
// applications call the embedder of lsrt.h.
#pragma once

#include <memory>
#include <vector>

#include "runtime/device/backend.h"
#include "runtime/device/budget.h"
#include "runtime/mixers/dilated_groups.h"
#include "runtime/mixers/layer_runner.h"

namespace lsrt {

struct SlideOptions {
  size_t threads = 1;
  size_t max_tiles = 1;  // of a slide
  size_t max_bytes = 0;  // all memory that create() may take (kMemory beyond it); 0: kDefaultMaxBytes
};

class SlideNetwork {
 public:
  // Bytes that create() will allocate for activations, lists and the backend's workspace; errors as create().
  static Result<size_t> plan(Backend& backend, const SlideOptions& options);
  // Allocates all memory; after this nothing is allocated. Errors: kArgument (no model of slides, max_tiles
  // is 0 or over kMaxStreamTokens), kUnsupported, kMemory (also beyond max_bytes).
  static Result<std::unique_ptr<SlideNetwork>> create(std::shared_ptr<Backend> backend,
                                                      const SlideOptions& options);
  ~SlideNetwork();

  const Model& model() const { return backend_.model(); }
  size_t features() const { return stem().projection.inputs; }
  size_t width() const { return model().stages[0].width; }
  size_t max_tiles() const { return options_.max_tiles; }

  // embedding[width] of tiles[count, features] at coords[count, 2], count 1 .. max_tiles. Errors: kArgument
  // (count, or a coordinate that lies in no cell of the model; nothing is computed).
  Status run(const float* tiles, const float* coords, size_t count, float* embedding);

 private:
  struct Layer {
    PreparedBlock prepared;
    DilatedGroups groups;
  };
  struct Buffers {
    Dev<float> tiles;      // [tile rows, features]
    Dev<float> embedded;   // [tile rows, width]
    Dev<int32_t> cells;    // [max_tiles, 2]: of the second coordinate, of the first
    Dev<float> x;          // [1 + max_tiles, width]: a layer's input, then its output; the cls row is first
    Dev<float> attention;  // [1 + max_tiles, width]: queries, then what they found
    Dev<void> store;       // keys and values of all rows, and behind them the row of zeros
    Dev<float> zeros;      // [width]
    Dev<int32_t> indices;  // lists of a batch
    Dev<float> embedding;  // [width]
  };

  explicit SlideNetwork(Backend& backend) : backend_(backend), runner_(backend) {}
  const TileStem& stem() const { return std::get<TileStem>(model().stages[0].stem); }
  const EmbeddingHead& head() const { return std::get<EmbeddingHead>(model().head); }
  const RowOps& rows() const { return *backend_.ops().rows; }
  size_t most_rows() const { return 1 + options_.max_tiles; }
  size_t stem_rows() const { return std::min(runner_.tile_rows(), options_.max_tiles); }
  size_t bytes() const { return host_bytes_ + device_bytes_ + stream_plan_.workspace; }
  Status count(const SlideOptions& options);
  void place(Carver* host, DeviceCarver* device);
  Status prepare();
  KeyValueStore store_of(const Layer& layer) const;
  GroupedAttention attention_of(const Layer& layer) const;

  // Cells of the coordinates, to cells_.
  Status find_cells(const float* coords, size_t count);
  void embed(const float* tiles, size_t count);
  void run_layer(const Layer& layer, size_t rows);
  void pool(size_t rows);

  std::shared_ptr<Backend> owned_;  // null where only counted
  Backend& backend_;
  SlideOptions options_;
  LayerRunner runner_;
  std::vector<Layer> layers_;
  const Linear* projection_ = nullptr;
  DeviceTensor positions_;
  Dev<const float> cls_token_;
  DeviceNorm norm_, output_norm_;
  StreamPlan stream_plan_;
  size_t device_bytes_ = 0, host_bytes_ = 0;
  std::unique_ptr<uint8_t[]> host_;
  Dev<void> device_;
  Buffers b_{};
  int32_t* cells_ = nullptr;        // [max_tiles, 2], on the host
  DilatedGroups::Scratch lists_{};  // on the host
  std::unique_ptr<Stream> stream_;
};

}  // namespace lsrt
