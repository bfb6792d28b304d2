"""Change values in `evals/thresholds.yaml`: nothing else in the file changes, comments and order included."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from lifeos.errors import InputError
from lifeos.files import write_bytes

SECTION, ROWS = "face_similarity", "engines"


def write_engine_row(path: Path, key: str, row: Mapping[str, Any]) -> None:
    """Put a face engine's row into the policy file, in the place of the one that is there, or behind the others.

    The whole file is replaced at once. Raises InputError, which shows the row, where the file is written in a way in which that cannot be
    done for sure.
    """
    by_hand = f"write this row yourself: {SECTION}.{ROWS}: {key}: {flow(row)}"
    _write(path, {(SECTION, ROWS, key): {**row}}, by_hand, flow)


def write_limits(path: Path, limits: Mapping[str, float], *, first: Callable[[], None] = lambda: None) -> None:
    """Put limits into the policy file, by dotted key: the numbers change, and what is not there yet is added behind its section.

    The whole file is replaced at once, or not at all; `first` is called when it is sure that it can be. Raises InputError, which shows the
    limits, where it cannot be done for sure.
    """
    by_hand = f"write yourself: {', '.join(f'{key}: {_as_limit(value)}' for key, value in limits.items())}"
    _write(path, {tuple(key.split(".")): value for key, value in limits.items()}, by_hand, _as_limit, first)


def _as_limit(value: float) -> str:
    """With two decimals, as the limits that are there, or as many as it has."""
    return f"{value:.2f}" if round(value, 2) == value else str(value)


def _write(
    path: Path,
    values: Mapping[tuple[str, ...], Any],
    by_hand: str,
    to_text: Callable[[Any], str],
    first: Callable[[], None] = lambda: None,
) -> None:
    before = path.read_bytes() if path.exists() else b""
    text = before.decode("utf-8-sig")
    wanted, changed = yaml.safe_load(text) or {}, text
    try:
        for keys, value in values.items():
            section = wanted
            for key in keys[:-1]:
                section = section.setdefault(key, {})
            section[keys[-1]] = value
            changed = _changed(changed, keys, to_text(value))
        is_right = yaml.safe_load(changed) == wanted
    except (AttributeError, TypeError, yaml.YAMLError):
        is_right = False
    if not is_right:
        raise InputError(path, "cannot be changed without changing more of it", by_hand)
    first()
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


def _changed(text: str, keys: Sequence[str], value: str) -> str:
    newline = "\r\n" if "\r\n" in text else "\n"
    node: Any = yaml.compose(text, Loader=yaml.SafeLoader)
    for depth, key in enumerate(keys):
        child = _child(node, key)
        if child is None and not depth:
            ended = text if not text or text.endswith("\n") else text + newline
            lines = [f"{'  ' * place}{name}:" for place, name in enumerate(keys)]
            return f"{ended}{newline if ended else ''}{newline.join(lines)} {value}{newline}"
        if child is None:
            inner = value
            for name in reversed(keys[depth + 1 :]):
                inner = f"{{{name}: {inner}}}"
            return _insert_behind(text, node, f"{key}: {inner}", newline)
        node = child
    return text[: node.start_mark.index] + value + text[_end(node) :]


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
        between = "" if inner.endswith("{") else " " if inner.endswith(",") else ", "
        return f"{inner}{between}{entry}{text[end - 1 :]}"
    line_end = text.find("\n", end)
    line_end = len(text) if line_end < 0 else line_end + 1
    before = text[:line_end] if text[:line_end].endswith("\n") else text + newline
    return f"{before}{' ' * node.value[0][0].start_mark.column}{entry}{newline}{text[line_end:]}"
