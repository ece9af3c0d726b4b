// Files that appear whole or not at all, with a name from the start and without.
#include "base/atomic_file.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <string>

#include "tests/support/files.h"

using namespace lsrt;
using namespace lsrt_test;
namespace fs = std::filesystem;

namespace {

constexpr AtomicFile::Temporary kBoth[] = {AtomicFile::Temporary::kUnnamed, AtomicFile::Temporary::kNamed};

mode_t mode(const std::string& path) {
  struct stat info = {};
  REQUIRE(stat(path.c_str(), &info) == 0);
  return info.st_mode & 07777;
}

AtomicFile open(const std::string& path, AtomicFile::Temporary temporary) {
  Result<AtomicFile> file = AtomicFile::open(path, temporary);
  REQUIRE_MESSAGE(file.ok(), file.status().message());
  return file.take();
}

void replace(const std::string& path, AtomicFile::Temporary temporary, const std::string& text) {
  AtomicFile file = open(path, temporary);
  REQUIRE(file.write(text.data(), text.size()).ok());
  REQUIRE(file.commit().ok());
}

}  // namespace

TEST_CASE("the target is the old file until the new one is whole") {
  for (const auto temporary : kBoth) {
    const TemporaryFolder folder;
    const std::string path = folder / "model";
    write_file(path, "old");
    {
      AtomicFile file = open(path, temporary);
      REQUIRE(file.write("abcd", 4).ok());
      REQUIRE(file.overwrite(1, "XY", 2).ok());
      CHECK(read_file(path) == "old");
      CHECK(read_file(file.temporary_path()) == "aXYd");
      AtomicFile moved = std::move(file);
      REQUIRE(moved.commit().ok());
    }
    CHECK(read_file(path) == "aXYd");
    CHECK(folder.entries() == 1);
    { CHECK(open(path, temporary).write("dropped", 7).ok()); }
    CHECK(read_file(path) == "aXYd");
    CHECK(folder.entries() == 1);
  }
}

TEST_CASE("a file of the name that another process would take is left alone") {
  // Names are random and are made, not opened: a link that lies in wait is neither followed nor truncated.
  const TemporaryFolder folder;
  write_file(folder / "victim", "precious");
  for (int serial = 0; serial < 10; ++serial) {
    const std::string guess = "model.partial-" + std::to_string(getpid()) + "-" + std::to_string(serial);
    REQUIRE(symlink((folder / "victim").c_str(), (folder / guess).c_str()) == 0);
  }
  for (const auto temporary : kBoth) replace(folder / "model", temporary, "new");
  CHECK(read_file(folder / "victim") == "precious");
  CHECK(fs::is_regular_file(fs::symlink_status(folder / "model")));
}

TEST_CASE("permissions stay; new files get those of the umask") {
  for (const auto temporary : kBoth) {
    const TemporaryFolder folder;
    const mode_t before = umask(027);
    replace(folder / "new", temporary, "x");
    umask(before);
    CHECK(mode(folder / "new") == 0640);
    write_file(folder / "secret", "old");
    REQUIRE(chmod((folder / "secret").c_str(), 0600) == 0);
    replace(folder / "secret", temporary, "new");
    CHECK(mode(folder / "secret") == 0600);
    CHECK(read_file(folder / "secret") == "new");
  }
}

TEST_CASE("a link as target stays a link, also one to nothing yet") {
  for (const auto temporary : kBoth) {
    const TemporaryFolder folder;
    fs::create_directory(folder / "store");
    write_file(folder / "store/one", "old");
    fs::create_symlink("store/one", folder / "relative");
    fs::create_symlink(folder / "relative", folder / "chain");
    fs::create_symlink("store/two", folder / "dangling");
    replace(folder / "chain", temporary, "new");
    replace(folder / "dangling", temporary, "second");
    CHECK(fs::is_symlink(folder / "chain"));
    CHECK(fs::is_symlink(folder / "dangling"));
    CHECK(read_file(folder / "store/one") == "new");
    CHECK(read_file(folder / "store/two") == "second");
    fs::create_symlink("loop", folder / "loop");
    CHECK(AtomicFile::open(folder / "loop", temporary).status().code() == Error::kFile);
  }
}

TEST_CASE("a killed process leaves nothing") {
  const TemporaryFolder folder;
  {
    AtomicFile probe = open(folder / "model", AtomicFile::Temporary::kUnnamed);
    if (folder.entries() > 0) {
      MESSAGE("skipped: this file system has no files without a name");
      return;
    }
  }
  int ready[2];
  REQUIRE(pipe(ready) == 0);
  const pid_t child = fork();
  if (child == 0) {
    Result<AtomicFile> file = AtomicFile::open(folder / "model");
    const bool written = file.ok() && file.value().write("half", 4).ok();
    if (write(ready[1], written ? "y" : "n", 1) == 1) pause();
    _exit(1);
  }
  char answer = 0;
  REQUIRE(read(ready[0], &answer, 1) == 1);
  CHECK(answer == 'y');
  REQUIRE(kill(child, SIGKILL) == 0);
  REQUIRE(waitpid(child, nullptr, 0) == child);
  close(ready[0]), close(ready[1]);
  CHECK(folder.entries() == 0);
}

TEST_CASE("what cannot be a target is refused by name") {
  const TemporaryFolder folder;
  for (const std::string& path : {folder / "", std::string("/dev/null"), folder / "no/such/folder"}) {
    const Status status = AtomicFile::open(path).status();
    CHECK(status.code() == Error::kFile);
    CHECK(status.message().rfind(path + ": cannot write: ", 0) == 0);
  }
}

TEST_CASE("a write that fails says why and leaves nothing") {
  // A limit on file sizes stands in for a full disk.
  struct rlimit old;
  getrlimit(RLIMIT_FSIZE, &old);
  std::signal(SIGXFSZ, SIG_IGN);
  const struct rlimit small = {1000, old.rlim_max};
  for (const auto temporary : kBoth) {
    const TemporaryFolder folder;
    setrlimit(RLIMIT_FSIZE, &small);
    Status status;
    {
      AtomicFile file = open(folder / "out", temporary);
      const std::string bytes(4000, 'x');
      status = file.write(bytes.data(), bytes.size());
    }
    setrlimit(RLIMIT_FSIZE, &old);
    CHECK(status.code() == Error::kFile);
    CHECK(status.message() == (folder / "out") + ": cannot write: File too large");
    CHECK(folder.entries() == 0);
  }
}
