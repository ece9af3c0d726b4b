// The extension module lsrt._lsrt: the handles of the C API as Python objects, numpy arrays in and out. What
// Python people expect beyond that (iterators, strings, defaults) is in python/lsrt/*.py.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <memory>

#include "lsrt.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

using Floats = nb::ndarray<nb::numpy, float>;
using Tokens = nb::ndarray<const int32_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

// Raises what lsrt.errors makes of a status and the text of the last error.
void check(lsrt_status status) {
  if (status == LSRT_OK) return;
  if (PyErr_Occurred()) throw nb::python_error();  // from a callback: KeyboardInterrupt
  nb::object error = nb::module_::import_("lsrt.errors").attr("make")(int(status), lsrt_last_error());
  PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(error.ptr())), error.ptr());
  throw nb::python_error();
}

// Runs without the lock that other Python threads wait for.
template <typename F>
void unlocked(const F& f) {
  lsrt_status status;
  {
    nb::gil_scoped_release release;
    status = f();
  }
  check(status);
}

// Between steps: whether to go on. False after Ctrl-C.
bool no_signal(size_t, size_t, void*) {
  nb::gil_scoped_acquire acquire;
  return PyErr_CheckSignals() == 0;
}

// An array that owns its memory.
Floats make_floats(std::initializer_list<size_t> shape) {
  size_t n = 1;
  for (size_t extent : shape) n *= extent;
  auto* data = new float[n];
  nb::capsule owner(data, [](void* p) noexcept { delete[] static_cast<float*>(p); });
  return Floats(data, shape, owner);
}

template <auto F>
struct FreeWith {
  template <typename T>
  void operator()(T* handle) const {
    F(handle);
  }
};

nb::bytes token_bytes(const lsrt_model* model, int32_t token) {
  size_t size = 0;
  const char* text = lsrt_token_text(model, token, &size);
  return nb::bytes(text, size);
}

struct Model {
  std::unique_ptr<lsrt_model, FreeWith<lsrt_model_free>> handle;

  Model(const std::string& path, const std::string& backend, const std::string& isa, bool map) {
    lsrt_model_params params = lsrt_model_default_params();
    params.backend = backend.c_str(), params.isa = isa.empty() ? nullptr : isa.c_str(), params.map = map;
    lsrt_model* made = nullptr;
    unlocked([&] { return lsrt_model_load(path.c_str(), &params, &made); });
    handle.reset(made);
  }

  nb::object tokenize(nb::bytes text) const {
    std::vector<int32_t> tokens(text.size() + 16);
    size_t count = 0;
    lsrt_status status =
        lsrt_tokenize(handle.get(), text.c_str(), text.size(), tokens.data(), tokens.size(), &count);
    if (status == LSRT_ERROR_MEMORY) {
      tokens.resize(count);
      status = lsrt_tokenize(handle.get(), text.c_str(), text.size(), tokens.data(), tokens.size(), &count);
    }
    check(status);
    tokens.resize(count);
    return nb::cast(tokens);
  }

  nb::bytes token_text(int32_t token) const { return token_bytes(handle.get(), token); }

  std::vector<std::string> labels() const {
    std::vector<std::string> all;
    for (size_t i = 0; i < lsrt_model_classes(handle.get()); ++i)
      all.push_back(lsrt_model_label(handle.get(), i));
    return all;
  }

  // (size, resize) of images; None for other models.
  nb::object image_input() const {
    lsrt_image_input input{};
    input.struct_size = sizeof input;
    if (lsrt_model_image_input(handle.get(), &input) != LSRT_OK) return nb::none();
    return nb::make_tuple(input.size, input.resize);
  }

  // (longest, pair) of token sequences; None for other models.
  nb::object sequence_input() const {
    lsrt_sequence_input input{};
    input.struct_size = sizeof input;
    if (lsrt_model_sequence_input(handle.get(), &input) != LSRT_OK) return nb::none();
    return nb::make_tuple(input.max_length, input.pair);
  }
};

struct Sampler {
  std::unique_ptr<lsrt_sampler, FreeWith<lsrt_sampler_free>> handle;

  Sampler(const Model& model, float temperature, uint32_t top_k, float top_p, float min_p,
          float repeat_penalty, uint64_t seed) {
    lsrt_sampler_params params = lsrt_sampler_default_params();
    params.temperature = temperature, params.top_k = top_k, params.top_p = top_p, params.min_p = min_p;
    params.repeat_penalty = repeat_penalty, params.seed = seed;
    lsrt_sampler* made = nullptr;
    check(lsrt_sampler_create(model.handle.get(), &params, &made));
    handle.reset(made);
  }
  void accept(const Tokens& tokens) {
    for (size_t i = 0; i < tokens.size(); ++i) lsrt_sampler_accept(handle.get(), tokens.data()[i]);
  }
};

struct Session {
  std::unique_ptr<lsrt_session, FreeWith<lsrt_session_free>> handle;
  const lsrt_model* model;  // kept alive
  size_t vocabulary;

  Session(const Model& of, uint32_t threads, uint32_t block, uint32_t memory)
      : model(of.handle.get()), vocabulary(lsrt_model_vocabulary(model)) {
    lsrt_session_params params = lsrt_session_default_params();
    params.threads = threads, params.block = block, params.memory = memory;
    lsrt_session* made = nullptr;
    unlocked([&] { return lsrt_session_create(model, &params, &made); });
    handle.reset(made);
  }

  void run(const Tokens& tokens, lsrt_output output, float* out) {
    unlocked([&] {
      return lsrt_session_feed(handle.get(), tokens.data(), tokens.size(), output, out, no_signal, nullptr);
    });
  }
  Floats feed_last(const Tokens& tokens) {
    Floats out = make_floats({vocabulary});
    run(tokens, LSRT_OUTPUT_LAST, out.data());
    return out;
  }
  Floats feed_all(const Tokens& tokens) {
    Floats out = make_floats({tokens.size(), vocabulary});
    run(tokens, LSRT_OUTPUT_ALL, out.data());
    return out;
  }
  // What follows the tokens, as the sampler chooses it: its text; None for a special token.
  nb::object next_after(const int32_t* tokens, size_t count, Sampler& sampler) {
    int32_t token = 0;
    unlocked([&] {
      return lsrt_session_next(handle.get(), tokens, count, sampler.handle.get(), no_signal, nullptr, &token);
    });
    if (lsrt_token_special(model, token)) return nb::none();
    return token_bytes(model, token);
  }
  nb::object next(const Tokens& tokens, Sampler& sampler) {
    return next_after(tokens.data(), tokens.size(), sampler);
  }
  // The same after the sampler's last token: Python would make an array of it, which costs more than all else
  // that it does for a token.
  nb::object go_on(Sampler& sampler) {
    const int32_t last = lsrt_sampler_last(sampler.handle.get());
    return next_after(&last, 1, sampler);
  }
  void feed_none(const Tokens& tokens) { run(tokens, LSRT_OUTPUT_NONE, nullptr); }

  // A sampler's part goes with the state, or null.
  nb::bytes save(const Sampler* sampler) {
    const lsrt_sampler* part = sampler ? sampler->handle.get() : nullptr;
    size_t size = 0;
    check(lsrt_session_save_buffer(handle.get(), part, nullptr, 0, &size));
    std::string bytes(size, '\0');
    unlocked([&] { return lsrt_session_save_buffer(handle.get(), part, bytes.data(), size, &size); });
    return nb::bytes(bytes.data(), size);
  }
  void load(nb::bytes state, Sampler* sampler) {
    lsrt_sampler* part = sampler ? sampler->handle.get() : nullptr;
    unlocked([&] { return lsrt_session_load_buffer(handle.get(), part, state.c_str(), state.size()); });
  }
};

struct Classifier {
  std::unique_ptr<lsrt_classifier, FreeWith<lsrt_classifier_free>> handle;
  size_t classes, size = 0, per_input = 1;

  Classifier(const Model& model, uint32_t threads, uint32_t max_batch)
      : classes(lsrt_model_classes(model.handle.get())) {
    lsrt_classifier_params params = lsrt_classifier_default_params();
    params.threads = threads, params.max_batch = max_batch;
    lsrt_classifier* made = nullptr;
    unlocked([&] { return lsrt_classifier_create(model.handle.get(), &params, &made); });
    handle.reset(made);
    if (nb::object image = model.image_input(); !image.is_none()) size = nb::cast<size_t>(image[0]);
    if (nb::object text = model.sequence_input(); !text.is_none() && nb::cast<bool>(text[1])) per_input = 2;
  }

  Floats images(const nb::ndarray<const uint8_t, nb::ndim<4>, nb::c_contig, nb::device::cpu>& pixels) {
    if (pixels.shape(1) != size || pixels.shape(2) != size || pixels.shape(3) != 3)
      throw nb::value_error("images must be uint8 [n, size, size, 3] of the model's size");
    Floats logits = make_floats({pixels.shape(0), classes});
    unlocked(
        [&] { return lsrt_classify_images(handle.get(), pixels.data(), pixels.shape(0), logits.data()); });
    return logits;
  }
  Floats sequences(const Tokens& tokens, const std::vector<size_t>& lengths) {
    size_t all = 0;
    for (size_t length : lengths) all += length;
    if (all != tokens.size() || lengths.size() % per_input) throw nb::value_error("lengths do not add up");
    Floats logits = make_floats({lengths.size() / per_input, classes});
    unlocked([&] {
      return lsrt_classify_sequences(handle.get(), tokens.data(), lengths.data(), lengths.size() / per_input,
                                     logits.data());
    });
    return logits;
  }
};

struct Embedder {
  std::unique_ptr<lsrt_embedder, FreeWith<lsrt_embedder_free>> handle;
  size_t features, width;

  Embedder(const Model& model, uint32_t threads, uint32_t max_tiles) {
    lsrt_slide_input input{};
    input.struct_size = sizeof input;
    check(lsrt_model_slide_input(model.handle.get(), &input));
    features = input.features, width = input.width;
    lsrt_embedder_params params = lsrt_embedder_default_params();
    params.threads = threads, params.max_tiles = max_tiles;
    lsrt_embedder* made = nullptr;
    unlocked([&] { return lsrt_embedder_create(model.handle.get(), &params, &made); });
    handle.reset(made);
  }

  using Rows = nb::ndarray<const float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
  Floats slide(const Rows& tiles, const Rows& coords) {
    if (tiles.shape(1) != features)
      throw nb::value_error(("tiles must have " + std::to_string(features) + " features").c_str());
    if (coords.shape(0) != tiles.shape(0) || coords.shape(1) != 2)
      throw nb::value_error("coords must be [n, 2] as there are tiles");
    Floats embedding = make_floats({width});
    unlocked([&] {
      return lsrt_embed_slide(handle.get(), tiles.data(), coords.data(), tiles.shape(0), embedding.data());
    });
    return embedding;
  }
};

}  // namespace

NB_MODULE(_lsrt, m) {
  m.def("version", &lsrt_version);
  nb::class_<Model>(m, "Model")
      .def(nb::init<const std::string&, const std::string&, const std::string&, bool>())
      .def("tokenize", &Model::tokenize)
      .def("token_text", &Model::token_text)
      .def("image_input", &Model::image_input)
      .def("sequence_input", &Model::sequence_input)
      .def_prop_ro("labels", &Model::labels)
      .def_prop_ro("family", [](const Model& model) { return lsrt_model_family(model.handle.get()); })
      .def_prop_ro("architecture",
                   [](const Model& model) { return lsrt_model_architecture(model.handle.get()); })
      .def_prop_ro("isa", [](const Model& model) { return lsrt_model_isa(model.handle.get()); })
      .def_prop_ro("classes", [](const Model& model) { return lsrt_model_classes(model.handle.get()); })
      .def_prop_ro("vocabulary",
                   [](const Model& model) { return lsrt_model_vocabulary(model.handle.get()); });
  nb::class_<Session>(m, "Session")
      .def(nb::init<const Model&, uint32_t, uint32_t, uint32_t>(), nb::keep_alive<1, 2>())
      .def("feed_none", &Session::feed_none)
      .def("feed_last", &Session::feed_last)
      .def("feed_all", &Session::feed_all)
      .def("next", &Session::next)
      .def("go_on", &Session::go_on)
      .def("save", &Session::save, "sampler"_a.none())
      .def("load", &Session::load, "state"_a, "sampler"_a.none())
      .def("reset", [](Session& session) { check(lsrt_session_reset(session.handle.get())); })
      .def_prop_ro("position",
                   [](const Session& session) { return lsrt_session_position(session.handle.get()); });
  nb::class_<Sampler>(m, "Sampler")
      .def(nb::init<const Model&, float, uint32_t, float, float, float, uint64_t>())
      .def("accept", &Sampler::accept)
      .def_prop_ro("last", [](const Sampler& sampler) { return lsrt_sampler_last(sampler.handle.get()); });
  nb::class_<Classifier>(m, "Classifier")
      .def(nb::init<const Model&, uint32_t, uint32_t>())
      .def("images", &Classifier::images)
      .def("sequences", &Classifier::sequences);
  nb::class_<Embedder>(m, "Embedder")
      .def(nb::init<const Model&, uint32_t, uint32_t>())
      .def("slide", &Embedder::slide);
}
