// The three uses of a model from C++: it continues a text, says what an image shows, or what a document is.
//
//   three_uses books-lm.lsrt "It was a dark night"     200 tokens more, to standard output
//   three_uses cifar10-vil.lsrt photo.ppm              an image of the model's size, as ImageMagick makes
//                                                      it: convert photo.jpg -resize 32x32! photo.ppm
//   three_uses authors.lsrt page.txt
//
// Errors are values here. Programs that prefer exceptions write or_throw(): see lsrt.hpp.
#include <algorithm>
#include <fstream>
#include <iostream>
#include <iterator>
#include <lsrt.hpp>
#include <string>
#include <vector>

namespace {

lsrt::Status write_text(const lsrt::Model& model, const std::string& prompt) {
  lsrt::Result<lsrt::Session> session = model.session();
  if (!session) return session.status();
  lsrt::Result<lsrt::Sampler> sampler = model.sampler();
  if (!sampler) return sampler.status();
  const lsrt::Result<std::vector<int32_t>> tokens = model.tokenize(prompt);
  if (!tokens) return tokens.status();

  std::cout << prompt;
  std::vector<float> logprobs;
  lsrt::Status fed = session->feed(*tokens, &logprobs);
  for (int left = 200; fed && left > 0; --left) {
    const lsrt::Result<int32_t> token = sampler->sample(logprobs);
    if (!token) return token.status();
    std::cout << model.token_text(*token) << std::flush;
    fed = session->feed(*token, &logprobs);
  }
  std::cout << '\n';
  return fed;
}

void print_best(const lsrt::Model& model, const std::vector<float>& logits) {
  const auto best = static_cast<size_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
  std::cout << "class " << best << ' ' << model.label(best) << '\n';
}

lsrt::Status classify_image(const lsrt::Model& model, const std::string& path) {
  lsrt::Result<lsrt::Classifier> classifier = model.classifier();
  if (!classifier) return classifier.status();
  const uint32_t size = model.image_input()->size;

  std::ifstream file(path, std::ios::binary);
  std::string format;
  uint32_t width = 0, height = 0, largest = 0;
  file >> format >> width >> height >> largest;
  file.get();
  if (format != "P6" || width != size || height != size || largest != 255) {
    const std::string extents = std::to_string(size) + " x " + std::to_string(size);
    return {LSRT_ERROR_FILE, path + ": not a binary PPM image of " + extents + " pixels, 8 bits each"};
  }
  std::vector<char> pixels(size_t{size} * size * 3);
  if (!file.read(pixels.data(), static_cast<std::streamsize>(pixels.size()))) {
    return {LSRT_ERROR_FILE, path + ": ends within the image"};
  }
  const auto* bytes = reinterpret_cast<const uint8_t*>(pixels.data());
  const lsrt::Result<std::vector<float>> logits = classifier->images(bytes, pixels.size());
  if (logits) print_best(model, *logits);
  return logits.status();
}

lsrt::Status classify_document(const lsrt::Model& model, const std::string& path) {
  lsrt::Result<lsrt::Classifier> classifier = model.classifier();
  if (!classifier) return classifier.status();

  std::ifstream file(path, std::ios::binary);
  const std::string text(std::istreambuf_iterator<char>(file), {});
  if (!file || text.empty()) return {LSRT_ERROR_FILE, path + ": cannot be read, or is empty"};
  lsrt::Result<std::vector<int32_t>> tokens = model.tokenize(text);
  if (!tokens) return tokens.status();
  tokens->resize(std::min<size_t>(tokens->size(), model.sequence_input()->max_length));
  const lsrt::Result<std::vector<float>> logits = classifier->sequences({*tokens});
  if (logits) print_best(model, *logits);
  return logits.status();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "usage: three_uses MODEL.lsrt PROMPT | IMAGE.ppm | DOCUMENT\n";
    return 2;
  }
  const lsrt::Result<lsrt::Model> model = lsrt::Model::load(argv[1]);
  const lsrt::Status done = !model                     ? model.status()
                            : model->family() == "lm"  ? write_text(*model, argv[2])
                            : model->family() == "vil" ? classify_image(*model, argv[2])
                                                       : classify_document(*model, argv[2]);
  if (done) return 0;
  std::cerr << "three_uses: error: " << done.message() << '\n';
  return 1;
}
