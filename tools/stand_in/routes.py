"""The HTTP routes of the embedded server, each with and without the `/api` prefix, in ComfyUI's shapes."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import Awaitable, Callable
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from aiohttp import BodyPartReader, web

from tools.stand_in.jobs import find_job, is_canonical, list_jobs
from tools.stand_in.life import Life, Surroundings
from tools.stand_in.node_class import object_info
from tools.stand_in.node_classes import NODE_CLASSES
from tools.stand_in.picture_store import RefusedPathError, convert_view
from tools.stand_in.validation import validate

MAX_BODY_BYTES = 104857600
GIB = 1 << 30
PRETENDED_MEMORY = 24 * GIB
"""What `/system_stats` tells of memory: of a GPU that suits SDXL, so that health checks pass on any machine."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def build_application(server: Surroundings, life: Life) -> web.Application:
    """The application of one server process."""
    application = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=[_middleware(server)])
    routes = Routes(server, life)
    for method, path, handler in routes.table():
        for prefix in ("", "/api"):
            if not path.startswith("/api"):
                application.router.add_route(method, prefix + path, handler)
            elif not prefix:
                application.router.add_route(method, path, handler)
    return application


def _middleware(server: Surroundings) -> Any:
    @web.middleware
    async def strike(request: web.Request, handler: Handler) -> web.StreamResponse:
        resource = request.match_info.route.resource
        path = resource.canonical if resource is not None else request.path
        route = f"{request.method} {path.removeprefix('/api') if not path.startswith('/api/jobs') else path}"
        server.count(route)
        if _is_foreign(request):
            return web.Response(status=403)
        await asyncio.sleep(server.faults.delay_seconds.get(route, 0.0))
        if server.injector.answers_500(route):
            return _trouble()
        try:
            return await handler(request)
        except (TypeError, ValueError, KeyError, AttributeError):  # what a real server does not check either
            return _trouble()

    return strike


def _trouble() -> web.Response:
    """aiohttp's own answer to an exception in a handler, without its traceback on this program's stderr."""
    response = web.Response(status=500, text="500 Internal Server Error\n\nServer got itself in trouble")
    response.force_close()
    return response


def _is_foreign(request: web.Request) -> bool:
    """A web page of another origin must not queue prompts here through its visitor's browser, nor by a name of its own for this address."""
    if not _is_loopback(request.host):
        return True
    origin = request.headers.get("Origin")
    is_other = origin is not None and urlsplit(origin).netloc.lower() != request.host.lower()
    return is_other or request.headers.get("Sec-Fetch-Site") == "cross-site"


def _is_loopback(host: str) -> bool:
    """Whether a Host header names this machine; a name that somebody's DNS leads here (rebinding) does not."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return name == "localhost" or ip_address(name).is_loopback
    except ValueError:
        return False


class Routes:
    """The handlers, bound to one server process."""

    def __init__(self, server: Surroundings, life: Life) -> None:
        self._server = server
        self._life = life
        self._number = 0

    def table(self) -> list[tuple[str, str, Handler]]:
        table: list[tuple[str, str, Handler]] = [
            ("GET", "/ws", self.websocket),
            ("POST", "/prompt", self.post_prompt),
            ("GET", "/prompt", self.get_prompt),
            ("GET", "/queue", self.get_queue),
            ("POST", "/queue", self.post_queue),
            ("GET", "/history", self.get_history),
            ("GET", "/history/{id}", self.get_history_entry),
            ("POST", "/history", self.post_history),
            ("POST", "/interrupt", self.interrupt),
            ("POST", "/free", self.free),
            ("GET", "/object_info", self.get_object_info),
            ("GET", "/object_info/{id}", self.get_object_info_class),
            ("GET", "/models", self.get_models),
            ("GET", "/models/{id}", self.get_model_folder),
            ("GET", "/view", self.view),
            ("POST", "/upload/image", self.upload),
            ("GET", "/system_stats", self.system_stats),
            ("GET", "/features", self.features),
        ]
        if self._server.dialect.has_jobs:
            table += [("GET", "/api/jobs", self.get_jobs), ("GET", "/api/jobs/{id}", self.get_job)]
        if self._server.dialect.cancels_jobs:
            table += [("POST", "/api/jobs/cancel", self.cancel_jobs), ("POST", "/api/jobs/{id}/cancel", self.cancel_job)]
        return table

    async def websocket(self, request: web.Request) -> web.StreamResponse:
        life = self._life
        return await life.process.messenger.serve(request, life.queue.remaining(), life.process.running_node)

    async def post_prompt(self, request: web.Request) -> web.StreamResponse:
        document = await request.json()
        if "number" in document:
            number = float(document["number"])
        else:
            wants_front = isinstance(document, dict) and document.get("front")
            number = -self._number if wants_front else self._number
            self._number += 1
        if "prompt" not in document:
            error = {"type": "no_prompt", "message": "No prompt provided", "details": "No prompt provided", "extra_info": {}}
            return web.json_response({"error": error, "node_errors": {}}, status=400)
        graph = document["prompt"]
        prompt_id = self._choose_id(document)
        if prompt_id is None:
            details = "prompt_id must be a UUID string in canonical lowercase hyphenated form; omit it to let the server generate one"
            error = {"type": "invalid_prompt_id", "message": "prompt_id must be a valid UUID", "details": details, "extra_info": {}}
            return web.json_response({"error": error, "node_errors": {}}, status=400)
        validation = validate(graph, self._server.list_models, self._server.dialect)
        extra_data = document.get("extra_data", {})
        if "client_id" in document:
            extra_data["client_id"] = document["client_id"]
        if validation.error is not None:
            return web.json_response({"error": validation.error, "node_errors": validation.node_errors}, status=400)
        if self._server.dialect.tells_create_time:
            extra_data["create_time"] = int(time.time() * 1000)
        self._life.queue.put((number, prompt_id, graph, extra_data, validation.outputs))
        self._server.count("accepted")
        if self._server.injector.loses_prompt_reply():
            self._server.count("lost replies")
            return _cut(request)
        return web.json_response({"prompt_id": prompt_id, "number": number, "node_errors": validation.node_errors})

    def _choose_id(self, document: dict[str, Any]) -> str | None:
        """The prompt's id, the client's or a new one; None where the client's is none that this version takes."""
        if not self._server.dialect.wants_canonical_ids:
            return str(document.get("prompt_id", uuid.uuid4()))
        wanted = document.get("prompt_id")
        if wanted is None:
            return str(uuid.uuid4())
        return wanted if is_canonical(wanted) else None

    async def get_prompt(self, request: web.Request) -> web.StreamResponse:
        return web.json_response({"exec_info": {"queue_remaining": self._life.queue.remaining()}})

    async def get_queue(self, request: web.Request) -> web.StreamResponse:
        running, pending = self._life.queue.snapshot()
        return web.json_response({"queue_running": running, "queue_pending": pending})

    async def post_queue(self, request: web.Request) -> web.StreamResponse:
        document = await request.json()
        if document.get("clear"):
            self._life.queue.clear_pending()
        for prompt_id in document.get("delete", ()):
            self._life.queue.delete_pending(prompt_id)
        return web.Response()

    async def get_history(self, request: web.Request) -> web.StreamResponse:
        max_items = int(request.query["max_items"]) if "max_items" in request.query else None
        return web.json_response(self._life.queue.history(max_items, int(request.query.get("offset", -1))))

    async def get_history_entry(self, request: web.Request) -> web.StreamResponse:
        return web.json_response(self._life.queue.history_entry(request.match_info["id"]))

    async def post_history(self, request: web.Request) -> web.StreamResponse:
        document = await request.json()
        if document.get("clear"):
            self._life.queue.clear_history()
        for prompt_id in document.get("delete", ()):
            self._life.queue.delete_history(prompt_id)
        return web.Response()

    async def interrupt(self, request: web.Request) -> web.StreamResponse:
        try:
            document = await request.json()
        except json.JSONDecodeError:
            document = {}
        prompt_id = document.get("prompt_id")
        if prompt_id:
            self._life.queue.interrupt_if_running(prompt_id, self._life.process.stop_prompt)
        else:
            self._life.process.stop_prompt()
        return web.Response()

    async def cancel_jobs(self, request: web.Request) -> web.StreamResponse:
        try:
            document = await request.json()
        except json.JSONDecodeError:
            return web.json_response({"error": "Request body must be valid JSON"}, status=400)
        job_ids = document.get("job_ids") if isinstance(document, dict) else None
        if not isinstance(job_ids, list):
            return web.json_response({"error": "job_ids must be a list"}, status=400)
        odd = [job_id if isinstance(job_id, str) else repr(job_id) for job_id in job_ids if not is_canonical(job_id)]
        if odd:
            return web.json_response({"error": "job_ids contains invalid id(s)", "invalid_ids": odd}, status=400)
        cancelled = [job_id for job_id in job_ids if self._cancel(job_id)]
        return web.json_response({"cancelled": bool(cancelled)})

    async def cancel_job(self, request: web.Request) -> web.StreamResponse:
        return web.json_response({"cancelled": self._cancel(request.match_info["id"])})

    def _cancel(self, prompt_id: str) -> bool:
        """Take a prompt off the queue or stop it; False for one that has ended or is not known, which is no error."""
        queue = self._life.queue
        return queue.delete_pending(prompt_id) or queue.interrupt_if_running(prompt_id, self._life.process.stop_prompt)

    async def free(self, request: web.Request) -> web.StreamResponse:
        document = await request.json()
        if document.get("unload_models") or document.get("free_memory"):
            self._server.faults.out_of_memory_until_free = False
        if document.get("free_memory"):
            self._life.forget_cache.set()
        return web.Response()

    async def get_object_info(self, request: web.Request) -> web.StreamResponse:
        server = self._server
        return web.json_response({name: object_info(node, server.list_models, server.dialect) for name, node in NODE_CLASSES.items()})

    async def get_object_info_class(self, request: web.Request) -> web.StreamResponse:
        node = NODE_CLASSES.get(request.match_info["id"])
        return web.json_response({} if node is None else {node.name: object_info(node, self._server.list_models, self._server.dialect)})

    async def get_models(self, request: web.Request) -> web.StreamResponse:
        return web.json_response(self._server.model_folders())

    async def get_model_folder(self, request: web.Request) -> web.StreamResponse:
        folder = request.match_info["id"]
        if folder not in self._server.model_folders():
            return web.Response(status=404)
        return web.json_response(self._server.list_models(folder))

    async def get_jobs(self, request: web.Request) -> web.StreamResponse:
        try:
            return web.json_response(list_jobs(self._life.queue, request.query, self._server.dialect))
        except ValueError as error:
            return web.json_response({"error": str(error)}, status=400)

    async def get_job(self, request: web.Request) -> web.StreamResponse:
        job = find_job(self._life.queue, request.match_info["id"], self._server.dialect)
        return web.json_response({"error": "Job not found"}, status=404) if job is None else web.json_response(job)

    async def view(self, request: web.Request) -> web.StreamResponse:
        if "filename" not in request.query:
            return web.Response(status=404)
        query = request.query
        try:
            path = self._server.store.find(query["filename"], query.get("subfolder"), query.get("type", "output"))
        except RefusedPathError as refusal:
            return web.Response(status=refusal.status)
        if path is None:
            return web.Response(status=404)
        headers = {"Content-Disposition": f'filename="{path.name}"'}
        data = await asyncio.to_thread(path.read_bytes)
        converted = await asyncio.to_thread(convert_view, data, query.get("preview"), query.get("channel", ""))
        if converted is not None:
            return web.Response(body=converted[0], content_type=converted[1], headers=headers)
        if self._server.injector.truncates_view():
            return await _send_half(request, data, headers)
        if self._server.injector.half_writes_view():
            return web.Response(body=data[: len(data) // 2], content_type="image/png", headers=headers)
        return web.FileResponse(path, headers=headers)

    async def upload(self, request: web.Request) -> web.StreamResponse:
        data, filename = b"", ""
        fields: dict[str, str] = {}
        async for part in await request.multipart():
            if not isinstance(part, BodyPartReader):
                return web.Response(status=400)
            if part.name == "image":
                data, filename = bytes(await part.read()), part.filename or ""
            elif part.name is not None:
                fields[part.name] = await part.text()
        if not filename:
            return web.Response(status=400)
        overwrite = fields.get("overwrite", "").lower() in ("true", "1")
        try:
            saved = self._server.store.upload(data, filename, fields.get("subfolder", ""), fields.get("type", "input"), overwrite=overwrite)
        except RefusedPathError as refusal:
            return web.Response(status=refusal.status)
        return web.json_response(saved)

    async def system_stats(self, request: web.Request) -> web.StreamResponse:
        memory = {"ram_total": PRETENDED_MEMORY, "ram_free": PRETENDED_MEMORY}
        device: dict[str, Any] = {"name": "embedded demo renderer", "type": "cpu", "index": None}
        device |= dict.fromkeys(("vram_total", "vram_free", "torch_vram_total", "torch_vram_free"), PRETENDED_MEMORY)
        system = {
            "os": "embedded",
            **memory,
            "comfyui_version": self._server.dialect.version,
            "notice": self._server.notice,
            "embedded_python": False,
        }
        return web.json_response({"system": system, "devices": [device]})

    async def features(self, request: web.Request) -> web.StreamResponse:
        return web.json_response(self._server.dialect.features)


def _cut(request: web.Request) -> web.StreamResponse:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


async def _send_half(request: web.Request, data: bytes, headers: dict[str, str]) -> web.StreamResponse:
    response = web.StreamResponse(headers={**headers, "Content-Type": "image/png", "Content-Length": str(len(data))})
    await response.prepare(request)
    await response.write(data[: len(data) // 2])
    if request.transport is not None:
        request.transport.close()
    return response
