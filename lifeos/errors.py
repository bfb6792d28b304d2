"""The errors that a person can cause or fix, each with the exit code that its script ends with.

Everything else that is raised is a fault of ours and shows a traceback.
"""

from __future__ import annotations

from collections.abc import Iterable

EXIT_OK = 0
EXIT_GATE = 1
EXIT_USAGE = 2
EXIT_UNAVAILABLE = 3
EXIT_LOCKED = 4
EXIT_INTERNAL = 70
"""A fault of ours (EX_SOFTWARE of sysexits.h): never 1, which means that a check failed."""
EXIT_INTERRUPTED = 130


class LifeosError(Exception):
    """One line for the user: what, why, and how to fix it.

    `what` names the thing (a file, `file:line`, a flag, an address), `why` says what was found and wanted, `fix` what to do.
    """

    exit_code = EXIT_USAGE

    def __init__(self, what: object, why: str, fix: str = "") -> None:
        self.what, self.why, self.fix = str(what), why, fix
        text = f"{what}: {why}" + (f" ({fix})" if fix else "")
        super().__init__(" ".join(text.split()))


class InputError(LifeosError):
    """Bad usage or bad input: a file missing or malformed, a value out of range."""

    exit_code = EXIT_USAGE


class UnavailableError(LifeosError):
    """Something outside is not there: a server, a model file, a GPU, a package, room on the disk."""

    exit_code = EXIT_UNAVAILABLE


class LockedError(LifeosError):
    """Another process holds the directory or log."""

    exit_code = EXIT_LOCKED


def nearest(name: str, known: Iterable[str], count: int = 3) -> list[str]:
    """The known names most like `name`, best first, case ignored: for "did you mean"."""
    import difflib

    by_lower = {item.lower(): item for item in known}
    return [by_lower[match] for match in difflib.get_close_matches(name.lower(), by_lower, n=count, cutoff=0.6)]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`did you mean a, b?`, else what there is, else an empty string."""
    names = list(known)
    close = nearest(name, names)
    if close:
        return f"did you mean {', '.join(close)}?"
    if not names:
        return ""
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return f"there is {', '.join(sorted(names)[:8])}{more}"
