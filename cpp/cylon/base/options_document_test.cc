// docs/options.md says what the option table says. CYLON_UPDATE_DOCS=1 in the environment writes it anew.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "cylon/base/options.h"

namespace cylon {
namespace {

std::string Document() {
  std::ostringstream out;
  out << "# Options\n\n"
         "Every option has a name (`Options` in C++, an argument of `CylonEnv` in Python) and a variable in the\n"
         "environment. What a program sets itself comes first, then the `CYLON_*` variables, then what other "
         "launchers\n"
         "say: `RANK`, `WORLD_SIZE`, `LOCAL_RANK` (torchrun), `OMPI_COMM_WORLD_*` (Open MPI), `PMI_*` (other MPIs),\n"
         "`SLURM_*` inside a step of `srun`. A launcher's set that is not whole is an error that names what is "
         "missing.\n"
         "\n"
         "Bytes take a unit: `4K`, `4KiB` (1024), `4KB` (1000), and so on with `M`, `G`, `T`. Switches take `1`/`0`,\n"
         "`true`/`false`, `yes`/`no`, `on`/`off`. A variable that is set to nothing counts as not set.\n\n"
         "Python takes `CYLON_SECRET_FROM` as well, which names where the secret is\n"
         "([serverless-communicator.md](serverless-communicator.md#the-secret)).\n\n"
         "| name | variable | default | unit | meaning |\n"
         "|---|---|---|---|---|\n";
  for (const auto& row : OptionTable()) {
    out << "| `" << row.name << "` | `" << row.environment << "` | "
        << (row.default_text.empty() ? std::string() : "`" + std::string(row.default_text) + "`") << " | " << row.unit
        << " | " << row.meaning << " |\n";
  }
  out << "\nThis page is written by a test from the table in `cpp/cylon/base/options.cc`:\n"
         "`CYLON_UPDATE_DOCS=1 build/release/cpp/cylon/cylon_base_test --gtest_filter='OptionsDocument*'`.\n";
  return out.str();
}

TEST(OptionsDocumentTest, SaysWhatTheTableSays) {
  // cpp/cylon/base/<this file>: the root is four levels up.
  const auto path =
      std::filesystem::path(__FILE__).parent_path().parent_path().parent_path().parent_path() / "docs" / "options.md";
  if (std::getenv("CYLON_UPDATE_DOCS") != nullptr) {
    std::ofstream(path, std::ios::trunc) << Document();
  }
  std::ifstream in(path);
  std::stringstream text;
  text << in.rdbuf();
  EXPECT_EQ(text.str(), Document()) << path << " is out of date; run this test with CYLON_UPDATE_DOCS=1 and commit it";
}

}  // namespace
}  // namespace cylon
