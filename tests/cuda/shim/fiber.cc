#include "tests/cuda/shim/fiber.h"

#include <sys/mman.h>

#include <cstring>

#if defined(__SANITIZE_ADDRESS__)
#define EMULATION_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define EMULATION_ASAN 1
#endif
#endif
#ifdef EMULATION_ASAN
#include <sanitizer/common_interface_defs.h>
#endif

namespace emulation {

Fiber* current = nullptr;

namespace {
#ifdef EMULATION_UCONTEXT
ucontext_t scheduler;
#else
void* scheduler_stack_pointer = nullptr;
// Saves the registers that a call keeps and the stack pointer, and loads those of the other side.
extern "C" void lsrt_emulation_switch(void** save, void* load);
#endif
#ifdef EMULATION_ASAN
const void* scheduler_stack = nullptr;
size_t scheduler_stack_bytes = 0;
#endif
}  // namespace

#ifdef EMULATION_UCONTEXT
#elif defined(__x86_64__)
asm(R"(
.text
.globl lsrt_emulation_switch
.hidden lsrt_emulation_switch
.type lsrt_emulation_switch,@function
lsrt_emulation_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp,(%rdi)
  movq %rsi,%rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size lsrt_emulation_switch,.-lsrt_emulation_switch
)");
constexpr size_t kSavedWords = 6;
#else
asm(R"(
.text
.globl lsrt_emulation_switch
.hidden lsrt_emulation_switch
.type lsrt_emulation_switch,%function
lsrt_emulation_switch:
  sub sp, sp, #160
  stp x19, x20, [sp, #0]
  stp x21, x22, [sp, #16]
  stp x23, x24, [sp, #32]
  stp x25, x26, [sp, #48]
  stp x27, x28, [sp, #64]
  stp x29, x30, [sp, #80]
  stp d8, d9, [sp, #96]
  stp d10, d11, [sp, #112]
  stp d12, d13, [sp, #128]
  stp d14, d15, [sp, #144]
  mov x9, sp
  str x9, [x0]
  mov sp, x1
  ldp x19, x20, [sp, #0]
  ldp x21, x22, [sp, #16]
  ldp x23, x24, [sp, #32]
  ldp x25, x26, [sp, #48]
  ldp x27, x28, [sp, #64]
  ldp x29, x30, [sp, #80]
  ldp d8, d9, [sp, #96]
  ldp d10, d11, [sp, #112]
  ldp d12, d13, [sp, #128]
  ldp d14, d15, [sp, #144]
  add sp, sp, #160
  ret
.size lsrt_emulation_switch,.-lsrt_emulation_switch
)");
#endif

void make_fiber(Fiber* fiber, void (*entry)()) {
  if (!fiber->stack) {
    void* stack = mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    fiber->stack = static_cast<char*>(stack);
  }
#ifdef EMULATION_UCONTEXT
  getcontext(&fiber->context);
  fiber->context.uc_stack.ss_sp = fiber->stack;
  fiber->context.uc_stack.ss_size = kStackBytes;
  fiber->context.uc_link = nullptr;
  makecontext(&fiber->context, entry, 0);
#elif defined(__x86_64__)
  void** top = reinterpret_cast<void**>(fiber->stack + kStackBytes - 64);
  *--top = nullptr;                         // entry() believes it was called from here
  *--top = reinterpret_cast<void*>(entry);  // what `ret` goes to
  fiber->stack_pointer = top - kSavedWords;
#else
  char* top = fiber->stack + kStackBytes - 256;
  std::memset(top, 0, 160);
  const auto address = reinterpret_cast<uintptr_t>(entry);
  std::memcpy(top + 88, &address, sizeof address);  // x30
  fiber->stack_pointer = top;
#endif
}

void enter(Fiber* fiber) {
  current = fiber;
#ifdef EMULATION_ASAN
  void* fake_stack = nullptr;
  __sanitizer_start_switch_fiber(&fake_stack, fiber->stack, kStackBytes);
#endif
#ifdef EMULATION_UCONTEXT
  swapcontext(&scheduler, &fiber->context);
#else
  lsrt_emulation_switch(&scheduler_stack_pointer, fiber->stack_pointer);
#endif
#ifdef EMULATION_ASAN
  __sanitizer_finish_switch_fiber(fake_stack, nullptr, nullptr);
#endif
}

void leave([[maybe_unused]] bool last) {
  ++stats.switches;
  Fiber* fiber = current;
#ifdef EMULATION_ASAN
  void* fake_stack = nullptr;
  __sanitizer_start_switch_fiber(last ? nullptr : &fake_stack, scheduler_stack, scheduler_stack_bytes);
#endif
#ifdef EMULATION_UCONTEXT
  swapcontext(&fiber->context, &scheduler);
#else
  lsrt_emulation_switch(&fiber->stack_pointer, scheduler_stack_pointer);
#endif
#ifdef EMULATION_ASAN
  __sanitizer_finish_switch_fiber(fake_stack, &scheduler_stack, &scheduler_stack_bytes);
#endif
}

void entered() {
#ifdef EMULATION_ASAN
  __sanitizer_finish_switch_fiber(nullptr, &scheduler_stack, &scheduler_stack_bytes);
#endif
}

}  // namespace emulation
