"""Every script says in one line that it needs a newer Python, before anything fails that an older one does not have."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
AS_OLDER = """
import dataclasses, datetime, enum, hashlib, itertools, runpy, sys, typing
sys.version_info = (3, 9, 1)
for module, name in ((datetime, "UTC"), (itertools, "pairwise"), (enum, "StrEnum"), (typing, "Self"), (hashlib, "file_digest")):
    delattr(module, name)
sys.modules["tomllib"] = None
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
SCRIPTS = sorted(path for folder in ("evals", "tools") for path in (ROOT / folder).glob("*.py") if path.name != "__init__.py")


@pytest.mark.parametrize("script", [ROOT / "lifeos", *SCRIPTS], ids=lambda path: path.name)
def test_an_older_python_is_refused_in_one_line(script: Path) -> None:
    done = subprocess.run([sys.executable, "-c", AS_OLDER, str(script), "--help"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == "error: Python 3.9: LifeOS needs 3.11 or newer (start it with python3.11, or install that)\n"
