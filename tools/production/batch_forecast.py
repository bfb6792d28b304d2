"""What is still to be made of a batch, which server does how much of it, and what that costs: told and recorded before the start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from tools.backends.backend import Backend
from tools.production.batch_state import BatchState
from tools.production.budget import BatchEstimate, Limits, ServerPace, estimate
from tools.production.plan import Plan
from tools.production.repair_numbers import is_repair
from tools.production.server_prices import EMBEDDED, tariff_of
from tools.production.server_work import PricedServer, Session


def pictures_left(plan: Plan, state: BatchState, limits: Limits) -> int:
    """Pictures that are still to be made; for a target at least as many as are still to be approved. Repairs are not among them."""
    if not plan.generates:
        return 0
    made = sum(item.is_made for index, item in state.items.items() if not is_repair(index))
    goal = plan.target_approved
    left = plan.planned - made if goal is None else goal - sum(state.approves(name) for name in state.verdicts)
    if limits.max_images is not None:
        left = min(left, limits.max_images - made)
    return max(0, left)


def find_paces(
    prices: Sequence[PricedServer], seconds_per_picture: float, servers: Sequence[Backend] = (), sessions: Sequence[Session] = ()
) -> dict[str, ServerPace]:
    """How fast each server is and what it costs, by its address: as earlier runs of the batch measured it, else by the policy."""
    at_once = {server.url: max(1, server.depth(0)) for server in servers}
    paces = {}
    for price in prices:
        pace = ServerPace(tariff_of(price), seconds_per_picture, at_once.get(price.server, 1))
        pace.learn([session.works[name] for session in sessions for name in _names_in(session, price) if name in session.works])
        paces[price.server] = pace
    return paces


def _names_in(session: Session, price: PricedServer) -> set[str]:
    """The addresses of a server in an earlier run: the embedded one has another in each."""
    alike = {each.server for each in session.prices if each.kind == price.kind == EMBEDDED}
    return {price.server, *alike}


def with_forecast(prices: Sequence[PricedServer], need: BatchEstimate) -> tuple[PricedServer, ...]:
    """The servers with what is expected of each."""
    shares = {share.server: share for share in need.shares}
    return tuple(
        replace(
            price,
            expected_pictures=round(shares[price.server].pictures, 2),
            expected_seconds=round(shares[price.server].seconds, 1),
            expected_usd=usd if (usd := shares[price.server].usd) is None else round(usd, 6),
        )
        if price.server in shares
        else price
        for price in prices
    )


def forecast(plan: Plan, state: BatchState, limits: Limits, paces: Mapping[str, ServerPace]) -> BatchEstimate:
    """Time and money for what is still to be made."""
    return estimate(pictures_left(plan, state, limits), paces)


def wanted_usd(need: BatchEstimate, state: BatchState, limits: Limits) -> float:
    """Dollars that a run may spend at the most: what is estimated, and no more than `max_cost` leaves."""
    left = float("inf") if limits.max_cost is None else max(0.0, limits.max_cost - sum(session.usd for session in state.sessions))
    return min(need.usd, left)
