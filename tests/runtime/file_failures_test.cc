// Every call on a file may fail, in loading, saving, restoring and converting: that is an error with a text,
// or has no effect; no file is left behind, none is left open, and what stood under the name stays.
#include "tests/support/file_failures.h"

#include <doctest/doctest.h>

#include "converter/convert.h"
#include "runtime/text/session.h"
#include "tests/support/backends.h"
#include "tests/support/files.h"
#include "tests/support/streams.h"

#ifdef LSRT_FAIL_FILES
using namespace lsrt;
using namespace lsrt_test;

namespace {

size_t open_files() {
  return static_cast<size_t>(std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {}));
}

// operation(): a Status. Each of its calls on files fails once, alone; check(): that a success is one, or
// that a failure left things as they were.
template <typename F, typename Check>
void fail_each(const char* name, const F& operation, const Check& check) {
  const auto run = [&](long at, bool in_parts) {
    file_failures = {};
    file_failures.at = at, file_failures.in_parts = in_parts, file_failures.counting = true;
    Status status = operation();
    file_failures.counting = false;
    return status;
  };
  REQUIRE(run(-1, false).ok());
  const long total = file_failures.calls;
  check(true);
  const size_t open = open_files();
  long errors = 0;
  for (long at = 0; at < total; ++at) {
    const Status status = run(at, false);
    CAPTURE(std::string(name));
    CAPTURE(at);
    CAPTURE(status.message());
    CHECK((status.ok() || status.message().find(": ") != std::string::npos));
    check(status.ok());
    CHECK(open_files() == open);
    errors += !status.ok();
  }
  MESSAGE(std::string(name) << ": " << total << " calls, each failed; " << errors << " errors");
  CHECK(errors >= 3);
  CHECK(run(-1, true).ok());  // reads and writes that are interrupted and end early
  check(true);
}

}  // namespace

TEST_CASE("models and states") {
  const TemporaryFolder folder;
  const std::string path = folder / "m.lsrt", state = folder / "state";
  const ModelBytes bytes = tiny_lm(Precision::kInt8);
  write_file(path, std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
  std::shared_ptr<const Model> model;
  for (const bool map : {false, true}) {
    const auto load = [&]() -> Status {
      LSRT_ASSIGN(model, Model::load(path, map ? Placement::kMapped : Placement::kMemory));
      return {};
    };
    fail_each(map ? "map a model" : "read a model", load, [](bool) {});
  }
  const auto session = take(Session::create(cpu(model), CausalOptions())),
             other = take(Session::create(cpu(model), CausalOptions()));
  const std::vector<int32_t> tokens = some_tokens(50, session->vocabulary());
  REQUIRE(session->save_file(state, nullptr).ok());
  const std::string before = read_file(state);
  feed(*session, tokens.data(), tokens.size(), 50);
  const std::vector<uint8_t> expected = saved_bytes(*session), start = saved_bytes(*other);
  const std::string after(expected.begin(), expected.end());
  fail_each(
      "save a state", [&] { return session->save_file(state, nullptr); },
      [&](bool saved) {
        const std::string found = read_file(state);
        CHECK((saved ? found == after : found == before || found == after));
        CHECK(folder.entries() == 2);
        if (found == after) write_file(state, before);
      });
  REQUIRE(session->save_file(state, nullptr).ok());
  fail_each(
      "load a state",
      [&] {
        REQUIRE(other->load(start.data(), start.size(), "start", nullptr).ok());
        return other->load_file(state, nullptr);
      },
      [&](bool loaded) { CHECK(saved_bytes(*other) == (loaded ? expected : start)); });
}

TEST_CASE("conversions") {
  for (const std::string name : {"lm-rank0", "mamba1-hf"}) {
    const TemporaryFolder folder;
    const std::string output = folder / "m.lsrt";
    ConvertOptions options;
    if (name == "lm-rank0") options.config_path = golden_path(name, "case.json");
    const auto conversion = [&]() -> Status {
      return convert(golden_checkpoint(name), output, options).status();
    };
    REQUIRE(conversion().ok());
    const std::string whole = read_file(output), old = "what stood here";
    write_file(output, old);
    fail_each(name.c_str(), conversion, [&](bool made) {
      const std::string found = read_file(output);
      CHECK((made ? found == whole : found == old || found == whole));
      CHECK(folder.entries() == 1);
      if (found != old) write_file(output, old);
    });
  }
}
#endif
