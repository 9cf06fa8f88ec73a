"""The process that one engine runs in: reads commands from standard input, one JSON object a line, and answers."""

from __future__ import annotations

import gc
import importlib
import json
import os
import resource
import sys
import time
from typing import Any, TextIO

from peers import check, data
from peers.engine import Engine

__all__ = ["ENGINES", "engine_class", "main"]

# pyarrow comes with every engine, so it is asked last.
ENGINES = {
    "pycylon": "Pycylon",
    "pandas": "Pandas",
    "polars": "Polars",
    "duckdb": "DuckDB",
    "datafusion": "DataFusion",
    "pyarrow": "Pyarrow",
}


def engine_class(name: str) -> type[Engine]:
    """The adapter of an engine; ImportError where the engine is not installed."""
    found: type[Engine] = getattr(importlib.import_module(f"peers.engine_{name}"), ENGINES[name])
    return found


def _timed(engine: Engine, request: dict[str, Any]) -> dict[str, Any]:
    """Run one operation; the clock covers the operation alone, not the release of its result."""
    operation = getattr(engine, request["method"])
    gc.collect()
    cpu = time.process_time()
    began = time.perf_counter()
    result = operation(**request["arguments"])
    seconds = time.perf_counter() - began
    answer: dict[str, Any] = {"seconds": seconds, "cpu_seconds": time.process_time() - cpu}
    answer["rows"] = engine.rows(result)
    if request["check"]:
        table = engine.to_arrow(result)
        answer["digest"] = check.digest(table.select(request["checked"] or table.column_names))
        if request["sorted_by"] is not None and not check.is_sorted(table.column(request["sorted_by"])):
            raise AssertionError(f"{engine.name} did not sort by {request['sorted_by']}")
    engine.drop(result)
    answer["peak_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return answer


def _serve(engine: Engine, answers: TextIO) -> None:
    for line in sys.stdin:
        request = json.loads(line)
        answer: dict[str, Any]
        try:
            if request["do"] == "load":
                for name, path in request["tables"].items():
                    engine.load(name, data.read(path))
                answer = {}
            else:
                answer = _timed(engine, request)
        except Exception as error:  # whatever an engine raises belongs in the report
            answer = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def main(name: str, threads: int) -> None:
    """Serve until standard input ends."""
    # Engines may print; the answers have the real standard output for themselves.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    engine = engine_class(name)(threads)
    answers.write(json.dumps({"version": engine.version}) + "\n")
    answers.flush()
    _serve(engine, answers)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
