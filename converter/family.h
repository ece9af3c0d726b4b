// What the converter knows of a model family: how to recognise a checkpoint of it and to describe it as a
// model file. One names_FAMILY.{h,cc} each; a new family is a new pair and a line in convert.cc.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "converter/config.h"
#include "converter/model_builder.h"
#include "runtime/arrays.h"

namespace lsrt {

// What a family puts into the root table of the model file.
struct ModelParts {
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
  std::string family;
  std::string architecture;  // one line for people
  WeightSource source;
  std::function<ModelParts(ModelBuilder&)> describe;
  std::vector<std::string> ignored;  // endings of names of tensors that hold nothing that is needed
  std::function<std::vector<Array>()> golden_inputs;  // for run_arrays()
  uint32_t golden_positions = 0;                      // lm: how many of the last outputs are stored
};

// What convert() was asked for beyond the checkpoint.
struct FamilyOptions {
  Config config;          // of --config; the checkpoint's own hyper-parameters are added behind it
  std::string dict_path;  // empty: dict.txt beside the checkpoint
  uint32_t block = 0;     // tokens; 0: the family's default
  uint32_t memory = 0;
  std::vector<std::string> labels;
};

}  // namespace lsrt
