// All kernels in one module.
#include "kernels/cuda/causal_attend.cu"
#include "kernels/cuda/causal_store.cu"
#include "kernels/cuda/filter.cu"
#include "kernels/cuda/grouped.cu"
#include "kernels/cuda/landmarks.cu"
#include "kernels/cuda/product.cu"
#include "kernels/cuda/rows.cu"
#include "kernels/cuda/scan.cu"
