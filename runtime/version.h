// The version of the whole project: library, tool, converter. Semantic versioning; the model format has its
// own number.
#pragma once

#define LSRT_VERSION "0.1.0"
