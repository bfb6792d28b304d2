"""What each server of a batch cost: a journal written by hand, with what must come out of it worked out beside."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from lifeos.policy.defaults import DEFAULTS
from tests.tools.production.scenes import finish, make_assessment, make_plan
from tools.backends.backend import Backend, ServerInfo, Tariff
from tools.production.batch_state import BatchState
from tools.production.filing import BatchFolder
from tools.production.item_state import ItemState
from tools.production.plan import RepairPlan
from tools.production.repair_numbers import repair_number
from tools.production.repair_report import repair_document
from tools.production.results import BatchResults
from tools.production.server_costs import cost_notes
from tools.production.server_prices import price_servers
from tools.production.server_work import PricedServer, Session

POD, ENDPOINT, CLOUD = "http://pod:8188", "runpod://abc", "comfy+https://cloud"
PRICES = (
    PricedServer(POD, "ComfyUI", usd_per_hour=0.6, price="policy", expected_pictures=3, expected_seconds=24, expected_usd=0.02),
    PricedServer(ENDPOINT, "RunPod serverless", usd_per_second=0.001, price="servers_file", expected_pictures=3, expected_seconds=24,
                 expected_usd=0.024),
)  # fmt: skip


class Story:
    """A journal; `after` so many minutes a record follows."""

    def __init__(self, root: Path) -> None:
        self.folder = BatchFolder(root / "batch")
        self.folder.prepare()
        self.minutes = 0

    def tell(self, event: str, *, after: int = 0, **fields: Any) -> None:
        self.minutes += after
        time = f"2026-11-20T{10 + self.minutes // 60:02d}:{self.minutes % 60:02d}:00.000Z"
        with open(self.folder.root / "journal.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps({"time": time, "event": event, **fields}) + "\n")

    @property
    def markdown(self) -> str:
        return (self.folder.root / "batch_report.md").read_text(encoding="utf-8").replace("\\", "")

    def start(self, *prices: PricedServer, after: int = 0) -> None:
        hourly = sum(price.usd_per_hour for price in prices) / len(prices)
        servers = [price.server for price in prices]
        self.tell("started", after=after, servers=servers, rate_per_hr=hourly, prices=[asdict(price) for price in prices])

    def make(self, number: int, server: str, *, seconds: float, usd: float = 0.0, approved: bool = True, **charge: Any) -> None:
        name, place = f"{number:04d}_p001_v01_seed{number}_x.png", "approved" if approved else "rejected"
        (self.folder.root / place / name).write_bytes(b"x")
        prompt = {"prompt_id": f"p{number}", "server": server}
        self.tell("submitted", item=number, **prompt)
        self.tell("charged", item=number, usd=usd, outcome="done", seconds=seconds, **prompt, **charge)
        self.tell("downloaded", item=number, files=[{"file": name}], seconds=seconds, **prompt)
        assessment = make_assessment(name, 0.9 if approved else 0.5, sha256=f"{number:064x}").to_json()
        self.tell("scored", item=number, file=name, approved=approved, reasons=[] if approved else ["no"], assessment=assessment)
        self.tell("filed", item=number, file=name, place=place)


@pytest.fixture
def story(tmp_path: Path) -> Story:
    return Story(tmp_path)


def rows(document: dict[str, Any], by: str = "by_kind") -> dict[str, dict[str, Any]]:
    return {row["server" if by == "by_server" else "kind"]: row for row in document["servers"][by]}


def test_the_cost_of_an_approved_picture_by_server_over_a_kill(story: Story) -> None:
    """Run 1: an hour of a pod at 0.60, killed after 3 of 6 pictures; run 2: half an hour, the other three."""
    plan = make_plan(prompts=("a", "b", "c"))
    story.start(*PRICES)
    story.make(1, POD, seconds=6.0)
    story.make(2, ENDPOINT, seconds=10.0, usd=0.01)
    story.tell("charged", usd=0.004, outcome="failed", seconds=4.0, server=ENDPOINT, prompt_id="x")
    story.make(3, POD, seconds=8.0, approved=False)
    story.tell("submitted", after=60, item=4, prompt_id="p4", server=POD)  # killed here, and continued five hours later
    half = [replace(price, expected_pictures=1.5, expected_seconds=12, expected_usd=0.009) for price in PRICES]
    story.start(*half, after=300)
    story.make(4, POD, seconds=7.0)
    story.make(5, ENDPOINT, seconds=12.0, usd=0.012)
    story.make(6, ENDPOINT, seconds=11.0, usd=0.011)
    story.tell("ended", after=30, why="complete")
    document = finish(plan, story.folder)
    kinds = rows(document)
    pod, endpoint = kinds["ComfyUI"], kinds["RunPod serverless"]
    assert (pod["pictures"], pod["approved"], pod["held_hours"]) == (3, 2, 1.5)
    assert (pod["usd"], pod["usd_per_approved"], pod["seconds_per_picture"]) == (0.9, 0.45, 7.0)  # 1.5 h x 0.60
    assert (endpoint["usd"], endpoint["usd_per_approved"], endpoint["failed_tries"]) == (0.037, 0.0123, 1)  # 10 + 4 + 12 + 11 s
    assert pod["usd"] + endpoint["usd"] == pytest.approx(document["cost"]["usd"])
    assert document["cost"]["charged_usd"] == 0.037
    # half of the first estimate, as it made 3 of 6, and the whole second one
    assert pod["estimate"] == {"pictures": 3.0, "seconds_per_picture": 8.0, "usd": 0.019}
    assert endpoint["estimate"] == {"pictures": 3.0, "seconds_per_picture": 8.0, "usd": 0.021}
    told = story.markdown
    assert "| RunPod serverless | 3 | 3 | 11.0 | $0.04 | $0.0123 | 3 pictures, 8.0 s each, $0.02 |" in told
    assert "| http://pod:8188 | ComfyUI | 3 | 2 | 0 | 7.0 | 1.50 h | $0.90 | $0.4500 |" in told
    assert "$0.0123" in (story.folder.root / "batch_report.html").read_text(encoding="utf-8")
    assert "; $0.94 ($0.90 by the hour, $0.04 by the picture), $0.1874 per approved picture" in told


def test_what_a_server_does_not_say_is_never_free(story: Story) -> None:
    story.start(PricedServer(CLOUD, "Comfy API v2", usd_per_credit=0.01, price="servers_file", expected_pictures=1))
    story.make(1, CLOUD, seconds=6.0, unpriced=True)
    story.tell("ended", after=60, why="incomplete")
    document = finish(make_plan(), story.folder, why="incomplete")
    row = rows(document)["Comfy API v2"]
    assert (row["usd"], row["usd_per_approved"], row["estimate"]["usd"]) == (None, None, None)
    assert cost_notes(document) == [f"{CLOUD} did not say what it charged: its cost is not known, and not in the total."]
    assert "| Comfy API v2 | 1 | 1 | 6.0 | not known | not known |" in story.markdown


def test_a_batch_of_before_has_servers_and_no_estimate(story: Story) -> None:
    """Version 3.0 wrote neither prices nor what a server did; the embedded server has another port in each run."""
    for port in (1, 2):
        server = f"http://127.0.0.1:{port}"
        story.tell("started", servers=[server], rate_per_hr=0.0)
        story.tell("submitted", item=port, prompt_id=f"p{port}", server=server)
        name = f"{port:04d}_p001_v01_seed{port}_x.png"
        (story.folder.root / "approved" / name).write_bytes(b"x")
        story.tell("downloaded", item=port, files=[{"file": name}], seconds=3.0, prompt_id=f"p{port}")
        assessment = make_assessment(name, 0.9, sha256=f"{port:064x}").to_json()
        story.tell("scored", item=port, file=name, approved=True, reasons=[], assessment=assessment)
        story.tell("filed", item=port, file=name, place="approved")
    document = finish(make_plan(engine_notice="demo"), story.folder, why="interrupted")
    (server_row,) = document["servers"]["by_server"]
    assert (server_row["server"], server_row["pictures"], server_row["usd"], server_row["price_from"]) == ("embedded", 2, 0.0, "demo")
    assert rows(document)["embedded"]["estimate"] is None
    assert cost_notes(document) == ["2 runs of 2 have no estimate: begun by an older version."]
    document = finish(make_plan(), story.folder, why="interrupted")
    assert [row["usd"] for row in document["servers"]["by_server"]] == [0.0, 0.0]
    assert "The price of http://127.0.0.1:1 is not recorded: it is counted as 0." in cost_notes(document)


@dataclass(frozen=True)
class DemoServer:
    """A server that makes demo pictures, with a price of its own or without one."""

    url: str
    own: Tariff | None = None

    def tariff(self, usd_per_hour: float) -> Tariff:
        return self.own or Tariff(usd_per_hour)

    def info(self) -> ServerInfo:
        return ServerInfo(self.url, "0.33.0", "CPU", notice="a demo")


def test_demo_servers_keep_their_kinds_and_prices_apart(story: Story) -> None:
    free, rented = DemoServer("http://127.0.0.1:41001"), DemoServer("http://127.0.0.1:41002", Tariff(0.6))
    worker = DemoServer("runpod+http://127.0.0.1:41003/demo", Tariff(usd_per_work_second=0.001))
    prices = price_servers(cast("list[Backend]", [free, rented, worker]), DEFAULTS, notice="a demo")
    assert [price.kind for price in prices] == ["embedded", "embedded", "RunPod serverless"]
    story.start(*prices)
    for number, price in enumerate(prices, 1):
        story.make(number, price.server, seconds=8, usd=0.008 if price.usd_per_second else 0.0)
    story.tell("ended", why="complete", after=60)
    found = rows(finish(make_plan(count=3), story.folder), "by_server")
    assert {name: row["usd"] for name, row in found.items()} == {"embedded": 0.0, rented.url: 0.6, worker.url: 0.008}


def test_a_repair_costs_what_its_own_server_does() -> None:
    """36 s on a pod of 1.00 an hour and as long on one of 3.00; the endpoint charged 0.02."""
    state = BatchState(sessions=[Session("", "", 3, 1.33, prices=(PricedServer("a", usd_per_hour=1), PricedServer("b", usd_per_hour=3)))])
    for number, (server, charged) in enumerate([("a", 0.0), ("b", 0.0), ("c", 0.02)], 1):
        state.items[repair_number(number, 1)] = ItemState(server=server, seconds=36.0, charged=charged)
    state.sessions.append(replace(state.sessions[0], prices=(PricedServer("c", usd_per_second=0.001),)))
    plan = make_plan(repair=RepairPlan("repair.json", {}, "1", "image"))
    results = cast("BatchResults", SimpleNamespace(own=(), pictures=(), failed_repairs=()))
    found = repair_document(plan, results, state, {"rate_per_hr": 100.0, "usd": 1.0})
    assert found is not None and found["usd"] == pytest.approx(0.01 + 0.03 + 0.02)
