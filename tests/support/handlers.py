"""Processes in which a function's handler is called again and again, and what each call leaves behind.

Run as a program it is such a process: a line of its input is a call, and what it says of it is a line of JSON.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

__all__ = ["PROGRAM", "check_frozen", "check_leftovers"]

PROGRAM = [sys.executable, __file__]
_ENDING = 0x4  # PF_EXITING among the flags of /proc/self/task/*/stat

Process = subprocess.Popen[str]


def _left() -> dict[str, list[str]]:
    """The threads of this process, and its sockets and other descriptors."""
    threads = []
    for task in Path("/proc/self/task").iterdir():
        try:
            name, rest = (task / "stat").read_text().split("(", 1)[1].rsplit(")", 1)
        except (FileNotFoundError, ProcessLookupError):
            continue
        # Who joins a thread is woken before the kernel takes the thread out of this list.
        if not int(rest.split()[6]) & _ENDING:
            threads.append(name)
    descriptors = []
    for each in Path("/proc/self/fd").iterdir():
        try:
            descriptors.append(os.readlink(each).split(":")[0])
        except FileNotFoundError:
            continue  # that of this very listing
    return {"threads": sorted(threads), "descriptors": sorted(descriptors)}


def _handle(job: str, how: str) -> dict[str, object]:
    """One call: rank 0 fails if told to; if it is frozen, that is rank 1, while rank 0 needs it."""
    import pycylon as cy

    error: BaseException | None = None
    try:
        with cy.CylonEnv(job=job) as env:
            frame = cy.DataFrame({"key": list(range(1000)), "rank": [env.rank] * 1000}, env=env)
            assert frame.shuffle(on="key").count_rows() == 1000 * env.world_size
            if how == "fails" and env.rank == 0:
                raise KeyError("as a handler may")
            if how == "frozen" and env.rank == 1:
                print("{}", flush=True)
                sys.stdin.readline()
            if how != "ends":
                env.barrier()
            if how == "frozen":
                env.barrier()  # into the first one rank 0 had come
    except (cy.CylonError, KeyError) as raised:
        error = raised
    said = {"error": type(error).__name__, "message": str(error)}
    del error  # and with it what its frames hold
    return {**said, **_left()}


def _main() -> None:
    import pycylon as cy

    cy.CylonEnv(distributed=False).finalize()  # what a process has once and keeps
    print(json.dumps(_left()), flush=True)
    for line in sys.stdin:
        print(json.dumps(_handle(*line.split())), flush=True)


def _hear(process: Process) -> Any:
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, process.communicate()[1]
    return json.loads(line)


def _call(processes: Sequence[Process], job: str, how: str) -> None:
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(f"{job} {how}\n")
        process.stdin.flush()


def _check_same(before: dict[str, list[str]], after: dict[str, list[str]]) -> None:
    # That of the handler of SIGUSR1, which a process has once.
    kept = ["anon_inode"] if after["descriptors"].count("anon_inode") == 1 else []
    assert after["threads"] == before["threads"]
    assert after["descriptors"] == sorted(before["descriptors"] + kept)


def check_leftovers(start: Callable[[], Sequence[Process]]) -> list[Process]:
    """No thread and no descriptor outlives a handler that returns, one that fails, or one whose peer did."""
    processes = list(start())
    before = [_hear(process) for process in processes]
    for turn, how in enumerate(("ends", "fails", "ends")):
        _call(processes, f"turn{turn}", how)
        for rank, process in enumerate(processes):
            after = _hear(process)
            expected = "NoneType" if how == "ends" else "KeyError" if rank == 0 else "RankFailedError"
            assert after["error"] == expected, after
            _check_same(before[rank], after)
    return processes


def check_frozen(processes: Sequence[Process]) -> None:
    """A process that stood still while its world went learns it at its next call, and takes part in the next world."""
    _call(processes, "frozen", "frozen")
    assert _hear(processes[1]) == {}
    processes[1].send_signal(signal.SIGSTOP)
    assert _hear(processes[0])["error"] == "RankFailedError"
    processes[1].send_signal(signal.SIGCONT)
    assert processes[1].stdin is not None
    processes[1].stdin.write("\n")
    processes[1].stdin.flush()
    thawed = _hear(processes[1])
    assert thawed["error"] in ("RankFailedError", "IsolatedError"), thawed
    _call(processes, "next", "ends")
    for process in processes:
        after = _hear(process)
        assert after["error"] == "NoneType", after
        assert not {"socket", "cylon", "cylon-watch"} & {*after["descriptors"], *after["threads"]}, after


if __name__ == "__main__":
    _main()
