"""The official proxy of Comfy API v2, in a thread of this process, before a server of ours."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web
from aiohttp.typedefs import Handler
from comfy_api_proxy.app import make_app
from comfy_api_proxy.auth import make_bearer_auth_middleware

from tools.stand_in.server import EmbeddedServer

TOKEN = "tok-3f9c2a71d4"


@dataclass
class ProxyFaults:
    """So many of the next jobs are made, and the connection is cut instead of answered."""

    lose_job_answers: int = 0


@dataclass(frozen=True)
class Proxied:
    """`url` is the proxy's, as users write it; `models` its folder of models, `token_file` where its token is."""

    url: str
    comfyui: EmbeddedServer
    models: Path
    token_file: Path
    faults: ProxyFaults


@contextlib.contextmanager
def api_proxy(comfyui_url: str, base_dir: Path, token: str, faults: ProxyFaults | None = None) -> Iterator[str]:
    """Its address, `http://127.0.0.1:PORT`. It places uploaded models under `base_dir`/models, and wants `token`."""
    loop = asyncio.new_event_loop()
    started: list[str] = []

    @web.middleware
    async def losing(request: web.Request, handler: Handler) -> web.StreamResponse:
        answer = await handler(request)
        if faults is not None and faults.lose_job_answers > 0 and (request.method, request.path) == ("POST", "/api/v2/jobs"):
            faults.lose_job_answers -= 1
            if request.transport is not None:
                request.transport.abort()
        return answer

    async def start() -> web.AppRunner:
        app = make_app(comfyui_url, comfyui_base_dir=str(base_dir), middlewares=[make_bearer_auth_middleware(token), losing])
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        started.append(f"http://127.0.0.1:{runner.addresses[0][1]}")
        return runner

    runner = loop.run_until_complete(start())
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield started[0]
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
