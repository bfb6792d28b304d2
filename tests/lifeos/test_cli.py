"""The error boundary and the argument types that every script shares."""

from __future__ import annotations

import argparse
import errno
import subprocess
import sys
from pathlib import Path

import pytest

from lifeos import cli
from lifeos.errors import InputError, LifeosError, LockedError, UnavailableError, did_you_mean, nearest


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
    ("kind", "text", "value"),
    [
        (cli.fraction, "0", 0.0),
        (cli.fraction, "1", 1.0),
        (cli.positive, "1e-3", 0.001),
        (cli.non_negative, "0", 0.0),
        (cli.positive_int, "7", 7),
    ],
)
def test_numbers_within_range(kind, text: str, value: float) -> None:
    assert kind(text) == value


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        (cli.fraction, "1.01", "1.01 is not between 0 and 1"),
        (cli.fraction, "nan", "nan is not a finite number"),
        (cli.fraction, "high", "'high' is not a number"),
        (cli.positive, "0", "0 is not above 0"),
        (cli.non_negative, "-0.1", "-0.1 is below 0"),
        (cli.positive_int, "0", "0 is not 1 or more"),
        (cli.whole_number, "1.5", "'1.5' is not a whole number"),
    ],
)
def test_numbers_out_of_range(kind, text: str, message: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=f"^{message}$"):
        kind(text)


def _parser() -> cli.Parser:
    parser = cli.Parser("Decides nothing.", prog="script.py")
    parser.add_argument("--threshold", type=cli.fraction, help=cli.policy_help("pass from here", "face_similarity.pass_threshold"))
    parser.add_argument("--count", type=int, default=5, help="pictures per prompt")
    return parser


def test_an_unknown_flag_gets_the_nearest_one() -> None:
    with pytest.raises(InputError) as caught:
        _parser().parse_args(["--treshold", "0.5"])
    assert str(caught.value) == "script.py: unknown argument --treshold (did you mean --threshold?)"


def test_flags_are_not_abbreviated() -> None:
    with pytest.raises(InputError):
        _parser().parse_args(["--thresh", "0.5"])


def test_help_says_where_a_default_comes_from() -> None:
    text = " ".join(_parser().format_help().split())
    assert "pass from here (default: face_similarity.pass_threshold in evals/thresholds.yaml)" in text
    assert "pictures per prompt (default: 5, built in)" in text


def test_explicit_zero_is_a_value() -> None:
    assert _parser().parse_args(["--threshold", "0"]).threshold == 0.0


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
