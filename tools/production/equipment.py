"""What a batch is run with: the scorer, the servers, the graphs, and what is told of a picture as it is approved."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from evals.judging.assessor import default_workers
from tools.backends.backend import Backend
from tools.backends.dispatch import Prepare
from tools.production.batch_spending import BatchSpending
from tools.production.intake import OnApproved, Scorer
from tools.production.plan import Item
from tools.production.repairing import WithPicture
from tools.production.server_work import PricedServer


@dataclass(frozen=True, slots=True)
class Equipment:
    """What a batch is run with, none of which changes what its pictures are.

    `make_graph(item)` is the graph as it is sent; not needed where nothing is generated. `rate_per_hr` is the price of one
    rented machine. `seconds_per_picture` serves estimates until pictures are measured.
    """

    scorer: Scorer
    policy: Mapping[str, Any]
    servers: Sequence[Backend] = ()
    make_graph: Callable[[Item], dict[str, Any]] | None = None
    rate_per_hr: float = 0.0
    prices: Sequence[PricedServer] = ()
    """What each server costs; empty: `rate_per_hr`, or what it says itself."""
    spending: BatchSpending | None = None
    """What is told to the cost log, and the budgets that are shared; None where nothing is paid."""
    workers: int = field(default_factory=default_workers)
    beat: Callable[[bool], None] = lambda moved: None
    """Called now and then while the batch runs: the heartbeat of the cost session. `moved`: a picture was made, scored or filed since."""
    on_approved: OnApproved = lambda name, index, sha256: None
    with_picture: WithPicture | None = None
    """Puts the picture that is repaired into the graph of its repair; None: nothing is repaired."""
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Why those of `servers` that do not take part from the beginning do not, by URL."""
    admit: Callable[[Backend], None] = lambda server: None
    """Looks at a server that comes (back). Raises UnavailableError where it cannot take part yet."""
    can_run: Callable[[dict[str, Any]], Callable[[str], bool] | None] = lambda graph: None
    """Which servers have what a graph needs, by URL; None where all have."""
    can_repair: Callable[[str], bool] = lambda url: True
    """Whether the server at a URL has what the graph of a repair needs."""
    prepare: Prepare | None = None
    """Makes a graph ready for the server that will run it."""

    @property
    def taking_part(self) -> list[Backend]:
        """The servers that take part from the beginning."""
        return [server for server in self.servers if server.url not in self.left_out]
