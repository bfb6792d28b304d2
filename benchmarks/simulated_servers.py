"""Many simulated ComfyUI servers in one process, for benchmarks of what drives them: real HTTP and WebSocket, no picture is computed.

Each server has a port and a pace of its own, takes its prompts one after the other, and hands out small PNG files that differ by seed.
It answers what a client of ours asks a ComfyUI, and misbehaves where it is told to (`TROUBLES`, and once gone and back). Prints one
line of JSON, the addresses of the servers and of the record of what they did; ends when its standard input does.

    python benchmarks/simulated_servers.py --servers 50 --fastest 0.5 --slowest 7.5 --trouble 0.05

Exit codes: 0 ended by its input · 2 bad usage.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import random
import socket
import sys
import time
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

if not __package__:  # run as a file: import from the repository root, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from aiohttp import WSMsgType, web

from benchmarks.seeded_pictures import make_picture
from lifeos import cli
from lifeos.errors import EXIT_OK
from tools.stand_in.dialects import DIALECTS, NEWEST
from tools.stand_in.node_class import object_info
from tools.stand_in.node_classes import NODE_CLASSES
from tools.stand_in.server import DEFAULT_MODELS, MODEL_FOLDERS

HOST = "127.0.0.1"
LONGEST_BODY = 1 << 20
MOST_QUEUED = 200
MOST_HISTORY = 2_000
STEPS = 20
"""Of a picture. A server tells each twice (`progress`, `progress_state`), as ComfyUI does."""
DIALECT = DIALECTS[NEWEST]

TROUBLES = (
    "failed", "interrupted", "lost reply", "busy", "unavailable", "cut socket", "foreign answer", "cut picture", "no picture", "forgotten",
)  # fmt: skip
"""What happens to a prompt in turn, where one is struck: it fails, is stopped by somebody, its answer is lost, the server says 429,
then 503; the WebSocket is cut; history and socket tell of somebody else's prompt; the picture is cut off on the way, is not there;
the server forgets the prompt."""

SHOWN = ("display_node_id", "parent_node_id", "real_node_id")


@dataclass(slots=True)
class Prompt:
    """One prompt on a server. Times are those of `time.monotonic()`."""

    prompt_id: str
    number: int
    graph: dict[str, Any]
    client: str
    arrived: float
    trouble: str = ""
    ended: bool = False

    @property
    def seed(self) -> int:
        seeds = (node["inputs"].get("seed", node["inputs"].get("noise_seed")) for node in self.graph.values())
        return next(int(seed) for seed in seeds if isinstance(seed, int))

    @property
    def saver(self) -> str:
        return next(name for name, node in self.graph.items() if node["class_type"] == "SaveImage")

    @property
    def listed(self) -> list[Any]:
        return [self.number, self.prompt_id, self.graph, {"client_id": self.client}, [self.saver]]


@dataclass(slots=True)
class Record:
    """What one server did, for the benchmark: when it could work, and each picture that it made."""

    url: str
    seconds: float
    made: list[tuple[int, str, float]] = field(default_factory=list)
    """Seed, prompt id, and when it was made."""
    struck: dict[str, int] = field(default_factory=dict)
    away: list[tuple[float, float]] = field(default_factory=list)
    first: float | None = None
    """When the first prompt came."""


class SimulatedServer:
    """One pretended ComfyUI. `seconds` is what a picture takes it, `trouble` the share of the prompts that are struck."""

    def __init__(self, seconds: float, trouble: float, chance: random.Random) -> None:
        self.seconds, self._trouble, self._chance = seconds, trouble, chance
        self._next_trouble = chance.randrange(len(TROUBLES))
        self._port = 0
        self._number = 0
        self._free_at = 0.0
        self._queue: deque[Prompt] = deque()
        self._running: Prompt | None = None
        self._cancelled = False
        self._history: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._sockets: dict[str, tuple[web.WebSocketResponse, web.Request]] = {}
        self._spoilt: dict[str, str] = {}
        """The trouble that the next answer about a prompt (by its id) or a picture (by its name) has."""
        self._more = asyncio.Event()
        self._worker: asyncio.Task[None] | None = None
        self._runner: web.AppRunner | None = None
        self.record = Record("", seconds)

    # Its life

    async def open(self) -> None:
        listener = socket.create_server((HOST, self._port), backlog=256)
        self._port = listener.getsockname()[1]
        self.record.url = f"http://{HOST}:{self._port}"
        application = web.Application(client_max_size=LONGEST_BODY)
        application.add_routes([
            web.get("/ws", self.websocket), web.get("/system_stats", self.stats), web.get("/view", self.view),
            web.post("/prompt", self.post_prompt), web.get("/history/{id}", self.history), web.get("/queue", self.queue),
            web.post("/queue", self.post_queue), web.post("/api/jobs/cancel", self.cancel), web.post("/interrupt", self.interrupt),
            web.post("/free", self.free), web.get("/models", self.models), web.get("/models/{folder}", self.model_folder),
            web.get("/object_info", self.nodes), web.get("/object_info/{id}", self.nodes),
        ])  # fmt: skip
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1, handler_cancellation=False)
        await self._runner.setup()
        await web.SockSite(self._runner, listener).start()
        self._worker = asyncio.create_task(self._work())

    async def close(self) -> None:
        """As when its process is killed: connections are cut, queue and history are gone."""
        if self._worker is not None:
            self._worker.cancel()
        for client in list(self._sockets):
            self._cut(client)
        if self._runner is not None:
            await self._runner.cleanup()
        self._queue.clear()
        self._history.clear()
        self._running, self._free_at = None, 0.0

    async def vanish(self, seconds: float) -> None:
        """Be gone for a while, and come back on the same port."""
        began = time.monotonic()
        await self.close()
        await asyncio.sleep(seconds)
        await self.open()
        self.record.away.append((began, time.monotonic()))

    async def _work(self) -> None:
        """One prompt after the other. The next begins when the one before should have ended, however late this process comes to it."""
        while True:
            while not self._queue:
                self._more.clear()
                await self._more.wait()
            prompt = self._running = self._queue.popleft()
            self._cancelled = False
            begun = max(self._free_at, prompt.arrived)
            await self._tell(prompt, "execution_start", timestamp=int(time.time() * 1000))
            for step in range(1, STEPS + 1):
                await asyncio.sleep(begun + self.seconds * step / STEPS - time.monotonic())
                if self._cancelled:
                    break
                state = {"value": step, "max": STEPS, "state": "running", "node_id": prompt.saver, "prompt_id": prompt.prompt_id}
                await self._tell(prompt, "progress_state", nodes={prompt.saver: state | dict.fromkeys(SHOWN, prompt.saver)})
                await self._tell(prompt, "progress", value=step, max=STEPS, node=prompt.saver)
            self._free_at = time.monotonic() if self._cancelled else begun + self.seconds
            await self._finish(prompt, begun)
            self._running = None

    async def _finish(self, prompt: Prompt, begun: float) -> None:
        kind, error = "execution_success", {}
        if prompt.trouble == "failed":
            error = {"node_id": "3", "node_type": "KSampler", "exception_type": "ConnectionError", "exception_message": "connection reset"}
            kind = "execution_error"
        elif prompt.trouble == "interrupted" or self._cancelled:
            kind = "execution_interrupted"
        if prompt.trouble == "cut socket":
            self._cut(prompt.client)
        if prompt.trouble == "foreign answer":
            await self._tell(prompt, "execution_success", prompt_id="somebody-elses-prompt")
        await self._tell(prompt, kind, **error)
        if prompt.trouble == "forgotten":
            return
        stamps = [{"timestamp": int(moment * 1000)} for moment in (begun, begun + self.seconds)]
        messages = [["execution_start", stamps[0]], [kind, stamps[1] | error]]
        outputs: dict[str, Any] = {}
        if kind == "execution_success":
            name = f"{prompt.prompt_id}_{prompt.seed}.png"
            outputs = {prompt.saver: {"images": [{"filename": name, "subfolder": "", "type": "output"}]}}
            self.record.made.append((prompt.seed, prompt.prompt_id, self._free_at))
            if prompt.trouble in ("cut picture", "no picture"):
                self._spoilt[name] = prompt.trouble
            elif prompt.trouble in ("unavailable", "foreign answer"):
                self._spoilt[prompt.prompt_id] = prompt.trouble
        status = {"status_str": "success" if outputs else "error", "completed": bool(outputs), "messages": messages}
        self._history[prompt.prompt_id] = {"prompt": prompt.listed, "outputs": outputs, "status": status, "meta": {}}
        if len(self._history) > MOST_HISTORY:
            self._history.popitem(last=False)
        await self._tell(prompt, "status", status={"exec_info": {"queue_remaining": len(self._queue)}})

    # Its messages

    async def _tell(self, prompt: Prompt, kind: str, **data: Any) -> None:
        known = self._sockets.get(prompt.client)
        if known is not None:
            with contextlib.suppress(ConnectionError, RuntimeError):
                await known[0].send_str(json.dumps({"type": kind, "data": {"prompt_id": prompt.prompt_id, **data}}))

    def _cut(self, client: str) -> None:
        _, request = self._sockets.pop(client, (None, None))
        if request is not None and request.transport is not None:
            request.transport.abort()

    async def websocket(self, request: web.Request) -> web.WebSocketResponse:
        client = request.query.get("clientId", "")
        answer = web.WebSocketResponse(max_msg_size=LONGEST_BODY)
        await answer.prepare(request)
        mine = self._sockets[client] = (answer, request)
        with contextlib.suppress(ConnectionError, RuntimeError):
            await answer.send_str(json.dumps({"type": "status", "data": {"status": {"exec_info": {"queue_remaining": len(self._queue)}}}}))
            async for message in answer:
                if message.type is WSMsgType.ERROR:
                    break
        if self._sockets.get(client) is mine:
            del self._sockets[client]
        return answer

    # Its routes

    def _strike(self) -> str:
        """The trouble of the next prompt; most have none."""
        if self._chance.random() >= self._trouble:
            return ""
        self._next_trouble += 1
        trouble = TROUBLES[self._next_trouble % len(TROUBLES)]
        self.record.struck[trouble] = self.record.struck.get(trouble, 0) + 1
        return trouble

    async def post_prompt(self, request: web.Request) -> web.StreamResponse:
        document = await request.json()
        trouble = self._strike()
        now = time.monotonic()
        self.record.first = self.record.first or now
        if trouble == "busy" or len(self._queue) >= MOST_QUEUED:
            return web.json_response({"error": "too many requests"}, status=429, headers={"Retry-After": "1"})
        prompt = Prompt(document["prompt_id"], self._number, document["prompt"], document.get("client_id", ""), now, trouble)
        self._number += 1
        self._queue.append(prompt)
        self._more.set()
        if trouble == "lost reply" and request.transport is not None:
            request.transport.abort()
        return web.json_response({"prompt_id": prompt.prompt_id, "number": prompt.number, "node_errors": {}})

    async def history(self, request: web.Request) -> web.Response:
        prompt_id = request.match_info["id"]
        entry = self._history.get(prompt_id)
        trouble = self._spoilt.pop(prompt_id, "") if entry is not None else ""
        if trouble == "unavailable":
            return web.Response(status=503)
        return web.json_response({"somebody-elses-prompt" if trouble else prompt_id: entry} if entry is not None else {})

    async def view(self, request: web.Request) -> web.StreamResponse:
        name = request.query.get("filename", "")
        spoilt = self._spoilt.pop(name, "")
        if spoilt == "no picture":
            return web.Response(status=404)
        data = make_picture(int(name.rpartition("_")[2].removesuffix(".png")))
        if not spoilt:
            return web.Response(body=data, content_type="image/png")
        answer = web.StreamResponse(headers={"Content-Type": "image/png", "Content-Length": str(len(data))})
        await answer.prepare(request)
        await answer.write(data[: len(data) // 2])
        if request.transport is not None:
            request.transport.close()
        return answer

    async def queue(self, request: web.Request) -> web.Response:
        running = [self._running.listed] if self._running is not None else []
        return web.json_response({"queue_running": running, "queue_pending": [prompt.listed for prompt in self._queue]})

    async def post_queue(self, request: web.Request) -> web.Response:
        self._remove(set((await request.json()).get("delete", ())))
        return web.Response()

    async def cancel(self, request: web.Request) -> web.Response:
        wanted = set((await request.json())["job_ids"])
        self._remove(wanted)
        if self._running is not None and self._running.prompt_id in wanted:
            self._cancelled = True
        return web.json_response({"cancelled": True})

    def _remove(self, prompt_ids: set[str]) -> None:
        self._queue = deque(prompt for prompt in self._queue if prompt.prompt_id not in prompt_ids)

    async def interrupt(self, request: web.Request) -> web.Response:
        self._cancelled = True
        return web.Response()

    async def free(self, request: web.Request) -> web.Response:
        return web.Response()

    async def stats(self, request: web.Request) -> web.Response:
        device = {"name": "simulated", "type": "cpu", "index": None}
        return web.json_response({"system": {"os": "simulated", "comfyui_version": DIALECT.version}, "devices": [device]})

    async def models(self, request: web.Request) -> web.Response:
        return web.json_response(MODEL_FOLDERS)

    async def model_folder(self, request: web.Request) -> web.Response:
        return web.json_response(DEFAULT_MODELS.get(request.match_info["folder"], []))

    async def nodes(self, request: web.Request) -> web.Response:
        wanted = request.match_info.get("id")
        found = {name: node for name, node in NODE_CLASSES.items() if wanted in (None, name)}
        described = {name: object_info(node, lambda folder: list(DEFAULT_MODELS.get(folder, [])), DIALECT) for name, node in found.items()}
        return web.json_response(described)


def paces(servers: int, fastest: float, slowest: float) -> list[float]:
    """Seconds of a picture, one for each server: evenly spread by their ratio, and shuffled."""
    share = [number / max(1, servers - 1) for number in range(servers)]
    found = [fastest * (slowest / fastest) ** each for each in share]
    random.Random(servers).shuffle(found)
    return found


async def serve(servers: list[SimulatedServer], vanishing: int, chance: random.Random) -> None:
    """Until the standard input ends."""
    for server in servers:
        await server.open()
    application = web.Application()

    async def report(request: web.Request) -> web.Response:
        now = time.monotonic()
        return web.json_response({"now": now, "cpu_seconds": time.process_time(), "servers": [vars_of(each.record) for each in servers]})

    application.router.add_get("/record", report)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    listener = socket.create_server((HOST, 0))
    await web.SockSite(runner, listener).start()
    record = f"http://{HOST}:{listener.getsockname()[1]}/record"
    print(json.dumps({"urls": [server.record.url for server in servers], "record": record}), flush=True)
    gone = [asyncio.create_task(_vanish_once(each, chance)) for each in chance.sample(servers, vanishing)]
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    for task in gone:
        task.cancel()


async def _vanish_once(server: SimulatedServer, chance: random.Random) -> None:
    while server.record.first is None:
        await asyncio.sleep(0.2)
    await asyncio.sleep(chance.uniform(1, 10))
    await server.vanish(chance.uniform(1, 4))


def vars_of(record: Record) -> dict[str, Any]:
    return {name: getattr(record, name) for name in ("url", "seconds", "made", "struck", "away", "first")}


def build_parser() -> cli.Parser:
    parser = cli.Parser(__doc__)
    parser.add_argument("--servers", type=cli.positive_int, default=50, metavar="N", help="how many")
    parser.add_argument("--fastest", type=cli.positive, default=0.5, metavar="S", help="seconds of a picture on the fastest")
    parser.add_argument("--slowest", type=cli.positive, default=7.5, metavar="S", help="seconds of a picture on the slowest")
    parser.add_argument("--trouble", type=cli.fraction, default=0.0, metavar="X", help="share of the prompts that are struck")
    parser.add_argument("--vanishing", type=cli.whole_number, default=0, metavar="N", help="servers that are gone once and come back")
    parser.add_argument("--seed", type=cli.whole_number, default=1, metavar="N", help="of what is left to chance")
    return parser


def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)  # a client that is killed breaks its requests off
    chance = random.Random(args.seed)

    async def run() -> None:
        servers = [
            SimulatedServer(pace, args.trouble, random.Random(chance.random())) for pace in paces(args.servers, args.fastest, args.slowest)
        ]
        await serve(servers, min(args.vanishing, args.servers), chance)

    asyncio.run(run())
    return EXIT_OK


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
