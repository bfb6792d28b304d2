"""What the servers of a batch cost, and who says so."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

from lifeos.errors import UnavailableError
from tools.backends.backend import Backend, Tariff
from tools.backends.registry import kind_of
from tools.cost.rates import find_rate
from tools.production.server_work import PricedServer

OWN, FLAG, POLICY, DEMO = "servers_file", "rate_flag", "policy", "demo"
SOURCES = {
    OWN: "as the file of --servers says",
    FLAG: "as --rate-per-hr says",
    POLICY: "taken from cost.rates_per_hr: say what it really costs in the file of --servers",
    DEMO: "the demo server costs nothing",
    "": "not recorded",
}
"""Who says a price: the word in the journal, and what reports make of it."""

COMFYUI, EMBEDDED = "ComfyUI", "embedded"


def price_servers(
    servers: Sequence[Backend], policy: Mapping[str, Any], *, notice: str | None, gpu: str | None = None, rate_per_hr: float | None = None
) -> tuple[PricedServer, ...]:
    """The servers with their prices. `notice`: what one that makes no real pictures says of itself; `gpu`, `rate_per_hr`: the flags.

    Raises InputError for a card that has no price.
    """
    if not servers:
        return ()
    rate, source = rate_per_hr, FLAG
    if rate is None:
        rates, source = policy["cost"]["rates_per_hr"], POLICY
        rate = float(rates[find_rate(rates, gpu or policy["cost"]["default_gpu"])])
    return tuple(_price(server, rate, source, is_demo=_is_demo(server, notice)) for server in servers)


def _is_demo(server: Backend, notice: str | None) -> bool:
    """Whether it makes no real pictures: one at the least says so where there is a notice."""
    if notice is None or kind_of(server) == EMBEDDED:
        return notice is not None
    with contextlib.suppress(UnavailableError):  # it may join later
        return server.info().notice is not None
    return False


def _price(server: Backend, rate: float, source: str, *, is_demo: bool) -> PricedServer:
    is_own = server.tariff(0.0) == server.tariff(1.0)
    if is_demo and not is_own and source == POLICY:
        rate, source = 0.0, DEMO
    kind = kind_of(server)
    if is_demo and kind == COMFYUI:  # the demo server behind a proxy, or a worker's, is of their kind
        kind = EMBEDDED
    return priced(server.url, kind, server.tariff(rate), OWN if is_own else source)


def priced(url: str, kind: str, tariff: Tariff, source: str) -> PricedServer:
    return PricedServer(url, kind, tariff.usd_per_hour, tariff.usd_per_work_second, tariff.usd_per_credit, source)


def tariff_of(server: PricedServer) -> Tariff:
    return Tariff(server.usd_per_hour, server.usd_per_second, server.usd_per_credit)


def mean_rate(prices: Sequence[PricedServer]) -> float:
    """Dollars per hour of one server, the mean of all."""
    return sum(price.usd_per_hour for price in prices) / len(prices) if prices else 0.0


def prices_of(servers: Sequence[Backend], rate_per_hr: float) -> tuple[PricedServer, ...]:
    """The prices of servers of which one rate is all that is known."""
    return tuple(priced(server.url, kind_of(server), server.tariff(rate_per_hr), FLAG) for server in servers)
