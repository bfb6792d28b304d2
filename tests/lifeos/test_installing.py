"""Why an environment cannot be made here, in one line that can be acted on."""

from __future__ import annotations

import platform
import sys
import sysconfig
from pathlib import Path

import pytest

from lifeos import installing
from lifeos.errors import UnavailableError

NO_VERSION = "ERROR: No matching distribution found for pyyaml==6.0.3"
BROKEN = "WARNING: Retrying (Retry(total=0)) after connection broken by '{}': /simple/pyyaml/\n" + NO_VERSION


@pytest.mark.parametrize(
    ("printed", "cause", "fix"),
    [
        (BROKEN.format("NewConnectionError: [Errno -2] Name or service not known"), "off-line", "PIP_INDEX_URL"),
        (BROKEN.format("NewConnectionError: [Errno 111] Connection refused"), "off-line", "PIP_INDEX_URL"),
        (BROKEN.format("ProxyError('Cannot connect to proxy.', [Errno 111] Connection refused)"), "the proxy", "HTTPS_PROXY"),
        (BROKEN.format("SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED]"), "certificate", "PIP_CERT"),
        ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", "disk is full", "LIFEOS_HOME"),
        ("ERROR: Could not install packages due to an OSError: [Errno 13] Permission denied: '/x'", "may not be written", "LIFEOS_HOME"),
        ("Error: [Errno 38] Function not implemented: 'lib' -> '/x/lib64'", "holds no links", "LIFEOS_HOME"),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES", "DO NOT MATCH THE HASHES", "see "),
        ("", "no output", "see "),
    ],
)
def test_the_cause_is_named(tmp_path: Path, printed: str, cause: str, fix: str) -> None:
    log = tmp_path / "setup.log"
    log.write_text(f"Looking in indexes: …\n{printed}\n" if printed else "", encoding="utf-8")
    error = installing.failure("requirements.txt", "not installed", log)
    assert cause in error.why and fix in error.fix and str(log) in error.fix
    assert error.exit_code == 3


@pytest.mark.parametrize(
    ("system", "machine", "built_for", "said"),
    [
        ("darwin", "x86_64", "", "Macs with Intel"),
        ("win32", "ARM64", "", "Windows on ARM"),
        ("linux", "x86_64", "x86_64-pc-linux-musl", "musl"),
        ("linux", "x86_64", "linux-gnu", None),
        ("linux", "aarch64", "linux-gnu", None),
        ("darwin", "arm64", "", None),
        ("win32", "AMD64", "", None),
    ],
)
def test_where_no_packages_exist(monkeypatch: pytest.MonkeyPatch, system: str, machine: str, built_for: str, said: str | None) -> None:
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(sysconfig, "get_config_var", lambda name: {"HOST_GNU_TYPE": built_for}.get(name))
    if said is None:
        installing.refuse_unknown_platform()
    else:
        with pytest.raises(UnavailableError, match=said):
            installing.refuse_unknown_platform()
