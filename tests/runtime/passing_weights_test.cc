// Models whose weights are not kept but prepared for each launch, as conversion runs them.
#include <doctest/doctest.h>

#include "runtime/api/arrays.h"
#include "tests/support/files.h"
#include "tests/support/take.h"
#include "tests/support/tiny_models.h"

using namespace lsrt;
using namespace lsrt_test;

namespace {

std::vector<Array> outputs(const std::shared_ptr<const Model>& model, bool keep_weights) {
  BackendOptions options;
  options.keep_weights = keep_weights;
  const std::shared_ptr<Backend> backend = take(Backend::create(options, model));
  std::vector<Array> inputs;
  for (const TensorView& view : model->golden.inputs) inputs.push_back(to_array(view));
  return take(run_arrays(backend, inputs, {}));
}

TEST_CASE("the same bits as with weights that stay, whether the file is mapped or in memory") {
  TemporaryFolder folder;
  const TinyOptions with_golden{false, true};
  for (const Precision precision : {Precision::kInt8, Precision::kFloat32}) {
    for (const ModelBytes& bytes : {tiny_lm(precision, with_golden), tiny_encoder(precision, with_golden),
                                    tiny_vil(precision, with_golden), tiny_longnet(precision, with_golden)}) {
      write_file(folder / "model", {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
      const auto model = take(Model::load(folder / "model"));
      CAPTURE(std::string(family_name(model->family)));
      const std::vector<Array> kept = outputs(model, true);
      REQUIRE(!kept.empty());
      for (const Placement placement : {Placement::kMapped, Placement::kMemory}) {
        const std::vector<Array> passing = outputs(take(Model::load(folder / "model", placement)), false);
        REQUIRE(passing.size() == kept.size());
        for (size_t i = 0; i < kept.size(); ++i) CHECK(passing[i].bytes == kept[i].bytes);
      }
    }
  }
}

}  // namespace
