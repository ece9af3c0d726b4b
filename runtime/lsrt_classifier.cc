// The C API of classifiers.
#include "runtime/encoder_network.h"
#include "runtime/lsrt_handles.h"
#include "runtime/vision_network.h"

using namespace lsrt;

struct lsrt_classifier {
  std::shared_ptr<const LoadedModel> loaded;
  size_t max_batch;
  std::unique_ptr<VisionNetwork> vision;  // one of these two
  std::unique_ptr<EncoderNetwork> encoder;
  std::vector<float> pixels;  // of a batch, normalised
};

namespace {

Status require_family(const lsrt_model* model, const char* family) {
  LSRT_TRY(require(model, "model"));
  const std::string& own = model->loaded->model->family;
  return own == family ? Status()
                       : fail(Error::kArgument, "the model is of family '%s', not '%s'", own.c_str(), family);
}

// images[count, size, size, 3], 8 bits, to [count, 3, size, size] as the model was trained with.
void normalise(const ImageInput& input, const uint8_t* images, size_t count, float* out) {
  const size_t plane = size_t{input.size} * input.size;
  for (size_t i = 0; i < count; ++i) {
    for (size_t p = 0; p < plane; ++p) {
      for (size_t c = 0; c < 3; ++c) {
        out[c * plane + p] = (static_cast<float>(images[p * 3 + c]) / 255.0f - input.mean[c]) / input.std[c];
      }
    }
    images += plane * 3;
    out += plane * 3;
  }
}

}  // namespace

lsrt_classifier_params lsrt_classifier_default_params(void) { return {sizeof(lsrt_classifier_params), 1, 1}; }

lsrt_status lsrt_model_image_input(const lsrt_model* model, lsrt_image_input* input) {
  return guarded([&]() -> Status {
    LSRT_TRY(require(input, "input"));
    LSRT_TRY(require_family(model, "vil"));
    const ImageInput& own = model->loaded->model->image;
    lsrt_image_input value = {};
    value.size = own.size;
    value.resize = own.resize ? own.resize : own.size;
    std::copy_n(own.mean, 3, value.mean);
    std::copy_n(own.std, 3, value.std);
    return write_struct(value, input);
  });
}

lsrt_status lsrt_model_sequence_input(const lsrt_model* model, lsrt_sequence_input* input) {
  return guarded([&]() -> Status {
    LSRT_TRY(require(input, "input"));
    LSRT_TRY(require_family(model, "encoder"));
    const Model& own = *model->loaded->model;
    lsrt_sequence_input value = {};
    value.max_length = own.sequence.max_length;
    value.byte_offset = own.sequence.byte_offset;
    value.pair = std::get<ClassifierHead>(own.head).pair;
    return write_struct(value, input);
  });
}

lsrt_status lsrt_classifier_create(const lsrt_model* model, const lsrt_classifier_params* params,
                                   lsrt_classifier** classifier) {
  return guarded([&]() -> Status {
    LSRT_TRY(require(model, "model"));
    LSRT_TRY(require(classifier, "classifier"));
    lsrt_classifier_params p;
    LSRT_TRY(read_params(params, lsrt_classifier_default_params(), &p));
    if (p.threads == 0 || p.max_batch == 0)
      return fail(Error::kArgument, "threads and max_batch must be at least 1");
    auto made = std::make_unique<lsrt_classifier>();
    made->loaded = model->loaded;
    made->max_batch = p.max_batch;
    const ClassifierOptions options{p.threads, p.max_batch};
    const auto& own = model->loaded->model;
    const auto& backend = model->loaded->backend;
    if (own->family == "vil") {
      LSRT_ASSIGN(made->vision, VisionNetwork::create(own, backend, options));
      made->pixels.resize(size_t{3} * own->image.size * own->image.size * p.max_batch);
    } else if (own->family == "encoder") {
      LSRT_ASSIGN(made->encoder, EncoderNetwork::create(own, backend, options));
    } else {
      return fail(Error::kArgument, "a model of family '%s' is no classifier", own->family.c_str());
    }
    *classifier = made.release();
    return Status();
  });
}

void lsrt_classifier_free(lsrt_classifier* classifier) { delete classifier; }

lsrt_status lsrt_classify_images(lsrt_classifier* classifier, const uint8_t* images, size_t count,
                                 float* logits) {
  return guarded([&]() -> Status {
    LSRT_TRY(require(classifier, "classifier"));
    if (!classifier->vision) return fail(Error::kArgument, "the classifier takes sequences, not images");
    if (count == 0) return Status();
    LSRT_TRY(require(images, "images"));
    LSRT_TRY(require(logits, "logits"));
    const ImageInput& input = classifier->loaded->model->image;
    const size_t image_bytes = size_t{3} * input.size * input.size;
    for (size_t done = 0; done < count;) {
      const size_t n = std::min(count - done, classifier->max_batch);
      normalise(input, images + done * image_bytes, n, classifier->pixels.data());
      float* to = logits + done * classifier->vision->classes();
      LSRT_TRY(classifier->vision->run(classifier->pixels.data(), n, to));
      done += n;
    }
    return Status();
  });
}

lsrt_status lsrt_classify_sequences(lsrt_classifier* classifier, const int32_t* tokens, const size_t* lengths,
                                    size_t count, float* logits) {
  return guarded([&]() -> Status {
    LSRT_TRY(require(classifier, "classifier"));
    if (!classifier->encoder) return fail(Error::kArgument, "the classifier takes images, not sequences");
    if (count == 0) return Status();
    LSRT_TRY(require(tokens, "tokens"));
    LSRT_TRY(require(lengths, "lengths"));
    LSRT_TRY(require(logits, "logits"));
    return classifier->encoder->run(tokens, lengths, count, logits);
  });
}
