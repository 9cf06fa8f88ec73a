"""Runs cases: for each data set one process an engine, and their iterations in turn."""

from __future__ import annotations

import json
import os
import select
import statistics
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

from peers import data
from peers.cases import Case
from peers.check import differences
from peers.worker import engine_class

__all__ = ["Result", "run"]

_BENCHMARKS = Path(__file__).resolve().parent.parent


@dataclass
class Result:
    """What one engine did on one case with one number of threads."""

    case: str
    engine: str
    threads: int
    iterations: list[dict[str, float]] = field(default_factory=list)
    rows: int | None = None
    error: str | None = None
    disagrees: list[str] = field(default_factory=list)  # with the first engine that answered
    digest: dict[str, Any] | None = None

    @property
    def best(self) -> float | None:
        """Seconds of the fastest iteration."""
        return min((i["seconds"] for i in self.iterations), default=None)

    @property
    def median(self) -> float | None:
        """Seconds of the iteration in the middle."""
        return statistics.median(i["seconds"] for i in self.iterations) if self.iterations else None

    @property
    def cpu(self) -> float | None:
        """CPU seconds of the iteration that took least, over all threads; a busy machine disturbs them less."""
        return min((i["cpu_seconds"] for i in self.iterations), default=None)

    def record(self) -> dict[str, Any]:
        """For the JSON file."""
        return asdict(self) | {"best": self.best, "median": self.median, "cpu": self.cpu}


class _Worker:
    """An engine's process; it is started again when it has died."""

    def __init__(self, engine: str, threads: int, tables: dict[str, str], timeout: float) -> None:
        self.engine, self.threads, self.tables, self.timeout = engine, threads, tables, timeout
        self.process: subprocess.Popen[str] | None = None
        self.version = ""

    def _start(self) -> str | None:
        environment = os.environ | engine_class(self.engine).environment(self.threads)
        environment["PYTHONPATH"] = os.pathsep.join([str(_BENCHMARKS), environment.get("PYTHONPATH", "")])
        self.process = subprocess.Popen(
            [sys.executable, "-m", "peers.worker", self.engine, str(self.threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        answer = self._answer()
        self.version = answer.get("version", "")
        if "error" not in answer:
            answer = self._ask({"do": "load", "tables": self.tables})
        if "error" in answer:
            self.stop()
        return answer.get("error")

    def _answer(self) -> dict[str, Any]:
        assert self.process is not None
        output: IO[str] | None = self.process.stdout
        assert output is not None
        if not select.select([output], [], [], self.timeout)[0]:
            self.process.kill()
            return {"error": f"no answer in {self.timeout:.0f} s"}
        line = output.readline()
        if not line:
            return {"error": f"its process ended with exit code {self.process.wait()}"}
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self.process is not None
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            return {"error": f"its process ended with exit code {self.process.wait()}"}
        return self._answer()

    def operate(self, case: Case, check: bool) -> dict[str, Any]:
        """The answer to one run of a case; with ``error`` where there was none."""
        if self.process is None or self.process.poll() is not None:
            error = self._start()
            if error is not None:
                return {"error": error}
        request = {"do": "run", "method": case.method, "arguments": case.arguments, "check": check}
        return self._ask(request | {"sorted_by": case.sorted_by, "checked": case.checked})

    def stop(self) -> None:
        """End the process by ending its input; kill it where that does not help."""
        if self.process is not None:
            assert self.process.stdin is not None
            self.process.stdin.close()
            try:
                self.process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process = None


def _turns(engines: list[str], iteration: int) -> list[str]:
    """Engines in turn, a different one first each time, so that none is always after the same neighbour."""
    shift = iteration % len(engines)
    return engines[shift:] + engines[:shift]


def _run_case(case: Case, threads: int, workers: dict[str, _Worker], iterations: int) -> list[Result]:
    results = {engine: Result(case.name, engine, threads) for engine in workers}
    for iteration in range(iterations + 1):
        # The first is warm-up for all, and the one whose answers are compared.
        for engine in _turns(list(workers), iteration):
            result = results[engine]
            if result.error is not None:
                continue
            answer = workers[engine].operate(case, check=iteration == 0)
            if "error" in answer:
                result.error = answer["error"]
                continue
            if iteration == 0:
                result.digest, result.rows = answer["digest"], answer["rows"]
            elif answer["rows"] != result.rows:
                result.error = f"gave {result.rows} rows, then {answer['rows']}"
            else:
                result.iterations.append({key: answer[key] for key in ("seconds", "cpu_seconds", "peak_bytes")})
    answered = [result for result in results.values() if result.digest is not None]
    for result in answered[1:]:
        assert answered[0].digest is not None
        assert result.digest is not None
        result.disagrees = differences(answered[0].digest, result.digest)
    return list(results.values())


def run(
    cases: list[Case],
    engines: list[str],
    threads: list[int],
    rows: dict[str, int],
    iterations: int,
    timeout: float,
) -> tuple[list[Result], dict[str, str]]:
    """Run every case; the results, and the engines' versions. Prints a line as each case ends."""
    results: list[Result] = []
    versions: dict[str, str] = {}
    for dataset in dict.fromkeys(case.dataset for case in cases):
        with tempfile.TemporaryDirectory(prefix="cylon-bench-peers-") as folder:
            tables = data.write(dataset, rows[dataset], Path(folder))
            for count in threads:
                workers = {engine: _Worker(engine, count, tables, timeout) for engine in engines}
                try:
                    for case in (case for case in cases if case.dataset == dataset):
                        done = _run_case(case, count, workers, iterations)
                        results += done
                        print(f"{case.name}, {count} thread{'s' * (count > 1)}:", *map(_brief, done), flush=True)
                finally:
                    for worker in workers.values():
                        versions[worker.engine] = worker.version or versions.get(worker.engine, "")
                        worker.stop()
    return results, versions


def _brief(result: Result) -> str:
    text = f"{result.engine} {result.best:.3f}" if result.best is not None else f"{result.engine} -"
    return text + (" DISAGREES" if result.disagrees else "")
