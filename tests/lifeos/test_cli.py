"""The error boundary and the argument types that every script shares."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lifeos import cli
from lifeos.errors import InputError, LifeosError, LockedError, UnavailableError, did_you_mean, nearest
from tests.capabilities import POSIX
from tests.checkouts import ROOT


def _raiser(error: BaseException):
    def main() -> int:
        raise error

    return main


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        pytest.param(InputError("x.png", "is empty", "give another"), 2, "error: x.png: is empty (give another)\n", id="input"),
        pytest.param(UnavailableError("ComfyUI", "no answer"), 3, "error: ComfyUI: no answer\n", id="unavailable"),
        pytest.param(LockedError("batch", "in use", "wait"), 4, "error: batch: in use (wait)\n", id="locked"),
        pytest.param(KeyboardInterrupt(), 130, "interrupted\n", id="interrupted"),
        pytest.param(
            OSError(errno.ENOSPC, "No space left on device", "out.png"),
            3,
            "error: out.png: No space left on device (free some room, then run the same command again)\n",
            id="disk full",
        ),
        pytest.param(
            PermissionError(errno.EACCES, "Permission denied", "out.png"),
            2,
            "error: out.png: Permission denied (choose a place that you may read and write)\n",
            id="not allowed",
        ),
        pytest.param(
            OSError(errno.EIO, "Input/output error", "history.jsonl"),
            3,
            "error: history.jsonl: Input/output error (look at the disk or the network volume, then run the same command again)\n",
            id="a failing disk",
        ),
        pytest.param(
            OSError(errno.EFBIG, "File too large", "log"),
            3,
            "error: log: File too large (the file system, or ulimit -f, allows no file of that size: choose another place)\n",
            id="too large a file",
        ),
        pytest.param(InputError("a\nb", "two\nlines"), 2, "error: a b: two lines\n", id="always one line"),
    ],
)
def test_error_boundary(error: BaseException, code: int, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(_raiser(error)) == code
    assert capsys.readouterr().err == line


def test_a_missing_package_names_the_command_that_installs_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(_raiser(ModuleNotFoundError("No module named 'cv2.face'", name="cv2.face"))) == 3
    assert "(run: python -m lifeos setup)" in capsys.readouterr().err


def test_a_missing_module_of_ours_is_our_fault(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(_raiser(ModuleNotFoundError("No module named 'evals.gone'", name="evals.gone"))) == 70
    assert "Traceback" in capsys.readouterr().err


def test_a_fault_of_ours_is_neither_a_gate_nor_bad_input(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(_raiser(ZeroDivisionError("division by zero"))) == 70
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_a_reader_that_leaves_is_no_error(project_root: Path) -> None:
    program = "from lifeos import cli\ndef main():\n    print('x' * 2_000_000)\n    return 0\nraise SystemExit(cli.run(main))"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=project_root) as child:
        assert child.stdout is not None and child.stderr is not None
        child.stdout.read(10)
        child.stdout.close()
        assert child.stderr.read() == b""
        assert child.wait() == 0


@pytest.mark.parametrize(
    ("name", "known", "hint"),
    [
        ("amiranor_v3", ["amiranoor_v3", "style"], "did you mean amiranoor_v3?"),
        ("AMIRANOOR_V3", ["amiranoor_v3"], "did you mean amiranoor_v3?"),
        ("zzz", ["b", "a"], "there is a, b"),
        ("zzz", [], ""),
    ],
)
def test_did_you_mean(name: str, known: list[str], hint: str) -> None:
    assert did_you_mean(name, known) == hint


def test_nearest_gives_at_most_three() -> None:
    assert len(nearest("run_1", ["run_2", "run_3", "run_4", "run_5"])) == 3


def test_exit_codes_are_public() -> None:
    assert (InputError.exit_code, UnavailableError.exit_code, LockedError.exit_code, LifeosError.exit_code) == (2, 3, 4, 2)


def _run(program: str, *args: str, **environ: str) -> subprocess.CompletedProcess[bytes]:
    """A script of a few lines, run as a process in the checkout."""
    head = "import sys\nfrom lifeos import cli\nfrom lifeos.errors import InputError\n"
    command = [sys.executable, "-c", f"{head}{program}\nraise SystemExit(cli.run(main))", *args]
    return subprocess.run(command, cwd=ROOT, capture_output=True, env=os.environ | environ, check=False)


PARSING = "def main():\n    parser = cli.Parser('x', prog='x.py')\n    parser.add_json()\n    parser.parse_args()\n"


@pytest.mark.parametrize(
    ("body", "flags", "error"),
    [
        (
            "    raise InputError('a.png', 'is empty', 'give another')",
            ["--json"],
            {"what": "a.png", "why": "is empty", "fix": "give another", "exit_code": 2},
        ),
        (
            "    pass",
            ["--json", "--jsn"],
            {"what": "x.py", "why": "unknown argument --jsn", "fix": "did you mean --json?", "exit_code": 2},
        ),
        (
            "    raise KeyboardInterrupt",
            ["--json"],
            {"what": "interrupted", "why": "the same command continues where it can", "fix": "", "exit_code": 130},
        ),
        (
            "    raise ZeroDivisionError('by zero')",
            ["--json"],
            {"what": "LifeOS", "why": "ZeroDivisionError: by zero", "fix": "report the lines on stderr", "exit_code": 70},
        ),
        (
            "    raise ModuleNotFoundError('no', name='cv2')",
            ["--json"],
            {
                "what": "cv2",
                "why": f"the package cv2 is not installed for {sys.executable}",
                "fix": "run: python -m lifeos setup",
                "exit_code": 3,
            },
        ),
        (
            "    raise PermissionError(13, 'Permission denied', 'out.png')",
            ["--json"],
            {"what": "out.png", "why": "Permission denied", "fix": "choose a place that you may read and write", "exit_code": 2},
        ),
        (
            "    return 1",
            ["--json"],
            {"what": "x.py", "why": "it failed; the reasons are on stderr", "fix": "", "exit_code": 1},
        ),
    ],
    ids=["input", "usage", "interrupted", "ours", "package", "system", "only a code"],
)
def test_a_failure_is_json_where_json_was_asked_for(body: str, flags: list[str], error: dict[str, object]) -> None:
    done = _run(f"{PARSING}{body}", *flags)
    assert json.loads(done.stdout) == {"error": error, "schema": 1}
    assert done.returncode == error["exit_code"]


@pytest.mark.parametrize(
    ("body", "flags", "stdout"),
    [
        ("    cli.print_json([1])\n    raise InputError('x', 'y')", ["--json"], b"[\n  1\n]\n"),
        ("    raise InputError('x', 'y')", [], b""),
        ("    cli.print_json([1])\n    return 1", ["--json"], b"[\n  1\n]\n"),
        ("    raise InputError('x', 'y')", ["--", "--json"], b""),
    ],
    ids=["a document is out already", "not asked for", "a gate's no with its document", "an argument, not a flag"],
)
def test_one_json_document_or_none(body: str, flags: list[str], stdout: bytes) -> None:
    assert _run(f"{PARSING}{body}", *flags).stdout == stdout


@pytest.mark.parametrize("flags", [["--format", "json"], ["--format=json"]])
def test_a_check_that_prints_json_fails_in_json(flags: list[str]) -> None:
    command = [sys.executable, "tools/lifeos_preflight.py", "--project-root", "nowhere", *flags]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    assert json.loads(done.stdout)["error"] == {
        "what": "nowhere",
        "why": "no such directory",
        "fix": "give --project-root an existing directory",
        "exit_code": 2,
    }


@pytest.mark.parametrize("environ", [{}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}], ids=["as it is", "LC_ALL=C"])
@pytest.mark.parametrize(
    "body",
    [
        "    raise InputError(name, 'odd', 'x')",
        "    open(name)",
        "    cli.say(name)\n    cli.note(name)\n    print(name, name, file=sys.stderr)\n    print(name)\n    return 2",
        "    cli.print_json({'name': name})\n    return 2",
    ],
    ids=["error", "system error", "printed", "JSON"],
)
def test_a_file_name_that_is_not_utf8_is_no_traceback(body: str, environ: dict[str, str]) -> None:
    program = f"import os\nname = os.fsdecode(b'caf\\xe9 \\xc3\\xa9.png')\ndef main():\n{body}"
    done = _run(program, **environ)
    assert (done.returncode, b"Traceback" in done.stderr) == (2, False)
    assert b"caf\\xe9 " in done.stdout + done.stderr or b"caf\\udce9 " in done.stdout


def test_a_name_that_this_locale_cannot_say_is_told() -> None:
    environ = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = _run("def main():\n    open('\\u65e5.png')", **environ)
    assert done.returncode == 2
    assert done.stderr.decode() == "error: 日.png: this Python can only name files in ascii, because of the locale (set PYTHONUTF8=1)\n"


def test_nothing_foreign_acts_on_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    cli.run(_raiser(InputError("\x1b[2Ja\x07.png", "is \x9bodd", "mv it\x7f")))
    cli.say("a\x1b]0;title\x07\nb")
    cli.print_json(["\x1b", "\x9b\u202e"])
    printed = capsys.readouterr()
    assert printed.err == "error: \\x1b[2Ja\\x07.png: is \\x9bodd (mv it\\x7f)\n"
    assert printed.out == 'a\\x1b]0;title\\x07\nb\n[\n  "\\u001b",\n  "\\u009b\\u202e"\n]\n'
    assert json.loads(printed.out.partition("b\n")[2]) == ["\x1b", "\x9b\u202e"]


@pytest.mark.parametrize("number", [2, 15])
def test_an_interruption_while_a_script_imports_is_one_line(project_root: Path, tmp_path: Path, number: int) -> None:
    """The module that stops is imported at the top of the script, before anything can catch it."""
    if not POSIX:
        pytest.skip("signals are POSIX")
    script = tmp_path / "script.py"
    script.write_text(
        f"import sys; sys.path.insert(0, {str(project_root)!r})\n"
        "from lifeos import cli\nimport os, signal, time\nprint(1, flush=True)\ntime.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as importing:
        assert importing.stdout is not None
        importing.stdout.readline()
        importing.send_signal(number)
        error = importing.communicate(timeout=60)[1]
    assert (importing.returncode, error) == ((130, b"interrupted\n") if number == 2 else (-15, b""))


@pytest.mark.skipif(not POSIX, reason="signals are POSIX")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_what_ends_a_script_from_outside_unwinds_it(project_root: Path, name: str) -> None:
    program = f"""
import signal
from lifeos import cli

def main():
    cli.end_as_interrupted()
    try:
        signal.raise_signal(signal.{name})
    finally:
        print("closed")

raise SystemExit(cli.run(main))
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=project_root, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "closed\n", "interrupted\n")


def test_work_goes_on_where_nobody_can_read_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal that was closed, or a full disk behind 2>."""

    class Closed:
        def write(self, text: str) -> int:
            raise OSError(errno.EIO, "Input/output error")

        flush = reconfigure = lambda *_, **__: None

    monkeypatch.setattr(sys, "stderr", Closed())
    cli.note("nobody reads this")
    assert cli.run(_raiser(InputError("x.png", "is odd"))) == 2
