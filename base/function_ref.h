// A function that is only lent: two pointers, nothing is allocated (std::function allocates for captures of
// more than two). For parameters: what is referred to must live until the call returns.
#pragma once

#include <type_traits>

namespace lsrt {

template <typename Signature>
class FunctionRef;

template <typename R, typename... Arguments>
class FunctionRef<R(Arguments...)> {
 public:
  FunctionRef() = default;  // none
  template <typename F, typename = std::enable_if_t<!std::is_same_v<F, FunctionRef>>>
  FunctionRef(const F& function)  // not explicit: a lambda is passed as it is
      : function_(&function), call_([](const void* f, Arguments... arguments) -> R {
          return (*static_cast<const F*>(f))(arguments...);
        }) {}

  explicit operator bool() const { return call_ != nullptr; }
  R operator()(Arguments... arguments) const { return call_(function_, arguments...); }

 private:
  const void* function_ = nullptr;
  R (*call_)(const void*, Arguments...) = nullptr;
};

}  // namespace lsrt
