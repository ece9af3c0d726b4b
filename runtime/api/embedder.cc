// The C API of embedders.
#include "runtime/api/handles.h"
#include "runtime/classify/slide_network.h"
#include "runtime/device/threads.h"

using namespace lsrt;

struct lsrt_embedder {
  std::shared_ptr<const LoadedModel> loaded;
  std::unique_ptr<SlideNetwork> network;
};

lsrt_embedder_params lsrt_embedder_default_params(void) {
  return {sizeof(lsrt_embedder_params), 0, 16384, 0};
}

lsrt_status lsrt_model_slide_input(const lsrt_model* model, lsrt_slide_input* input) {
  return guarded([&]() -> Status {
    LSRT_TRY(require(input, "input"));
    LSRT_TRY(require_family(model, Family::kSlide));
    const Stage& stage = model->loaded->model->stages[0];
    const auto& stem = std::get<TileStem>(stage.stem);
    lsrt_slide_input value = {};
    value.features = static_cast<uint32_t>(stem.projection.inputs);
    value.tile = stem.tile, value.cells = stem.cells, value.width = stage.width;
    return write_struct(value, input);
  });
}

lsrt_status lsrt_embedder_create(const lsrt_model* model, const lsrt_embedder_params* params,
                                 lsrt_embedder** embedder) {
  return guarded([&]() -> Status {
    LSRT_TRY(require_family(model, Family::kSlide));
    LSRT_TRY(require(embedder, "embedder"));
    lsrt_embedder_params p;
    LSRT_TRY(read_params(params, lsrt_embedder_default_params(), &p));
    auto made = std::make_unique<lsrt_embedder>();
    made->loaded = model->loaded;
    SlideOptions options;
    options.threads = choose_threads(*model->loaded->model, p.threads);
    options.max_tiles = p.max_tiles, options.max_bytes = p.max_bytes;
    LSRT_ASSIGN(made->network, SlideNetwork::create(model->loaded->backend, options));
    *embedder = made.release();
    return Status();
  });
}

void lsrt_embedder_free(lsrt_embedder* embedder) { delete embedder; }

lsrt_status lsrt_embed_slide(lsrt_embedder* embedder, const float* tiles, const float* coords, size_t count,
                             float* embedding) {
  return guarded([&]() -> Status {
    LSRT_TRY(require(embedder, "embedder"));
    if (count > 0) LSRT_TRY(require(tiles, "tiles"));  // none is another error
    if (count > 0) LSRT_TRY(require(coords, "coords"));
    LSRT_TRY(require(embedding, "embedding"));
    return embedder->network->run(tiles, coords, count, embedding);
  });
}
