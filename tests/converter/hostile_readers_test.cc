// Checkpoint readers on files that are damaged or made to do harm: each must be refused with a message, or
// read; none may crash, hang or ask for memory out of proportion. Meant to run under the address and
// undefined sanitizers too.
#include <malloc.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <new>
#include <random>

#include "converter/source/pickle.h"
#include "converter/source/torch_state.h"
#include "tests/support/reader_files.h"

namespace {
std::atomic<size_t> largest_allocation{0}, live_bytes{0}, most_bytes{0};

void raise_peak(std::atomic<size_t>* most, size_t value) {
  size_t seen = *most;
  while (value > seen && !most->compare_exchange_weak(seen, value)) {
  }
}
}  // namespace

// The new that these match is malloc, too: GCC does not see that once it has inlined one of the two.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmismatched-new-delete"
#endif
// Watches every allocation of the process; the readers allocate by new only.
void* operator new(size_t size, const std::nothrow_t&) noexcept {
  void* memory = std::malloc(size);
  raise_peak(&largest_allocation, size);
  raise_peak(&most_bytes, live_bytes += malloc_usable_size(memory));
  return memory;
}
void* operator new(size_t size) {
  if (void* memory = operator new(size, std::nothrow)) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept {
  live_bytes -= malloc_usable_size(memory);
  std::free(memory);
}
void operator delete(void* memory, size_t) noexcept { operator delete(memory); }

using namespace lsrt;
using namespace lsrt_test;

namespace {

// Bytes that f takes at its height, beyond those in use before.
template <typename F>
size_t memory_of(const F& f) {
  const size_t before = live_bytes;
  most_bytes = before;
  f();
  return most_bytes - before;
}

// Opens, and reads whatever can be read.
// Every so many bytes are tried: all, or fewer where code is emulated (there are few random models then,
// too).
size_t stride() {
  static const size_t stride = std::getenv("LSRT_MODELS") ? 16 : 1;
  return stride;
}

void open_and_read_freely(const std::string& path) {
  largest_allocation = 0;
  const auto opened = TensorSource::open(path);
  if (!opened.ok()) {
    CHECK(contains(opened.status().message(), path));
  } else {
    const TensorSource& source = *opened.value();
    for (const SourceTensor& tensor : source.tensors()) {
      const auto values = source.read(tensor);
      CHECK((!values.ok() || values.value().size() == static_cast<size_t>(tensor.count())));
      const auto integers = source.read_integers(tensor);
      CHECK((!integers.ok() || integers.value().size() == static_cast<size_t>(tensor.count())));
    }
    CHECK(source.metadata().is_object());
    source.metadata().dump();
  }
  CHECK(largest_allocation < 1u << 20);  // for files of a few KB
}

void open_and_read(const std::string& path) {
  CHECK(memory_of([&] { open_and_read_freely(path); }) < 8u << 20);
}

const char* const kSmallFiles[] = {"small.pt", "small-legacy.pt", "small-zip64.pt", "small.safetensors"};

TEST_CASE("cut short at every byte") {
  const TemporaryFolder folder;
  for (const char* name :
       {"small.pt", "small-legacy.pt", "small-zip64.pt", "small.safetensors", "legacy.pt"}) {
    CAPTURE(name);
    const std::string whole = read_file(reader_file(name));
    const std::string path = folder / "cut";
    for (size_t size = 1; size < whole.size(); size += stride()) {
      CAPTURE(size);
      write_file(path, whole.substr(0, size));
      const std::string message = refusal(path);
      REQUIRE(message != "(accepted)");
    }
  }
}

TEST_CASE("a trained checkpoint cut short at every 4 KiB") {
  const TemporaryFolder folder;
  for (const char* name : {"books-lm.pt", "authors.model", "cifar10-vil.pth"}) {
    const std::string whole = shared_path(std::string("checkpoints/") + name);
    if (!std::filesystem::exists(whole)) {
      MESSAGE("skipped: no ", whole);
      continue;
    }
    const std::string path = folder / name;
    std::filesystem::copy_file(whole, path);
    std::filesystem::permissions(path, std::filesystem::perms::owner_all);
    for (uint64_t size = (std::filesystem::file_size(path) - 1) / 4096 * 4096; size > 0;
         size -= std::min<uint64_t>(size, 4096 * stride())) {
      std::filesystem::resize_file(path, size);
      REQUIRE(contains(refusal(path), "cut short"));
    }
  }
}

TEST_CASE("each byte changed in turn") {
  const TemporaryFolder folder;
  for (const char* name : kSmallFiles) {
    CAPTURE(name);
    std::string bytes = read_file(reader_file(name));
    for (size_t i = 0; i < bytes.size(); i += stride()) {
      CAPTURE(i);
      const char old = bytes[i];
      for (const int value : {0x00, 0x01, 0x28, 0x52, 0x7F, 0x80, 0xFF, old ^ 1, old ^ 0x80}) {
        bytes[i] = static_cast<char>(value);
        write_file(folder / "changed", bytes);
        open_and_read(folder / "changed");
      }
      bytes[i] = old;
    }
  }
}

TEST_CASE("several bytes changed at random") {
  const TemporaryFolder folder;
  std::mt19937 random(1);
  for (const char* name : {"zip.pt", "legacy.pt", "zip-protocol4.pt", "small.pt", "all.safetensors"}) {
    CAPTURE(name);
    const std::string whole = read_file(reader_file(name));
    for (size_t round = 0; round < 2000 / stride(); ++round) {
      CAPTURE(round);
      std::string bytes = whole;
      for (unsigned n = random() % 8 + 1; n > 0; --n)
        bytes[random() % bytes.size()] = static_cast<char>(random());
      write_file(folder / "changed", bytes);
      open_and_read(folder / "changed");
    }
  }
}

TEST_CASE("files of other kinds are named for what they are") {
  const TemporaryFolder folder;
  const std::pair<std::string, std::string> cases[] = {
      {"abcdefgh", "the first bytes are 61 62 63 64 65 66 67 68"},
      {"x", "the first bytes are 78"},
      {std::string("\x20\0\0\0LSRT\0\0\0\0", 12), "an .lsrt model"},
      {"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"},
      {"\x1f\x8b\x08", "a gzip file"},
      {"<!DOCTYPE html>", "an HTML or XML page"},
      {"{\"a\": 1}", "a JSON text"},
      {"GGUF\3", "a GGUF model"},
      {std::string(257, '\0') + "ustar", "a tar archive"},
      {"PK\3\4", "no end record"},
      {"\x80\2}.", "not one of torch.save"},
      {"\x80", "damaged pickle at byte 0: expected more bytes"},
  };
  for (const auto& [bytes, bound] : cases) {
    const std::string& expected = bound;  // which CAPTURE can hold
    CAPTURE(expected);
    write_file(folder / "other", bytes);
    CHECK(contains(refusal(folder / "other"), expected));
  }
  CHECK(contains(refusal(reader_file("refused-module.pt")), "an object torch.nn.modules.linear.Linear"));
  CHECK(contains(refusal(reader_file("refused-complex.pt")), "type torch.ComplexFloatStorage"));
  CHECK(contains(refusal(reader_file("refused-torchscript.pt")), "TorchScript"));
  CHECK(contains(refusal(reader_file("refused-pickle.pt")), "not one of torch.save"));
  CHECK(contains(refusal(reader_file("refused-compressed.pt")), "byteorder' is compressed"));
  CHECK(contains(refusal(reader_file("refused-no-pickle.pt")), "without data.pkl"));
  CHECK(TensorSource::open(folder / "missing").status().code() == Error::kFile);
}

// Pickles.

std::string repeat(const std::string& text, size_t count) {
  std::string result;
  for (size_t i = 0; i < count; ++i) result += text;
  return result;
}

std::string text(const std::string& value) { return "X" + little(value.size(), 4) + value; }

// Unpickles and converts: the message of the refusal, or the JSON text.
std::string convert(const std::string& bytes) {
  const Bytes file{"pickle", reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()};
  const Result<Pickle> pickle = read_pickle(file, 0, bytes.size());
  if (!pickle.ok()) return pickle.status().message();
  const Result<nlohmann::json> tree = pickle_to_json(file, pickle.value(), pickle.value().root);
  return tree.ok() ? tree.value().dump() : tree.status().message();
}

TEST_CASE("pickle opcodes of all protocols") {
  const std::pair<std::string, std::string> cases[] = {
      {"(lp0\nI1\naI01\naL5L\naF0.5\naS'x'\naVy\naNa(I2\ntag0\na.",
       R"([1,true,5,0.5,"x","y",null,[2],null])"},
      {"(dS'k'\nI1\ns.", R"({"k":1})"},
      {"(S'k'\nI1\nd.", R"({"k":1})"},
      {"L123456789012345678901L\n.", R"("0x313039383736353433323130393837363534333231")"},
      {"(imod\ncls\np0\n(dS'a'\nI1\nsb.", R"({"__class__":"mod.cls","a":1})"},
      {"(cmod\ncls\nI7\no.", R"({"__args__":[7],"__class__":"mod.cls"})"},
      {"J\xff\xff\xff\xff.", "-1"},
      {std::string("\x8a\0.", 3), "0"},
      {"\x8a\1\xff.", "-1"},
      {std::string("\x8a\2\xff\0.", 5), "255"},
      {"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f.", "9223372036854775807"},
      {std::string("G\x3f\xf8\0\0\0\0\0\0.", 10), "1.5"},
      {"U\2ab.", R"("ab")"},
      {"C\2a\xff.", R"("a?")"},
      {"\x80\4\x95........\x8f(K\1K\2\x90.", "[1,2]"},
      {"(K\1\x91.", "[1]"},
      {"\x8c\3mod\x8c\3"
       "cls\x93)\x81}\x8c\1aK\1sb.",
       R"({"__class__":"mod.cls","a":1})"},
      {"cmod\ncls\n)}\x92.", R"({"__class__":"mod.cls"})"},
      {"cmod\ncls\n)R(K\1K\2e.", R"({"__class__":"mod.cls","__items__":[1,2]})"},
      {"cmod\ncls\n)R(K\1K\2u.", R"({"__class__":"mod.cls","__items__":{"1":2}})"},
      {"cmod\ncls\n.", R"("mod.cls")"},
      {"K\1P12\n0.", "1"},
      {"K\1(K\2K\0031.", "1"},
      {"K\1K\2(0"
       "0.",
       "1"},
      {"K\1"
       "2\x86.",
       "[1,1]"},
      {std::string("K\1\x94K\2\x94h\0h\1\x86\x87.", 13), "[1,2,[1,2]]"},
      {"c_codecs\nencode\n" + text("raw") + text("latin1") + "\x86R.", R"("raw")"},
      {"ccollections\nOrderedDict\n)R" + text("b") + "K\1s.", R"({"b":1})"},
      {"ccollections\nCounter\n}" + text("b") + "K\1s\x85R.", R"({"b":1})"},
      {"c__builtin__\nset\n](K\1K\2e\x85R.", "[1,2]"},
  };
  for (const auto& [bytes, bound] : cases) {
    const std::string& expected = bound;  // which CAPTURE can hold
    CAPTURE(expected);
    const std::string result = convert(bytes);
    CHECK_MESSAGE(contains(result, expected), result);
  }
}

TEST_CASE("damaged pickles say what was expected, and where") {
  const std::pair<std::string, std::string> cases[] = {
      {"N", "at byte 1: expected more bytes"},
      {"NN\xfe", "at byte 2: expected a known pickle opcode"},
      {".", "at byte 0: expected a value on the stack"},
      {"(N0"
       "0.",
       "a value on the stack"},
      {"t.", "a mark on the stack"},
      {"NN\x86N(\x86.", "at byte 5: expected a value on the stack"},  // below the mark
      {"X\xff\xff\xff\xff"
       "abc.",
       "more bytes"},
      {"B\xff\xff\xff\xff.", "more bytes"},
      {"\x8d\xff\xff\xff\xff\xff\xff\xff\xff.", "more bytes"},
      {"\x8b\xff\xff\xff\xff.", "more bytes"},
      {"\x8a\xff.", "more bytes"},
      {"h\7.", "memorised"},
      {"g7\n.", "memorised"},
      {"gx\n.", "a decimal integer"},
      {"I12", "a newline"},
      {"I\n.", "a decimal integer"},
      {"F1.5x\n.", "a decimal number"},
      {"S'a\n.", "a quoted string"},
      {"S'\\n'\n.", "without escapes"},
      {"NN}b.", "an object to give a state to"},
      {"Na.", "a value on the stack"},
      {"NNa.", "a list or set to fill"},
      {"]NNs.", "a dictionary to fill"},
      {"}(Nu.", "a value for every key"},
      {"(Nd.", "a value for every key"},
      {"NNR.", "a tuple of arguments"},
      {"NN\x93.", "both text"},
      {"(o.", "a class"},
      {"cmod\ncls\n)RNaNNs.", "a dictionary to fill"},
      {"\x80\x06N.", "protocol 5"},
      {"\x82\1.", "a known pickle opcode"},
      {"\x97.", "a known pickle opcode"},
      {"c" + std::string(600, 'm') + "\nn\n.", "at most 512 bytes"},
  };
  for (const auto& [bytes, bound] : cases) {
    const std::string& expected = bound;  // which CAPTURE can hold
    CAPTURE(expected);
    const std::string message = convert(bytes);
    CHECK_MESSAGE(contains(message, expected), message);
    CHECK(contains(message, "damaged pickle at byte"));
  }
}

TEST_CASE("deep, cyclic and exponential pickles end") {
  const size_t n = 1000000;
  CHECK(contains(convert(repeat("]", n) + repeat("a", n - 1) + "."), "at most 100 levels"));
  CHECK(contains(convert(")" + repeat("\x85", n) + "."), "at most 100 levels"));
  CHECK(contains(convert("N" + repeat("\x85", 90) + "."), "[null]"));
  CHECK(convert("]q\1h\1a.") == "[null]");
  CHECK(convert("}q\1K\1h\1s.") == R"({"1":null})");

  // Each tuple holds the one before twice.
  std::string doubled = "N";
  for (int i = 0; i < 60; ++i)
    doubled += std::string("q") + static_cast<char>(i) + "h" + static_cast<char>(i) + "\x86";
  CHECK(contains(convert(doubled + "."), "at most 1 Mi values"));

  // A dictionary that is the key of the next one: the quotes in its text double at every level.
  CHECK(contains(convert(repeat("}", 90) + "K\1" + repeat("Ns", 90) + "."), "at most 64 MiB of text"));
  // One long text, referred to often.
  CHECK(contains(convert("(X" + little(n, 4) + std::string(n, 'x') + "q\1" + repeat("h\1", n / 2) + "l."),
                 "at most 64 MiB of text"));
  // One long state, shared by many nodes whose fields are searched for.
  CHECK(
      contains(convert("(}(" + repeat("K\1N", 1000) + "uq\1" + repeat("comegaconf\nx\n)Rh\1b", 20000) + "l."),
               "at most 1 Mi values"));
}

TEST_CASE("floods of small things are limited") {
  const size_t n = 3u << 20;
  CHECK(contains(convert(std::string(n, 'N') + "."), "2 Mi values"));
  CHECK(contains(convert("N" + std::string(n, '2') + "."), "2 Mi values"));
  CHECK(contains(convert(std::string(n, '(') + "."), "2 Mi marks"));
  CHECK(contains(convert("N" +
                         repeat("2"
                                "0",
                                17u << 20) +
                         "."),
                 "32 Mi opcodes"));
  std::string memo = "N";
  for (uint64_t i = 0; i < n; ++i) memo += "r" + little(i * 1009, 4);
  CHECK(contains(convert(memo + "."), "a memo of at most 2 Mi values"));
}

TEST_CASE("text that is shared in a pickle is counted wherever it is copied") {
  // 100,000 references to one long text: 100 MB of metadata from 200 KB.
  const size_t n = 100'000;
  const std::string name = "c" + std::string(512, 'm') + "\n" + std::string(512, 'n') + "\n";
  const std::string references = "q\1" + repeat("h\1", n) + "l.";
  const std::string tensor_of_unknown_type = "ctorch._utils\n_rebuild_tensor_v2\n((" + text("storage") +
                                             name + text("0") + text("cpu") + "K\1tQK\1))tR";
  for (const std::string& shared :
       {name, name + ")R", text(std::string(1024, 'x')),
        "C\xff" + std::string(255, 'b') + "q\2(h\2h\2h\2h\2l", tensor_of_unknown_type}) {
    CAPTURE(shared.substr(0, 40));
    std::string message;
    const size_t memory = memory_of([&] { message = convert("(" + shared + references); });
    CHECK(memory < 256u << 20);
    CHECK(contains(message, "at most "));
  }
}

TEST_CASE("a long dictionary under every key is looked through once") {
  const std::string pairs =
      "}" + text("model") + "}(" + repeat("K\1K\1", 100'000) + "uq\1s" + text("net") + "h\1s.";
  const TemporaryFolder folder;
  write_file(folder / "made.pt", make_zip({{"a/data.pkl", pairs}}));
  CHECK(contains(refusal(folder / "made.pt"), "the keys 'model' 'net'"));
}

TEST_CASE("class names are compared in their two parts") {
  const PickleName name{"torch._utils", "_rebuild_tensor_v2"};
  CHECK(name == "torch._utils._rebuild_tensor_v2");
  for (const char* other : {"torch._utils", "torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v3",
                            "torch-_utils._rebuild_tensor_v2", "torch._utils-_rebuild_tensor_v2", ""}) {
    CHECK(name != other);
  }
  CHECK(name.text() == "torch._utils._rebuild_tensor_v2");
  CHECK(name.in_package("torch"));
  CHECK_FALSE(name.in_package("tor"));
  CHECK_FALSE(PickleName{});
  CHECK(PickleName{} != "");
}

// PyTorch archives with a pickle of our own.

std::string integer(int64_t value) { return "\x8a\x08" + little(static_cast<uint64_t>(value), 8); }

std::string tuple(const std::vector<int64_t>& values) {
  std::string result = "(";
  for (const int64_t value : values) result += integer(value);
  return result + "t";
}

struct Rebuild {
  std::string type = "FloatStorage";
  std::string key = "0";
  int64_t count = 4;
  int64_t offset = 0;
  std::vector<int64_t> shape = {2, 2};
  std::vector<int64_t> strides = {2, 1};
  std::string view = "";  // the part of the storage, in files of old versions

  std::string pickle() const {
    return "ctorch._utils\n_rebuild_tensor_v2\n((" + text("storage") + "ctorch\n" + type + "\n" + text(key) +
           text("cpu") + integer(count) + view + "tQ" + integer(offset) + tuple(shape) + tuple(strides) +
           "\x89NtR";
  }
};

const std::string kStorage(16, '\0');

// The refusal of an archive whose root is {"w": tensor}, or "(accepted)".
std::string refusal_of(const Rebuild& tensor, const ZipEntries& storages = {{"a/data/0", kStorage}}) {
  const TemporaryFolder folder;
  ZipEntries entries = {{"a/data.pkl", "}" + text("w") + tensor.pickle() + "s."}};
  entries.insert(entries.end(), storages.begin(), storages.end());
  write_file(folder / "made.pt", make_zip(entries));
  open_and_read(folder / "made.pt");
  return refusal(folder / "made.pt");
}

TEST_CASE("tensors outside their storage are refused") {
  const int64_t huge = INT64_MAX;
  const auto refused = [](Rebuild tensor) { return refusal_of(tensor); };
  CHECK(refused({}) == "(accepted)");
  CHECK(refused({"FloatStorage", "0", 4, 0, {0, huge}, {1, 1}}) == "(accepted)");
  CHECK(refused({"FloatStorage", "0", 4, 4, {0}, {1}}) == "(accepted)");
  CHECK(refused({"FloatStorage", "0", 4, 3, {1, 1}, {huge, huge}}) == "(accepted)");  // never stepped by
  const Rebuild outside[] = {
      {"FloatStorage", "0", 4, 1, {2, 2}, {2, 1}},
      {"FloatStorage", "0", 4, 5, {0}, {1}},
      {"FloatStorage", "0", 4, huge, {2}, {1}},
      {"FloatStorage", "0", 4, 0, {2, 2}, {huge, huge}},
      {"FloatStorage", "0", 4, 0, {huge, huge}, {1, 1}},
      {"FloatStorage", "0", 4, 0, {huge, huge}, {0, 0}},
      {"FloatStorage", "0", 4, 0, {5}, {1}},
      {"FloatStorage", "0", 4, 4, {}, {}},
  };
  for (const Rebuild& tensor : outside)
    CHECK(contains(refusal_of(tensor), "tensor 'w': expected all elements inside"));
  CHECK(contains(refused({"FloatStorage", "0", 4, 0, {1 << 20}, {0}}),
                 "no more elements than the file has bytes"));
  CHECK(contains(refused({"FloatStorage", "0", 4, -1, {2}, {1}}), "offset that is not negative"));
  CHECK(
      contains(refused({"FloatStorage", "0", 4, 0, {-2}, {1}}), "a shape of numbers that are not negative"));
  CHECK(contains(refused({"FloatStorage", "0", 4, 0, {2}, {-1}}), "strides that are not negative"));
  CHECK(contains(refused({"FloatStorage", "0", 4, 0, {2, 2}, {1}}), "as many strides as dimensions"));
  CHECK(contains(refused({"FloatStorage", "0", 4, 0, std::vector<int64_t>(65, 1), {1}}), "a shape"));
  CHECK(contains(refused({"FloatStorage", "0", 5}), "a storage of the size"));
  CHECK(contains(refused({"DoubleStorage", "0", 4}), "a storage of the size"));
  CHECK(contains(refused({"FloatStorage", "0", -4}), "cannot be read"));
  CHECK(contains(refused({"FloatStorage", "9", 4}), "a storage that is in the file"));
  CHECK(contains(refused({"QInt8Storage", "0", 16}), "type torch.QInt8Storage, which cannot be read"));
}

TEST_CASE("tensors that repeat their bytes are limited all together") {
  // Each within the file's bytes; together 1000 times as many elements.
  std::string pickle = "}";
  const std::string padding(4000, 'p');
  for (int i = 0; i < 100; ++i) {
    pickle += text("w" + std::to_string(i)) + Rebuild{"FloatStorage", "0", 4, 0, {4000}, {0}}.pickle() + "s";
  }
  const TemporaryFolder folder;
  write_file(folder / "made.pt",
             make_zip({{"a/data.pkl", pickle + "."}, {"a/data/0", kStorage}, {"a/x", padding}}));
  CHECK(contains(refusal(folder / "made.pt"), "over 16 elements for each byte of the file"));
}

TEST_CASE("a view is a part of its storage") {
  const auto refused = [](int64_t offset, int64_t count) {
    return refusal_of(
        {"FloatStorage", "0", 4, 0, {2}, {1}, "(" + text("view") + integer(offset) + integer(count) + "t"});
  };
  CHECK(refused(2, 2) == "(accepted)");
  CHECK(contains(refused(2, 1), "all elements inside their storage"));
  CHECK(contains(refused(3, 2), "a view inside its storage"));
  CHECK(contains(refused(5, 0), "a view inside its storage"));
  CHECK(contains(refused(1, INT64_MAX), "a view inside its storage"));
  CHECK(contains(refused(-1, 2), "cannot be read"));
}

TEST_CASE("archives that contradict themselves are refused") {
  const TemporaryFolder folder;
  const auto refused = [&](std::string bytes) {
    write_file(folder / "made.pt", bytes);
    open_and_read(folder / "made.pt");
    return refusal(folder / "made.pt");
  };
  const std::string pickle = "}" + text("w") + Rebuild().pickle() + "s.";
  const ZipEntries good = {{"a/data.pkl", pickle}, {"a/data/0", kStorage}};
  const std::string archive = make_zip(good);
  REQUIRE(refused(archive) == "(accepted)");

  ZipEntries entries = good;
  entries.push_back({"a/data/0", kStorage});
  CHECK(contains(refused(make_zip(entries)), "entry 'a/data/0' appears twice"));
  entries.back() = {"b/data.pkl", pickle};
  CHECK(contains(refused(make_zip(entries)), "data.pkl is in 'a/' and in 'b/'"));
  entries.back() = {"a/byteorder", "big"};
  CHECK(contains(refused(make_zip(entries)), "byte order 'big'"));

  const auto patched = [&](const std::string& marker, size_t offset, const std::string& bytes) {
    std::string copy = archive;
    return copy.replace(copy.rfind(marker) + offset, bytes.size(), bytes);
  };
  CHECK(contains(refused(patched("PK\1\2", 24, little(17, 4))), "compressed"));
  CHECK(contains(refused(patched("PK\1\2", 20, little(0x7FFFFFFF7FFFFFFF, 8))), "ends inside the file"));
  CHECK(contains(refused(patched("PK\1\2", 20, little(UINT64_MAX, 8))), "zip64 extra field"));
  CHECK(contains(refused(patched("PK\1\2", 42, little(0xFFFFFFF0, 4))), "local header"));
  CHECK(contains(refused(patched("PK\1\2", 8, little(1, 2))), "encrypted"));
  {
    // The storage's entry inside the pickle's: a local header within a text of the pickle.
    const std::string inner = make_zip({{"a/data/0", kStorage}});
    const std::string carrier = "}" + text("x") + text(inner.substr(0, inner.find("PK\1\2"))) + "s" +
                                text("w") + Rebuild().pickle() + "s.";
    std::string nested = make_zip({{"a/data.pkl", carrier}, {"a/data/0", kStorage}});
    const size_t offset = nested.find("PK\3\4", 4);
    nested.replace(nested.rfind("PK\1\2") + 42, 4, little(offset, 4));
    CHECK(contains(refused(nested), "entries that do not overlap"));
  }
  CHECK(contains(refused(patched("PK\1\2", 28, little(0xFFFF, 2))), "ends inside the directory"));
  CHECK(contains(refused(patched("PK\5\6", 10, little(0xFFFF, 2))), "a directory entry"));
  CHECK(contains(refused(patched("PK\5\6", 12, little(0xFFFFFFFF, 4))), "a directory before the end record"));
  CHECK(contains(refused(patched("PK\5\6", 16, little(0xFFFFFFFF, 4))), "a directory before the end record"));
  CHECK(contains(refused(patched("PK\5\6", 4, little(1, 2))), "an archive in one part"));

  const std::string twice =
      "}" + text("w") + Rebuild().pickle() + "s" + text("w") + Rebuild().pickle() + "s.";
  CHECK(contains(refused(make_zip({{"a/data.pkl", twice}, {"a/data/0", kStorage}})),
                 "tensor 'w' appears twice"));
  const std::string bad_name = "}" + text("\xff") + Rebuild().pickle() + "s.";
  CHECK(contains(refused(make_zip({{"a/data.pkl", bad_name}, {"a/data/0", kStorage}})), "a name in UTF-8"));
  CHECK(contains(refused(make_zip({{"a/data.pkl", "}" + text("epoch") + "K\1s."}})), "the keys 'epoch'"));
}

// safetensors.

TEST_CASE("safetensors headers that do not add up are refused") {
  const TemporaryFolder folder;
  const auto refused = [&](const std::string& header, size_t data) {
    write_file(folder / "made", little(header.size(), 8) + header + std::string(data, '\0'));
    open_and_read(folder / "made");
    return refusal(folder / "made");
  };
  const auto tensor = [](const std::string& type, const std::string& shape, const std::string& offsets) {
    return R"({"dtype":")" + type + R"(","shape":)" + shape + R"(,"data_offsets":)" + offsets + "}";
  };
  const std::string w = tensor("F32", "[2]", "[0,8]");
  CHECK(refused(R"({"w":)" + w + "}  ", 8) == "(accepted)");
  CHECK(refused("{}", 0) == "(accepted)");
  CHECK(contains(refused("{}", 1), "a hole or overlap at byte 10"));
  CHECK(contains(refused(R"({"w":)" + w + "}", 9), "a hole or overlap"));
  CHECK(contains(refused(R"({"w":)" + w + "}", 7), "a range inside the file"));
  CHECK(contains(refused(R"({"w":)" + w + R"(,"v":)" + w + "}", 8), "a hole or overlap"));
  CHECK(contains(refused(R"({"w":)" + w + R"(,"w":)" + w + "}", 8), "'w' appears twice"));
  CHECK(contains(refused(R"({"w":)" + tensor("F32", "[2]", "[4,12]") + "}", 12), "a hole or overlap"));
  CHECK(contains(refused(R"({"w":)" + tensor("F32", "[1]", "[0,8]") + "}", 8), "as many bytes as shape"));
  CHECK(contains(refused(R"({"w":)" + tensor("F32", "[3]", "[0,8]") + "}", 8), "inside their storage"));
  CHECK(contains(refused(R"({"w":)" + tensor("F32", "[2]", "[8,0]") + "}", 8), "data_offsets"));
  CHECK(contains(refused(R"({"w":)" + tensor("F32", "[2]", "[0]") + "}", 8), "data_offsets"));
  CHECK(contains(refused(R"({"w":)" + tensor("F32", "[-2]", "[0,8]") + "}", 8), "not negative"));
  CHECK(contains(refused(R"({"w":)" + tensor("F32", "[2.0]", "[0,8]") + "}", 8), "whole numbers"));
  CHECK(contains(refused(R"({"w":)" + tensor("F32", "2", "[0,8]") + "}", 8), "a short array"));
  CHECK(contains(refused(R"({"w":)" + tensor("F8_E4M3", "[8]", "[0,8]") + "}", 8), "type F8_E4M3"));
  const std::string huge = "[9223372036854775807,9223372036854775807]";
  CHECK(contains(refused(R"({"w":)" + tensor("F32", huge, "[0,8]") + "}", 8), "a smaller shape"));
  CHECK(contains(refused(R"({"w":[]})", 8), "an object with dtype"));
  CHECK(contains(refused(R"({"w":{"dtype":1,"shape":[],"data_offsets":[0,0]}})", 0), "an object with dtype"));
  CHECK(contains(refused(R"({"__metadata__":{"a":1}})", 0), "an object of strings"));
  CHECK(contains(refused(R"({"w":)", 0), "not JSON"));
  CHECK(contains(refused("{\"\xff\":1}", 0), "not JSON"));
  CHECK(contains(refused(R"({"w":)" + repeat("[", 100000), 0), "over 3 levels deep"));
  CHECK(contains(refused(R"({"w":)" + repeat(R"({"a":)", 100000), 0), "over 3 levels deep"));

  const auto length_only = [&](uint64_t length) {
    write_file(folder / "made", little(length, 8) + "{}");
    return refusal(folder / "made");
  };
  CHECK(contains(length_only(3), "expected at most 2"));
  CHECK(contains(length_only(200'000'000), "over 100 MB"));
  CHECK(contains(length_only(UINT64_MAX), "not a checkpoint"));
}

}  // namespace
