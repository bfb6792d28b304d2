"""Strings shaped like secrets, shown masked: a key in a repository is a key lost, whoever the repository belongs to."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator

from lifeos.findings import Finding
from lifeos.guardrails.checkout import Checkout, Document
from lifeos.guardrails.machine_paths import find_texts

RULE = "secret"
URL_PASSWORD = re.compile(
    r"://[^\s/:@<>{}$\"'`]+:(?P<secret>[^\s/:@<>{}$\"'`]{6,})@"
    r"(?![\w.-]*(?:\bexample\.(?:com|org|net)|\.(?:test|example|invalid))\b)[\w-]+\.[\w.-]+"
)
"""At a host that can exist: a name with a dot, outside the domains reserved for examples (RFC 2606)."""
SHAPES: tuple[tuple[str, tuple[str, ...], re.Pattern[str]], ...] = (
    ("an AWS access key", ("AKIA", "ASIA"), re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b")),
    ("a GitHub token", ("ghp_", "gho_", "ghu_", "ghs_", "ghr_"), re.compile(r"\bgh[pousr]_[A-Za-z0-9]{36,}\b")),
    ("a GitHub token", ("github_pat_",), re.compile(r"\bgithub_pat_[A-Za-z0-9_]{50,}\b")),
    ("a Hugging Face token", ("hf_",), re.compile(r"\bhf_[A-Za-z0-9]{30,}\b")),
    ("a RunPod API key", ("rpa_",), re.compile(r"\brpa_[A-Za-z0-9]{30,}\b")),
    ("an API key", ("sk-",), re.compile(r"\bsk-[A-Za-z0-9_-]{20,}\b")),
    ("a Slack token", ("xox",), re.compile(r"\bxox[abeoprs]-[A-Za-z0-9-]{10,}\b")),
    ("a Google API key", ("AIza",), re.compile(r"\bAIza[0-9A-Za-z_-]{35}\b")),
    ("a Stripe key", ("_live_",), re.compile(r"\b[rs]k_live_[0-9A-Za-z]{20,}\b")),
    ("a PyPI token", ("pypi-",), re.compile(r"\bpypi-AgE[\w-]{50,}")),
    ("a JSON Web Token", ("eyJ",), re.compile(r"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}")),
    ("a private key", ("PRIVATE KEY",), re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----")),
    ("a password in a URL", ("://",), URL_PASSWORD),
)
STEMS = ("passw", "secret", "api", "auth", "access")
"""Of the keywords below: found by plain search, which is far faster than a pattern tried at every letter."""
ASSIGNED = re.compile(
    r"(?i)(?:password|passwd|secret|api[_-]?key|(?:auth|access)_?token)\b[\"']?\s*[:=]\s*[\"']?(?P<secret>[A-Za-z0-9+/_=.-]{16,})"
)
"""`password = "…"`, `API_KEY: …`."""
MIN_ENTROPY_BITS = 3.3
"""A character of a random 20-character key carries about 4 bits, of an identifier or a word under 3.2."""


def check_secrets(checkout: Checkout) -> list[Finding]:
    """Every secret-shaped string in the text files of the checkout, the tests included."""
    return [finding for path in find_texts(checkout) for finding in find_secrets(checkout.document(path))]


def find_secrets(document: Document) -> Iterator[Finding]:
    """Those of one file, each once, masked."""
    text = document.text
    found = [(what, match) for what, hints, pattern in SHAPES if any(hint in text for hint in hints) for match in pattern.finditer(text)]
    found += [("a value that looks like a secret", match) for match in _find_assigned(text)]
    seen: set[int] = set()
    for what, match in found:
        group = "secret" if "secret" in match.re.groupindex else 0
        if match.end(group) not in seen:
            seen.add(match.end(group))
            line = text.count("\n", 0, match.start(group)) + 1
            fix = "revoke it, remove it, read it from the environment"
            yield Finding(RULE, f"{what}: {mask(match.group(group))}", fix, path=document.path, line=line)


def _find_assigned(text: str) -> Iterator[re.Match[str]]:
    """Random-looking values behind a keyword."""
    lower = text.lower()
    if len(lower) != len(text):  # some letters have a longer small form: positions would not agree
        lower = text
    for stem in STEMS:
        at = lower.find(stem)
        while at >= 0:
            match = ASSIGNED.match(text, at)
            if match and _is_random(match.group("secret")):
                yield match
            at = lower.find(stem, at + 1)


def mask(secret: str) -> str:
    """Enough to recognise, too little to use."""
    return f"{secret[:4]}… ({len(secret)} characters)"


def _is_random(text: str) -> bool:
    if not (any(char.isdigit() for char in text) and any(char.isalpha() for char in text)):
        return False
    counts = Counter(text).values()
    return -sum(count / len(text) * math.log2(count / len(text)) for count in counts) >= MIN_ENTROPY_BITS
