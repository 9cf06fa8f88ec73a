// Contexts, and worlds whose ranks are threads.
#include <nanobind/stl/map.h>

#include "bindings.h"

namespace cylon::python {

Options MakeOptions(const std::map<std::string, std::string>& overrides) {
  Options options = Check(OptionsFromEnvironment());
  for (const auto& [name, value] : overrides) {
    Check(SetOption(&options, name, value));
  }
  return options;
}

namespace {

ThreadWorld::Kind WorldKind(const std::string& name) {
  if (name == "sim") {
    return ThreadWorld::Kind::kSim;
  }
  if (name == "inproc") {
    return ThreadWorld::Kind::kInproc;
  }
  if (name == "tcp") {
    return ThreadWorld::Kind::kTcp;
  }
  if (name == "shm") {
    return ThreadWorld::Kind::kShm;
  }
  throw nb::value_error(("transport '" + name + "' is not one of 'sim', 'inproc', 'tcp', 'shm'").c_str());
}

/// Runs `body(context)` at every rank; what it raises is kept by its Python wrapper, so here a flag is enough.
/// Returns each rank's failure, "" where there is none.
std::vector<std::string> RunThreadWorld(const std::string& kind, int ranks, uint64_t seed,
                                        const std::map<std::string, std::string>& overrides, nb::callable body) {
  ThreadWorld world;
  world.kind = WorldKind(kind);
  world.ranks = ranks;
  world.seed = seed;
  world.interrupt = CheckSignals;
  for (const auto& [name, value] : overrides) {
    Check(SetOption(&world.options, name, value));
  }
  std::vector<arrow::Status> statuses;
  {
    nb::gil_scoped_release release;
    statuses = RunRanks(world, [&](Context& context) -> arrow::Status {
      nb::gil_scoped_acquire acquire;
      try {
        // The world owns the context; the body's handle ends with it.
        ContextPtr handle(&context, [](Context*) {});
        if (nb::cast<bool>(body(handle))) {
          return arrow::Status::OK();
        }
      } catch (nb::python_error& error) {
        return arrow::Status::UnknownError(error.what());
      }
      return arrow::Status::UnknownError("the body of this rank raised");
    });
  }
  std::vector<std::string> failures;
  for (const auto& status : statuses) {
    failures.push_back(status.ok() ? "" : status.message());
  }
  return failures;
}

}  // namespace

void BindContext(nb::module_& module) {
  nb::class_<Context>(module, "Context")
      .def_static(
          "local",
          [](const std::map<std::string, std::string>& overrides) {
            Options options = MakeOptions(overrides);
            return WithoutGil([&] { return Context::Local(options, CheckSignals); });
          },
          nb::arg("options"))
      .def_static(
          "connect",
          [](const std::map<std::string, std::string>& overrides) {
            Options options = MakeOptions(overrides);
            return WithoutGil([&] { return Context::Connect(options, CheckSignals); });
          },
          nb::arg("options"))
      .def_prop_ro("rank", &Context::rank)
      .def_prop_ro("world_size", &Context::world_size)
      .def_prop_ro("bytes_sent", [](Context& self) { return self.communicator().lanes().bytes_sent(); })
      .def_prop_ro("bytes_received", [](Context& self) { return self.communicator().lanes().bytes_received(); })
      .def_prop_ro("spilled_bytes", [](Context& self) { return self.resources()->memory()->spilled_bytes(); })
      .def("explain", [](Context& self) { return WithoutGil([&] { return self.Explain(); }); })
      .def("barrier", [](Context& self) { WithoutGil(self, [&] { return self.communicator().Barrier(); }); })
      .def(
          "rejoin",
          [](Context& self, double window_s, int least_ranks) {
            return WithoutGil(self, [&] { return self.Rejoin({window_s, least_ranks}); });
          },
          nb::arg("window_s"), nb::arg("least_ranks"))
      .def("close", [](Context& self) { WithoutGil([&] { return self.Close(); }); })
      .def(
          "split",
          [](Context& self, int color, int key) { return WithoutGil(self, [&] { return self.Split(color, key); }); },
          nb::arg("color"), nb::arg("key"));

  module.def("run_ranks", &RunThreadWorld, nb::arg("kind"), nb::arg("ranks"), nb::arg("seed"), nb::arg("options"),
             nb::arg("body"));
  module.def("option_table", [] {
    std::vector<std::tuple<std::string, std::string, std::string, std::string, std::string>> rows;
    for (const auto& row : OptionTable()) {
      rows.emplace_back(row.name, row.environment, row.default_text, row.unit, row.meaning);
    }
    return rows;
  });
  module.def(
      "read_secret_file",
      [](const std::string& path) {
        Options options;
        options.secret_file = path;
        const std::string secret = Check(ReadSecret(options));
        return nb::bytes(secret.data(), secret.size());
      },
      nb::arg("path"));
  module.def("merge_traces",
             [](const std::string& directory) { return WithoutGil([&] { return Tracer::Merge(directory); }); });
}

}  // namespace cylon::python
