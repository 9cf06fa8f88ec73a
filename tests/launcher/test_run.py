"""What `cylon run` promises: exit codes, output, signals, and nothing left behind."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
from launching import CYLON, PATIENCE_S, Launcher, alive, environment, wait_until

# Says that it is there, and waits to be ended.
WAIT = """
import os, pathlib, signal, sys
folder = pathlib.Path(sys.argv[1])
(folder / f"up{os.environ['CYLON_RANK']}").write_text(str(os.getpid()))
signal.pause()
"""


def pids(folder: Path, ranks: int) -> list[int]:
    """Process ids of the ranks of a program that begins like WAIT, once all are there."""
    files = [folder / f"up{rank}" for rank in range(ranks)]
    wait_until(lambda: all(file.exists() and file.read_text() for file in files), "the start of every rank")
    return [int(file.read_text()) for file in files]


def test_every_rank_learns_its_place(launcher: Launcher) -> None:
    program = launcher.program(
        "import os\n"
        "names = ['RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'LOCAL_SIZE', 'THREADS', 'MEMORY', 'TRANSPORT', 'TRACE']\n"
        "print(*[os.environ.get('CYLON_' + name, '-') for name in names])\n"
        "assert len(os.environ['CYLON_SECRET']) == 64 and len(os.environ['CYLON_EPOCH']) == 32\n"
        "assert os.environ['CYLON_STORE'].startswith('127.0.0.1:') and os.environ['CYLON_JOB']\n"
    )
    options = ("--threads", "2", "--memory", "1GiB", "--transport", "tcp", "--trace", "traces")
    result = launcher.run("run", "-n", "3", *options, program, cwd=launcher.folder)
    assert result.returncode == 0, result.stderr
    place = launcher.folder / "traces"
    expected = [f"[{rank}] {rank} 3 {rank} 3 2 1GiB tcp {place}" for rank in range(3)]
    assert sorted(result.stdout.splitlines()) == expected


def test_arguments_reach_a_native_program_as_they_are(launcher: Launcher) -> None:
    result = launcher.run("run", "-n", "1", "printf", "%s|", "-n", "a b", "", "--threads")
    assert (result.returncode, result.stdout) == (0, "-n|a b||--threads|")


def test_one_rank_has_no_prefix(launcher: Launcher) -> None:
    assert launcher.run("run", "echo", "hello").stdout == "hello\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "-n", "0", "true"], "0"),
        (["run", "-n", "many", "true"], "many"),
        (["run", "-n", "2"], "the program is missing"),
        (["run", "--bogus", "true"], "--bogus"),
        (["run", "-n", "2", "no-such-program"], "there is no program 'no-such-program' on PATH"),
        (["run", "-n", "2", "missing.py"], "there is no program 'missing.py'"),
        (["run", "-n", "2", "/etc/passwd"], "may not be run"),
        (["run", "--memory", "lots", "true"], "lots"),
        ([], "subcommand"),
    ],
)
def test_a_wrong_command_line_says_what_is_wrong(launcher: Launcher, arguments: list[str], message: str) -> None:
    result = launcher.run(*arguments)
    assert result.returncode == 2
    assert message in result.stderr
    assert result.stdout == ""


def test_a_missing_interpreter_is_named(launcher: Launcher) -> None:
    result = launcher.run("run", launcher.program(""), env={"CYLON_PYTHON": "/no/python"})
    assert result.returncode == 2
    assert "/no/python" in result.stderr
    assert "CYLON_PYTHON" in result.stderr


def test_a_program_that_cannot_be_loaded_is_an_error(launcher: Launcher) -> None:
    path = launcher.folder / "broken"
    path.write_text("this is no program\n")
    path.chmod(0o755)
    result = launcher.run("run", "-n", "3", str(path))
    assert result.returncode == 2
    assert f"cannot run '{path}'" in result.stderr


def test_lines_of_ranks_are_never_mixed(launcher: Launcher) -> None:
    program = launcher.program(
        "import os, sys\n"
        "rank = int(os.environ['CYLON_RANK'])\n"
        "for i in range(300):\n"
        "    stream = sys.stdout if i % 2 else sys.stderr\n"
        "    text = f'{rank}:{i}:' + str(rank) * (i * 97 % 9000)\n"
        "    for begin in range(0, len(text), 1000):\n"
        "        stream.write(text[begin:begin + 1000])\n"
        "    stream.write('\\n')\n"
        "sys.stdout.write('the end without a line end')\n"
    )
    process = subprocess.run(
        [str(CYLON), "run", "-n", "4", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE_S,
        env=environment(),
        check=True,
    )
    seen = set()
    for line in process.stdout.splitlines():
        match = re.fullmatch(r"\[(\d)\] (?:\1:(\d+):(\1*)|the end without a line end)", line)
        assert match, line[:200]
        if match[2] is not None:
            assert len(match[3]) == int(match[2]) * 97 % 9000
            seen.add((match[1], match[2]))
    assert len(seen) == 4 * 300
    assert process.stdout.count("the end without a line end\n") == 4


def test_much_output_passes_whole(launcher: Launcher) -> None:
    program = launcher.program("import sys\nfor _ in range(25):\n    sys.stdout.write(('x' * 1023 + '\\n') * 1024)\n")
    with (launcher.folder / "out").open("wb") as out:
        process = subprocess.run(
            [str(CYLON), "run", "-n", "2", program], stdout=out, timeout=PATIENCE_S, env=environment(), check=True
        )
    assert process.returncode == 0
    lines = (launcher.folder / "out").read_bytes().splitlines()
    assert len(lines) == 2 * 25 * 1024
    assert set(lines) == {b"[0] " + b"x" * 1023, b"[1] " + b"x" * 1023}


def test_a_reader_that_leaves_ends_the_job(launcher: Launcher) -> None:
    program = launcher.program("while True:\n    print('y' * 1000)\n")
    process = launcher.start("run", "-n", "2", program)
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(PATIENCE_S) != 0
    launcher.gone()


def test_on_a_terminal_ranks_see_one_and_progress_lines_pass(launcher: Launcher) -> None:
    program = launcher.program(
        "import os, sys\n"
        "if os.environ['CYLON_RANK'] == '0':\n"
        "    print(sys.stdout.isatty(), sys.stdin.isatty(), flush=True)\n"
        "    print('10%', end='\\r', flush=True)\n"
        "    print('done')\n"
    )
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [str(CYLON), "run", "-n", "2", program], stdin=theirs, stdout=theirs, stderr=theirs, env=environment()
    )
    os.close(theirs)
    text = b""
    try:
        while piece := os.read(ours, 1000):
            text += piece
    except OSError:  # how a terminal says that nobody writes any more
        pass
    os.close(ours)
    assert process.wait(PATIENCE_S) == 0
    assert text == b"\x1b[K[0] True False\r\n\x1b[K[0] 10%\r\x1b[K[0] done\r\n"


def test_standard_input_goes_to_rank_0(launcher: Launcher) -> None:
    program = launcher.program("import sys\nprint(repr(sys.stdin.read()))\n")
    result = subprocess.run(
        [str(CYLON), "run", "-n", "2", program],
        input="words",
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        env=environment(),
        check=True,
    )
    assert sorted(result.stdout.splitlines()) == ["[0] 'words'", "[1] ''"]


def test_the_first_rank_that_fails_gives_the_code_and_the_last_line(launcher: Launcher) -> None:
    program = launcher.program(
        "import os, sys, time\n"
        "if os.environ['CYLON_RANK'] == '2':\n"
        "    print('about to fail')\n"
        "    sys.exit(7)\n"
        "time.sleep(600)\n"
    )
    began = time.monotonic()
    result = launcher.run("run", "-n", "4", program)
    assert result.returncode == 7
    assert result.stdout == "[2] about to fail\n"
    assert result.stderr.splitlines()[-1] == "cylon run: rank 2 failed first: exited with code 7"
    assert time.monotonic() - began >= 5  # the others had their time to raise
    launcher.gone()


def test_a_killed_rank_is_named_with_its_signal(launcher: Launcher) -> None:
    program = launcher.program(WAIT)
    process = launcher.start("run", "-n", "3", program, str(launcher.folder))
    os.kill(pids(launcher.folder, 3)[1], signal.SIGKILL)
    code, _, error = launcher.finish(process)
    assert code == 128 + signal.SIGKILL
    assert "rank 1 failed first: killed by signal 9 (SIGKILL)" in error
    launcher.gone()


def test_ranks_that_ignore_sigterm_are_killed(launcher: Launcher) -> None:
    program = launcher.program("import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + WAIT)
    process = launcher.start("run", "-n", "2", program, str(launcher.folder))
    os.kill(pids(launcher.folder, 2)[0], signal.SIGUSR1)
    code, _, error = launcher.finish(process)
    assert code == 128 + signal.SIGUSR1
    assert "SIGUSR1" in error
    launcher.gone()


def test_keep_going_leaves_the_others(launcher: Launcher) -> None:
    program = launcher.program(
        "import os, pathlib, sys, time\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "rank = os.environ['CYLON_RANK']\n"
        "(folder / ('up' + rank)).write_text(str(os.getpid()))\n"
        "if rank == '0':\n"
        "    sys.exit(3)\n"
        "while not (folder / 'go').exists():\n"
        "    time.sleep(0.01)\n"
        "print('finished')\n"
    )
    process = launcher.start("run", "-n", "2", "--keep-going", program, str(launcher.folder))
    failed = pids(launcher.folder, 2)[0]
    wait_until(lambda: not Path(f"/proc/{failed}").exists(), "the end of rank 0")
    (launcher.folder / "go").touch()
    code, out, error = launcher.finish(process)
    assert code == 3
    assert out == "[1] finished\n"
    assert "rank 0 failed first" in error


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_are_passed_on(launcher: Launcher, number: signal.Signals) -> None:
    program = launcher.program(
        "import signal, sys\n"
        f"signal.signal({int(number)}, lambda *_: (print('heard', flush=True), sys.exit(0)))\n" + WAIT
    )
    process = launcher.start("run", "-n", "2", program, str(launcher.folder))
    pids(launcher.folder, 2)
    process.send_signal(number)
    code, out, _ = launcher.finish(process)
    assert code == 0
    assert sorted(out.splitlines()) == ["[0] heard", "[1] heard"]


def test_an_interrupted_python_program_gives_130(launcher: Launcher) -> None:
    process = launcher.start("run", "-n", "2", launcher.program(WAIT), str(launcher.folder))
    pids(launcher.folder, 2)
    process.send_signal(signal.SIGINT)
    code, _, error = launcher.finish(process)
    assert code == 130
    assert "KeyboardInterrupt" in error


def test_a_second_interrupt_kills(launcher: Launcher) -> None:
    program = launcher.program(
        "import os, pathlib, signal, sys\n"
        "heard = pathlib.Path(sys.argv[1]) / ('heard' + os.environ['CYLON_RANK'])\n"
        "signal.signal(signal.SIGINT, lambda *_: heard.touch())\n"
        + WAIT.replace("signal.pause()", "while True: signal.pause()")
    )
    process = launcher.start("run", "-n", "2", program, str(launcher.folder))
    pids(launcher.folder, 2)
    process.send_signal(signal.SIGINT)
    wait_until(lambda: all((launcher.folder / f"heard{rank}").exists() for rank in range(2)), "the first interrupt")
    process.send_signal(signal.SIGINT)
    assert launcher.finish(process)[0] == 128 + signal.SIGKILL
    launcher.gone()


def test_a_killed_launcher_leaves_no_process_not_even_grandchildren(launcher: Launcher) -> None:
    program = launcher.program(
        "import subprocess, sys\nsubprocess.Popen(['sh', '-c', 'while :; do sleep 1; done', sys.argv[1]])\n" + WAIT
    )
    process = launcher.start("run", "-n", "3", program, str(launcher.folder))
    pids(launcher.folder, 3)
    process.kill()
    process.wait(PATIENCE_S)
    launcher.gone()


def test_what_a_rank_started_ends_with_the_job(launcher: Launcher) -> None:
    program = launcher.program(
        "import subprocess, sys\n"
        "for new_session in (False, True):\n"
        "    subprocess.Popen(['sh', '-c', 'while :; do sleep 1; done', sys.argv[1]], start_new_session=new_session)\n"
    )
    result = launcher.run("run", "-n", "2", program, str(launcher.folder))
    assert result.returncode == 0
    assert alive(str(launcher.folder)) == []


def test_the_secret_is_on_no_command_line_and_no_file_is_left(launcher: Launcher) -> None:
    program = launcher.program(
        "import os, pathlib\n"
        "secret = os.environ['CYLON_SECRET'].encode()\n"
        "for entry in pathlib.Path('/proc').iterdir():\n"
        "    if entry.name.isdigit():\n"
        "        try:\n"
        "            assert secret not in (entry / 'cmdline').read_bytes(), entry\n"
        "        except OSError:\n"
        "            pass\n"
    )
    before = sorted(launcher.folder.rglob("*"))
    scratch = launcher.folder.parent / (launcher.folder.name + "-tmp")
    scratch.mkdir()
    result = launcher.run("run", "-n", "2", program, cwd=launcher.folder, env={"TMPDIR": str(scratch)})
    assert result.returncode == 0, result.stderr
    assert sorted(launcher.folder.rglob("*")) == before
    assert list(scratch.iterdir()) == []


def test_ranks_inherit_no_descriptors_of_the_launcher(launcher: Launcher) -> None:
    program = launcher.program(
        "import os\n"
        "listed = os.listdir('/proc/self/fd')\n"
        "print(sorted(int(fd) for fd in listed if os.path.exists('/proc/self/fd/' + fd)))\n"
    )
    result = launcher.run("run", "-n", "2", program)
    assert sorted(result.stdout.splitlines()) == ["[0] [0, 1, 2]", "[1] [0, 1, 2]"]


def test_a_job_can_be_run_again_at_once_and_beside_another(launcher: Launcher) -> None:
    program = launcher.program("import os\nprint(os.environ['CYLON_JOB'], os.environ['CYLON_EPOCH'])\n")
    both = [launcher.start("run", "-n", "2", program) for _ in range(2)]
    lines = [line[4:] for process in both for line in launcher.finish(process)[1].splitlines()]
    assert len(lines) == 4
    assert len(set(lines)) == 2
