"""A pytest plugin that hides from the tests what Windows does not have: `python -m lifeos test -p tests.without_posix`.

A test module that says `signal.SIGHUP` in a decorator cannot even be collected there, and with it falls every test of the run. Only the
tests see less: the product and the libraries decide by the platform, which this does not change; mypy reads them as on Windows.
"""

from __future__ import annotations

import builtins
import importlib
import sys
import types
from typing import Any

HIDDEN = {
    "os": ("killpg", "getpgid", "setsid", "getuid", "geteuid", "mkfifo", "fork", "wait4", "uname", "statvfs", "nice", "getloadavg"),
    "signal": (
        "SIGHUP",
        "SIGKILL",
        "SIGUSR1",
        "SIGUSR2",
        "SIGSTOP",
        "SIGCONT",
        "SIGALRM",
        "SIGPIPE",
        "SIGCHLD",
        "pthread_sigmask",
        "alarm",
    ),
    "select": ("poll", "epoll"),
    "time": ("clock_gettime", "CLOCK_BOOTTIME", "CLOCK_MONOTONIC"),
    "socket": ("AF_UNIX",),
}
POSIX_MODULES = frozenset({"fcntl", "grp", "pty", "pwd", "resource", "termios", "tty"})


def is_test(globals_: dict[str, Any] | None) -> bool:
    name = (globals_ or {}).get("__name__", "")
    return name.startswith("tests.") and name != __name__


class Narrowed(types.ModuleType):
    """A module that shows less to the tests than to everybody else."""

    def __getattribute__(self, name: str) -> Any:
        module = super().__getattribute__("__module__")
        if name in HIDDEN[module.__name__] and is_test(sys._getframe(1).f_globals):
            raise AttributeError(f"module {module.__name__!r} has no attribute {name!r} (hidden by {__name__})")
        return getattr(module, name)

    def __setattr__(self, name: str, value: Any) -> None:
        """A test that replaces a function replaces it for everybody."""
        setattr(super().__getattribute__("__module__"), name, value)

    def __delattr__(self, name: str) -> None:
        delattr(super().__getattribute__("__module__"), name)


def narrow(name: str) -> None:
    module, narrowed = importlib.import_module(name), Narrowed(name)
    object.__setattr__(narrowed, "__module__", module)
    sys.modules[name] = narrowed


for each in HIDDEN:
    narrow(each)

_import = builtins.__import__


def _import_as_on_windows(name: str, globals_: Any = None, locals_: Any = None, fromlist: Any = (), level: int = 0) -> Any:
    if name in POSIX_MODULES and is_test(globals_):
        raise ModuleNotFoundError(f"No module named {name!r} (hidden by {__name__})", name=name)
    return _import(name, globals_, locals_, fromlist, level)


builtins.__import__ = _import_as_on_windows
