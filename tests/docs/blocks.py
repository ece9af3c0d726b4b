#!/usr/bin/env python3
"""Runs what the documentation shows: every fenced block of every page, in order, a page in a scratch folder of its own.

    blocks.py BUILD_FOLDER      shell, C and C++ on a build; pages that need the Python package run in python/tests/test_docs.py
    blocks.py --list            what there is

A block is run, or says on the line above why it is not, and that is checked:

    <!-- run by CI -->          every command is named by .ci/run or the workflow
    <!-- needs NAME -->         the block uses NAME, a program or a file, and this machine has none: where there is one, the block runs

Commands in running text are compared with the tool's own help."""

import collections
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
GOLDEN, IMAGES = ROOT / "tests" / "data" / "golden", ROOT / "tests" / "data" / "images"
CODE, DATA = ("sh", "python", "c", "cpp"), ("mermaid", "text")

# What is put behind commands that would take long, by a part of them.
SMALLER = {
    "train_text": " --layers 1 --width 32 --heads 2 --batch 2 --block 64 --every 2 --threads 1 --steps %d",
    "train_images": " --batch 4 --threads 1 --epochs %d",
    "lsrt bench": " --repetitions 1 --prompt 16 --generate 2",
}

# The end of the functions that C and C++ are put into: what the page says of the result.
C_ENDS = {
    ("README.md", "c"): """double sum = 0;
      for (size_t i = 0; i < lsrt_model_vocabulary(model); ++i) sum += exp(logprobs[i]);
      return lsrt_session_position(session) == count && fabs(sum - 1) < 1e-3 ? 0 : 1;""",
    ("README.md", "cpp"): "return session.position() == 118 ? 0 : 1;",
}

Block = collections.namedtuple("Block", "page line language text mark")


def pages():
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks_of(page):
    blocks, lines, i = [], page.read_text(encoding="utf-8").splitlines(), 0
    name = str(page.relative_to(ROOT))
    while i < len(lines):
        opening = re.match(r"( *)```(.*)$", lines[i])
        if opening:
            end = next(j for j in range(i + 1, len(lines)) if lines[j].strip() == "```")
            text = "".join(line[len(opening[1]):] + "\n" for line in lines[i + 1 : end])
            above = lines[i - 1].strip() if i else ""
            mark = re.fullmatch(r"<!-- (run by CI|needs \S+) -->", above)
            blocks.append(Block(name, i + 1, opening[2].split(" ")[0], text, mark[1] if mark else ""))
            i = end
        i += 1
    return blocks


def needs_python(blocks):
    return any(re.search(r"^(python|pip) ", block.text, re.M) for block in blocks if block.language == "sh")


def left_out(block):
    """Whether the block's own mark keeps it from running; AssertionError if the mark is wrong."""
    where = f"{block.page}:{block.line}"
    if "--8<--" in block.text:
        for path in re.findall(r'--8<-- "([^":]+)', block.text):
            assert (ROOT / path).exists(), f"{where}: includes {path}, which does not exist"
        return True
    if block.mark == "run by CI":
        ci = (ROOT / ".ci" / "run").read_text() + (ROOT / ".github" / "workflows" / "ci.yml").read_text()
        for line in block.text.splitlines():
            command = line.split()[0]
            assert os.access(ROOT / command, os.X_OK) and command in ci, f"{where}: CI does not run {command}"
        return True
    if block.mark:
        name = block.mark.split()[1]
        assert name in block.text, f"{where}: is marked to need {name} and does not use it"
        return shutil.which(name) is None and not (ROOT / name).exists()
    return False


def stand_ins(folder, tool):
    """Makes a folder with the files that pages speak of, small. A page gets a copy of it."""
    folder.mkdir()
    run = lambda *arguments: subprocess.run([str(tool), *map(str, arguments)], check=True, stdout=subprocess.DEVNULL)  # noqa: E731
    for name in ("books-lm.pt", "dict.txt"):
        (folder / name).symlink_to(ROOT / "demos" / "data" / name)
    run("convert", folder / "books-lm.pt", "-o", folder / "books-lm.lsrt")
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    plain = "".join(c for c in text if c in " .,\n" or c.isascii() and c.isalpha())
    (folder / "moby-dick.txt").write_text(plain[:4000])
    (folder / "novels").mkdir()
    (folder / "novels" / "one.txt").write_text(text)
    shutil.copy(ROOT / "README.md", folder / "novels" / "two.txt")
    (folder / "page.txt").write_bytes(b"\1\5\3\7\2")
    for name in ("photo.jpg", "one.jpg", "ship.jpg"):
        (folder / name).symlink_to(IMAGES / "colour.jpg")
    for i in range(20):
        (folder / "photos" / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        shutil.copy(IMAGES / "colour.jpg", folder / "photos" / "ab"[i % 2] / f"{i}.jpg")
    for i in range(10):
        (folder / "test" / str(i)).mkdir(parents=True)
        shutil.copy(IMAGES / "colour.jpg", folder / "test" / str(i))
    for golden, file, name, config in (
        ("vil-4stage", "checkpoint.pth", "cifar10-vil", "cifar10-vil"),
        ("lra-listops", "checkpoint.model", "authors", "authors"),
        ("longformer-relative", "checkpoint.pth", "model_best", "arch"),
        ("gfnet", "checkpoint.pth", "gfnet-xs", "gfnet-xs"),
        ("longnet", "checkpoint.pth", "slide_encoder", "slide_encoder"),
    ):
        source, settings = folder / (name + pathlib.Path(file).suffix), folder / (config + ".json")
        source.symlink_to(GOLDEN / golden / file)
        settings.symlink_to(GOLDEN / golden / "case.json")
        run("convert", source, "--config", settings, "-o", folder / (name + ".lsrt"))
    (folder / "slide_encoder.lsrt").rename(folder / "slide.lsrt")
    (folder / "tiles.safetensors").symlink_to(GOLDEN / "longnet" / "io.safetensors")
    mamba = folder / "mamba-130m-hf"
    shutil.copytree(GOLDEN / "mamba1-hf", mamba, copy_function=shutil.copyfile)
    script = ROOT / "tests" / "support" / "mamba_with_text.py"
    subprocess.run([sys.executable, str(script), str(mamba), str(ROOT / "tests" / "data" / "tokenizer" / "tokenizer.json")], check=True)


class Shell:
    """Runs lines of shell in a copy of the stand-ins. tool: the lsrt program; bins: folders in front of the PATH."""

    def __init__(self, folder, files, tool, bins=()):
        self.folder, self.trained = folder, 0
        shutil.copytree(files, folder, symlinks=True, dirs_exist_ok=True)
        (folder / "build").mkdir()
        (folder / "build" / "lsrt").symlink_to(tool)
        path = os.pathsep.join([*map(str, bins), str(folder / "build"), os.environ["PATH"]])
        self.environment = {**os.environ, "PATH": path}

    def run(self, block):
        for line in block.text.replace("\\\n", " ").splitlines():
            command = line.split("  #")[0].strip()
            if not command or command.startswith("#"):
                continue
            if command.startswith("pip install"):  # of the package that is installed here
                extras = re.findall(r"\[([a-z,]+)\]", command)
                project = (ROOT / "pyproject.toml").read_text()
                assert all(f"\n{name} = [" in project for extra in extras for name in extra.split(",")), f"{block.page}: {command}"
                continue
            for part, more in SMALLER.items():
                if part in command and not command.endswith("--help"):
                    self.trained += "%d" in more
                    command += more % (2 * self.trained) if "%d" in more else more
            result = subprocess.run(["bash", "-c", command], cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            assert result.returncode == 0, f"{block.page}:{block.line}: {command}\n{result.stdout.decode(errors='replace')[-3000:]}"


def compile_and_run(blocks, folder, prefix):
    """C and C++ against an installed lsrt."""
    user = folder / "user"
    user.mkdir()
    names = []
    for i, block in enumerate(blocks):
        names.append(f"block_{i}")
        text = block.text
        if "int main" not in text:
            includes = "#include <lsrt.h>\n#include <math.h>\n#include <stdio.h>\n#include <stdlib.h>\n" if block.language == "c" else "#include <iostream>\n#include <lsrt.hpp>\n"
            text = f"{includes}int main({'void' if block.language == 'c' else ''}) {{\n{text}\n{C_ENDS.get((block.page, block.language), 'return 0;')}\n}}\n"
        (user / f"block_{i}.{'c' if block.language == 'c' else 'cc'}").write_text(text)
    (user / "CMakeLists.txt").write_text(f"""cmake_minimum_required(VERSION 3.22)
project(user LANGUAGES C CXX)
find_package(lsrt REQUIRED)
foreach(name {' '.join(names)})
  file(GLOB source ${{name}}.c ${{name}}.cc)
  add_executable(${{name}} ${{source}})
  target_compile_options(${{name}} PRIVATE -Wall -Wextra -Werror)
  target_link_libraries(${{name}} PRIVATE lsrt::lsrt)
endforeach()
""")
    commands = [["cmake", "-S", user, "-B", user / "build", f"-DCMAKE_PREFIX_PATH={prefix}"], ["cmake", "--build", user / "build"]]
    for command in commands + [[user / "build" / name] for name in names]:
        result = subprocess.run(list(map(str, command)), cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert result.returncode == 0, f"{command}\n{result.stdout.decode(errors='replace')[-3000:]}"


def check_inline(tool):
    """Commands and options in running text exist. Returns their number."""
    help_of = {}

    def manual(*command):
        if command not in help_of:
            help_of[command] = subprocess.run([str(tool), *command, "--help"], stdout=subprocess.PIPE, check=True).stdout.decode()
        return help_of[command]

    count = 0
    for page in pages():
        text = re.sub(r"^ *```.*?^ *```", "", page.read_text(encoding="utf-8"), flags=re.S | re.M)
        for code in re.findall(r"`([^`\n]+)`", text):
            command = re.match(r"(?:build/)?lsrt ([a-z]+)( .*|$)", code)
            script = re.match(r"(scripts|tests|docs|demos|python)/[\w./-]+\.(sh|py|c|cc)\b", code)
            if command:
                assert re.search(rf"^  {command[1]} ", manual(), re.M), f"{page.name}: there is no command {command[1]}: {code}"
                for option in re.findall(r"--[a-z-]+", command[2]):
                    assert option in manual(command[1]), f"{page.name}: {code}: there is no {option}"
            if script:
                assert (ROOT / script[0]).exists(), f"{page.name}: there is no {script[0]}"
            count += bool(command or script)
    return count


def main():
    if sys.argv[1:] == ["--list"]:
        for page in pages():
            for block in blocks_of(page):
                print(f"{block.page}:{block.line}: {block.language} {block.mark}")
        return
    build = pathlib.Path(sys.argv[1]).resolve()
    tool, ran, elsewhere, marked = build / "lsrt", 0, 0, 0
    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        subprocess.run(["cmake", "--install", str(build), "--prefix", str(work / "prefix")], check=True, stdout=subprocess.DEVNULL)
        stand_ins(work / "files", tool)
        for page in pages():
            blocks = blocks_of(page)
            wrong = [block for block in blocks if block.language not in CODE + DATA]
            assert not wrong, f"{wrong[0].page}:{wrong[0].line}: a block of '{wrong[0].language}', which nothing tests"
            code = [block for block in blocks if block.language in CODE]
            kept = [block for block in code if not left_out(block)]
            marked += len(code) - len(kept)
            native = [block for block in kept if block.language in ("c", "cpp") or block.language == "sh" and not needs_python(blocks)]
            ran, elsewhere = ran + len(native), elsewhere + len(kept) - len(native)
            if not native:
                continue
            folder = work / str(page.relative_to(ROOT)).replace("/", "-")
            shell = Shell(folder, work / "files", tool)
            for block in native:
                if block.language == "sh":
                    shell.run(block)
            compiled = [block for block in native if block.language != "sh"]
            if compiled:
                compile_and_run(compiled, folder, work / "prefix")
    assert ran >= 7, f"only {ran} blocks: the pages are not read as they were"
    print(f"blocks.py: {ran} blocks ran, {elsewhere} are left to python/tests/test_docs.py, {marked} are marked; {check_inline(tool)} commands in text")


if __name__ == "__main__":
    main()
