// Which rank this process is, as other launchers' environment variables say it.
#include "cylon/base/launcher.h"

#include <charconv>
#include <optional>
#include <span>
#include <vector>

namespace cylon::internal {

namespace {

using Environment = std::map<std::string, std::string>;

/// Slurm gives the batch script, the interactive shell and the like step ids from here up; none of them is a rank.
constexpr int64_t kFirstSpecialStep = 0xfffffff0;

std::string_view Get(const Environment& environment, std::string_view name) {
  auto found = environment.find(std::string(name));
  return found == environment.end() ? std::string_view() : std::string_view(found->second);
}

arrow::Result<int64_t> Integer(std::string_view name, std::string_view text) {
  int64_t value = 0;
  auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || stop != text.data() + text.size() || value < 0 || value > INT32_MAX) {
    return arrow::Status::Invalid(name, " is '", text,
                                  "'; expected a whole number from 0 up; correct it, or set CYLON_RANK and "
                                  "CYLON_WORLD_SIZE, which come first");
  }
  return value;
}

/// The variables of one launcher. `local_rank` and `local_size` may be absent.
struct Launcher {
  std::string_view name;
  std::string_view rank;
  std::string_view size;
  std::string_view local_rank;
  std::string_view local_size;
};

constexpr Launcher kTorch = {"torchrun", "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"};
constexpr Launcher kOpenMpi = {"Open MPI's mpirun", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE",
                               "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE"};
constexpr Launcher kPmi = {"an MPI launcher", "PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS"};

/// True where the launcher was seen and its values were taken.
arrow::Result<bool> Apply(const Environment& environment, const Launcher& launcher, Options* options) {
  const auto rank = Get(environment, launcher.rank);
  const auto size = Get(environment, launcher.size);
  if (rank.empty() && size.empty()) {
    return false;
  }
  if (rank.empty() || size.empty()) {
    return arrow::Status::Invalid(rank.empty() ? launcher.size : launcher.rank, " is set, as ", launcher.name,
                                  " does, but ", rank.empty() ? launcher.rank : launcher.size,
                                  " is missing; set both, neither, or CYLON_RANK and CYLON_WORLD_SIZE");
  }
  ARROW_ASSIGN_OR_RAISE(auto rank_value, Integer(launcher.rank, rank));
  ARROW_ASSIGN_OR_RAISE(auto size_value, Integer(launcher.size, size));
  if (rank_value >= size_value) {
    return arrow::Status::Invalid(launcher.rank, " is ", rank_value, " and ", launcher.size, " is ", size_value,
                                  "; a rank is less than the number of ranks; correct the launcher's variables");
  }
  options->rank = static_cast<int>(rank_value);
  options->world_size = static_cast<int>(size_value);
  const auto local_rank = Get(environment, launcher.local_rank);
  if (!local_rank.empty() && options->local_rank < 0) {
    ARROW_ASSIGN_OR_RAISE(auto value, Integer(launcher.local_rank, local_rank));
    options->local_rank = static_cast<int>(value);
  }
  const auto local_size = Get(environment, launcher.local_size);
  if (!local_size.empty() && Get(environment, "CYLON_LOCAL_SIZE").empty()) {
    ARROW_ASSIGN_OR_RAISE(auto value, Integer(launcher.local_size, local_size));
    options->local_size = static_cast<int>(std::max<int64_t>(1, value));
  }
  return true;
}

bool InSlurmStep(const Environment& environment) {
  const auto text = Get(environment, "SLURM_STEP_ID");
  int64_t step = -1;
  auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), step);
  return !text.empty() && error == std::errc() && stop == text.data() + text.size() && step >= 0 &&
         step < kFirstSpecialStep;
}

/// Tasks of node `node` in Slurm's list, as "4(x2),3": two nodes of four tasks, one of three.
std::optional<int> TasksOfNode(std::string_view list, int64_t node) {
  while (!list.empty()) {
    const auto comma = list.find(',');
    const auto entry = list.substr(0, comma);
    int tasks = 0;
    int times = 1;
    auto [stop, error] = std::from_chars(entry.data(), entry.data() + entry.size(), tasks);
    if (error != std::errc() || tasks < 1) {
      return std::nullopt;
    }
    const std::string_view rest(stop, static_cast<size_t>(entry.data() + entry.size() - stop));
    if (rest.starts_with("(x")) {
      std::from_chars(rest.data() + 2, rest.data() + rest.size(), times);
    }
    if (node < times) {
      return tasks;
    }
    node -= times;
    list.remove_prefix(comma == std::string_view::npos ? list.size() : comma + 1);
  }
  return std::nullopt;
}

arrow::Result<bool> ApplySlurm(const Environment& environment, Options* options) {
  if (!InSlurmStep(environment)) {
    return false;
  }
  // Inside an allocation SLURM_NTASKS speaks of the job; the step may have fewer tasks.
  const bool step_size = !Get(environment, "SLURM_STEP_NUM_TASKS").empty();
  const Launcher slurm = {"Slurm's srun", "SLURM_PROCID", step_size ? "SLURM_STEP_NUM_TASKS" : "SLURM_NTASKS",
                          "SLURM_LOCALID", ""};
  ARROW_ASSIGN_OR_RAISE(const bool found, Apply(environment, slurm, options));
  if (!found) {
    return arrow::Status::Invalid(
        "SLURM_STEP_ID is set, as inside a Slurm step, but SLURM_PROCID and SLURM_NTASKS are missing; start the "
        "program with srun, or set CYLON_RANK and CYLON_WORLD_SIZE");
  }
  const auto list = Get(environment, "SLURM_STEP_TASKS_PER_NODE");
  if (!list.empty() && Get(environment, "CYLON_LOCAL_SIZE").empty()) {
    const auto node = Get(environment, "SLURM_NODEID");
    ARROW_ASSIGN_OR_RAISE(auto index, node.empty() ? 0 : Integer("SLURM_NODEID", node));
    options->local_size = TasksOfNode(list, index).value_or(options->local_size);
  }
  return true;
}

/// A job id out of what the launcher calls its own run, where the user gave none.
void NameJob(std::string_view prefix, std::string_view id, Options* options) {
  if (options->job.empty() && !id.empty()) {
    options->job = std::string(prefix) + std::string(id);
  }
}

}  // namespace

arrow::Status ApplyLauncher(const std::map<std::string, std::string>& environment, Options* options) {
  ARROW_ASSIGN_OR_RAISE(bool found, Apply(environment, kTorch, options));
  if (found) {
    const auto run = Get(environment, "TORCHELASTIC_RUN_ID");
    NameJob("torch-", run == "none" ? std::string_view() : run, options);
    return arrow::Status::OK();
  }
  ARROW_ASSIGN_OR_RAISE(found, Apply(environment, kOpenMpi, options));
  if (found) {
    NameJob("mpi-", Get(environment, "PMIX_NAMESPACE"), options);
    return arrow::Status::OK();
  }
  ARROW_ASSIGN_OR_RAISE(found, Apply(environment, kPmi, options));
  if (found) {
    return arrow::Status::OK();
  }
  ARROW_ASSIGN_OR_RAISE(found, ApplySlurm(environment, options));
  if (found) {
    const std::string job(Get(environment, "SLURM_JOB_ID"));
    NameJob("slurm-", job.empty() ? job : job + "." + std::string(Get(environment, "SLURM_STEP_ID")), options);
    return arrow::Status::OK();
  }
  if (!Get(environment, "PMIX_RANK").empty()) {
    return arrow::Status::Invalid(
        "PMIX_RANK is set, as a PMIx launcher does, but nothing says how many ranks there are; set CYLON_RANK and "
        "CYLON_WORLD_SIZE");
  }
  return arrow::Status::OK();
}

}  // namespace cylon::internal
