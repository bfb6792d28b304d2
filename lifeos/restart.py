"""A script that was started by a Python without the packages begins again in the environment, where one is made.

The guardrails never do: they run where there is nothing but PyYAML, and say which command works. Standard library only.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from lifeos.errors import LifeosError
from lifeos.project import PROJECT_ROOT

GUARDRAILS = frozenset({"lifeos_context_budget", "lifeos_preflight", "lifeos_freshness_check", "known_failures", "load_thresholds"})
SCRIPT_FOLDERS = (PROJECT_ROOT / "tools", PROJECT_ROOT / "evals")
RESTARTED = "LIFEOS_RESTARTED"
"""The script that was started anew. A second time would not find the package either; another script that it starts may."""


def restart_in_environment() -> int | None:
    """Run the script of this process again, by the Python of the environment, with the same arguments.

    On POSIX it takes the place of this process. On Windows it is its only child: its output and exit code are passed on, and Ctrl-C and
    Ctrl-Break reach it; a parent that is killed there leaves it behind. Returns the exit code; None where there is no environment, or
    nothing to run again.
    """
    from lifeos import environment

    script = find_own_script()
    if script is None or script.stem in GUARDRAILS or os.environ.get(RESTARTED) == str(script):
        return None
    try:
        python = environment.find_made()
    except (LifeosError, OSError):
        return None
    if python is None or Path(sys.prefix) == python.parent.parent:
        return None
    os.environ[RESTARTED] = str(script)
    sys.stderr.flush()
    return environment.run_inside(python, [str(script), *sys.argv[1:]])


def find_own_script() -> Path | None:
    """The script of ours that this process was started with; None in a test, a notebook or somebody's own program."""
    file = getattr(sys.modules.get("__main__"), "__file__", None)
    script = Path(file).resolve() if file else None
    return script if script is not None and script.parent in SCRIPT_FOLDERS else None


def what_works() -> str:
    """The command that installs what is missing; for a guardrail, which is not started anew, the one that runs it with everything."""
    script = find_own_script()
    return f"run: python -m lifeos {script.stem}" if script is not None and script.stem in GUARDRAILS else "run: python -m lifeos setup"
