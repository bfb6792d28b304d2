"""What each server of a batch made and cost, with the estimate before the start beside the truth: the section `servers` of a report.

Money is that of the sessions (`server_work.Session`), server by server: it adds up to the report's `cost`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from lifeos.counting import counted, dollars, verb
from tools.backends.registry import kind_at
from tools.production.batch_state import BatchState
from tools.production.plan import Plan
from tools.production.results import BatchResults
from tools.production.server_prices import COMFYUI, DEMO, EMBEDDED, OWN, POLICY, SOURCES
from tools.production.server_work import SECONDS_PER_HOUR, PricedServer, ServerWork, Session

OTHERS = "not recorded"
"""Of what an older version charged without saying for which server."""


@dataclass(slots=True)
class ServerTruth:
    """What a server did and cost in all runs. `newest`: its prices in the last of them. Times are in seconds."""

    newest: PricedServer
    runs: int = 0
    pictures: int = 0
    approved: int = 0
    making: list[float] = field(default_factory=list)
    """Seconds of its pictures, as far as they are known."""
    failed: int = 0
    work: float = 0.0
    held: float = 0.0
    hourly_usd: float = 0.0
    charged_usd: float = 0.0
    unpriced: int = 0

    @property
    def usd(self) -> float | None:
        """None where it charges, and never said what."""
        return None if self.unpriced and not self.charged_usd else self.hourly_usd + self.charged_usd

    def worked(self, work: ServerWork) -> None:
        self.failed += work.failed
        self.work += work.seconds
        self.charged_usd += work.charged
        self.unpriced += work.unpriced


def find_truth(plan: Plan, results: BatchResults, state: BatchState) -> dict[str, ServerTruth]:
    """Each server by its name in the report: its address, but `embedded` where it is our own, whose address is another in each run, and
    that has no price of its own."""
    truths: dict[str, ServerTruth] = {}
    names: dict[str, str] = {}
    for session in state.sessions:
        for price in session.prices:
            known = _named(price, plan)
            name = names[price.server] = EMBEDDED if known.kind == EMBEDDED and known.price != OWN else price.server
            truth = truths.setdefault(name, ServerTruth(known))
            truth.newest, truth.runs = known, truth.runs + 1
            truth.hourly_usd += session.hourly(price.usd_per_hour, price.since)
            truth.held += session.held(price.since) if price.usd_per_hour else 0.0
        for server, work in session.works.items():
            _of(truths, names.get(server, server), plan).worked(work)
    made_on = {name: item.server for item in state.items.values() for name in item.files}
    for picture in results.pictures if plan.generates else ():
        server = made_on.get(picture.file) or (next(iter(truths)) if len(truths) == 1 else "")
        truth = _of(truths, names.get(server, server), plan)
        truth.pictures += 1
        truth.approved += picture.approved
        truth.making += [picture.seconds] if picture.seconds is not None else []
    return truths


def _named(price: PricedServer, plan: Plan) -> PricedServer:
    if price.kind:
        return price
    kind = kind_at(price.server)
    is_demo = plan.engine_notice is not None and not price.usd_per_hour
    return replace(price, kind=EMBEDDED if is_demo else kind, price=DEMO if is_demo else "")


def _of(truths: dict[str, ServerTruth], name: str, plan: Plan) -> ServerTruth:
    return truths.setdefault(name, ServerTruth(_named(PricedServer(name), plan) if name else PricedServer("", OTHERS)))


def servers_document(plan: Plan, results: BatchResults, state: BatchState) -> dict[str, Any] | None:
    """The section `servers` of a report; None where nothing is generated."""
    if not plan.generates or not state.sessions:
        return None
    truths = find_truth(plan, results, state)
    kinds: dict[str, list[ServerTruth]] = {}
    for truth in truths.values():
        kinds.setdefault(truth.newest.kind, []).append(truth)
    estimated = [session for session in state.sessions if _has_estimate(session)]
    return {
        "by_server": [{"server": name, **_truth_row([truth]), **_price_row(truth)} for name, truth in truths.items()],
        "by_kind": [{"kind": kind, **_truth_row(group), "estimate": _estimate_row(kind, estimated)} for kind, group in kinds.items()],
        "runs": len(state.sessions),
        "runs_with_estimate": len(estimated),
        "made_twice": asdict(state.made_twice),
        "refused": dict(sorted(state.refused.items())),
    }


def _has_estimate(session: Session) -> bool:
    return any(price.expected_pictures is not None for price in session.prices)


def _truth_row(truths: Sequence[ServerTruth]) -> dict[str, Any]:
    usd = None if any(truth.usd is None for truth in truths) else sum(truth.usd or 0.0 for truth in truths)
    approved = sum(truth.approved for truth in truths)
    making = [seconds for truth in truths for seconds in truth.making]
    return {
        "kind": truths[0].newest.kind,
        "servers": len(truths),
        "pictures": sum(truth.pictures for truth in truths),
        "approved": approved,
        "failed_tries": sum(truth.failed for truth in truths),
        "seconds_per_picture": round(sum(making) / len(making), 2) if making else None,
        "work_seconds": round(sum(truth.work for truth in truths), 1),
        "held_hours": round(sum(truth.held for truth in truths) / SECONDS_PER_HOUR, 4),
        "hourly_usd": round(sum(truth.hourly_usd for truth in truths), 4),
        "charged_usd": round(sum(truth.charged_usd for truth in truths), 4),
        "usd": None if usd is None else round(usd, 4),
        "usd_per_approved": round(usd / approved, 4) if usd is not None and approved else None,
        "unpriced": sum(truth.unpriced for truth in truths),
    }


def _price_row(truth: ServerTruth) -> dict[str, Any]:
    price = truth.newest
    names = ("usd_per_hour", "usd_per_second", "usd_per_credit")
    return {name: getattr(price, name) for name in names} | {"price_from": price.price or None}


def _estimate_row(kind: str, sessions: Sequence[Session]) -> dict[str, Any] | None:
    """What was expected of a kind for the pictures that were then made: of a run that was cut short the part that it came to.

    Each picture is so estimated in the run that made it, once, however many runs there were.
    """
    pictures = seconds = 0.0
    usd: float | None = 0.0
    found = False
    for session in sessions:
        expected = sum(price.expected_pictures or 0.0 for price in session.prices)
        share = min(1.0, session.made / expected) if expected else 0.0
        for price in session.prices:
            if price.kind == kind and price.expected_pictures is not None:
                found = True
                pictures += share * price.expected_pictures
                seconds += share * (price.expected_seconds or 0.0)
                is_known = price.expected_usd is not None or not share
                usd = None if usd is None or not is_known else usd + share * (price.expected_usd or 0.0)
    if not found:
        return None
    return {
        "pictures": round(pictures, 1),
        "seconds_per_picture": round(seconds / pictures, 2) if pictures else None,
        "usd": None if usd is None else round(usd, 4),
    }


KIND_HEADS = ("kind of server", "pictures", "approved", "seconds a picture", "cost", "per approved picture", "estimated before the start")
SERVER_HEADS = ("server", "kind", "pictures", "approved", "failed tries", "seconds a picture", "held", "cost", "per approved picture")


def kind_rows(document: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """The kinds of servers as cells under `KIND_HEADS`."""
    found = document.get("servers")
    return [(row["kind"], *_cells(row), _estimate_cell(row["estimate"])) for row in found["by_kind"]] if found else []


def server_rows(document: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """The servers as cells under `SERVER_HEADS`."""
    found = document.get("servers")
    if not found:
        return []
    rows = []
    for row in found["by_server"]:
        pictures, approved, seconds, *money = _cells(row)
        held = f"{row['held_hours']:.2f} h" if row["held_hours"] else "–"
        name = row["server"] or OTHERS
        rows.append((name, row["kind"], pictures, approved, str(row["failed_tries"]), seconds, held, *money))
    return rows


def server_tables(document: Mapping[str, Any]) -> list[tuple[tuple[str, ...], list[tuple[str, ...]]]]:
    """Heads and rows of what a report shows: the kinds, and the servers where there are several."""
    servers = server_rows(document)
    return [(KIND_HEADS, kind_rows(document)), (SERVER_HEADS, servers if len(servers) > 1 else [])]


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    seconds = "–" if row["seconds_per_picture"] is None else f"{row['seconds_per_picture']:.1f}"
    return str(row["pictures"]), str(row["approved"]), seconds, _usd(row["usd"]), _each(row)


def _usd(value: float | None) -> str:
    return "not known" if value is None else dollars(value)


def _each(row: Mapping[str, Any]) -> str:
    return "not known" if row["usd"] is None else "none yet" if row["usd_per_approved"] is None else f"${row['usd_per_approved']:.4f}"


def _estimate_cell(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return "not recorded"
    pace = "" if found["seconds_per_picture"] is None else f", {found['seconds_per_picture']:.1f} s each"
    return f"{counted(round(found['pictures']), 'picture')}{pace}, {_usd(found['usd'])}"


def cost_notes(document: Mapping[str, Any]) -> list[str]:
    """What to know about the numbers: prices that nobody stated, charges that were not told, runs without an estimate."""
    found = document.get("servers")
    if not found:
        return []
    notes = []
    twice = found["made_twice"]
    if twice["pictures"]:
        made = f"{counted(twice['pictures'], 'picture')} {verb(twice['pictures'], 'was', 'were')} made twice at the end"
        notes.append(f"{made}: {twice['seconds']:.0f} s for nothing, {_usd(twice['usd'])}. The first answer counted.")
    for server, count in found["refused"].items():
        notes.append(f"{server} refused {counted(count, 'picture')}; another server made {verb(count, 'it', 'them')}.")
    for row in found["by_server"]:
        if row["usd"] is None:
            notes.append(f"{row['server']} did not say what it charged: its cost is not known, and not in the total.")
        elif row["unpriced"]:
            notes.append(
                f"{row['server']} did not say what it charged for {counted(row['unpriced'], 'try')}: counted as its other pictures."
            )
        if row["price_from"] is None and not row["usd"]:
            notes.append(f"The price of {row['server'] or OTHERS} is not recorded: it is counted as 0.")
    guessed = sorted({row["kind"] for row in found["by_server"] if row["price_from"] == POLICY and row["kind"] != COMFYUI})
    if guessed:
        notes.append(f"The price of {', '.join(guessed)} is {SOURCES[POLICY]}.")
    missing = found["runs"] - found["runs_with_estimate"]
    if missing:
        notes.append(f"{counted(missing, 'run')} of {found['runs']} {verb(missing, 'has', 'have')} no estimate: begun by an older version.")
    return notes


def by_kind_line(document: Mapping[str, Any]) -> str:
    """One line for the terminal: the cost of an approved picture by kind of server, and the estimate. Empty where nothing is paid."""
    found = document.get("servers")
    rows = [row for row in found["by_kind"] if row["usd"] is None or row["usd"]] if found else []
    parts = []
    for row in rows:
        if row["usd"] is None:
            parts.append(f"{row['kind']}: cost not known")
            continue
        estimate = row["estimate"]
        told = f" (estimated {_usd(estimate['usd'])})" if estimate is not None and estimate["usd"] is not None else ""
        parts.append(f"{row['kind']} {_usd(row['usd'])}{told}, {_each(row)} per approved picture")
    return "; ".join(parts)
