"""Whether a job took its fault as it has to: no hang, no wrong answer, and the right name at every survivor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cases import Case

__all__ = ["Outcome", "judge"]

# What a process death may take until every survivor has raised, and what comes on top of the silence that was asked
# for: a heartbeat, and the rest of a busy machine.
_DEATH_S = 2.0
_SLACK_S = 1.5


@dataclass
class Outcome:
    """What became of one case."""

    case: Case
    verdict: str  # "right", "hang", "wrong answer", "wrong name", "late", "void"
    why: str = ""
    seconds: float | None = None  # from the fault to the last survivor's error

    @property
    def failed(self) -> bool:
        return self.verdict not in ("right", "void")


def judge(case: Case, ends: dict[int, dict[str, Any] | None], moment: float, peer_timeout: float) -> Outcome:
    """`ends`: the last line of every rank's diary; None where it did not come to its end."""
    dead = set(case.victims) if case.fault in ("kill", "stop") else set()
    survivors = {rank: end for rank, end in ends.items() if rank not in dead or end is not None}
    missing = [rank for rank in ends if rank not in dead and ends[rank] is None]
    if missing:
        return Outcome(case, "hang", f"nothing was heard of rank {', '.join(map(str, missing))}")
    lines = {rank: end for rank, end in survivors.items() if end is not None}
    for rank, end in lines.items():
        if end["outcome"] == "wrong":
            return Outcome(case, "wrong answer", f"rank {rank}: {end['message']}")
    if case.fault in ("slow", "cut", "store", "restart", "gateway"):
        return _all_well(case, lines)
    if case.fault in ("disk", "memory"):
        return _refused(case, lines)
    if case.fault == "silence":
        return _link_lost(case, lines, moment, peer_timeout)
    if case.fault == "blackhole":
        own = lines.pop(case.victims[0])
        if own["outcome"] != "error" or not (own["kind"] == "Isolated" or own["rank"] == case.victims[0]):
            return Outcome(case, "wrong name", f"rank {case.victims[0]}, which reaches nobody, says: {own}")
    return _named(case, {rank: end for rank, end in lines.items() if rank not in dead}, moment, peer_timeout)


def _all_well(case: Case, lines: dict[int, dict[str, Any]]) -> Outcome:
    for rank, end in lines.items():
        if end["outcome"] != "ok":
            return Outcome(case, "wrong name", f"nobody was lost, but rank {rank} says: {end['message']}")
    return Outcome(case, "right")


def _refused(case: Case, lines: dict[int, dict[str, Any]]) -> Outcome:
    words = {"disk": "No space left on device", "memory": "memory"}[case.fault]
    for rank, end in lines.items():
        if end["outcome"] == "ok":
            return Outcome(case, "wrong name", f"rank {rank} was told nothing of what went wrong")
        if words not in end["message"] or end["kind"] == "RankFailed":
            return Outcome(case, "wrong name", f"rank {rank} says: {end['message']}; expected: {words}")
    return Outcome(case, "right")


def _link_lost(case: Case, lines: dict[int, dict[str, Any]], moment: float, peer_timeout: float) -> Outcome:
    if all(end["outcome"] == "ok" for end in lines.values()):
        return Outcome(case, "right", "nothing had to pass between the two")
    for rank, end in lines.items():
        if end["outcome"] == "ok":
            return Outcome(case, "wrong name", f"rank {rank} was told nothing of what went wrong")
        if end["kind"] != "LinkLost" or {end["rank"], end["other"]} != set(case.victims):
            return Outcome(case, "wrong name", f"rank {rank} says: {end['kind']}: {end['message']}")
    return _in_time(case, lines, moment, peer_timeout + _SLACK_S)


def _in_time(case: Case, lines: dict[int, dict[str, Any]], moment: float, limit: float) -> Outcome:
    seconds = max(end["at"] for end in lines.values()) - moment
    if case.phase == "idle":
        seconds -= min(seconds, case.pause_us / 1e6)  # computing, not waiting
    if seconds > limit:
        return Outcome(case, "late", f"the last survivor raised after {seconds:.2f} s; expected {limit:.1f}", seconds)
    return Outcome(case, "right", "", seconds)


def _named(case: Case, lines: dict[int, dict[str, Any]], moment: float, peer_timeout: float) -> Outcome:
    errors = {rank: end for rank, end in lines.items() if end["outcome"] == "error"}
    if case.phase == "closing":
        # Who had left, or needed nobody any more, has no reason to raise.
        lines = errors
    for rank, end in lines.items():
        if end["outcome"] == "ok":
            return Outcome(case, "wrong name", f"rank {rank} was told nothing of what went wrong")
        kinds = ("RankFailed", "Deadline") if case.phase == "joining" else ("RankFailed",)
        if end["kind"] not in kinds or end["rank"] not in case.victims:
            return Outcome(case, "wrong name", f"rank {rank} says: {end['kind']}: {end['message']}")
    names = {end["rank"] for end in lines.values() if end["kind"] == "RankFailed"}
    if len(names) > 1:
        return Outcome(case, "wrong name", f"survivors name different ranks: {sorted(names)}")
    if not lines:
        return Outcome(case, "right" if case.phase == "closing" else "void", "no survivor raised")
    limit = _DEATH_S if case.fault == "kill" else peer_timeout + _SLACK_S
    if case.phase == "joining":
        limit = max(limit, peer_timeout + _SLACK_S)  # the join deadline of these runs
    return _in_time(case, lines, moment, limit)
