"""The shared ground: what every script stands on. Imports nothing of ours, and only the standard library when imported."""

import os
import sys

if sys.version_info < (3, 11):  # noqa: UP036 - every script imports this first: an older Python does not get as far as a traceback
    sys.stderr.write(
        "error: Python %d.%d: LifeOS needs 3.11 or newer (start it with python3.11, or install that)\n" % sys.version_info[:2]  # noqa: UP031
    )
    raise SystemExit(3)


def _end_on_interrupt(kind: type[BaseException], error: BaseException, trace: object) -> None:
    """Ctrl-C while a script still imports, before `cli.run` can take it: one line and the exit code of every other interruption."""
    if issubclass(kind, KeyboardInterrupt):
        os.write(2, b"interrupted\n")
        os._exit(130)
    _before(kind, error, trace)  # type: ignore[arg-type]


_before = sys.excepthook
sys.excepthook = _end_on_interrupt
