"""What a health check found of several servers: a row for each, and each fault once with the servers that have it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from lifeos.findings import Finding
from tools.backends.registry import kind_at
from tools.backends.server_groups import names_of

SERVER = "ComfyUI"
"""The rule of the check whether a server is there."""
OF_THIS_MACHINE = ("model file", "disk")
NOT_TOLD = "cannot be asked"
HEADER = {
    "state": "state",
    "url": "server",
    "kind": "kind",
    "says": "what it says",
    "queue": "queue",
    "gpu_memory": "GPU memory",
    "parts": "nodes, models",
}


@dataclass(frozen=True, slots=True)
class ServerRow:
    """One server in words. `state`: ready, warning, not ready or no answer. `says`: version, device or workers."""

    url: str
    kind: str
    state: str
    says: str = ""
    queue: str = ""
    gpu_memory: str = ""
    parts: str = ""


def row_of(url: str, found: Sequence[Finding]) -> ServerRow:
    """The row of a server of which these findings are."""
    own = [each for each in found if each.rule not in OF_THIS_MACHINE]
    by_rule = {each.rule: each for each in own}
    errors = [each for each in own if each.severity == "error"]
    there = by_rule[SERVER]
    if there.severity == "error":
        return ServerRow(url, kind_at(url), "no answer", there.message.removeprefix(f"{url}: "))
    missing = sum(each.rule in ("node", "model", "models") for each in errors)
    asked = [rule for rule in ("node", "nodes", "model", "models") if rule in by_rule]
    parts = f"{missing} missing" if missing else "all there" if asked and by_rule[asked[0]].severity == "ok" else NOT_TOLD
    state = "not ready" if errors else "warning" if any(each.severity == "warning" for each in own) else "ready"
    memory = by_rule.get("GPU memory")
    return ServerRow(
        url,
        kind_at(url),
        state,
        there.message.replace(f" at {url}, on ", ", ").removeprefix(f"{kind_at(url)}, "),
        by_rule["queue"].message.partition(";")[0] if "queue" in by_rule else NOT_TOLD,
        memory.message.partition(":")[0] if memory is not None else NOT_TOLD,
        parts,
    )


def table_lines(rows: Sequence[ServerRow]) -> list[str]:
    """The rows as aligned lines, those that need somebody first."""
    order = ("no answer", "not ready", "warning", "ready")
    cells = [HEADER, *(asdict(row) for row in sorted(rows, key=lambda row: order.index(row.state)))]
    wide = {key: max(len(each[key]) for each in cells) for key in HEADER}
    return ["  ".join(each[key].ljust(wide[key]) for key in HEADER).rstrip() for each in cells]


def count_states(rows: Sequence[ServerRow]) -> str:
    """`3 of 13 servers ready, 10 no answer`."""
    counts = {state: sum(row.state == state for row in rows) for state in ("warning", "not ready", "no answer")}
    ready = sum(row.state in ("ready", "warning") for row in rows)
    told = [f"{count} with a warning" if state == "warning" else f"{count} {state}" for state, count in counts.items() if count]
    return ", ".join([f"{ready} of {len(rows)} servers ready", *told])


def grouped(found: Mapping[str, Sequence[Finding]]) -> list[Finding]:
    """What was found of each server, by URL: each thing once, with the servers that it is true of; what concerns this machine without."""
    groups: dict[Finding, list[str]] = {}
    for url, findings in found.items():
        for each in findings:
            groups.setdefault(replace(each, message=each.message.removeprefix(f"{url}: ")), []).append(url)
    return [each if each.rule in OF_THIS_MACHINE else replace(each, message=_named(each, urls)) for each, urls in groups.items()]


def _named(each: Finding, urls: Sequence[str]) -> str:
    return f"{urls[0]}: {each.message}" if len(urls) == 1 else f"{len(urls)} servers: {each.message}: {names_of(urls)}"
