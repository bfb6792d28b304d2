"""The prompts of a batch: built in, or from a file with one prompt a line."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

from lifeos.errors import InputError
from lifeos.files import read_text

BUILT_IN = (
    "amiranoor, candid photo at outdoor cafe, golden hour, shot on Canon 5D 85mm, shallow dof",
    "amiranoor, sitting on park bench, autumn leaves, natural sunlight, casual outfit",
    "amiranoor, walking down city street, golden hour, candid shot, urban background",
    "amiranoor, close up portrait, soft window light, indoor, natural expression",
    "amiranoor, beach sunset, looking at camera, warm tones, wind in hair",
    "amiranoor, restaurant table, evening lighting, elegant outfit, candid framing",
    "amiranoor, rooftop terrace, city skyline, magic hour, lifestyle photo",
    "amiranoor, garden setting, morning light, floral dress, natural pose",
    "amiranoor, coffee shop window seat, rainy day, cozy lighting, reading",
    "amiranoor, poolside, bright midday sun, swimwear, vacation candid",
)
"""The templates of the specification (Task 5), word for word."""

LINE_ENDS = re.compile(r"\r\n|\r|\n")
"""Not str.splitlines: that also cuts at characters which may stand in a prompt, such as U+2028 or a form feed."""


def read_prompts(path: Path) -> list[str]:
    """One prompt a line. Blank lines and lines that begin with `#` are left out; a byte order mark and CRLF do no harm."""
    lines = [line.strip() for line in LINE_ENDS.split(read_text(path))]
    prompts = [line for line in lines if line and not line.startswith("#")]
    if not prompts:
        raise InputError(path, "holds no prompt", "write one prompt a line; lines that begin with # are comments")
    for number, line in enumerate(lines, 1):
        check_prompt(line, f"{path}:{number}")
    return prompts


def check_prompt(text: str, where: str) -> None:
    """Raises InputError for a prompt that no server can take: control characters, of which the NUL ends a C string."""
    bad = next((mark for mark in text if unicodedata.category(mark) in ("Cc", "Cs") and mark != "\t"), None)
    if bad is not None:
        raise InputError(where, f"a control character (U+{ord(bad):04X}) in the prompt", "is this a text file? remove it")


def shorten(text: str, limit: int) -> str:
    """At most `limit` characters, cut with an ellipsis: for tables and progress lines."""
    flat = " ".join(text.split())
    return flat if len(flat) <= limit else flat[: limit - 1].rstrip() + "…"
