"""What every command line shares: the one error boundary, the parser, the argument types, the JSON printer."""

from __future__ import annotations

import argparse
import errno
import json
import math
import os
import signal
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NoReturn

from lifeos.errors import (
    EXIT_INTERNAL,
    EXIT_INTERRUPTED,
    EXIT_UNAVAILABLE,
    EXIT_USAGE,
    InputError,
    LifeosError,
    did_you_mean,
)

PROJECT_ROOT = Path(__file__).resolve().parents[1]
"""The checkout that holds this file: the default of every `--project-root`."""

OUR_PACKAGES = frozenset({"lifeos", "evals", "tools"})


def run(main: Callable[[], int]) -> int:
    """Run a script's `main` and turn what went wrong into one line on stderr and an exit code.

    Returns the code instead of raising SystemExit, so that a script ends with `raise SystemExit(cli.run(main))`.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a code-page console must not turn an emoji into a traceback
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    try:
        code = main()
        sys.stdout.flush()
        return code
    except LifeosError as error:
        return _fail(error, error.exit_code)
    except KeyboardInterrupt:
        return _fail("interrupted", EXIT_INTERRUPTED, prefix="")
    except BrokenPipeError:  # `script | head`: the reader left, nothing is wrong
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if not package or package in OUR_PACKAGES:
            _print_traceback()
            return EXIT_INTERNAL
        why = f"the package {package} is not installed for {sys.executable}"
        return _fail(f"{package}: {why} (run: python -m lifeos setup)", EXIT_UNAVAILABLE)
    except OSError as error:
        return _fail_os(error)
    except Exception:
        _print_traceback()
        print("error: this is a fault of LifeOS, not yours: please report the lines above", file=sys.stderr)
        return EXIT_INTERNAL


def _print_traceback() -> None:
    import traceback  # not for every start of every script

    traceback.print_exc()


def end_as_interrupted() -> None:
    """Make SIGTERM, which a pod sends before it stops, do what Ctrl-C does: unwind, close what is open, exit 130."""

    def interrupt(number: int, frame: object) -> NoReturn:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)


def _fail(message: object, code: int, prefix: str = "error: ") -> int:
    print(f"{prefix}{message}", file=sys.stderr)
    return code


def _fail_os(error: OSError) -> int:
    what = error.filename if error.filename is not None else "input/output"
    reason = error.strerror or str(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return _fail(f"{what}: {reason} (free some room, then run the same command again)", EXIT_UNAVAILABLE)
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return _fail(f"{what}: {reason} (choose a place that you may read and write)", EXIT_USAGE)
    return _fail(f"{what}: {reason}", EXIT_USAGE)


class Parser(argparse.ArgumentParser):
    """argparse with our error line, full flag names only, and defaults shown in the help.

    The description is the script's docstring, printed as it stands. A default that comes from the policy is `None` in
    the parser and named in the help text: use `policy_help`.
    """

    def __init__(self, doc: str | None, **kwargs: Any) -> None:
        kwargs.setdefault("formatter_class", _HelpFormatter)
        kwargs.setdefault("allow_abbrev", False)  # an abbreviation breaks when a flag is added
        super().__init__(description=doc, **kwargs)

    def error(self, message: str) -> NoReturn:
        raise InputError(self.prog, message, f"see {self.prog} --help")

    def parse_args(self, args: Iterable[str] | None = None, namespace: Any = None) -> Any:
        known, rest = self.parse_known_args(None if args is None else list(args), namespace)
        if rest:
            flags = [name for name in self._option_string_actions if name.startswith("--")]
            hint = did_you_mean(rest[0], flags) if rest[0].startswith("--") else ""
            raise InputError(self.prog, f"unknown argument {rest[0]}", hint or f"see {self.prog} --help")
        return known

    def add_project_root(self) -> None:
        self.add_argument(
            "--project-root", type=Path, default=PROJECT_ROOT, metavar="DIR", help="the checkout (default: the one that holds this script)"
        )

    def add_json(self) -> None:
        self.add_argument("--json", action="store_true", help="print one JSON document on stdout; people's text goes to stderr")

    def add_skip_install(self) -> None:
        self.add_argument("--skip-install", action="store_true", help="accepted for old callers; scripts never install packages")


class _HelpFormatter(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=30, width=110)

    def _get_help_string(self, action: argparse.Action) -> str:
        text = action.help or ""
        silent = action.default in (None, False, "", argparse.SUPPRESS) or action.default == [] or "default" in text
        return text if silent or isinstance(action.default, Path) else f"{text} (default: %(default)s, built in)"


def policy_help(text: str, key: str) -> str:
    """Help for a flag whose default is read from the policy: `policy_help("pass from here", "face_similarity.pass_threshold")`."""
    return f"{text} (default: {key} in evals/thresholds.yaml)"


def print_json(document: object) -> None:
    """The one JSON document of `--json`. NaN and infinity are a fault of ours: JSON has neither."""
    print(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False))


def say(text: str, *, as_json: bool) -> None:
    """Text for a person: on stdout, or on stderr when stdout belongs to `--json`."""
    print(text, file=sys.stderr if as_json else sys.stdout)


def fraction(text: str) -> float:
    """A number from 0 to 1, both included."""
    value = _number(text)
    if not 0.0 <= value <= 1.0:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return value


def non_negative(text: str) -> float:
    value = _number(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is below 0")
    return value


def positive(text: str) -> float:
    value = _number(text)
    if value <= 0:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value


def positive_int(text: str) -> int:
    value = whole_number(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not 1 or more")
    return value


def whole_number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text} is not a finite number")
    return value


def require_directory(path: Path, flag: str) -> Path:
    """`path` if it is a directory, else an `InputError` that names the flag."""
    if not path.is_dir():
        why = "is a file, not a directory" if path.exists() else "no such directory"
        raise InputError(path, why, f"give {flag} an existing directory")
    return path


def require_file(path: Path, flag: str) -> Path:
    """`path` if it is a file, else an `InputError` that names the flag."""
    if not path.is_file():
        why = "is a directory, not a file" if path.is_dir() else "no such file"
        raise InputError(path, why, f"give {flag} an existing file")
    return path
