// The C API of classifiers.
#include "runtime/api/handles.h"
#include "runtime/classify/encoder_network.h"
#include "runtime/classify/normalise.h"
#include "runtime/classify/vision_network.h"
#include "runtime/device/threads.h"

using namespace lsrt;

struct lsrt_classifier {
  std::shared_ptr<const LoadedModel> loaded;
  size_t max_batch;
  std::unique_ptr<VisionNetwork> vision;  // one of these two
  std::unique_ptr<EncoderNetwork> encoder;
  std::vector<float> pixels;  // of a batch, normalised
};

lsrt_classifier_params lsrt_classifier_default_params(void) {
  return {sizeof(lsrt_classifier_params), 0, 1, 0};
}

lsrt_status lsrt_model_image_input(const lsrt_model* model, lsrt_image_input* input) {
  return guarded([&]() -> Status {
    LSRT_TRY(require(input, "input"));
    LSRT_TRY(require_family(model, Family::kVil));
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
    LSRT_TRY(require_family(model, Family::kEncoder));
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
    if (p.max_batch == 0) return fail(Error::kArgument, "max_batch is 0, must be at least 1");
    auto made = std::make_unique<lsrt_classifier>();
    made->loaded = model->loaded;
    made->max_batch = p.max_batch;
    const auto& own = model->loaded->model;
    ClassifierOptions options{choose_threads(*own, p.threads), p.max_batch,
                              p.max_bytes ? p.max_bytes : kDefaultMaxBytes};
    const auto& backend = model->loaded->backend;
    if (own->family == Family::kVil) {
      // The pixels of a batch are the classifier's, the rest the network's.
      const uint64_t pixels = uint64_t{3} * own->image.size * own->image.size * p.max_batch;
      LSRT_TRY(within_budget(pixels * sizeof(float) + 1, options.max_bytes));
      options.max_bytes -= pixels * sizeof(float);
      LSRT_ASSIGN(made->vision, VisionNetwork::create(backend, options));
      made->pixels.resize(pixels);
    } else if (own->family == Family::kEncoder) {
      LSRT_ASSIGN(made->encoder, EncoderNetwork::create(backend, options));
    } else {
      return fail(Error::kArgument, "a model of family '%s' is no classifier", family_name(own->family));
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
