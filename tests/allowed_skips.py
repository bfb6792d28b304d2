"""Which tests may be skipped, and where. A skip that is not in this table fails its test: a guard that is skipped everywhere looks green.

`tests/conftest.py` puts the two hooks below in force. They run where the test runs, so pytest-xdist changes nothing.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Generator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from tests.browser import find_chromium
from tests.capabilities import LINUX, POSIX

OTHER_VOLUME = "LIFEOS_TEST_VOLUME" in os.environ or not LINUX
"""The variable names a folder on the volume where the tests are to work (tests/conftest.py)."""

ROOT_USER = hasattr(os, "geteuid") and os.geteuid() == 0


@dataclass(frozen=True, slots=True)
class AllowedSkip:
    """Tests whose id fits `tests` may be skipped with exactly this `reason`, on machines where `here` is true."""

    tests: str
    reason: str
    here: bool


def _has_recording() -> bool:
    cases = os.environ.get("LIFEOS_TEST_CASES")
    return cases is not None and (Path(cases).resolve().parent / "comfyui" / "object_info_0.33.0.json").is_file()


NO_MODELS = "LIFEOS_TEST_MODELS does not name the folder of the small face models"
NO_CASES = "LIFEOS_TEST_CASES does not name the folder of the collected cases"

ALLOWED_SKIPS = (
    # A user's clone has neither folder. Where a variable is set, its folder must be there and the tests must run.
    AllowedSkip("tests/*", NO_MODELS, "LIFEOS_TEST_MODELS" not in os.environ),
    AllowedSkip("tests/*", NO_CASES, "LIFEOS_TEST_CASES" not in os.environ),
    AllowedSkip(
        "tests/tools/workflows/test_core_signatures.py::*",
        "no recording of /object_info lies beside the collected cases",
        not _has_recording(),
    ),
    # Programs that a machine may lack.
    AllowedSkip("tests/tools/publishing/*", "exiftool is not installed", shutil.which("exiftool") is None),
    AllowedSkip("tests/tools/publishing/*", "openssl is not installed", shutil.which("openssl") is None),
    # Nothing keeps root from reading or writing a file.
    AllowedSkip("tests/tools/test_dataset_manifest.py::*", "root reads everything", ROOT_USER or not POSIX),
    AllowedSkip("tests/tools/test_lifeos_freshness_check.py::*", "needs a folder that it may not write", ROOT_USER or not POSIX),
    AllowedSkip("tests/tools/test_generate_batch.py::*", "nothing is read-only to this user, such as root", ROOT_USER or not POSIX),
    AllowedSkip("tests/tools/test_production_pipeline.py::*", "nothing is read-only to this user, such as root", ROOT_USER or not POSIX),
    # Somebody's own server, named by COMFYUI_URL, may hold no model; the embedded server holds some.
    AllowedSkip("tests/tools/backends/test_contract.py::*", "this server has no checkpoint to sample with", "COMFYUI_URL" in os.environ),
    AllowedSkip("tests/tools/families/test_family_contract.py::*", "this server lacks files of the family", "COMFYUI_URL" in os.environ),
    AllowedSkip("tests/tools/families/test_family_contract.py::*", "this server lacks nodes of the family", "COMFYUI_URL" in os.environ),
    # A browser is no dependency: Debian's chromium, say.
    AllowedSkip("tests/*", "there is no Chromium on this machine", find_chromium() is None),
    # What an operating system does not have.
    AllowedSkip("tests/lifeos/test_liveness.py::*", "/proc is Linux", not LINUX),
    AllowedSkip("tests/lifeos/test_environment.py::*", "the GPU packages are for Linux", not LINUX),
    AllowedSkip("tests/tools/cycle/test_process.py::*", "the parent-death signal is Linux", not LINUX),
    AllowedSkip("tests/*", "file names of any bytes are Linux", not LINUX),
    AllowedSkip("tests/lifeos/test_restart.py::*", "the stand-in for the environment's Python is a shell script", not POSIX),
    AllowedSkip("tests/lifeos/test_progress.py::*", "pseudo-terminals are POSIX", not POSIX),
    AllowedSkip("tests/*", "permission bits are POSIX", not POSIX),
    AllowedSkip("tests/lifeos/test_files.py::*", "limits of files are POSIX", not POSIX),
    AllowedSkip("tests/lifeos/test_restart.py*", "the stand-in for the environment's Python is a shell script", not POSIX),
    AllowedSkip("tests/*", "kill -9 is POSIX", not POSIX),
    AllowedSkip("tests/*", "signals are POSIX", not POSIX),
    AllowedSkip("tests/*", "pipes are POSIX", not POSIX),
    AllowedSkip("tests/tools/*", "elsewhere it is left for an hour: whether its process lives cannot be asked", not POSIX),
    # exFAT, NTFS and the like lack one or the other. Asked of the volume each time (tests/capabilities.py).
    AllowedSkip("tests/*", "this volume has no links", OTHER_VOLUME),
    AllowedSkip("tests/*", "this volume does not tell A from a", OTHER_VOLUME),
    AllowedSkip("tests/*", "this volume takes not every name", OTHER_VOLUME),
    AllowedSkip("tests/*", "this volume has no pipes", OTHER_VOLUME),
    AllowedSkip("tests/*", "this volume keeps no permissions", OTHER_VOLUME),
    AllowedSkip("tests/lifeos/test_files.py::*", "this volume replaces a file in two steps", OTHER_VOLUME),
    # Only root may mount, and not in every container.
    AllowedSkip("tests/tools/test_retrain_lora_v3.py::*", "a small file system cannot be mounted here", True),
    AllowedSkip("tests/lifeos/test_locks*", "flock is POSIX", not POSIX),
    AllowedSkip("tests/lifeos/test_foreign.py::*", "there is no /dev/zero", not POSIX),
    AllowedSkip("tests/evals/judging/test_inputs.py::*", "links are made by everyone on POSIX only", not POSIX),
    AllowedSkip("tests/tools/stand_in/test_embedded_borders.py::*", "links may not be made here", not POSIX),
    AllowedSkip("tests/test_version_before.py::*", "the samples were made on a Linux pod, and hold its paths", not POSIX),
    AllowedSkip("tests/tools/test_production_pipeline.py::*", "signals are sent as POSIX does", not POSIX),
    AllowedSkip("tests/tools/test_lifeos_preflight.py::*", "Windows has no such file names", not POSIX),
    AllowedSkip("tests/tools/test_generate_batch.py::*", "signals", not POSIX),
    AllowedSkip("tests/*", "process groups are POSIX", not POSIX),
    AllowedSkip(
        "tests/tools/stand_in/test_embedded_faults.py::*", "Windows ends a process without a signal that it could answer", not POSIX
    ),
    AllowedSkip("tests/tools/test_pod_health_check.py::*", "a script as nvidia-smi", not POSIX),
    AllowedSkip("tests/evals/test_scorecard.py::*", "Windows has no SIGTERM that a program can take", not POSIX),
)


def is_allowed(test: str, reason: str) -> bool:
    """Whether the table lets this test (its id, or a file that is skipped as a whole) be skipped here, for this reason."""
    return any(row.here and row.reason == reason and fnmatchcase(test, row.tests) for row in ALLOWED_SKIPS)


def fail_if_not_allowed(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Make a skipped report a failed one that names the test and its reason, unless the table allows the skip."""
    if report.outcome != "skipped" or hasattr(report, "wasxfail"):  # an expected failure is reported as skipped too
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    reason = reason.removeprefix("Skipped: ")
    if not is_allowed(report.nodeid, reason):
        report.outcome = "failed"
        report.longrepr = f"{report.nodeid} was skipped ({reason}), and tests/allowed_skips.py does not allow that here"


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    fail_if_not_allowed(report)
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    fail_if_not_allowed(report)
    return report
