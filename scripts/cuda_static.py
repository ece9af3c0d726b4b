#!/usr/bin/env python3
"""What the code of the CUDA kernels says without a GPU (docs/cuda.md): registers, shared memory, occupancy, instructions, and
lower bounds of time for a product and for a decode step on three boards.

  scripts/cuda_static.py BUILD              tables; fails where a kernel lacks its instructions or has grown
  scripts/cuda_static.py BUILD --update     what it counts becomes what growth is measured against

BUILD is a build folder that was configured with LSRT_CUDA and has lsrt and lsrt_fake_cuda. Needs cuobjdump and nvdisasm, which
scripts/setup.sh fetches."""
import argparse
import collections
import os
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
TOOLS = pathlib.Path(os.environ.get("LSRT_DEPS") or
                     pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "lsrt") / "cuda-tools"

# Of an SM: registers, warps, bytes of shared memory, blocks (CUDA C++ programming guide, table of compute capabilities).
LIMITS = {75: (65536, 32, 65536, 16), 86: (65536, 48, 102400, 16), 87: (65536, 48, 167936, 16),
          90: (65536, 64, 233472, 32), 110: (65536, 48, 233472, 24)}
Board = collections.namedtuple("Board", "name arch sms ghz gb_per_s")
BOARDS = (Board("Orin Nano Super", 87, 8, 1.02, 102.0), Board("AGX Orin 64 GB", 87, 16, 1.30, 204.8),
          Board("Thor", 110, 20, 1.57, 273.0))
SUBCORES = 4        # of an SM, each issues one instruction of a warp a clock
TENSOR_CLOCKS = 8   # of an IMMA.16832, 4096 multiply-adds, on a sub-core of 512 a clock
VECTOR_CLOCKS = 4   # of 16 bytes a lane through an SM's load-store unit of 128 bytes a clock
# What a kernel must do its products with.
WORK = {"product_16": "IMMA", "product_64": "IMMA", "gemv": "IDP", "causal_attend": "IDP", "grouped_attend": "IDP"}

Instruction = collections.namedtuple("Instruction", "op bytes next")  # bytes a lane moves; instructions that may come next
Count = collections.namedtuple("Count", "moved work instructions vectors")  # of a way: bytes to or from global memory


class Function:
    """Counts of one kernel's code on its full way: of the ways through it without going round a loop twice, the one that moves
    most bytes of global memory, then multiplies most, then is shortest. A block whose rows and outputs are all there takes it."""

    def __init__(self, name, text, work):
        self.name, self.work = name, work
        lines = re.findall(r"/\*([0-9a-f]{4,5})\*/\s+(@!?U?P\w+ )?([^;]+);", text)
        index = {int(address, 16): i for i, (address, _, _) in enumerate(lines)}
        self.code = []
        for i, (_, guard, body) in enumerate(lines):
            op, following = body.split()[0], [i + 1] if i + 1 < len(lines) else []
            if op.startswith(("EXIT", "RET")) and not guard:
                following = []
            if op.startswith("BRA") and not op.startswith("BRA.DIV"):
                following = (following if guard or "P" in body.split()[1] else []) + [index[int(re.search(r"0x[0-9a-f]+", body)[0], 16)]]
            self.code.append(Instruction(op, self.width(op), following))
        order, back = self.search()
        self.path = self.best(0, None, order, back)
        loops = [(self.body(head, tail), head, tail) for tail, head in back]
        loops = [loop for loop in loops if any(self.is_work(self.code[i]) for i in loop[0])]
        self.loops = [self.best(head, tail, [i for i in order if i in body], back)
                      for body, head, tail in loops if not any(other < body for other, _, _ in loops)]

    def search(self):
        """All instructions, each after those that it may lead to, and the edges that close loops (tail, head)."""
        order, back, state, stack = [], set(), {0: 1}, [(0, iter(self.code[0].next))]
        while stack:
            i, following = stack[-1]
            for j in following:
                if state.get(j) == 1:
                    back.add((i, j))
                elif j not in state:
                    state[j] = 1
                    stack.append((j, iter(self.code[j].next)))
                    break
            else:
                state[i] = 2
                order.append(i)
                stack.pop()
        return order, back

    def body(self, head, tail):
        """The instructions of a loop."""
        before = collections.defaultdict(list)
        for i, code in enumerate(self.code):
            for j in code.next:
                before[j].append(i)
        inside, todo = {head}, [tail]
        while todo:
            i = todo.pop()
            if i not in inside:
                inside.add(i)
                todo += before[i]
        return inside

    @staticmethod
    def width(op):
        """Bytes a lane moves, 0 for other instructions."""
        if not re.match(r"(LD|ST)(G|S|GSTS|SM)(\.|$)", op):
            return 0
        if op.startswith("LDSM"):
            return 4 * int(op[-1]) if op[-1] in "24" else 4
        width = re.search(r"\.(8|16|64|128)\b|\.[US](8|16)\b", op)
        return int(width[1] or width[2]) // 8 if width else 4

    def is_work(self, code):
        return self.work is not None and code.op.startswith(self.work)

    def best(self, first, last, order, back):
        """The count of the full way from `first` to `last`, or to an end, which may be that of a round of a loop over tasks;
        order: the instructions that it may take."""
        ways = {}
        for i in order:
            code = self.code[i]
            after = [ways[j] for j in code.next if j in ways and (i, j) not in back]
            if i == last:
                after = [Count(0, 0, 0, 0)]
            elif last is None and (code.op.startswith(("EXIT", "RET")) or any((i, j) in back for j in code.next)):
                after.append(Count(0, 0, 0, 0))
            if after:
                way = max(after, key=lambda c: (c.moved, c.work, -c.instructions))
                moved = code.bytes if re.match(r"(LDG|STG)", code.op) else 0
                ways[i] = Count(way.moved + moved, way.work + self.is_work(code), way.instructions + 1, way.vectors + code.bytes / 16)
        return ways[first]

    def total(self, work):
        """Instructions and vectors moved of a warp that does `work` products."""
        if work <= self.path.work or not self.loops:
            return self.path.instructions, self.path.vectors
        loop = min(self.loops, key=lambda c: c.instructions / c.work)
        rounds = (work - self.path.work) / loop.work
        return self.path.instructions + rounds * loop.instructions, self.path.vectors + rounds * loop.vectors


def run(*command, **environment):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, cwd=ROOT,
                          env={**os.environ, "PATH": f"{TOOLS}:{os.environ['PATH']}", **environment})
    if done.returncode:
        sys.exit(f"cuda_static.py: {' '.join(map(str, command))} failed:\n{done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def read_cubin(cubin):
    """Functions and (registers, stack, shared memory) of a cubin, by kernel."""
    usage = {name: tuple(map(int, numbers)) for name, *numbers in re.findall(
        r"Function lsrt_(\w+):\s*REG:(\d+) STACK:(\d+) SHARED:(\d+)", run("cuobjdump", "-res-usage", cubin))}
    texts = re.split(r"Function : lsrt_", run("cuobjdump", "-sass", cubin))[1:]
    functions = {text.split()[0]: text for text in texts}
    return {name: Function(name, text, WORK.get(name)) for name, text in functions.items()}, usage


def occupancy(arch, registers, shared, threads):
    """Share of an SM's warps that are there at once."""
    all_registers, all_warps, all_shared, all_blocks = LIMITS[arch]
    warps = threads // 32
    by_registers = all_registers // (-(-registers * 32 // 256) * 256) // 4 * 4 // warps
    reserved = 1024 if 80 <= arch < 90 else 0  # of each block; older ones reserve none, for newer ones cuobjdump counts it
    by_shared = all_shared // max(-(-(shared + reserved) // 128) * 128, 1)
    return min(by_registers, by_shared, all_warps // warps, all_blocks) * warps / all_warps


def issue_clocks(function, work, blocks, warps, sms):
    """At least so many clocks on the SM that has most blocks: what its sub-cores issue, multiply, or move."""
    instructions, vectors = function.total(work)
    on_one = -(-blocks // sms) * warps
    tensor = work * TENSOR_CLOCKS if function.work == "IMMA" else 0
    return on_one * max(instructions / SUBCORES, tensor / SUBCORES, vectors * VECTOR_CLOCKS)


def print_kernels(arch, functions, usage, threads):
    print(f"\nsm_{arch}\n{'kernel':22}{'threads':>8}{'registers':>10}{'shared':>8}{'occupancy':>10}{'code':>7}{'path':>7}  loop")
    for name in sorted(functions):
        function, (registers, _, shared) = functions[name], usage[name]
        loop = min(function.loops, key=lambda c: c.instructions / c.work, default=None)
        print(f"{name:22}{threads[name]:8}{registers:10}{shared:8}{occupancy(arch, registers, shared, threads[name]):10.0%}"
              f"{len(function.code):7}{function.path.instructions:7}"
              + (f"  {loop.instructions} with {loop.work} {function.work}" if loop else ""))


def print_product(cubins):
    """A product of 1024 rows, 512 inputs and 512 outputs: blocks of 64 x 128 outputs, 32 IMMA a warp and step of 64 inputs."""
    blocks, work = 1024 // 64 * (512 // 128), 512 // 64 * 32
    print("\nproduct of 1024 x 512 x 512, at most, of what mma.sync can do on the board")
    for board in BOARDS:
        clocks = issue_clocks(cubins[board.arch]["product_64"], work, blocks, 4, board.sms)
        peak = blocks * 4 * work * TENSOR_CLOCKS / (SUBCORES * board.sms)
        print(f"  {board.name:16}{peak / clocks:6.1%}  {clocks / board.ghz / 1e3:6.1f} us")


def decode_launches(build):
    """The launches of a decode step of the base shape, as the backend makes them: (kernel, blocks, threads, shared bytes)."""
    with tempfile.TemporaryDirectory() as folder:
        log = pathlib.Path(folder, "log")
        run(build / "lsrt", "bench", "--arch", "enwik8-base", "--backend", "cuda", "--prompt", "0", "--generate", "3",
            "--repetitions", "1", LSRT_CUDA_LIBRARY=str(build / "liblsrt_fake_cuda.so"), LSRT_FAKE_CUDA_LOG=str(log))
        step = []
        for line in log.read_text().splitlines():
            words = line.split()
            if words[0] == "lsrt_embed":
                step = []
            if words[0].startswith("lsrt_"):
                step.append((words[0][5:], int(words[1]), int(words[3]), int(words[4])))
            if words[0] == "lsrt_log_softmax":
                return step
    sys.exit("cuda_static.py: the log of launches has no whole decode step")


def print_decode(cubins, launches):
    head_dim, run_margin = 64, 2 * 8 * 16  # of the base shape; columns of scores that two lists of keys may waste (launch.h)
    print(f"\ndecode step of the base shape, {len(launches)} launches, at least")
    for board in BOARDS:
        bound, memory, moved = 0, 0, 0
        for kernel, blocks, threads, shared in launches:
            bytes_read, work = 0, 0
            if kernel == "gemv":  # panels of 16 outputs with scales and sums; 4 IDP a lane's group of 4 inputs, 32 groups at once
                bytes_read, work = blocks * 16 * (shared + 8), -(-shared // 128) * 4
            if kernel == "causal_attend":  # a key, a value, a row of positions and five numbers a column
                columns = shared // 4 - run_margin
                bytes_read = blocks * columns * (3 * head_dim + 20)
                work = -(-columns // threads) * 2 * head_dim // 4 + columns // 8
            dram = bytes_read / board.gb_per_s / 1e3
            issue = issue_clocks(cubins[board.arch][kernel], work, blocks, threads // 32, board.sms) / board.ghz / 1e3
            bound, memory, moved = bound + max(dram, issue), memory + dram, moved + bytes_read
        print(f"  {board.name:16}{bound:6.0f} us, {memory / bound:4.0%} of it for {moved / 1e6:.1f} MB of DRAM")


def compare(counts, versions, file, update):
    """Growth against what was counted before, by the toolkits that the file names first."""
    lines = [f"{versions}\n"] + [f"sm_{arch} {name} {' '.join(map(str, numbers))}\n" for (arch, name), numbers in counts.items()]
    if update:
        file.write_text("".join(lines))
        return []
    known = file.read_text().splitlines()
    if known[0] != versions:
        print(f"\nSKIPPED: growth of instruction counts: {file.name} is of {known[0]}, here is {versions}")
        return []
    before = {tuple(line.split()[:2]): list(map(int, line.split()[2:])) for line in known[1:]}
    errors = []
    for (arch, name), numbers in counts.items():
        old = before.get((f"sm_{arch}", name))
        if old is None:
            errors.append(f"sm_{arch} {name} is not in {file.name}")
        elif any(new > was for new, was in zip(numbers, old)):
            errors.append(f"sm_{arch} {name}: code, path, loop, registers are {numbers}, were {old}")
    return errors


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("--update", action="store_true")
    parser.add_argument("--cubins", type=pathlib.Path, help="a folder that keeps the code for the next run")
    parser.add_argument("--counts", type=pathlib.Path, default=ROOT / "tests/cuda/instructions.txt")
    options = parser.parse_args()
    build = options.build.resolve()
    if not (TOOLS / "cuobjdump").exists():
        print(f"SKIPPED: no cuobjdump in {TOOLS}; scripts/setup.sh fetches it where pip can")
        return 0
    cache = dict(re.findall(r"^(\w+):\w+=(.*)$", (build / "CMakeCache.txt").read_text(), re.M))
    nvcc, assembler = cache["LSRT_NVCC"], TOOLS / "ptxas"
    versions = ", ".join(f"{name} {re.search(r'release ([0-9.]+)', run(tool, '--version'))[1]}"
                         for name, tool in (("nvcc", nvcc), ("ptxas", assembler)))
    threads = {name: int(n) for source in (ROOT / "kernels/cuda").glob("*.cu")
               for name, n in re.findall(r"LSRT_KERNEL\((\w+), \w+, (\d+)\)", source.read_text())}
    cubins, counts, errors = {}, {}, []
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.cubins or temporary
        if not pathlib.Path(folder, "75.cubin").exists():
            run("scripts/cuda-image.sh", nvcc, "cubins", folder, LSRT_PTXAS12=str(assembler))
        for arch in LIMITS:
            functions, usage = read_cubin(pathlib.Path(folder, f"{arch}.cubin"))
            if set(functions) != set(threads):
                sys.exit(f"cuda_static.py: kernels of sm_{arch} are not those of the sources: {set(functions) ^ set(threads)}")
            cubins[arch] = functions
            print_kernels(arch, functions, usage, threads)
            for name, function in sorted(functions.items()):
                if name in WORK and not function.loops:
                    errors.append(f"sm_{arch} {name} has no loop with {WORK[name]}")
                loop = min((c.instructions for c in function.loops), default=0)
                counts[arch, name] = [len(function.code), function.path.instructions, loop, usage[name][0]]
    print_product(cubins)
    print_decode(cubins, decode_launches(build))
    errors += compare(counts, versions, options.counts, options.update)
    for error in errors:
        print(f"cuda_static.py: error: {error}", file=sys.stderr)
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
