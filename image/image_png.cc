#include <png.h>

#include <csetjmp>
#include <cstdio>
#include <cstring>

#include "image/image.h"

namespace lsrt {
namespace {

constexpr size_t kMaxChunkBytes = size_t{1} << 20;  // of those that libpng holds as a whole

// libpng reports errors by a jump past destructors. Each of the functions that it may jump out of calls
// setjmp itself and has only plain variables; the objects they work on belong to the caller.
struct Reader {
  png_structp png = nullptr;
  png_infop info = nullptr;
  const uint8_t* next = nullptr;
  size_t left = 0;
  char message[200] = "";

  ~Reader() { png_destroy_read_struct(&png, &info, nullptr); }
};

[[noreturn]] void on_error(png_structp png, png_const_charp message) {
  auto* reader = static_cast<Reader*>(png_get_error_ptr(png));
  std::snprintf(reader->message, sizeof reader->message, "%s", message);
  std::longjmp(png_jmpbuf(png), 1);
}

void on_warning(png_structp, png_const_charp) {}

void on_read(png_structp png, png_bytep out, size_t size) {
  auto* reader = static_cast<Reader*>(png_get_io_ptr(png));
  if (size > reader->left) png_error(png, "the file is cut short");
  std::memcpy(out, reader->next, size);
  reader->next += size;
  reader->left -= size;
}

// The size of the image, and all kinds of pixels set to be delivered as RGB. Of the chunks, only those that decide the
// pixels are read: libpng allocates the others (profiles, texts) at the length that the file claims, up to 2 GB.
bool read_header(Reader* reader, uint32_t* width, uint32_t* height) {
  png_structp png = reader->png;
  if (setjmp(png_jmpbuf(png))) return false;
  png_set_read_fn(png, reader, on_read);
  png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, nullptr, -1);
  png_set_chunk_malloc_max(png, kMaxChunkBytes);
  png_read_info(png, reader->info);
  *width = png_get_image_width(png, reader->info);
  *height = png_get_image_height(png, reader->info);
  png_set_strip_16(png);
  png_set_expand(png);
  png_set_gray_to_rgb(png);
  png_set_strip_alpha(png);
  return true;
}

bool read_rows(Reader* reader, uint8_t* rgb, size_t row_bytes, uint32_t height) {
  png_structp png = reader->png;
  if (setjmp(png_jmpbuf(png))) return false;
  const int passes = png_set_interlace_handling(png);
  png_read_update_info(png, reader->info);
  if (png_get_rowbytes(png, reader->info) != row_bytes) png_error(png, "unknown kind of pixels");
  for (int pass = 0; pass < passes; ++pass) {
    for (uint32_t y = 0; y < height; ++y) png_read_row(png, rgb + y * row_bytes, nullptr);
  }
  png_read_end(png, nullptr);
  return true;
}

}  // namespace

Result<Image> decode_png(const uint8_t* data, size_t size, const std::string& name) {
  Reader reader;
  reader.next = data;
  reader.left = size;
  reader.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &reader, on_error, on_warning);
  if (reader.png) reader.info = png_create_info_struct(reader.png);
  if (!reader.info) return fail(Error::kMemory, "%s: out of memory", name.c_str());
  uint32_t width = 0, height = 0;
  if (!read_header(&reader, &width, &height))
    return fail(Error::kFile, "%s: PNG: %s", name.c_str(), reader.message);
  LSRT_ASSIGN(Image image, make_image(width, height, name));
  if (!read_rows(&reader, image.rgb.data(), size_t{3} * width, height)) {
    return fail(Error::kFile, "%s: PNG: %s", name.c_str(), reader.message);
  }
  return image;
}

}  // namespace lsrt
