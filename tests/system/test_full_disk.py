"""A disk that fills up under one rank or all: every rank is told, and no half of a file is left."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Run

RANKS = 3
DISK_BYTES = 3 << 20  # the frames of all ranks, 800 kB each, fit once and not twice
PROGRAM = """import resource, signal, numpy as np, pycylon as cy
with cy.CylonEnv() as env:
    frame = cy.DataFrame({{'a': np.random.default_rng(env.rank).random(100_000)}}, env=env)
    env.barrier()
    {before}
    try:
        {attempt}
    except OSError as error:
        print('refused', type(error).__name__, error)
    env.barrier()
"""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of DISK_BYTES, empty."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=0777", "tmpfs", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode != 0:
        pytest.skip(f"needs the right to mount a tmpfs: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def refusals(
    run: Run, cylon: str, folder: Path, attempt: str, before: str = "pass", **variables: str
) -> list[tuple[int, str]]:
    """Let every rank try, and return what each was told; all of them work on together afterwards."""
    program = folder / "attempt.py"
    program.write_text(PROGRAM.format(before=before, attempt=attempt))
    done = run(cylon, "run", "-n", RANKS, program, **variables)
    assert done.returncode == 0, done.stderr
    told = [line for line in sorted(done.stdout.splitlines()) if "refused" in line]
    assert [line.split("]")[0] for line in told] == [f"[{rank}" for rank in range(RANKS)], done.stdout + done.stderr
    return list(enumerate(told))


def test_a_file_that_may_not_grow_leaves_nothing_under_the_final_name(run: Run, cylon: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    limit = (
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "    if env.rank == 1:\n"
        "        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))"
    )
    for rank, line in refusals(run, cylon, tmp_path, f"frame.to_parquet({str(out)!r}, compression=None)", limit):
        assert rank == 1 or "rank 1" in line
    assert not out.exists() or list(out.iterdir()) == []


def test_a_full_disk_keeps_what_was_there_and_nothing_else(
    run: Run, cylon: str, tmp_path: Path, small_disk: Path
) -> None:
    out = small_disk / "out"
    (small_disk / "other").write_bytes(bytes(2 << 20))  # leaves room for one rank's file
    first = (
        f"cy.DataFrame({{'a': [env.rank]}}, env=env).to_parquet({str(out)!r})\n"
        "    env.barrier()\n"
        "    import pathlib, shutil\n"
        f"    if env.rank == 0: shutil.copytree({str(out)!r}, {str(tmp_path / 'copy')!r})\n"
        "    env.barrier()"
    )
    for _, line in refusals(run, cylon, tmp_path, f"frame.to_parquet({str(out)!r}, compression=None)", first):
        assert "No space left on device" in line
        assert "check the space" in line
        assert str(out) in line
    kept = {path.name: path.read_bytes() for path in (tmp_path / "copy").iterdir()}
    assert sorted(kept) == [f"part-{rank:05}.parquet" for rank in range(RANKS)]
    assert {path.name: path.read_bytes() for path in out.iterdir()} == kept


def test_a_full_spill_directory_is_named_to_every_rank(run: Run, cylon: str, tmp_path: Path, small_disk: Path) -> None:
    told = refusals(
        run,
        cylon,
        tmp_path,
        "frame.sort_values('a')",
        CYLON_SPILL_DIR=str(small_disk),
        CYLON_SPILL_ALWAYS="1",
    )
    for _, line in told:
        assert "No space left on device" in line
        assert str(small_disk) in line
        assert "CYLON_SPILL_DIR" in line
    assert list(small_disk.iterdir()) == []
    assert os.statvfs(small_disk).f_bfree == os.statvfs(small_disk).f_blocks, "the space was not given back"
