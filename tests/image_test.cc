// Decoding and resizing of images: the values that Pillow gives, and files of all kinds of damage.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include "demos/image.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "converter/tensor_source.h"

using namespace lsrt;

namespace {

const std::string kFolder = std::string(LSRT_TEST_DATA) + "/images/";

std::vector<uint8_t> read_file(const std::string& name) {
  std::ifstream file(kFolder + name, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

Image take(Result<Image> image) {
  INFO(image.status().message());
  REQUIRE(image.ok());
  return image.take();
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

const char* const kFiles[] = {"colour.jpg", "progressive.jpg", "cmyk.jpg",    "exif-6.jpg",
                              "colour.png", "interlaced.png",  "palette.png", "deep.png"};

}  // namespace

TEST_CASE("the same pixels as Pillow") {
  auto opened = TensorSource::open(kFolder + "expected.safetensors");
  REQUIRE(opened.ok());
  const TensorSource& source = *opened.value();
  size_t cases = 0;
  for (const SourceTensor& expected : source.tensors()) {
    CAPTURE(expected.name);
    const std::vector<std::string> name = split(expected.name, '/');
    Image image = take(load_image(kFolder + name[1]));
    if (name[0] == "resized") {
      const std::vector<std::string> size = split(name[2], 'x');
      image = resize_image(image, std::stoul(size[0]), std::stoul(size[1]));
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
    const std::vector<uint8_t> whole = read_file(name);
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
    const std::vector<uint8_t> whole = read_file(name);
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
  std::vector<uint8_t> jpeg = read_file("colour.jpg");
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

TEST_CASE("a picture of 20 megapixels") {
  Image image = take(make_image(5000, 4000, "x"));
  std::fill(image.rgb.begin(), image.rgb.end(), 77);
  const Image fitted = fit_image(image, 256, 224);
  CHECK(fitted.width == 224);
  CHECK(fitted.height == 224);
  CHECK(std::all_of(fitted.rgb.begin(), fitted.rgb.end(), [](uint8_t v) { return v == 77; }));
}
