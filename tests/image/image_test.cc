// Decoding and resizing of images: the values that Pillow gives, and files of all kinds of damage.
#include "image/image.h"

#include <doctest/doctest.h>
#include <sys/resource.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "converter/source/tensor_source.h"
#include "tests/support/files.h"
#include "tests/support/take.h"

using namespace lsrt;
using namespace lsrt_test;

namespace {

std::vector<uint8_t> image_bytes(const std::string& name) {
  const std::string bytes = read_file(data_path("images/" + name));
  return {bytes.begin(), bytes.end()};
}

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts(1);
  for (char c : text) {
    if (c == separator) {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  return parts;
}

void check_pixels(const Image& image, const TensorSource& source, const SourceTensor& expected, int most) {
  REQUIRE(image.height == expected.shape[0]);
  REQUIRE(image.width == expected.shape[1]);
  auto values = source.read_integers(expected);
  REQUIRE(values.ok());
  int64_t worst = 0;
  for (size_t i = 0; i < image.rgb.size(); ++i)
    worst = std::max(worst, std::abs(image.rgb[i] - values.value()[i]));
  CHECK(worst <= most);
}

Status decode(const std::vector<uint8_t>& bytes) {
  return decode_image(bytes.data(), bytes.size(), "x").status();
}

size_t peak_memory() {
  rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<size_t>(usage.ru_maxrss) * 1024;
}

const char* const kFiles[] = {"colour.jpg", "progressive.jpg", "cmyk.jpg",    "exif-6.jpg",
                              "colour.png", "interlaced.png",  "palette.png", "deep.png"};

}  // namespace

TEST_CASE("the same pixels as Pillow") {
  auto opened = TensorSource::open(data_path("images/expected.safetensors"));
  REQUIRE(opened.ok());
  const TensorSource& source = *opened.value();
  size_t cases = 0;
  for (const SourceTensor& expected : source.tensors()) {
    CAPTURE(expected.name);
    const std::vector<std::string> name = split(expected.name, '/');
    Image image = take(load_image(data_path("images/" + name[1])));
    if (name[0] == "resized") {
      const std::vector<std::string> size = split(name[2], 'x');
      const uint32_t width = std::stoul(size[0]), height = std::stoul(size[1]);
      image = resize_image(image, width, height, {0, 0, width, height});
    } else if (name[0] == "fitted") {
      image = fit_image(image, std::stoul(name[2]), std::stoul(name[3]));
    }
    // The JPEG standard leaves decoders a choice of rounding.
    check_pixels(image, source, expected, name[1].find(".jpg") == std::string::npos ? 0 : 1);
    ++cases;
  }
  CHECK(cases > 30);
}

TEST_CASE("files cut short are refused at any length") {
  for (const char* name : kFiles) {
    CAPTURE(name);
    const std::vector<uint8_t> whole = image_bytes(name);
    REQUIRE(decode(whole).ok());
    // The last two bytes of a JPEG are its end marker, the last twelve of a PNG an empty chunk.
    for (size_t size = 0; size + 13 < whole.size(); size += 1 + size / 60) {
      CAPTURE(size);
      const Status status = decode({whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size)});
      CHECK(status.code() == Error::kFile);
      CHECK(status.message().rfind("x: ", 0) == 0);
    }
  }
}

TEST_CASE("damaged bytes give pixels or an error, nothing else") {
  for (const char* name : kFiles) {
    const std::vector<uint8_t> whole = image_bytes(name);
    for (size_t at = 0; at < whole.size(); at += 1 + whole.size() / 300) {
      for (uint8_t flip : {0x01, 0x80, 0xFF}) {
        std::vector<uint8_t> damaged = whole;
        damaged[at] ^= flip;
        const Status status = decode(damaged);
        CHECK((status.ok() || status.code() == Error::kFile));
      }
    }
  }
}

TEST_CASE("too many pixels are refused before they are allocated") {
  std::vector<uint8_t> jpeg = image_bytes("colour.jpg");
  const uint8_t frame[] = {0xFF, 0xC0, 0x00, 0x11, 0x08};
  auto found = std::search(jpeg.begin(), jpeg.end(), std::begin(frame), std::end(frame));
  REQUIRE(found != jpeg.end());
  std::fill_n(found + 5, 4, 0xFF);
  Status status = decode(jpeg);
  CAPTURE(status.message());
  CHECK(status.code() == Error::kFile);
  CHECK(make_image(uint64_t{1} << 33, 1, "x").status().code() == Error::kFile);
  CHECK(make_image(uint64_t{1} << 32, uint64_t{1} << 32, "x").status().code() == Error::kFile);
  CHECK(make_image(0, 5, "x").status().code() == Error::kFile);
}

TEST_CASE("not an image, no file") {
  CHECK(decode({'G', 'I', 'F', '8', '9', 'a'}).message() == "x: not a JPEG or PNG image");
  CHECK(decode({}).code() == Error::kFile);
  const Status status = load_image("/no/such.jpg").status();
  CHECK(status.code() == Error::kFile);
  CHECK(status.message().find("/no/such.jpg") != std::string::npos);
}

// A part of the whole resized image.
std::vector<uint8_t> cut(const Image& image, uint32_t left, uint32_t top, uint32_t width, uint32_t height) {
  std::vector<uint8_t> part;
  for (uint32_t y = top; y < top + height; ++y) {
    const uint8_t* row = image.rgb.data() + (size_t{y} * image.width + left) * 3;
    part.insert(part.end(), row, row + size_t{3} * width);
  }
  return part;
}

TEST_CASE("a crop is the same part of the whole resized image") {
  const Image image = take(load_image(data_path("images/colour.png")));
  for (const auto& [width, height] : {std::pair<uint32_t, uint32_t>{7, 90}, {61, 5}, {200, 130}}) {
    const Image whole = resize_image(image, width, height, {0, 0, width, height});
    for (uint32_t margin : {0u, 1u, 2u}) {
      const uint32_t left = std::min(margin * 3, width - 1), top = std::min(margin, height - 1);
      const uint32_t w = std::min(4u, width - left), h = std::min(3u, height - top);
      const Image part = resize_image(image, width, height, {left, top, w, h});
      CHECK(part.width == w);
      CHECK(part.height == h);
      CHECK(part.rgb == cut(whole, left, top, w, h));
    }
  }
}

TEST_CASE("lines of pixels: the extents of the resized image cost nothing") {
  // Resized as a whole these would be 32768 x 2^32, 2^32 x 32768 and 256,000,000 x 256 pixels.
  struct Line {
    uint32_t width, height, resize, size;
  };
  for (const Line& line :
       {Line{131072, 1, 32768, 32}, Line{1, 131072, 32768, 32}, Line{1000000, 1, 256, 224}}) {
    Image image = take(make_image(line.width, line.height, "x"));
    std::fill(image.rgb.begin(), image.rgb.end(), 91);
    const size_t before = peak_memory();
    const Image fitted = fit_image(image, line.resize, line.size);
    CHECK(peak_memory() - before < 16 << 20);
    CHECK(fitted.width == line.size);
    CHECK(fitted.height == line.size);
    CHECK(std::all_of(fitted.rgb.begin(), fitted.rgb.end(), [](uint8_t v) { return v == 91; }));
  }
}

TEST_CASE("a JPEG of more scans than any encoder makes is refused") {
  // 8 x 8 grey pixels: the DC scan, then scans of no change.
  const auto jpeg = [](int scans) {
    std::vector<uint8_t> file = {0xFF, 0xD8};
    const auto segment = [&](uint8_t marker, std::vector<uint8_t> data) {
      file.insert(file.end(), {0xFF, marker, 0, static_cast<uint8_t>(data.size() + 2)});
      file.insert(file.end(), data.begin(), data.end());
    };
    segment(0xDB, std::vector<uint8_t>(65, 1));
    file[file.size() - 65] = 0;
    segment(0xC2, {8, 0, 8, 0, 8, 1, 1, 0x11, 0});
    for (uint8_t table : {0x00, 0x10}) {
      std::vector<uint8_t> codes(18);
      codes[0] = table, codes[1] = 1;
      segment(0xC4, codes);
    }
    segment(0xDA, {1, 1, 0, 0, 0, 0});
    file.push_back(0x7F);
    for (int i = 1; i < scans; ++i) {
      segment(0xDA, {1, 1, 0, 1, 63, 0});
      file.push_back(0x7F);
    }
    file.insert(file.end(), {0xFF, 0xD9});
    return file;
  };
  CHECK(decode(jpeg(1)).ok());
  CHECK(decode(jpeg(500)).ok());
  CHECK(decode(jpeg(501)).message() == "x: JPEG: more than 500 scans");
  CHECK(decode(jpeg(20000)).message() == "x: JPEG: more than 500 scans");
}

TEST_CASE("a picture of 20 megapixels") {
  Image image = take(make_image(5000, 4000, "x"));
  std::fill(image.rgb.begin(), image.rgb.end(), 77);
  const Image fitted = fit_image(image, 256, 224);
  CHECK(fitted.width == 224);
  CHECK(fitted.height == 224);
  CHECK(std::all_of(fitted.rgb.begin(), fitted.rgb.end(), [](uint8_t v) { return v == 77; }));
}
