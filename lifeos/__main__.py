"""The launcher: makes the environment, then runs a verb inside it. Standard library only.

    python -m lifeos demo                    from prompts to approved pictures, on this machine, with nothing else
    python -m lifeos test                    the whole test suite, as CI runs it (with arguments: pytest alone)
    python -m lifeos doctor                  what is here, what is missing, how to fix it
    python -m lifeos setup                   the environment and the models that anyone may use
    python -m lifeos reference               the documents that are generated from the code: check, or --write
    python -m lifeos completion SHELL        a script for bash, zsh or fish that completes all of these
    python -m lifeos SCRIPT …                any script of evals/ or tools/ by its name

`python /path/to/checkout/lifeos VERB …` does the same from any directory. The environment lies in the checkout's `.lifeos`
folder (or where LIFEOS_HOME says) and is made again when a requirements file, Python or the platform changes.
LIFEOS_PROFILE=cpu or gpu overrides what was found.

Exit codes: those of the script; 2 an unknown verb; 3 the environment cannot be made.
"""

import ast
import os
import subprocess
import sys
import textwrap
from pathlib import Path

if not __package__:  # run as `python /path/to/checkout/lifeos`
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from lifeos import cli, environment
from lifeos.command_help import fill_document, text_width
from lifeos.errors import EXIT_OK, InputError, did_you_mean
from lifeos.project import project_version

SCRIPT_FOLDERS = ("tools", "evals")
OWN_VERBS = ("test", "doctor", "setup", "reference", "completion")
"""Verbs that are no script; `demo` is one."""
CHECKS = (
    ("ruff check", ["-m", "ruff", "check", "."]),
    ("ruff format", ["-m", "ruff", "format", "--check", "."]),
    ("mypy", ["-m", "mypy"]),
    ("mypy, as on Windows", ["-m", "mypy", "--platform", "win32", "--cache-dir", ".mypy_cache/win32"]),
    ("mypy, as on macOS", ["-m", "mypy", "--platform", "darwin", "--cache-dir", ".mypy_cache/darwin"]),
)


def find_scripts() -> dict[str, Path]:
    """Every script by its name: the files of evals/ and tools/ that have a command line."""
    paths = (path for folder in SCRIPT_FOLDERS for path in sorted((cli.PROJECT_ROOT / folder).glob("*.py")))
    return {path.stem: path for path in paths if "def main(" in path.read_text(encoding="utf-8")}


def describe(scripts: dict[str, Path]) -> str:
    """The usage, and each script with the first sentence of its docstring."""
    width = text_width()
    lines = [*fill_document(__doc__ or "", width), "", "Scripts:"]
    for name, path in scripts.items():
        doc = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        first = doc.splitlines()[0] if doc else ""
        lines += textwrap.wrap(f"  {name:24} {first}", width, subsequent_indent=" " * 27, break_on_hyphens=False)
    return "\n".join(lines)


def run_tests(arguments: list[str]) -> int:
    """ruff, mypy and pytest, as CI runs them; with arguments only pytest. The first failing check is the exit code.

    All extras are installed for them: dlib, since they read batches that version 3.0.0 made with it, and what signs pictures.
    """
    python = environment.ensure(environment.find_profile(), development=True)
    os.chdir(cli.PROJECT_ROOT)
    if arguments:
        return environment.run_inside(python, ["-m", "pytest", *arguments])
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # a thousand Pythons are started: what they import is compiled once
    checks = [(title, subprocess.Popen([str(python), *command], stdout=subprocess.PIPE, encoding="utf-8")) for title, command in CHECKS]
    failed: int = 0
    for title, check in checks:  # they ran side by side: mypy uses one core
        printed, _ = check.communicate()
        print(f"== {title}\n{printed}", end="", flush=True)
        failed = failed or check.returncode
    print("== pytest", flush=True)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    os.environ.setdefault("PYTEST_XDIST_AUTO_NUM_WORKERS", str(cores + 1))  # one more: many tests wait for a process or a server
    # worksteal: each worker takes whole files, so that what a file or a session shares is made once
    tests = subprocess.call([str(python), "-m", "pytest", "-n", "auto", "--dist", "worksteal"])
    return int(failed or tests)


def main(argv: list[str] | None = None) -> int:
    verb, *rest = (sys.argv[1:] if argv is None else argv) or ["--help"]
    scripts = find_scripts()
    if verb in ("-h", "--help", "help"):
        print(describe(scripts))
        return EXIT_OK
    if verb == "--version":
        print(f"lifeos (LifeOS) {project_version()}")
        return EXIT_OK
    if verb == "test":
        return run_tests(rest)
    if verb == "setup":
        from lifeos import setup

        return setup.main(rest)
    if verb == "doctor":
        from lifeos import doctor

        return doctor.main(rest)
    if verb == "reference":
        from lifeos import reference

        return reference.main(rest)
    if verb == "completion":
        from lifeos import completion

        return completion.main(rest)
    if verb not in scripts:
        fix = did_you_mean(verb, [*scripts, *OWN_VERBS]) if verb else "see python -m lifeos --help"
        raise InputError(verb, "no such verb or script", fix)
    return environment.run_inside(environment.ensure(environment.find_profile()), [str(scripts[verb]), *rest])


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
