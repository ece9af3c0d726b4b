#include "converter/families/vil_architecture.h"

#include <cmath>
#include <cstdlib>
#include <string_view>

#include "base/text.h"
#include "runtime/model/reader.h"

namespace lsrt {
namespace {

// Calls f(part) for each part of the text between separators.
template <typename F>
bool for_each_part(std::string_view text, char separator, F f) {
  for (;;) {
    const size_t end = text.find(separator);
    if (!f(text.substr(0, end))) return false;
    if (end == std::string_view::npos) return true;
    text.remove_prefix(end + 1);
  }
}

// "h3" and the like.
bool set_letter(std::string_view item, VilStage* stage) {
  if (item.size() < 2 || item.size() > 6) return false;
  uint32_t value = 0;
  for (char c : item.substr(1)) {
    if (c < '0' || c > '9') return false;
    value = 10 * value + static_cast<uint32_t>(c - '0');
  }
  switch (item[0]) {
    case 'l':  // the number of the stage, which the order tells as well
      return true;
    case 'h':
      stage->heads = value;
      return value > 0 && value <= kMaxWidth;
    case 'd':
      stage->width = value;
      return value > 0 && value <= kMaxWidth;
    case 'n':
      stage->blocks = value;
      return value > 0 && value <= kMaxBlocks;
    case 's':
      stage->windowed = value == 1;
      return value <= 1;
    case 'g':
      stage->cls_tokens = value;
      return value <= kMaxClsRows;
    case 'p':
      stage->patch = value;
      return value > 0 && value <= kMaxImageSize;
    case 'f':
      stage->window = value;
      return value > 0 && value <= kMaxImageSize;
    case 'a':
      stage->absolute = value == 1;
      return value <= 1;
    case 'r':
      stage->rank = value;
      return value <= kMaxWidth;
    default:
      return false;
  }
}

uint32_t square_root(uint32_t n) {
  return static_cast<uint32_t>(std::lround(std::sqrt(static_cast<double>(n))));
}

}  // namespace

Result<std::vector<VilStage>> parse_vil_architecture(const std::string& text) {
  std::vector<VilStage> stages;
  std::string_view wrong;
  const bool good = for_each_part(text, '_', [&](std::string_view part) {
    if (stages.size() >= kMaxStages) return false;
    const bool after_full = !stages.empty() && !stages.back().windowed;
    VilStage& stage = stages.emplace_back();
    const bool stage_good = for_each_part(part, ',', [&](std::string_view item) {
      wrong = item;
      return set_letter(item, &stage);
    });
    if (after_full) stage.windowed = false;
    return stage_good;
  });
  if (good) return stages;
  return fail(Error::kArgument,
              "architecture \"%s\": \"%s\" is not a letter of hdnsgpfar (or l) with its number",
              printable(text).c_str(), printable(wrong).c_str());
}

std::string vil_architecture_text(const std::vector<VilStage>& stages) {
  std::string text;
  for (size_t i = 0; i < stages.size(); i++) {
    const VilStage& stage = stages[i];
    char part[128];
    std::snprintf(part, sizeof part, "%sl%zu,h%u,d%u,n%u,s%d,g%u,p%u,a%d", i == 0 ? "" : "_", i + 1,
                  stage.heads, stage.width, stage.blocks, stage.windowed ? 1 : 0, stage.cls_tokens,
                  stage.patch, stage.absolute ? 1 : 0);
    text += part;
    // Full attention has no window and no summaries, whatever the authors' string says.
    if (stage.windowed) text += ",f" + std::to_string(stage.window);
    if (stage.windowed && stage.rank > 0) text += ",r" + std::to_string(stage.rank);
  }
  return text;
}

std::vector<VilStage> vil_stages_from_shapes(const WeightSource& source) {
  std::vector<VilStage> stages;
  while (stages.size() < kMaxStages) {
    const std::string name = "layer" + std::to_string(stages.size() + 1) + ".";
    if (source.find(name + "0.proj.weight") == nullptr) break;
    VilStage& stage = stages.emplace_back();
    stage.width = source.extent(name + "0.proj.weight", 0);
    stage.patch = source.extent(name + "0.proj.weight", 2);
    stage.cls_tokens = source.extent(name + "0.cls_token", 1);
    stage.absolute = source.find(name + "0.x_pos_embed") != nullptr;
    stage.blocks = 0;
    const auto has = [&](uint32_t block, const char* tensor) {
      return source.find(name + std::to_string(2 * block + 1) + ".attn." + tensor + ".weight") != nullptr;
    };
    while (has(stage.blocks, "qkv") || has(stage.blocks, "query")) stage.blocks++;
    const std::string attention = name + "1.attn.";
    stage.windowed = has(0, "dual_ln_full") || has(0, "query");
    stage.heads = source.extent(attention + "local_relative_position_bias_table", 1);
    stage.window = stage.windowed ? square_root(source.extent(attention + "relative_position_index", 0)) : 0;
    stage.rank = source.extent(attention + "to_dynamic_projection.weight", 0);  // times heads, until merged
  }
  return stages;
}

Status merge_vil_stages(const std::vector<VilStage>& given, const std::string& origin,
                        std::vector<VilStage>* stages) {
  if (!given.empty() && given.size() != stages->size()) {
    return fail(Error::kCheckpoint, "%s: the architecture has %zu stages, the tensors have %zu",
                origin.c_str(), given.size(), stages->size());
  }
  for (size_t i = 0; i < stages->size(); i++) {
    VilStage& stage = (*stages)[i];
    const VilStage wanted = given.empty() ? stage : given[i];
    if (stage.heads == 0) stage.heads = given.empty() ? 0 : wanted.heads;
    if (stage.heads == 0 || (stage.windowed && stage.window == 0 && given.empty())) {
      return fail(Error::kCheckpoint,
                  "%s: the heads and the window of stage %zu do not follow from the tensors; give \"arch\" "
                  "with --config",
                  origin.c_str(), i + 1);
    }
    if (stage.window == 0) stage.window = wanted.window;
    stage.rank /= stage.heads;
    const std::string found = vil_architecture_text({stage}), expected = vil_architecture_text({wanted});
    if (!given.empty() && found != expected) {
      return fail(Error::kCheckpoint, "%s: stage %zu is \"%s\" in the architecture, \"%s\" by its tensors",
                  origin.c_str(), i + 1, expected.c_str(), found.c_str());
    }
    // From here on products of sides, widths and ranks fit 32 bits.
    if (stage.width == 0 || stage.width > kMaxWidth || stage.width % stage.heads != 0 || stage.blocks == 0 ||
        stage.patch == 0 || stage.patch > kMaxImageSize || stage.window > kMaxImageSize ||
        stage.cls_tokens > kMaxClsRows) {
      return fail(Error::kCheckpoint,
                  "%s: stage %zu: width %u (at most %u, a multiple of %u heads), blocks %u, patch %u and "
                  "window %u (at most %u), cls tokens %u (at most %u)",
                  origin.c_str(), i + 1, stage.width, kMaxWidth, stage.heads, stage.blocks, stage.patch,
                  stage.window, kMaxImageSize, stage.cls_tokens, kMaxClsRows);
    }
  }
  return {};
}

}  // namespace lsrt
