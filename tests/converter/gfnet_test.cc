// GFNet checkpoints: kernels made of frequencies, layer scales, sizes, and what is refused.
#include <doctest/doctest.h>

#include <cmath>

#include "tests/support/checkpoints.h"

using namespace lsrt;
using namespace lsrt_test;

namespace {

constexpr char kEven[] = "gfnet", kOdd[] = "gfnet-odd-grid", kPyramid[] = "gfnet-pyramid";

struct Changed {
  TemporaryFolder folder;
  Tensors tensors;
  ConvertOptions options;

  explicit Changed(const std::string& golden) : tensors(read_tensors(golden_checkpoint(golden))) {
    options.golden = false;
    options.precision = Precision::kFloat32;
  }
  std::string source() const {
    const std::string path = folder / "changed.safetensors";
    write_safetensors(path, tensors);
    return path;
  }
  std::shared_ptr<const Model> model() { return convert_and_load(source(), folder / "m", options); }
  void refused(Error code, const std::string& text) {
    const Status status = convert(source(), folder / "m", options).status();
    INFO(status.message());
    CHECK(status.code() == code);
    CHECK(status.message().find(text) != std::string::npos);
  }
};

const GlobalFilter& filter(const Model& model, size_t stage, size_t block) {
  return std::get<GlobalFilter>(model.stages[stage].blocks[block].mixer);
}

// Element [r, s] of the inverse transform of the whole spectrum, by the definition of spec more-mixers.
double inverse(const FloatTensor& w, size_t n, size_t c, size_t r, size_t s) {
  const size_t frequencies = n / 2 + 1, d = w.values.size() / (2 * n * frequencies);
  const auto re = [&](size_t ky, size_t kx) { return w.values[2 * ((ky * frequencies + kx) * d + c)]; };
  const auto im = [&](size_t ky, size_t kx) { return w.values[2 * ((ky * frequencies + kx) * d + c) + 1]; };
  double sum = 0;
  for (size_t ky = 0; ky < n; ++ky) {
    for (size_t kx = 0; kx < n; ++kx) {
      const size_t minus = (n - ky) % n;
      double f_re, f_im;
      if (kx == 0 || 2 * kx == n) {
        f_re = (re(ky, kx) + re(minus, kx)) / 2, f_im = (im(ky, kx) - im(minus, kx)) / 2;
      } else if (2 * kx < n) {
        f_re = re(ky, kx), f_im = im(ky, kx);
      } else {
        f_re = re(minus, n - kx), f_im = -im(minus, n - kx);
      }
      const double angle =
          2 * std::acos(-1.0) * static_cast<double>(ky * r + kx * s) / static_cast<double>(n);
      sum += f_re * std::cos(angle) - f_im * std::sin(angle);
    }
  }
  return sum / static_cast<double>(n * n);
}

}  // namespace

TEST_CASE("kernels are the inverse transform of the whole spectrum") {
  for (const auto& [golden, n] : {std::pair<const char*, size_t>{kEven, 6}, {kOdd, 7}}) {
    const FloatTensor w = read_tensors(golden_checkpoint(golden))["blocks.1.filter.complex_weight"];
    const auto model = convert_golden(golden, Precision::kFloat32);
    const float* kernel = filter(*model, 0, 1).kernel;
    for (size_t c = 0; c < model->stages[0].width; c += 5) {
      for (size_t i = 0; i < n * n; ++i) {
        CHECK(kernel[c * n * n + i] == doctest::Approx(inverse(w, n, c, i / n, i % n)).epsilon(1e-5));
      }
    }
  }
}

TEST_CASE("only the Hermitian half of the columns 0 and n / 2 acts") {
  Changed changed(kEven);
  std::vector<float>& w = changed.tensors["blocks.0.filter.complex_weight"].values;
  constexpr size_t kGrid = 6, kFrequencies = 4;
  const size_t d = w.size() / (2 * kGrid * kFrequencies);
  // Adds what is the opposite of its own mirror: i at ky = 0, i at ky = 1 and 5, 1 at 1 and -1 at 5.
  for (size_t kx : {size_t{0}, kGrid / 2}) {
    for (size_t c = 0; c < d; ++c) {
      const auto at = [&](size_t ky) { return &w[2 * ((ky * kFrequencies + kx) * d + c)]; };
      at(0)[1] += 1, at(1)[1] += 1, at(5)[1] += 1;
      at(1)[0] += 1, at(5)[0] -= 1;
    }
  }
  const auto before = convert_golden(kEven, Precision::kFloat32), after = changed.model();
  for (size_t i = 0; i < d * kGrid * kGrid; ++i) {
    CHECK(filter(*after, 0, 0).kernel[i] ==
          doctest::Approx(filter(*before, 0, 0).kernel[i]).epsilon(1e-5).scale(0.1));
  }
  // Another column has no such half.
  w[2 * (0 * kFrequencies + 1) * d + 1] += 1;
  const double moved = filter(*changed.model(), 0, 0).kernel[1] - filter(*after, 0, 0).kernel[1];
  CHECK(moved == doctest::Approx(-2 * std::sin(std::acos(-1.0) / 3) / 36).epsilon(1e-4));
}

TEST_CASE("a layer's scale is part of its last layer") {
  Tensors tensors = read_tensors(golden_checkpoint(kPyramid));
  const auto model = convert_golden(kPyramid, Precision::kFloat32);
  const LinearView& fc2 = model->stages[2].blocks[1].feed_forward.fc2;
  const std::vector<float>& gamma = tensors["blocks.2.1.gamma"].values;
  const std::vector<float>& weight = tensors["blocks.2.1.mlp.fc2.weight"].values;
  for (size_t row = 0; row < gamma.size(); ++row) {
    CHECK(fc2.bias[row] == tensors["blocks.2.1.mlp.fc2.bias"].values[row] * gamma[row]);
    const size_t at = row * fc2.inputs + row;
    CHECK(fc2.weight.floats()[at] == weight[at] * gamma[row]);
  }
  // None: as one.
  Changed plain(kPyramid);
  plain.tensors.erase("blocks.2.1.gamma");
  const auto without = plain.model();
  CHECK(without->stages[2].blocks[1].feed_forward.fc2.weight.floats()[3] == weight[3]);
  Changed large(kPyramid);
  large.tensors["blocks.2.1.gamma"].values[0] = 3e38f;
  large.tensors["blocks.2.1.mlp.fc2.weight"].values[0] = 100;
  large.refused(Error::kCheckpoint, "blocks.2.1.mlp.fc2.weight times blocks.2.1.gamma is not finite");
}

TEST_CASE("sizes are those of the tensors") {
  const auto flat = convert_golden(kOdd, Precision::kInt8);
  CHECK(flat->image.size == 35);
  CHECK(flat->image.resize == 40);  // 256 for 224
  CHECK(flat->stages.size() == 1);
  CHECK(flat->stages[0].blocks.size() == 2);
  CHECK(flat->stages[0].blocks[0].residual == Residual::kSingle);
  CHECK(std::get<ClassifierHead>(flat->head).pool == Pool::kMean);
  CHECK(!std::get<PatchStem>(flat->stages[0].stem).norm);
  const auto pyramid = convert_golden(kPyramid, Precision::kInt8);
  REQUIRE(pyramid->stages.size() == 4);
  CHECK(pyramid->stages[2].blocks.size() == 2);
  CHECK(std::get<PatchStem>(pyramid->stages[3].stem).grid == 2);
  CHECK(std::get<PatchStem>(pyramid->stages[0].stem).positions != nullptr);
  CHECK(std::get<PatchStem>(pyramid->stages[1].stem).positions == nullptr);
}

TEST_CASE("what does not fit is refused by name") {
  {
    Changed c(kEven);
    c.tensors["blocks.1.filter.complex_weight"].values[3] = NAN;
    c.refused(Error::kCheckpoint, "blocks.1.filter.complex_weight");
  }
  {
    Changed c(kEven);  // every term of kernel[0, 1, 1] as large as it can be
    std::vector<float>& w = c.tensors["blocks.1.filter.complex_weight"].values;
    for (size_t i = 0; i < w.size(); ++i) {
      const size_t d = w.size() / 48, kx = i / (2 * d) % 4, ky = i / (8 * d);
      const double angle = 2 * std::acos(-1.0) * static_cast<double>(ky + kx) / 6;
      w[i] = static_cast<float>(std::copysign(3e38, i % 2 ? -std::sin(angle) : std::cos(angle)));
    }
    c.refused(Error::kCheckpoint, "blocks.1.filter.complex_weight: its filter is not finite");
  }
  {
    Changed c(kEven);
    c.tensors["blocks.0.filter.complex_weight"].shape = {6, 2, 48, 2};
    c.refused(Error::kCheckpoint,
              "blocks.0.filter.complex_weight has shape [6, 2, 48, 2], expected [6, 4, 24, 2]");
  }
  {
    Changed c(kEven);
    c.tensors["blocks.0.filter.complex_weight"] = {{300, 1, 1, 1}, std::vector<float>(300)};
    c.refused(Error::kCheckpoint, "is no filter of a grid of 1 to 256");
  }
  {
    Changed c(kEven);
    c.tensors.erase("blocks.1.norm2.bias");
    c.refused(Error::kCheckpoint, "blocks.1.norm2.bias is missing");
  }
  {
    Changed c(kEven);
    c.tensors["blocks.0.attn.qkv.weight"] = {{2, 2}, std::vector<float>(4)};
    c.refused(Error::kUnsupported, "blocks.0.attn.qkv.weight [2, 2] has no place in this architecture");
  }
  {
    Changed c(kPyramid);  // a stage without layers
    for (auto it = c.tensors.begin(); it != c.tensors.end();) {
      it = it->first.find("blocks.3.") == 0 ? c.tensors.erase(it) : std::next(it);
    }
    c.refused(Error::kCheckpoint, "blocks.3.0.filter.complex_weight: is no filter of a grid");
  }
}
