"""Three kinds of servers at once, and ways in which one of them is lost: an embedded server, the official proxy of Comfy API v2 before
another, and the stand-in of a RunPod endpoint before a third."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from PIL import Image

from tests.tools.backends.api_proxy import TOKEN, api_proxy
from tools import production_pipeline
from tools.stand_in import start_embedded_server
from tools.stand_in.server import EmbeddedServer
from tools.stand_in.serverless_endpoint import ServerlessEndpoint

KEY = "rpa_STANDINKEY0042"
SECRETS = (TOKEN, KEY)
WATCH_SECONDS = 0.01


@dataclass(frozen=True)
class ThreeKinds:
    """`file` is for --servers: the proxy with its token's file, the endpoint, and the embedded server by its address."""

    plain: EmbeddedServer
    behind_proxy: EmbeddedServer
    endpoint: ServerlessEndpoint
    proxy_url: str
    file: Path
    stop_proxy: Callable[[], None]

    def urls(self) -> set[str]:
        return {self.plain.url, self.proxy_url, self.endpoint.url}


@contextlib.contextmanager
def three_kinds(root: Path, seconds_per_picture: float = 0.1) -> Iterator[ThreeKinds]:
    """All three, with RUNPOD_API_KEY in the environment."""
    token = root / "token"
    token.write_text(f"{TOKEN}\n", "utf-8")
    token.chmod(0o600)
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.dict(os.environ, {"RUNPOD_API_KEY": KEY}))
        plain, behind, worker = (stack.enter_context(start_embedded_server(seconds_per_picture=seconds_per_picture)) for _ in range(3))
        endpoint = stack.enter_context(ServerlessEndpoint(worker.url, KEY))
        proxy = stack.enter_context(contextlib.ExitStack())
        proxy_url = f"comfy+{proxy.enter_context(api_proxy(behind.url, root, TOKEN))}"
        file = root / "servers.yaml"
        rows = [f"- url: {plain.url}", f"- url: {proxy_url}", "  token_file: token", f"- url: {endpoint.url}", "  usd_per_second: 0.0003"]
        file.write_text("\n".join(["servers:", *rows, ""]), "utf-8")
        yield ThreeKinds(plain, behind, endpoint, proxy_url, file, proxy.close)


def stop_the_proxy(servers: ThreeKinds) -> None:
    servers.stop_proxy()


def kill_the_server_behind_the_proxy(servers: ThreeKinds) -> None:
    servers.behind_proxy.kill()


def kill_the_embedded_server(servers: ThreeKinds) -> None:
    servers.plain.kill()


def refuse_the_key(servers: ThreeKinds) -> None:
    servers.endpoint.faults.answers_all_with = 401


def break_the_endpoint(servers: ThreeKinds) -> None:
    servers.endpoint.faults.answers_all_with = 500


def fail_every_job(servers: ThreeKinds) -> None:
    servers.endpoint.faults.ends = ["FAILED"] * 1000


def change_the_worker(servers: ThreeKinds) -> None:
    servers.endpoint.faults.ends = ["other worker"] * 1000


def take_the_lora_away(servers: ThreeKinds) -> None:
    servers.behind_proxy._models["loras"].clear()


Loss = Callable[[ThreeKinds], None]
LOSSES: Mapping[str, tuple[Loss, Callable[[ThreeKinds], int]]] = {
    "proxy stopped": (stop_the_proxy, lambda servers: servers.behind_proxy.counters["accepted"]),
    "server behind the proxy killed": (kill_the_server_behind_the_proxy, lambda servers: servers.behind_proxy.counters["accepted"]),
    "embedded server killed": (kill_the_embedded_server, lambda servers: servers.plain.counters["accepted"]),
    "key refused": (refuse_the_key, lambda servers: len(servers.endpoint.jobs)),
    "endpoint answers 500": (break_the_endpoint, lambda servers: len(servers.endpoint.jobs)),
    "another worker image": (change_the_worker, lambda servers: len(servers.endpoint.jobs)),
    "LoRA taken away": (take_the_lora_away, lambda servers: servers.behind_proxy.counters["accepted"]),
    "every job fails": (fail_every_job, lambda servers: len(servers.endpoint.jobs)),
}
"""What is done to a server, and how many jobs it has had."""


@contextlib.contextmanager
def losing(servers: ThreeKinds, loss: str, after_jobs: int) -> Iterator[threading.Event]:
    """Within it a server is lost as soon as it has had so many jobs; the event tells that it was."""
    lose, jobs_of = LOSSES[loss]
    ended, lost = threading.Event(), threading.Event()

    def watch() -> None:
        while not ended.wait(WATCH_SECONDS):
            if jobs_of(servers) >= after_jobs:
                lose(servers)
                lost.set()
                return

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield lost
    finally:
        ended.set()
        thread.join()


def make_batch(root: Path, name: str, count: int, *flags: str) -> tuple[int, Path]:
    """A batch of the built-in prompts in `root`/`name`, judged by `root`/references: its exit code and folder."""
    out = root / name
    more = ["--reference-dir", root / "references", "--engine", "dlib", "--history-file", root / f"{name}.jsonl", "--outage-sec", "1"]
    more += ["--project-root", root]  # for the cost log
    more += ["--checkpoint", "embedded_demo_sdxl.safetensors", "--lora", "amiranoor_v3.safetensors", "--prompt", "amiranoor"]
    more += ["--width", 320, "--height", 320, "--base-seed", 7, "--count", count, "--output-dir", out, "--json"]
    return production_pipeline.main([*flags, *(str(each) for each in more)]), out


def judged_pictures(folder: Path) -> dict[str, tuple[str, str]]:
    """By name: approved or rejected, and the hash of the pixels."""
    files = [file for verdict in ("approved", "rejected") for file in (folder / verdict).glob("*.png")]
    return {file.name: (file.parent.name, hashlib.sha256(Image.open(file).tobytes()).hexdigest()) for file in files}


def records_of(folder: Path, event: str) -> list[dict[str, object]]:
    lines = (folder / "journal.jsonl").read_text("utf-8").splitlines()
    return [record for record in map(json.loads, lines) if record["event"] == event]


def files_with_secrets(root: Path) -> list[str]:
    """The files below `root` that hold a token, but for the one that the user wrote it into."""
    files = [path for path in root.rglob("*") if path.is_file() and path.name != "token"]
    return [path.name for path in files if any(secret.encode() in path.read_bytes() for secret in SECRETS)]
