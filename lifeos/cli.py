"""What every script shares at its edges: the one error boundary, and by one name what a script parses and prints with.

The parser and its types are in `arguments.py`, printing in `printing.py`; they are used from here: `cli.Parser`, `cli.say`.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from typing import NoReturn

from lifeos.arguments import AskedFor, Parser, between, duration, fraction, non_negative, positive, positive_int, whole_number
from lifeos.command_help import PolicyHelp, policy_help
from lifeos.errors import EXIT_INTERNAL, EXIT_INTERRUPTED, EXIT_UNAVAILABLE, EXIT_USAGE, LifeosError
from lifeos.escaping import escape_line
from lifeos.printing import Printed, note, print_json, say
from lifeos.project import PROJECT_ROOT, require_directory, require_file
from lifeos.restart import restart_in_environment, what_works
from lifeos.shells import in_this_shell
from lifeos.signals import ENDINGS, take

__all__ = [
    "PROJECT_ROOT",
    "Parser",
    "PolicyHelp",
    "between",
    "duration",
    "end_as_interrupted",
    "fraction",
    "non_negative",
    "note",
    "policy_help",
    "positive",
    "positive_int",
    "print_json",
    "require_directory",
    "require_file",
    "run",
    "say",
    "whole_number",
]

OUR_PACKAGES = frozenset({"lifeos", "evals", "tools"})
ERROR_SCHEMA = 1
BROKEN_STORAGE = {errno.EIO, errno.ENXIO, errno.ENODEV, errno.ETIMEDOUT, getattr(errno, "ESTALE", errno.EIO)}
"""A disk that fails, or a volume that is gone."""


def run(main: Callable[[], int]) -> int:
    """Run a script's `main` and turn what went wrong into one line on stderr and an exit code.

    Where the command asked for JSON and printed none, the failure is the JSON document on stdout. Returns the code instead of raising
    SystemExit, so that a script ends with `raise SystemExit(cli.run(main))`.
    """
    AskedFor.json = Printed.json = False
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # whatever the locale: an emoji or a file name that is not UTF-8 is no traceback
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    try:
        code = main()
        if code and AskedFor.json and not Printed.json:
            _print_json_error(AskedFor.prog, "it failed; the reasons are on stderr", "", code)
        sys.stdout.flush()
        return code
    except LifeosError as error:
        return _fail(error.what, error.why, error.fix, error.exit_code)
    except KeyboardInterrupt:
        note("interrupted")
        return _end("interrupted", "the same command continues where it can", "", EXIT_INTERRUPTED)
    except BrokenPipeError:  # `script | head`: nobody reads on, nothing is wrong
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if not package or package in OUR_PACKAGES:
            return _fail_internally(error)
        restarted = restart_in_environment()
        if restarted is not None:
            return restarted
        return _fail(package, f"the package {package} is not installed for {sys.executable}", what_works(), EXIT_UNAVAILABLE)
    except UnicodeEncodeError as error:
        if error.encoding.replace("-", "").lower() in ("utf8", "utf16", "utf32"):
            return _fail_internally(error)
        why = f"this Python can only name files in {error.encoding}, because of the locale"
        return _fail(str(error.object)[:80], why, "set PYTHONUTF8=1", EXIT_USAGE)
    except OSError as error:
        return _fail_os(error)
    except Exception as error:
        return _fail_internally(error)


def end_as_interrupted() -> None:
    """Make what ends a run from outside (a pod that stops, a closed terminal) do what Ctrl-C does: unwind, close what is open, exit 130."""

    def interrupt(number: int, frame: object) -> NoReturn:
        raise KeyboardInterrupt

    take(interrupt, ENDINGS)


def _fail(what: str, why: str, fix: str, code: int) -> int:
    why, fix = in_this_shell(why), in_this_shell(fix)
    text = f"{what}: {why}" + (f" ({fix})" if fix else "")
    note(f"error: {escape_line(' '.join(text.split()))}")
    return _end(what, why, fix, code)


def _fail_internally(error: Exception) -> int:
    import traceback  # not for every start of every script

    traceback.print_exc()
    print("error: this is a fault of LifeOS, not yours: please report the lines above", file=sys.stderr)
    return _end("LifeOS", f"{type(error).__name__}: {error}", "report the lines on stderr", EXIT_INTERNAL)


def _fail_os(error: OSError) -> int:
    what = str(error.filename if error.filename is not None else "input/output")
    reason = error.strerror or str(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return _fail(what, reason, "free some room, then run the same command again", EXIT_UNAVAILABLE)
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return _fail(what, reason, "choose a place that you may read and write", EXIT_USAGE)
    if error.errno == errno.EFBIG:
        return _fail(what, reason, "the file system, or ulimit -f, allows no file of that size: choose another place", EXIT_UNAVAILABLE)
    if error.errno in BROKEN_STORAGE:
        return _fail(what, reason, "look at the disk or the network volume, then run the same command again", EXIT_UNAVAILABLE)
    return _fail(what, reason, "", EXIT_USAGE)


def _end(what: str, why: str, fix: str, code: int) -> int:
    if AskedFor.json and not Printed.json:
        _print_json_error(what, why, fix, code)
    return code


def _print_json_error(what: str, why: str, fix: str, code: int) -> None:
    try:
        print_json({"error": {"what": what, "why": why, "fix": fix, "exit_code": code}, "schema": ERROR_SCHEMA})
        sys.stdout.flush()
    except OSError:  # nobody reads stdout, or its disk is full: the line on stderr has said it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
