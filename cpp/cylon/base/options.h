/// Every setting of a rank: one table gives its name, environment variable, default and unit.
#pragma once

#include <arrow/result.h>

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>

#include "cylon/base/export.h"

namespace cylon {

/// The settings, as plain values. Zero or empty means: chosen at start-up, as the table says.
struct Options {
  // Where this rank belongs. Set by `cylon run`; recognised from mpirun, Slurm and torchrun too.
  std::string job;          ///< job id; ranks of one job meet under it
  int rank = -1;            ///< -1: drawn from the store
  int world_size = 0;       ///< 0: one process
  int local_rank = -1;      ///< position among the ranks of this host
  int local_size = 1;       ///< ranks on this host; cores and memory are divided by it
  bool rejoin = false;      ///< this process takes the place of a rank that failed
  std::string epoch;        ///< set by a launcher to tell runs of one job apart; empty: agreed in the store
  std::string store;        ///< "host:port", "redis://user:password@host:port", "file:///shared/directory"
  std::string secret;       ///< the job's secret, 64 hexadecimal digits
  std::string secret_file;  ///< or a file with mode 0600 that holds it
  std::string bind_host;    ///< address to listen on; loopback unless told otherwise
  std::string transport;  ///< "" or "auto": the best way that each pair has; "tcp", "shm"; "punch"; "redis", "object":
                          ///< through a server, or an object store; or several of them, with commas
  std::string policy = "fastest";  ///< between several transports
  std::string prices;              ///< a file; "": those that are built in
  std::string redis;               ///< of transport "redis": the server; empty: the store's
  std::string object_store;        ///< of transport "object": s3://bucket/prefix or file:///shared/directory
  std::string rendezvous;          ///< of transport "punch": host:port of the server; empty: the store's
  std::string ticket;              ///< lets this process in at that server, where its operator issues tickets
  std::string ticket_file;         ///< or a file with mode 0600 that holds it
  bool plain_text = false;         ///< off loopback too, connections are not encrypted
  std::string tls_ca;              ///< who signs the ranks' certificates; with any of these, TLS goes by certificates
  std::string tls_certificate;     ///< own certificate chain
  std::string tls_key;             ///< and its key

  // How long things may take, in seconds.
  double join_deadline_s = 60;     ///< until every rank of the job has come
  double connect_deadline_s = 10;  ///< one connection with its handshake
  double close_deadline_s = 5;     ///< saying goodbye
  double peer_timeout_s = 10;      ///< silence after which a rank or a link counts as lost
  double keep_alive_s = 15;        ///< a connection on which nothing is sent has a sign of life this often
  double slow_warning_s = 30;      ///< a wait of so long is logged with what the awaited ranks do; 0: never
  double progress_deadline_s = 0;  ///< an operation in which nothing moves; 0: none
  double deadline_s = 0;           ///< the whole, from joining on; 0: none
  double time_left_s = 0;          ///< of this process, from now on: it leaves shortly before; 0: it is not limited

  // What this rank may use.
  int threads = 0;              ///< 0: the cores of the host (or its cgroup) over local_size
  int64_t memory_bytes = 0;     ///< budget; 0: 80 % of what machine or cgroup leaves, over local_size
  std::string spill_directory;  ///< "": TMPDIR, else /tmp
  bool spill_always = false;    ///< every chunk goes to disk: for tests

  // How data is cut.
  int64_t chunk_bytes = 4 << 20;  ///< an exchanged chunk, at most; also limited to memory / (8 * world size)
  int64_t morsel_rows = 1 << 20;  ///< rows that a kernel works on at a time
  int64_t piece_bytes = 1 << 20;  ///< a large message travels in pieces of this size
  int64_t eager_bytes = 0;        ///< what a peer may send before it is granted more; 0: by the world size
  int64_t shm_ring_bytes = 0;     ///< memory for each way of a pair of one host; 0: by the ranks there
  int spin_us = -1;               ///< how long a wait looks at shared memory before it sleeps; -1: by ranks and cores

  // What fails on purpose: for tests, in builds that have failpoints (base/failpoint.h).
  std::string failpoints;

  // What it says.
  std::string trace_directory;  ///< "": no trace
  std::string log_level = "warning";
  bool progress = true;       ///< progress lines on a terminal
  bool stall_reports = true;  ///< SIGUSR1 makes a rank print what it waits for
};

/// One row of the table.
struct OptionRow {
  std::string_view name;
  std::string_view environment;  ///< the variable that sets it
  std::string_view default_text;
  std::string_view unit;
  std::string_view meaning;
};

/// The whole table, for documentation and `cylon doctor`.
CYLON_EXPORT std::span<const OptionRow> OptionTable();

/// Options from `environment` (name to value). A launcher's own variables (OMPI_COMM_WORLD_*, PMI_*, SLURM_* inside a
/// step, RANK and WORLD_SIZE) fill rank, world size, local rank and local size where CYLON_* does not; a partial set is
/// Invalid and names what is missing, and a value that cannot be read is Invalid and names variable and value.
CYLON_EXPORT arrow::Result<Options> OptionsFrom(const std::map<std::string, std::string>& environment);

/// OptionsFrom the process's environment: the only place where the library reads it.
CYLON_EXPORT arrow::Result<Options> OptionsFromEnvironment();

/// Sets one option by the name in the table.
CYLON_EXPORT arrow::Status SetOption(Options* options, std::string_view name, std::string_view value);

/// The job's secret as bytes, out of `secret` or `secret_file`; empty where neither is set. AuthenticationError where
/// the file is readable by others (see base/secret.h), or what it holds is not 32 bytes in hexadecimal.
CYLON_EXPORT arrow::Result<std::string> ReadSecret(const Options& options);

/// Cores and bytes that this process may use: the machine's or the cgroup's, whichever is less.
struct HostLimits {
  int cores;
  int64_t memory_bytes;
};
CYLON_EXPORT HostLimits DetectHostLimits();

}  // namespace cylon
