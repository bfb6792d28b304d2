"""What can be asked of a RunPod serverless endpoint over HTTP. Nothing is followed, nothing is remembered: safe from any thread."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from lifeos.errors import InputError, UnavailableError
from tools.backends.backend import BusyError, RejectedPrompt
from tools.backends.bounded_connection import RefusedReplyError, Reply
from tools.backends.credentials import Credential, address_of
from tools.backends.serverless_answers import EndpointJob, ServerlessHealth
from tools.backends.transport import LARGE_ANSWER, PASSING_STATUSES, NoReplyError, Transport

SCHEME, STAND_IN_SCHEME = "runpod://", "runpod+http://"
SERVICE = "https://api.runpod.ai/v2"
KEY_VARIABLE = "RUNPOD_API_KEY"

ENDPOINT_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,63}")
MAX_REQUEST_BYTES = 10_000_000
"""Of `POST /run`, by RunPod's documentation: 10 MB."""

NETWORK_FIX = "check the network of this machine, and RunPod's status page"


class EndpointSilentError(NoReplyError):
    """No usable answer of an endpoint."""

    def __init__(self, url: str, why: str, *, may_have_arrived: bool, retry_after: float | None = None) -> None:
        self.may_have_arrived, self.retry_after = may_have_arrived, retry_after
        UnavailableError.__init__(self, url, why, NETWORK_FIX)


class ServerlessRoutes:
    """Questions to one endpoint. `url` is its address as the user writes it, `runpod://ENDPOINT_ID`."""

    def __init__(self, url: str, *, timeout_seconds: float, credential: Credential | None) -> None:
        self.url, base = read_endpoint(url)
        self.endpoint = base.rpartition("/")[2]
        address = address_of(base, credential or Credential(variable=KEY_VARIABLE))
        self.base = address.base
        self._transport = Transport(address, timeout_seconds=timeout_seconds, service="RunPod")

    @property
    def timeout_seconds(self) -> float:
        return self._transport.timeout_seconds

    def health(self) -> ServerlessHealth:
        """Its workers and jobs. Raises UnavailableError, also where there is no such endpoint or the key is wrong."""
        health: ServerlessHealth = self._record(self._get("/health"), "/health", ServerlessHealth)
        return health

    def run(self, body: dict[str, Any]) -> EndpointJob:
        """Queue a job. Raises RejectedPrompt, BusyError, and NoReplyError where a job may have been made all the same."""
        size = len(json.dumps(body))
        if size > MAX_REQUEST_BYTES:
            why = f"graph and pictures are {size / 1e6:.1f} MB, more than the 10 MB that RunPod takes"
            raise RejectedPrompt(self.url, "", why, "use smaller pictures, or another server for it")
        with self._silences():
            reply = self._transport.post_once("/run", body, more={})
        if reply.status in (400, 413, 422):
            raise RejectedPrompt(self.url, "", f"RunPod refused the request with status {reply.status}", "look at the endpoint's page")
        self._judge(reply, "POST /run")
        job: EndpointJob = self._record(reply, "/run", EndpointJob)
        return job

    def job(self, job_id: str) -> EndpointJob | None:
        """A job as it stands; None for one that the endpoint does not know (any more)."""
        reply = self._get(f"/status/{quote(job_id, safe='')}", is_known=False)
        if reply.status in (404, 410):
            return None
        job: EndpointJob = self._record(reply, "/status", EndpointJob)
        if job.id != job_id:
            why = f"answers, but not as RunPod does (asked for job {job_id}, it tells of {job.id})"
            raise UnavailableError(self.url, why, "look at the endpoint's page")
        return job

    def cancel(self, job_id: str) -> None:
        """Cancel a job of ours; one that has ended or expired is no error."""
        with self._silences():
            reply = self._transport.post_once(f"/cancel/{quote(job_id, safe='')}", {}, more={})
        if reply.status not in (400, 404, 409, 410):
            self._judge(reply, "POST /cancel")

    def close(self) -> None:
        self._transport.close()

    def _get(self, path: str, *, is_known: bool = True) -> Reply:
        with self._silences():
            reply = self._transport.get_once(path, limit=LARGE_ANSWER)
        if is_known or reply.status not in (404, 410):
            self._judge(reply, f"GET {path}")
        return reply

    def _judge(self, reply: Reply, request: str) -> None:
        """Raises for every status but 200 and 201."""
        if reply.status in (200, 201):
            return
        if reply.status in (401, 403):
            why = f"RunPod refuses our key: it is wrong, or lacks the right (status {reply.status})"
            fix = f"{self._transport.address.look_at_token}, and that it may use serverless endpoints"
            raise RefusedReplyError(self.url, why, fix)
        if reply.status == 404:
            why = f"there is no endpoint {self.endpoint}, or this key does not see it"
            raise RefusedReplyError(self.url, why, "look up the id on RunPod's page Serverless")
        if reply.status == 429:
            raise BusyError(self.url, reply.retry_after)
        if reply.status in PASSING_STATUSES:
            why = f"answers {request} with status {reply.status}"
            raise EndpointSilentError(self.url, why, may_have_arrived=True, retry_after=reply.retry_after)
        raise RefusedReplyError(self.url, f"answers {request} with status {reply.status}", "look at the endpoint's page")

    def _record(self, reply: Reply, path: str, kind: Any) -> Any:
        try:
            return self._transport.record(reply, path, kind)
        except UnavailableError as error:
            raise UnavailableError(self.url, error.why, error.fix) from None

    @contextlib.contextmanager
    def _silences(self) -> Iterator[None]:
        """What goes wrong on the way, under the name that the user gave the endpoint."""
        try:
            yield
        except NoReplyError as error:
            raise EndpointSilentError(self.url, error.why, may_have_arrived=error.may_have_arrived, retry_after=error.retry_after) from None


def read_endpoint(url: str) -> tuple[str, str]:
    """An address as it is shown, and where it is. Raises InputError."""
    text = url.strip()
    if text.lower().startswith(STAND_IN_SCHEME):
        where, _, endpoint = text[len(STAND_IN_SCHEME) :].rstrip("/").rpartition("/")
        shown, base = f"{STAND_IN_SCHEME}{where}/{endpoint}", f"http://{where}/{endpoint}"
        if not re.fullmatch(r"(127\.\d+\.\d+\.\d+|localhost|\[::1\]):\d+", where):
            why = "runpod+http:// is for a stand-in on this machine alone"
            raise InputError(f"--comfy-url {shown.rpartition('@')[2]}", why, "give runpod://ENDPOINT_ID for an endpoint at RunPod")
    else:
        endpoint = text[len(SCHEME) :].strip("/")
        shown, base = f"{SCHEME}{endpoint}", f"{SERVICE}/{endpoint}"
    if not ENDPOINT_ID.fullmatch(endpoint):
        why = "no id of an endpoint: it has letters, digits and dashes"
        raise InputError(f"--comfy-url {shown.rpartition('@')[2]}", why, "give runpod://ENDPOINT_ID; its key is read from RUNPOD_API_KEY")
    return shown, base
