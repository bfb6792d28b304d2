"""How text and JSON reach a terminal: what is in them cannot act on it, and a command prints one JSON document or none."""

from __future__ import annotations

import contextlib
import json
import re
import sys
from collections.abc import Iterable
from typing import TextIO

from lifeos.escaping import escape_terminal

LIVE_IN_JSON = re.compile("[\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""What JSON leaves as it is and a terminal acts on: delete, C1 control characters, direction marks."""


class Printed:
    """What this process has printed."""

    json = False
    """Whether the one JSON document of this command is out."""


SCHEMA = 1
"""Of a document that tells no other. It is raised when a key changes its meaning, not when one is added."""


def print_json(document: object) -> None:
    """The one JSON document of `--json`; one that is an object has `schema`. NaN and infinity are a fault of ours: JSON has neither."""
    if isinstance(document, dict) and "schema" not in document:
        document = {"schema": SCHEMA, **document}
    print_json_lines([json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False), "\n"])


def print_json_lines(lines: Iterable[str]) -> None:
    """The one JSON document of `--json`, in parts that need not fit into memory together; line ends are in them."""
    Printed.json = True
    sys.stdout.writelines(LIVE_IN_JSON.sub(lambda char: f"\\u{ord(char[0]):04x}", line) for line in lines)


def say(text: str, *, as_json: bool = False) -> None:
    """Text for a person: on stdout, or on stderr when stdout belongs to `--json`."""
    _print(text, sys.stderr if as_json else sys.stdout)


def note(text: str) -> None:
    """Text for a person beside the result, on stderr. Where nobody can read it (a closed terminal, a full disk) work goes on without it."""
    with contextlib.suppress(OSError):
        _print(text, sys.stderr)


def _print(text: str, stream: TextIO) -> None:
    print(escape_terminal(text), file=stream, flush=True)
