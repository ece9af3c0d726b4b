// What the converter knows of a model family: how to recognise a checkpoint of it and to describe it as a
// model file. One names_FAMILY.{h,cc} each; a new family is a new pair and a line in convert.cc.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "converter/families/config.h"
#include "converter/families/tokenizer_json.h"
#include "converter/writer/model_builder.h"
#include "runtime/api/arrays.h"

namespace lsrt {

// Tables of positions take memory, and the check time, by numbers of the configuration alone. So they are
// bounded by what the file has: its weights, and these elements more. Sessions may be given more memory.
inline constexpr uint64_t kTableElements = 1 << 22;

// What a family puts into the root table of the model file.
struct ModelParts {
  uint32_t format = 1;  // the oldest that has all of this: readers of an older one must refuse it
  uint32_t width = 0;
  flatbuffers::Offset<flatbuffers::Vector<flatbuffers::Offset<fb::Stage>>> stages;
  fb::Head head_type = fb::Head::NONE;
  flatbuffers::Offset<void> head;
  flatbuffers::Offset<fb::Stream> stream;
  flatbuffers::Offset<fb::Vocabulary> vocabulary;
  flatbuffers::Offset<fb::SequenceInput> sequence;
  flatbuffers::Offset<fb::ImageInput> image;
  std::vector<std::string> labels;
};

// A model that is ready to be written, in either precision. The checkpoint must outlive it.
struct ModelPlan {
  Family family = Family::kLm;
  std::string architecture;  // one line for people
  WeightSource source;
  std::function<ModelParts(ModelBuilder&)> describe;
  std::function<std::vector<Array>()> golden_inputs;  // for run_arrays()
  uint32_t golden_positions = 0;                      // lm: how many of the last outputs are stored
  std::vector<std::string> remarks;                   // sentences for people: what the model cannot do
};

// What convert() was asked for beyond the checkpoint.
struct FamilyOptions {
  Config config;               // of --config; the checkpoint's own hyper-parameters are added behind it
  std::string dict_path;       // empty: dict.txt beside the checkpoint
  std::string tokenizer_path;  // empty: tokenizer.json beside the checkpoint, if there is one
  uint32_t block = 0;          // tokens; 0: the family's default
  uint32_t memory = 0;
  std::vector<std::string> labels;
};

// Of a language model: how many of the last `tokens` outputs are stored, so that a large vocabulary does not
// make a large file: at most 2^18 log-probabilities, at least one output.
uint32_t golden_positions(size_t vocabulary_size, size_t tokens);

// How checkpoints are recognised: the first prefix that makes a name of `suffix` and of one of the witnesses.
// False: there is none.
bool find_prefix(const TensorSource& source, std::string_view suffix,
                 const std::vector<std::string>& witnesses, std::string* prefix);

// The text of each token id; empty: it has none.
flatbuffers::Offset<fb::Vocabulary> describe_vocabulary(ModelBuilder& builder,
                                                        const std::vector<std::string>& texts);
// The same with how text is cut into them; a model of `size` tokens, those behind the texts have none.
flatbuffers::Offset<fb::Vocabulary> describe_vocabulary(ModelBuilder& builder,
                                                        const BytePairVocabulary& vocabulary, size_t size);

}  // namespace lsrt
