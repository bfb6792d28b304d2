"""Why an installation failed, in words of the person who can mend it: from what the installer printed, and from the platform."""

from __future__ import annotations

import platform
import re
import sys
import sysconfig
from pathlib import Path

from lifeos.errors import UnavailableError

LOG_TAIL_LINES = 12
TAIL_CHARACTERS = 800

CAUSES: tuple[tuple[str, str, str], ...] = (
    (
        r"ProxyError|407 Proxy|tunnel (?:error|connection failed)",
        "the proxy does not let the package index be reached",
        "check HTTPS_PROXY and HTTP_PROXY, or unset them",
    ),
    (
        r"CERTIFICATE_VERIFY_FAILED|certificate verify failed|UnknownIssuer|invalid peer certificate",
        "the certificate of the package index is not trusted: a company's proxy often puts its own there",
        "name its certificate file in PIP_CERT and SSL_CERT_FILE",
    ),
    (
        r"Name or service not known|Temporary failure in name resolution|getaddrinfo failed|nodename nor servname|No address associated"
        r"|Network is unreachable|No route to host|Connection refused|ConnectTimeoutError|ReadTimeoutError|dns error|tcp connect error",
        "the package index cannot be reached: this machine seems to be off-line",
        "connect it, or name a mirror that it reaches in PIP_INDEX_URL",
    ),
    (
        r"\[Errno 38\]|Function not implemented|symbolic link privilege",
        "the volume holds no links, which an environment needs (exFAT, some network volumes)",
        "name a folder on another volume in LIFEOS_HOME",
    ),
    (r"No space left on device|Disk quota exceeded", "the disk is full", "free 1 GB, or name another folder in LIFEOS_HOME"),
    (r"Permission denied|Access is denied", "a folder may not be written", "name a folder that you may write to in LIFEOS_HOME"),
)
"""What an installer prints -> what that means -> how to mend it; the first that fits."""


def refuse_unknown_platform() -> None:
    """Raises UnavailableError where there are no packages to install: better in one line than after minutes in a compiler's."""
    system, machine = sys.platform, platform.machine().lower()
    if system == "darwin" and machine == "x86_64":
        why = "onnxruntime has no packages for Macs with Intel processors any more"
        raise UnavailableError("this Mac", why, "use one with an Apple processor, Linux, Windows, or a container on this one")
    if sys.maxsize < 1 << 32:
        raise UnavailableError("this Python", "it is a 32-bit one, for which the packages do not exist", "install the 64-bit one")
    if system == "win32" and machine == "arm64":
        raise UnavailableError("this Python", "the packages do not exist for Windows on ARM", "install the x86-64 Python: Windows runs it")
    if "musl" in str(sysconfig.get_config_var("HOST_GNU_TYPE")):
        why = "the packages do not exist for this Linux, which has another C library than glibc (Alpine has musl)"
        raise UnavailableError("this Linux", why, "use an image of Debian, Ubuntu or Fedora, such as python:3.11-slim")


def failure(what: object, why: str, log: Path) -> UnavailableError:
    """The error that names the cause found in an installer's log, or what it printed last."""
    text = log.read_text(encoding="utf-8", errors="replace")
    for pattern, meaning, fix in CAUSES:
        if re.search(pattern, text):
            return UnavailableError(what, f"{why}: {meaning}", f"{fix}; then run the same command again. Log: {log}")
    return UnavailableError(what, f"{why}: {_tail(text)}", f"see {log}; then run the same command again")


def _tail(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if re.match(r"\s*(ERROR|error)", line)]
    return " / ".join((errors or lines)[-LOG_TAIL_LINES:] or ["no output"])[-TAIL_CHARACTERS:]
