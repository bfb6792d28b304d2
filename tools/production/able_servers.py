"""Which servers make the pictures of a batch: those that have what its graphs need, now, and those that may join while it runs.

A server that does not answer, lacks a node or a file, or is not well is left out with one line; it is looked at again while the batch runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lifeos.errors import InputError, UnavailableError
from lifeos.findings import Finding
from tools.backends.backend import Backend
from tools.backends.dispatch import Needs, needs_of
from tools.backends.registry import ReachedServers
from tools.backends.server_groups import LeftOutServer, ask_all, none_of, tell_left_out
from tools.production.equipment import Equipment
from tools.workflows.graph import Graph
from tools.workflows.server_fit import MissingPart, Spelling, check_models, find_missing
from tools.workflows.signatures import Signatures

Note = Callable[[str], None]
Look = Callable[[Sequence[Backend]], Mapping[str, LeftOutServer]]
"""Of some servers, those that cannot take part, by URL. It never raises for what it finds."""


@dataclass(frozen=True, slots=True)
class ServerGaps:
    """What a server lacks for each of some graphs, in their order; `error`: it could not be asked."""

    url: str
    parts: tuple[tuple[MissingPart, ...], ...] = ()
    error: UnavailableError | None = None

    def can_run(self, place: int) -> bool:
        return self.error is None and not self.parts[place]

    @property
    def can_run_any(self) -> bool:
        return self.error is None and not all(self.parts)

    @property
    def lack(self) -> LeftOutServer:
        """All of it, in words."""
        if self.error is not None:
            return LeftOutServer.of(self.url, self.error)
        missing = list(dict.fromkeys(part for parts in self.parts for part in parts))
        fixes = "; ".join(dict.fromkeys(each.fix for each in missing))
        return LeftOutServer(self.url, f"lacks {'; '.join(each.what for each in missing)}", fixes)


def find_gaps(servers: Sequence[Backend], graphs: Sequence[Graph]) -> dict[str, ServerGaps]:
    """The servers that cannot run all of some graphs, by URL."""

    def ask(server: Backend) -> tuple[tuple[MissingPart, ...], ...]:
        known = Signatures(server.node)
        return tuple(find_missing(server, [graph], suggests=False, known=known) for graph in graphs)

    found: dict[str, ServerGaps] = {}
    for server, parts in zip(servers, ask_all(servers, ask), strict=True):
        if isinstance(parts, UnavailableError):
            found[server.url] = ServerGaps(server.url, error=parts)
        elif any(parts):
            found[server.url] = ServerGaps(server.url, parts)
    return found


def find_lacks(servers: Sequence[Backend], graphs: Sequence[Graph]) -> dict[str, LeftOutServer]:
    """The same in words."""
    return {url: each.lack for url, each in find_gaps(servers, graphs).items()}


def able_to_run(servers: Sequence[Backend], *graphs: Graph) -> dict[str, ServerGaps]:
    """The servers that cannot run all of the graphs, where there is one for each. Raises InputError that names what each lacks,
    UnavailableError where none answers."""
    if len(servers) == 1:
        check_models(servers[0], *graphs)
        return {}
    gaps = find_gaps(servers, graphs)
    for place in range(len(graphs) if servers else 0):
        if len(gaps) == len(servers) and not any(each.can_run(place) for each in gaps.values()):
            own = [replace(each, parts=each.parts[place : place + 1]) for each in gaps.values()]
            refusal = none_of([each.lack for each in own], "has what the pictures need")
            if all(each.error is not None for each in own):
                raise refusal
            raise InputError(refusal.what, refusal.why, refusal.fix)
    return gaps


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
    for line in tell_left_out((each for each in warned if each.url not in unwell), len(servers)):
        note(f"warning: {line}")
    return unwell


class AbleServers:
    """The servers of a batch. `servers`: those that take part or may join; `left_out`: why those do not that may join, by URL.

    A server that can run only some of the graphs takes part, and gets only pictures of these. `can_run`, `can_repair` and `admit` may be
    called from any thread.
    """

    def __init__(
        self,
        reached: ReachedServers,
        graphs: Sequence[Graph],
        gaps: Mapping[str, ServerGaps],
        look: Look,
        note: Note,
        repair: Graph | None = None,
    ) -> None:
        """`gaps`: of those that cannot run all of `graphs`; `look` finds those that are not well. Raises where no server can take part."""
        self._graphs, self._repair, self._look = tuple(graphs), repair, look
        self._refuses: dict[str, frozenset[Needs]] = {}
        answering = reached.servers
        total = len(answering) + len(reached.absent)
        unable = {url: each.lack for url, each in gaps.items() if not each.can_run_any}
        unable |= look([server for server in answering if server.url not in unable])
        self.able = [server for server in answering if server.url not in unable]
        if not self.able:
            raise none_of(list(unable.values()), "can make the pictures")
        for line in tell_left_out(unable.values(), total):
            note(f"going on without {line}")
        partly = [gaps[server.url] for server in self.able if server.url in gaps]
        for line in tell_left_out((replace(each.lack, comes_back=False) for each in partly), total):
            note(f"makes only the pictures that it can: {line}")
        for each in partly:
            self._note_gaps(each)
        self.servers = [*self.able, *(server for server in answering if server.url in unable), *reached.absent]
        self.left_out = {each.url: each.why for each in (*unable.values(), *reached.why_absent)}
        self._repairing = self._find_repairing(total, note) if repair is not None else set[str]()

    def _note_gaps(self, gaps: ServerGaps) -> None:
        self._refuses[gaps.url] = frozenset(needs_of(graph) for place, graph in enumerate(self._graphs) if not gaps.can_run(place))

    def can_run(self, graph: Graph) -> Callable[[str], bool] | None:
        """Which servers can run a graph, by URL; None where all can that take part."""
        if len(self._graphs) < 2:
            return None
        needs = needs_of(graph)
        return lambda url: needs not in self._refuses.get(url, ())

    def _find_repairing(self, total: int, note: Note) -> set[str]:
        assert self._repair is not None
        unable = unable_to_repair(self.able, self._repair)
        if len(unable) == len(self.able):
            refusal = none_of(list(unable.values()), "that make the pictures can repair them")
            raise InputError("--repair-workflow", f"{refusal.what}: {refusal.why}", refusal.fix)
        for line in tell_left_out((replace(each, comes_back=False) for each in unable.values()), total):
            note(f"repairs go elsewhere: {line}")
        return {server.url for server in self.able if server.url not in unable}

    def equip(self, equipment: Equipment) -> Equipment:
        """The same equipment with these servers."""
        return replace(
            equipment,
            servers=self.servers,
            left_out=self.left_out,
            admit=self.admit,
            can_run=self.can_run,
            can_repair=self.can_repair,
            prepare=Spelling(),
        )

    def can_repair(self, url: str) -> bool:
        return url in self._repairing

    def admit(self, server: Backend) -> None:
        """Look at a server that came (back). Raises UnavailableError where it cannot take part (yet)."""
        gaps = find_gaps([server], self._graphs).get(server.url)
        found = {server.url: gaps.lack} if gaps is not None and not gaps.can_run_any else self._look([server])
        if found:
            raise next(iter(found.values())).error
        self._note_gaps(gaps or ServerGaps(server.url, ((),) * len(self._graphs)))
        if self._repair is not None and not unable_to_repair([server], self._repair):
            self._repairing.add(server.url)
