"""Change a face engine's row in `evals/thresholds.yaml`: nothing else in the file changes, comments and order included."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from lifeos.errors import InputError
from lifeos.files import write_bytes

SECTION, ROWS = "face_similarity", "engines"


def write_engine_row(path: Path, key: str, row: Mapping[str, Any]) -> None:
    """Put a row into the policy file, in the place of the one that is there, or behind the others. The whole file is replaced at once.

    Raises InputError, which shows the row, where the file is written in a way in which that cannot be done for sure.
    """
    before = path.read_bytes() if path.exists() else b""
    text = before.decode("utf-8-sig")
    wanted = yaml.safe_load(text) or {}
    try:
        rows = wanted.setdefault(SECTION, {}).setdefault(ROWS, {})
        rows[key] = {**row}
        changed = _changed(text, key, flow(row))
        is_right = yaml.safe_load(changed) == wanted
    except (AttributeError, TypeError, yaml.YAMLError):
        is_right = False
    if not is_right:
        raise InputError(
            path, "cannot be changed without changing more of it", f"write this row yourself: {SECTION}.{ROWS}: {key}: {flow(row)}"
        )
    mark = b"\xef\xbb\xbf" if before.startswith(b"\xef\xbb\xbf") else b""
    write_bytes(path, mark + changed.encode("utf-8"))


def flow(value: object) -> str:
    """A value on one line, as the policy file writes it."""
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key}: {flow(part)}' for key, part in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(flow, value))}]"
    if isinstance(value, str):
        plain = yaml.safe_dump([value], default_flow_style=True, width=10_000, allow_unicode=True).strip()
        return plain[1:-1]
    return str(value)


def _changed(text: str, key: str, row: str) -> str:
    newline = "\r\n" if "\r\n" in text else "\n"
    section = _child(yaml.compose(text, Loader=yaml.SafeLoader), SECTION)
    if section is None:
        ended = text if not text or text.endswith("\n") else text + newline
        return f"{ended}{newline if ended else ''}{SECTION}:{newline}  {ROWS}:{newline}    {key}: {row}{newline}"
    rows = _child(section, ROWS)
    if rows is None:
        return _insert_behind(text, section, f"{ROWS}: {{{key}: {row}}}", newline)
    old = _child(rows, key)
    if old is None:
        return _insert_behind(text, rows, f"{key}: {row}", newline)
    return text[: old.start_mark.index] + row + text[_end(old) :]


def _child(node: Any, key: str) -> Any:
    if not isinstance(node, yaml.MappingNode):
        return None
    return next((value for name, value in node.value if name.value == key), None)


def _end(node: Any) -> int:
    """Where a node really ends: a block's own mark lies behind the comments that follow it."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _end(last[1] if isinstance(node, yaml.MappingNode) else last)
    return int(node.end_mark.index)


def _insert_behind(text: str, node: Any, entry: str, newline: str) -> str:
    """A further entry of a mapping: on a line of its own behind the last one, or inside the braces."""
    end = _end(node)
    if node.flow_style or not node.value:
        inner = text[: end - 1].rstrip()
        return f"{inner}{'' if inner.endswith(('{', ',')) else ','} {entry}{text[end - 1 :]}"
    line_end = text.find("\n", end)
    line_end = len(text) if line_end < 0 else line_end + 1
    before = text[:line_end] if text[:line_end].endswith("\n") else text + newline
    return f"{before}{' ' * node.value[0][0].start_mark.column}{entry}{newline}{text[line_end:]}"
