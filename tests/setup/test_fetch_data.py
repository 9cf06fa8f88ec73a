"""The data is unpacked from a well-formed archive, and from no other."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "examples" / "flights" / "fetch_data.py"
TABLES = ("airlines", "airports", "planes", "weather")


def zipped(name: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, content)
    return buffer.getvalue()


def make(path: Path, files: dict[str, bytes], links: dict[str, str] | None = None) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for name, target in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type = tarfile.SYMTYPE
            info.linkname = target
            archive.addfile(info)
    return path


def good_files() -> dict[str, bytes]:
    files = {f"package/data/{table}.csv": f"{table}\n1\n".encode() for table in TABLES}
    files["package/data/flights.csv.zip"] = zipped("flights.csv", b"flights\n2\n")
    files["package/setup.py"] = b"raise SystemExit('this must never run')\n"
    return files


def run(archive: Path, output: Path) -> tuple[int, str]:
    command = [sys.executable, str(SCRIPT), "--archive", str(archive), "--output", str(output)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout + done.stderr


def test_tables_are_unpacked_and_nothing_else(tmp_path: Path) -> None:
    output = tmp_path / "out"
    code, said = run(make(tmp_path / "data.tar.gz", good_files()), output)
    assert code == 0, said
    assert sorted(path.name for path in output.iterdir()) == sorted([*(f"{t}.csv" for t in TABLES), "flights.csv"])
    assert (output / "flights.csv").read_text() == "flights\n2\n"


def test_a_second_run_finds_everything_there(tmp_path: Path) -> None:
    output = tmp_path / "out"
    run(make(tmp_path / "data.tar.gz", good_files()), output)
    assert run(tmp_path / "gone.tar.gz", output) == (0, "")


@pytest.mark.parametrize("name", ["/etc/flights.csv", "../airlines.csv", "a/../../airlines.csv", "C:/airlines.csv"])
def test_names_that_leave_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    archive = make(tmp_path / "data.tar.gz", {**good_files(), name: b"evil"})
    code, said = run(archive, tmp_path / "out")
    assert code != 0
    assert name in said
    assert list((tmp_path / "out").iterdir()) == []


def test_names_inside_the_inner_archive_are_checked_too(tmp_path: Path) -> None:
    files = {**good_files(), "package/data/flights.csv.zip": zipped("../flights.csv", b"evil")}
    code, said = run(make(tmp_path / "data.tar.gz", files), tmp_path / "out")
    assert code != 0
    assert "../flights.csv" in said


def test_links_are_refused(tmp_path: Path) -> None:
    archive = make(tmp_path / "data.tar.gz", good_files(), {"package/data/other.csv": "/etc/passwd"})
    code, said = run(archive, tmp_path / "out")
    assert code != 0
    assert "link" in said


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    files = good_files()
    del files["package/data/weather.csv"]
    code, said = run(make(tmp_path / "data.tar.gz", files), tmp_path / "out")
    assert code != 0
    assert "weather.csv" in said


def test_what_is_no_archive_is_an_error_and_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "data.tar.gz").write_bytes(b"no archive")
    code, said = run(tmp_path / "data.tar.gz", tmp_path / "out")
    assert code != 0
    assert "Traceback" not in said
