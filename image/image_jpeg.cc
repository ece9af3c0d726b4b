// clang-format off
#include <cstdio>  // jpeglib.h needs it and does not include it
#include <jpeglib.h>
#include <jerror.h>
// clang-format on

#include <algorithm>
#include <csetjmp>
#include <cstring>

#include "image/image.h"

namespace lsrt {
namespace {

// Each scan of a progressive file goes over all pixels, however few bytes it has. Encoders make some ten.
constexpr uint64_t kMaxScans = 500;
constexpr uint64_t kMaxScannedPixels = 64 * kMaxImagePixels;  // of all scans together

// libjpeg reports errors by a jump past destructors. Each of the functions that it may jump out of calls
// setjmp itself and has only plain variables; the objects they work on belong to the caller.
struct Reader {
  jpeg_decompress_struct info = {};
  jpeg_error_mgr errors = {};
  jpeg_progress_mgr progress = {};
  std::jmp_buf jump;
  char message[JMSG_LENGTH_MAX] = "";

  ~Reader() { jpeg_destroy_decompress(&info); }
};

[[noreturn]] void on_error(j_common_ptr info) {
  auto* reader = static_cast<Reader*>(info->client_data);
  (*info->err->format_message)(info, reader->message);
  std::longjmp(reader->jump, 1);
}

// Where libjpeg would go on with grey in place of what is missing.
void on_message(j_common_ptr info, int level) {
  if (level >= 0) return;
  switch (info->err->msg_code) {
    case JWRN_JPEG_EOF:
    case JWRN_HIT_MARKER:
    case JWRN_HUFF_BAD_CODE:
    case JWRN_BOGUS_PROGRESSION:
      on_error(info);
  }
}

// Called all the time while scans are read.
void check_scans(j_common_ptr info) {
  const auto* image = reinterpret_cast<j_decompress_ptr>(info);
  const uint64_t pixels = uint64_t{image->image_width} * image->image_height;
  const uint64_t most = std::min(kMaxScans, kMaxScannedPixels / std::max<uint64_t>(pixels, 1));
  if (static_cast<uint64_t>(image->input_scan_number) <= most) return;
  auto* reader = static_cast<Reader*>(info->client_data);
  std::snprintf(reader->message, sizeof reader->message, "more than %u scans", static_cast<unsigned>(most));
  std::longjmp(reader->jump, 1);
}

bool read_header(Reader* reader, const uint8_t* data, size_t size) {
  jpeg_decompress_struct* info = &reader->info;
  info->err = jpeg_std_error(&reader->errors);
  info->client_data = reader;
  reader->errors.error_exit = on_error;
  reader->errors.emit_message = on_message;
  if (setjmp(reader->jump)) return false;
  jpeg_create_decompress(info);
  reader->progress.progress_monitor = check_scans;
  info->progress = &reader->progress;
  jpeg_mem_src(info, data, size);
  jpeg_save_markers(info, JPEG_APP0 + 1, 0xFFFF);
  jpeg_read_header(info, TRUE);
  info->out_color_space = info->num_components == 4 ? JCS_CMYK : JCS_RGB;
  return true;
}

// Inks are stored inverted, as Adobe's programs do.
void cmyk_to_rgb(const uint8_t* cmyk, size_t width, uint8_t* rgb) {
  for (size_t x = 0; x < width; ++x, cmyk += 4) {
    for (int c = 0; c < 3; ++c) {
      const unsigned product = (255u - cmyk[c]) * cmyk[3] + 128;
      *rgb++ = static_cast<uint8_t>(cmyk[3] - ((product + (product >> 8)) >> 8));
    }
  }
}

// cmyk: room for a row, where the image has four components.
bool read_rows(Reader* reader, uint8_t* rgb, uint8_t* cmyk) {
  jpeg_decompress_struct* info = &reader->info;
  if (setjmp(reader->jump)) return false;
  jpeg_start_decompress(info);
  while (info->output_scanline < info->output_height) {
    uint8_t* to = rgb + size_t{3} * info->output_width * info->output_scanline;
    JSAMPROW row = cmyk ? cmyk : to;
    jpeg_read_scanlines(info, &row, 1);
    if (cmyk) cmyk_to_rgb(cmyk, info->output_width, to);
  }
  jpeg_finish_decompress(info);
  return true;
}

// An EXIF block: a TIFF file that begins with its byte order.
class Exif {
 public:
  Exif(const uint8_t* data, size_t size) : data_(data), size_(size), big_(size > 0 && data[0] == 'M') {}

  // 1 .. 8; 1 if there is none: upright.
  int orientation() const {
    constexpr uint32_t kOrientation = 0x0112;
    const uint64_t directory = number(4, 4);
    const uint32_t entries = number(directory, 2);
    for (uint32_t i = 0; i < entries; ++i) {
      const uint64_t entry = directory + 2 + uint64_t{12} * i;
      if (number(entry, 2) != kOrientation) continue;
      const uint32_t value = number(entry + 8, 2);
      return value >= 1 && value <= 8 ? static_cast<int>(value) : 1;
    }
    return 1;
  }

 private:
  uint32_t number(uint64_t at, size_t bytes) const {
    uint32_t value = 0;
    if (at + bytes > size_) return 0;
    for (size_t i = 0; i < bytes; ++i) value = value << 8 | data_[at + (big_ ? i : bytes - 1 - i)];
    return value;
  }

  const uint8_t* data_;
  size_t size_;
  bool big_;
};

int orientation_of(const jpeg_decompress_struct& info) {
  static const char kExif[] = "Exif\0";  // and one more zero
  for (const jpeg_marker_struct* m = info.marker_list; m; m = m->next) {
    if (m->marker != JPEG_APP0 + 1 || m->data_length < sizeof kExif) continue;
    if (std::memcmp(m->data, kExif, sizeof kExif) != 0) continue;
    return Exif(m->data + sizeof kExif, m->data_length - sizeof kExif).orientation();
  }
  return 1;
}

// EXIF orientations: 2 - 4 mirror or turn by 180 degrees, 5 - 8 also swap rows and columns.
Image upright(Image image, int orientation) {
  if (orientation == 1) return image;
  const bool swap = orientation >= 5;
  const bool flip_x = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  const bool flip_y = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  Image out{swap ? image.height : image.width, swap ? image.width : image.height,
            std::vector<uint8_t>(image.rgb.size())};
  uint8_t* to = out.rgb.data();
  for (uint32_t y = 0; y < out.height; ++y) {
    for (uint32_t x = 0; x < out.width; ++x, to += 3) {
      uint32_t from_x = swap ? y : x, from_y = swap ? x : y;
      if (flip_x) from_x = image.width - 1 - from_x;
      if (flip_y) from_y = image.height - 1 - from_y;
      std::memcpy(to, image.rgb.data() + (size_t{from_y} * image.width + from_x) * 3, 3);
    }
  }
  return out;
}

}  // namespace

Result<Image> decode_jpeg(const uint8_t* data, size_t size, const std::string& name) {
  Reader reader;
  auto error = [&] { return fail(Error::kFile, "%s: JPEG: %s", name.c_str(), reader.message); };
  if (!read_header(&reader, data, size)) return error();
  LSRT_ASSIGN(Image image, make_image(reader.info.image_width, reader.info.image_height, name));
  const int orientation = orientation_of(reader.info);  // libjpeg forgets the markers once all rows are read
  std::vector<uint8_t> cmyk;
  if (reader.info.out_color_space == JCS_CMYK) cmyk.resize(size_t{4} * image.width);
  if (!read_rows(&reader, image.rgb.data(), cmyk.empty() ? nullptr : cmyk.data())) return error();
  return upright(std::move(image), orientation);
}

}  // namespace lsrt
