"""A stand-in for a RunPod serverless endpoint that runs worker-comfyui, on loopback: its jobs run on a ComfyUI, such as the embedded one.

It has what RunPod has: a queue, workers that start slowly, results that expire, answers with a limit; and fails as RunPod does, by the
knobs of `EndpointFaults`. Nothing here has been compared with RunPod itself: it follows RunPod's documents and the worker's source.
"""

from __future__ import annotations

import base64
import collections
import http.server
import json
import queue
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from tools.stand_in.notice import NOTICE

ENDPOINT_ID = "standin1"
POLL_SECONDS = 0.02
MAX_REQUEST_BYTES = 10_000_000
JOIN_SECONDS = 10.0

Answer = tuple[int, Any, dict[str, str]]


@dataclass(slots=True)
class EndpointFaults:
    """Knobs, which may be turned while it runs; a count that is used up is 0 again. Routes: `run`, `status`, `cancel`, `health`."""

    too_many: dict[str, int] = field(default_factory=dict)
    """So many of the next requests to a route are answered with 429."""
    retry_after: str = ""
    """Said with each 429, where it is not empty."""
    lose_run_answers: int = 0
    """So many of the next /run are accepted, and the connection is cut instead of answered."""
    cold_start_seconds: float = 0.0
    """How long a worker starts, before its first job."""
    ends: list[str] = field(default_factory=list)
    """How the next jobs end, whatever they made: FAILED, TIMED_OUT, CANCELLED, `other worker`, `out of memory`, or "" for as it comes."""
    forget_results: int = 0
    """So many of the next finished jobs are unknown when they are asked for: their results have expired."""
    cut_pictures: int = 0
    """So many of the next answers with pictures hold half of each."""
    uses_store: bool = False
    """Pictures are told by an address (`s3_url`) on loopback, and no longer in the answer."""
    answer_limit_bytes: int = 20_000_000
    """A job whose answer is longer fails."""
    answers_all_with: int = 0
    """Every request to the API is answered with this status alone: 401 for a key that is no good any more, 500, 502 …"""


@dataclass(slots=True)
class StandInJob:
    id: str
    input: dict[str, Any]
    status: str = "IN_QUEUE"
    queued_at: float = field(default_factory=time.monotonic)
    delay_ms: int = 0
    execution_ms: int = 0
    output: Any = None
    error: str | None = None
    forgotten: bool = False

    def document(self) -> dict[str, Any]:
        told: dict[str, Any] = {"id": self.id, "status": self.status}
        if self.status not in ("IN_QUEUE", "CANCELLED"):
            told["delayTime"] = self.delay_ms
        if self.status in ("COMPLETED", "FAILED", "TIMED_OUT"):
            told["executionTime"] = self.execution_ms
        more = {"output": self.output, "error": self.error}
        return told | {name: value for name, value in more.items() if value is not None}


class ServerlessEndpoint:
    """`url` is its address for `--comfy-url`. A context manager. `workers` may be 0: then jobs wait for ever.

    `jobs` are all that were accepted, by id; `counts` how often each route was asked; `tokens` what store and API got as Authorization.
    """

    def __init__(self, comfyui_url: str, key: str, *, workers: int = 1, faults: EndpointFaults | None = None) -> None:
        self.faults = faults or EndpointFaults()
        self.jobs: dict[str, StandInJob] = {}
        self.counts: collections.Counter[str] = collections.Counter()
        self.tokens: list[tuple[str, str | None]] = []
        self._comfyui, self._key = comfyui_url, key
        self._starting, self._busy, self._workers = workers, 0, workers
        self._stored: dict[str, bytes] = {}
        self._queue: queue.SimpleQueue[StandInJob | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(workers)]
        self._threads.append(threading.Thread(target=self._server.serve_forever, args=(POLL_SECONDS,), daemon=True))

    @property
    def url(self) -> str:
        return f"runpod+http://127.0.0.1:{self._server.server_port}/{ENDPOINT_ID}"

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for _ in range(self._workers):
            self._queue.put(None)
        self._server.shutdown()
        self._server.server_close()
        for thread in self._threads:
            thread.join(JOIN_SECONDS)

    # Requests

    def answer(self, method: str, path: str, token: str | None, body: bytes) -> Answer | None:
        """The answer to a request; None cuts the connection."""
        parts = path.strip("/").split("/")
        self.tokens.append((parts[0], token))
        if parts[0] == "store":
            data = self._stored.get(parts[-1])
            return (200, data, {}) if data is not None and token is None else (403, b"", {})
        if parts[0] != ENDPOINT_ID or len(parts) < 2:
            return 404, {"error": "endpoint not found"}, {}
        if token != f"Bearer {self._key}":
            return 401, b"", {}
        if self.faults.answers_all_with:
            return self.faults.answers_all_with, b"", {}
        route = parts[1]
        with self._lock:
            self.counts[route] += 1
            left = self.faults.too_many.get(route, 0)
            if left > 0:
                self.faults.too_many[route] = left - 1
                return 429, b"", {"Retry-After": self.faults.retry_after} if self.faults.retry_after else {}
            return self._routed(method, route, parts[2] if len(parts) > 2 else "", body)

    def _routed(self, method: str, route: str, job_id: str, body: bytes) -> Answer | None:
        if (method, route) == ("GET", "health"):
            return 200, self._health(), {}
        if (method, route) == ("POST", "run"):
            return self._run(body)
        job = self.jobs.get(job_id)
        if job is None or (method, route) not in (("GET", "status"), ("POST", "cancel")):
            return 404, {"error": "job not found"}, {}
        if route == "cancel":
            if job.status in ("IN_QUEUE", "IN_PROGRESS"):
                job.status = "CANCELLED"
            return 200, {"id": job.id, "status": job.status}, {}
        if job.status == "COMPLETED" and self.faults.forget_results > 0 and not job.forgotten:
            self.faults.forget_results -= 1
            job.forgotten = True
        if job.forgotten:
            return 404, {"error": "job not found"}, {}
        document = job.document()
        if self.faults.cut_pictures > 0 and isinstance(job.output, dict) and job.output.get("images"):
            self.faults.cut_pictures -= 1
            cut = [each | {"data": each["data"][: len(each["data"]) // 2]} for each in job.output["images"]]
            document["output"] = job.output | {"images": cut}
        return 200, document, {}

    def _run(self, body: bytes) -> Answer | None:
        document = json.loads(body)
        if len(body) > MAX_REQUEST_BYTES or not isinstance(document.get("input"), dict):
            return 400, {"error": "bad request"}, {}
        job = StandInJob(f"{uuid.uuid4()}-u1", document["input"])
        self.jobs[job.id] = job
        self._queue.put(job)
        if self.faults.lose_run_answers > 0:
            self.faults.lose_run_answers -= 1
            return None
        return 200, {"id": job.id, "status": job.status}, {}

    def _health(self) -> dict[str, Any]:
        states = collections.Counter(job.status for job in self.jobs.values())
        ready = self._workers - self._starting
        return {
            "jobs": {
                "completed": states["COMPLETED"],
                "failed": states["FAILED"],
                "inProgress": states["IN_PROGRESS"],
                "inQueue": states["IN_QUEUE"],
                "retried": 0,
            },
            "workers": {"idle": ready - self._busy, "running": self._busy, "initializing": self._starting},
            "notice": NOTICE,
        }

    # Workers

    def _work(self) -> None:
        is_cold = True
        while (job := self._queue.get()) is not None:
            if is_cold:
                time.sleep(self.faults.cold_start_seconds)
                with self._lock:
                    self._starting -= 1
                is_cold = False
            with self._lock:
                if job.status != "IN_QUEUE":
                    continue
                wanted = self.faults.ends.pop(0) if self.faults.ends else ""
                job.status, self._busy = "IN_PROGRESS", self._busy + 1
                job.delay_ms = int((time.monotonic() - job.queued_at) * 1000)
            began = time.monotonic()
            try:
                output = _run_graph(self._comfyui, job.input)
            except Exception as error:  # noqa: BLE001 - as the worker does: whatever it is, the job has failed of it
                output = {"error": str(error)}
            with self._lock:
                self._busy -= 1
                job.execution_ms = max(1, int((time.monotonic() - began) * 1000))
                if job.status == "IN_PROGRESS":
                    self._end(job, output, wanted)

    def _end(self, job: StandInJob, output: dict[str, Any], wanted: str) -> None:
        if wanted in ("TIMED_OUT", "CANCELLED"):
            job.status = wanted
            return
        if wanted == "FAILED":
            output = {"error": "worker exited with exit code 1"}
        elif wanted == "out of memory":
            details = ["Workflow execution error: Node Type: KSampler, Node ID: 5, Message: CUDA out of memory. Tried to allocate 2 GiB"]
            output = {"error": "Job processing failed", "details": details}
        elif wanted == "other worker":
            output = {"text": "a cat"}
        if self.faults.uses_store:
            for picture in output.get("images", []):
                name = f"{uuid.uuid4().hex}.png"
                self._stored[name] = base64.b64decode(picture["data"])
                address = f"http://127.0.0.1:{self._server.server_port}/store/{job.id}/{name}"
                picture |= {"type": "s3_url", "data": address}
        if len(json.dumps(output)) > self.faults.answer_limit_bytes:
            output = {"error": "Failed to return job results. | 400, message='Bad Request'"}
        job.error = output.pop("error", None)
        job.output = output or None
        job.status = "FAILED" if job.error is not None else "COMPLETED"


def _run_graph(comfyui: str, given: dict[str, Any]) -> dict[str, Any]:
    """What worker-comfyui does with the input of a job, and what it puts out."""
    if "workflow" not in given:
        return {"error": "Missing 'workflow' parameter"}
    for picture in given.get("images") or []:
        _upload(comfyui, picture["name"], base64.b64decode(picture["image"]))
    prompt = {"prompt": given["workflow"], "client_id": uuid.uuid4().hex}  # without one, ComfyUI leaves pictures from its cache out
    status, told = _ask(f"{comfyui}/prompt", json.dumps(prompt).encode())
    if status == 400:
        return {"error": _refusal(json.loads(told))}
    prompt_id = json.loads(told)["prompt_id"]
    while not (history := json.loads(_ask(f"{comfyui}/history/{prompt_id}")[1])):
        time.sleep(POLL_SECONDS)
    entry = history[prompt_id]
    errors = [
        f"Workflow execution error: Node Type: {data['node_type']}, Node ID: {data['node_id']}, Message: {data['exception_message']}"
        for name, data in entry["status"]["messages"]
        if name == "execution_error"
    ]
    images = []
    for output in entry["outputs"].values():
        for image in output.get("images", []):
            if image["type"] != "temp":
                data = _ask(f"{comfyui}/view?{urllib.parse.urlencode(image)}")[1]
                images.append({"filename": image["filename"], "type": "base64", "data": base64.b64encode(data).decode()})
    if errors and not images:
        return {"error": "Job processing failed", "details": errors}
    if not images:
        return {"status": "success_no_images", "images": []}
    return {"images": images} | ({"errors": errors} if errors else {})


def _refusal(document: dict[str, Any]) -> str:
    """The worker's text of a graph that ComfyUI refuses: each key of a node's faults in a line, as Python writes it."""
    error = document.get("error") or {}
    is_usual = error.get("type") == "prompt_outputs_failed_validation"
    lines = [
        f"• Node {node} ({key}): {value}"
        for node, faults in dict(document.get("node_errors") or {}).items()
        for key, value in faults.items()
    ]
    if lines:
        return "\n".join([f"{'Workflow validation failed' if is_usual else error.get('message')}:", *lines])
    return f"{error.get('message') or 'Workflow validation failed'}. Raw response: {json.dumps(document)}"


def _upload(comfyui: str, name: str, data: bytes) -> None:
    boundary = uuid.uuid4().hex
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="overwrite"\r\n\r\ntrue\r\n--{boundary}\r\n'
    head += f'Content-Disposition: form-data; name="image"; filename="{name}"\r\nContent-Type: image/png\r\n\r\n'
    body = head.encode() + data + f"\r\n--{boundary}--\r\n".encode()
    _ask(f"{comfyui}/upload/image", body, f"multipart/form-data; boundary={boundary}")


def _ask(url: str, body: bytes | None = None, content_type: str = "application/json") -> tuple[int, bytes]:
    request = urllib.request.Request(url, body, {"Content-Type": content_type} if body is not None else {})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=60) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        if error.code != 400:
            raise
        return 400, error.read()


def _handler(endpoint: ServerlessEndpoint) -> type[http.server.BaseHTTPRequestHandler]:
    class EndpointHandler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            answer = endpoint.answer(self.command, self.path, self.headers.get("Authorization"), body)
            if answer is None:
                self.close_connection = True
                return
            status, content, headers = answer
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            for name, value in (headers | {"Content-Length": str(len(data))}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = _serve

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: whoever runs it looks at `counts`."""

    return EndpointHandler
