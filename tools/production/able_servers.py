"""Which servers make the pictures of a batch: those that have what its graphs need, now, and those that may join while it runs.

A server that does not answer, lacks a node or a file, or is not well is left out with one line; it is looked at again while the batch runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from lifeos.errors import InputError, UnavailableError
from lifeos.findings import Finding
from tools.backends.backend import Backend
from tools.backends.registry import ReachedServers
from tools.backends.server_groups import LeftOutServer, ask_all, none_of, tell_left_out
from tools.production.equipment import Equipment
from tools.workflows.graph import Graph
from tools.workflows.server_fit import Spelling, check_models, find_missing

Note = Callable[[str], None]
Look = Callable[[Sequence[Backend]], Mapping[str, LeftOutServer]]
"""Of some servers, those that cannot take part, by URL. It never raises for what it finds."""


def find_lacks(servers: Sequence[Backend], graphs: Sequence[Graph]) -> dict[str, LeftOutServer]:
    """The servers that cannot run all of some graphs, by URL: what each lacks, or that it answers no more."""
    found = ask_all(servers, lambda server: find_missing(server, graphs, suggests=False))
    left: dict[str, LeftOutServer] = {}
    for server, missing in zip(servers, found, strict=True):
        if isinstance(missing, UnavailableError):
            left[server.url] = LeftOutServer.of(server.url, missing)
        elif missing:
            fixes = "; ".join(dict.fromkeys(each.fix for each in missing))
            left[server.url] = LeftOutServer(server.url, f"lacks {'; '.join(each.what for each in missing)}", fixes)
    return left


def able_to_run(servers: Sequence[Backend], *graphs: Graph) -> dict[str, LeftOutServer]:
    """The same, where at least one can run them. Raises InputError that names what each lacks, UnavailableError where none answers."""
    if len(servers) == 1:
        check_models(servers[0], *graphs)
        return {}
    lacks = find_lacks(servers, graphs)
    if servers and len(lacks) == len(servers):
        refusal = none_of(list(lacks.values()), "has what the pictures need")
        if any(each.why.startswith("lacks ") for each in lacks.values()):
            raise InputError(refusal.what, refusal.why, refusal.fix)
        raise refusal
    return lacks


def unable_to_repair(servers: Sequence[Backend], graph: Graph) -> dict[str, LeftOutServer]:
    """The servers that cannot run the graph that repairs pictures, by URL."""
    deaf = {each.url: LeftOutServer(each.url, "takes no pictures from outside") for each in servers if not each.offers.takes_pictures}
    return deaf | find_lacks([each for each in servers if each.url not in deaf], [graph])


def find_unwell(
    servers: Sequence[Backend], nodes: Sequence[str], policy: Mapping[str, Any], note: Note, ours: frozenset[str] = frozenset()
) -> dict[str, LeftOutServer]:
    """The pod health check on every server: those that it finds fault with, by URL. Warnings are told.

    `ours` are prompts that this batch queued before: it follows them, and does not wait for them.
    """
    from tools.pod_health_check import check_pod

    def check(server: Backend) -> list[Finding]:
        # the batch's own disk is checked by the batch
        limit = policy["production"]["min_free_vram_mb"]
        return check_pod(server, required_nodes=nodes, min_free_disk_gb=0.0, min_free_vram_mb=limit, ours=ours)

    unwell: dict[str, LeftOutServer] = {}
    warned: list[LeftOutServer] = []
    for server, checks in zip(servers, ask_all(servers, check), strict=True):
        for found in checks if isinstance(checks, list) else ():
            told = f"{found.rule}: {found.message.removeprefix(f'{server.url}: ')}"
            if found.severity == "error":
                each = LeftOutServer(server.url, told, found.fix or "or go on with --skip-health-check")
                unwell.setdefault(server.url, each)
            elif found.severity == "warning":
                warned.append(LeftOutServer(server.url, told, comes_back=False))
    for line in tell_left_out(warned, len(servers)):
        note(f"warning: {line}")
    return unwell


class AbleServers:
    """The servers of a batch. `servers`: those that take part or may join; `left_out`: why those do not that may join, by URL.

    `can_repair` and `admit` may be called from any thread.
    """

    def __init__(
        self,
        reached: ReachedServers,
        graphs: Sequence[Graph],
        lacking: Mapping[str, LeftOutServer],
        look: Look,
        note: Note,
        repair: Graph | None = None,
    ) -> None:
        """`lacking`: those that cannot run all of `graphs`; `look` finds those that are not well. Raises where no server can take part."""
        self._graphs, self._repair, self._look = tuple(graphs), repair, look
        answering = reached.servers
        total = len(answering) + len(reached.absent)
        fit = [server for server in answering if server.url not in lacking]
        unable = {**lacking, **look(fit)}
        self.able = [server for server in fit if server.url not in unable]
        if not self.able:
            raise none_of(list(unable.values()), "can make the pictures")
        for line in tell_left_out(unable.values(), total):
            note(f"going on without {line}")
        self.servers = [*self.able, *(server for server in answering if server.url in unable), *reached.absent]
        self.left_out = {each.url: each.why for each in (*unable.values(), *reached.why_absent)}
        self._repairing = self._find_repairing(total, note) if repair is not None else frozenset[str]()

    def _find_repairing(self, total: int, note: Note) -> frozenset[str]:
        assert self._repair is not None
        unable = unable_to_repair(self.able, self._repair)
        if len(unable) == len(self.able):
            refusal = none_of(list(unable.values()), "that make the pictures can repair them")
            raise InputError("--repair-workflow", f"{refusal.what}: {refusal.why}", refusal.fix)
        for line in tell_left_out((replace(each, comes_back=False) for each in unable.values()), total):
            note(f"repairs go elsewhere: {line}")
        return frozenset(server.url for server in self.able if server.url not in unable)

    def equip(self, equipment: Equipment) -> Equipment:
        """The same equipment with these servers."""
        return replace(
            equipment,
            servers=self.servers,
            left_out=self.left_out,
            admit=self.admit,
            can_repair=self.can_repair,
            prepare=Spelling(),
        )

    def can_repair(self, url: str) -> bool:
        return url in self._repairing

    def admit(self, server: Backend) -> None:
        """Look at a server that came (back). Raises UnavailableError where it cannot take part (yet)."""
        found = find_lacks([server], self._graphs) or self._look([server])
        if found:
            raise next(iter(found.values())).error
        if self._repair is not None and not unable_to_repair([server], self._repair):
            self._repairing |= {server.url}
