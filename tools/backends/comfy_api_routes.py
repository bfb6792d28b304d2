"""What can be asked of a server of Comfy API v2 over HTTP. Nothing is followed, nothing is remembered: safe from any thread."""

from __future__ import annotations

import posixpath
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import quote, urljoin

from lifeos.errors import InputError, UnavailableError
from tools.backends.backend import BusyError, RejectedPrompt
from tools.backends.bounded_connection import RefusedReplyError, Reply
from tools.backends.comfy_api_answers import ApiError, ApiErrorAnswer, ApiJob, Asset, Health, JobList, own_path, read_refusal
from tools.backends.comfyui_uploads import form_of
from tools.backends.credentials import Credential, address_of
from tools.backends.file_form import FileForm
from tools.backends.file_stores import fetch_elsewhere
from tools.backends.transport import LARGE_ANSWER, MAX_REDIRECTS, PASSING_STATUSES, REDIRECTS, NoReplyError, Transport

PREFIX = "comfy+"
JOBS, ASSETS = "/api/v2/jobs", "/api/v2/assets"
LISTED_JOBS = 100
"""The most that a proxy lists, the newest first."""

NOT_THERE = frozenset({404, 405, 501})
UPLOAD_BYTES_PER_SECOND = 200_000
"""The slowest line that an upload is waited for on."""

TOKEN_FIX = "name the variable that holds its token with --comfy-token-env, or in the file of --servers"
CREDITS_FIX = "buy credits, then run the same command again"


class UpstreamSilentError(NoReplyError):
    """A proxy had no answer of its ComfyUI for a job. ComfyUI may have it, but the proxy has not recorded it: it is in no list."""


class ApiRoutes:
    """Questions to one server. `url` is its address as the user writes it, `comfy+https://…`, without credentials."""

    def __init__(self, url: str, *, timeout_seconds: float, credential: Credential | None) -> None:
        address = address_of(url.strip()[len(PREFIX) :], credential)
        self._transport = Transport(address, timeout_seconds=timeout_seconds, service="Comfy API v2")
        self.url = f"{PREFIX}{address.base}"

    @property
    def look_at_token(self) -> str:
        """What to do where the server refuses our token; empty where we have none."""
        return self._transport.look_at_token

    def health(self) -> Health:
        """Whether the API is there; wants no token. Raises UnavailableError."""
        reply = self._transport.get("/api/v2/health")
        if reply.status in NOT_THERE:
            why = f"there is no Comfy API v2 (/api/v2/health gives status {reply.status})"
            raise RefusedReplyError(self.url, why, "check --comfy-url; a plain ComfyUI is given without `comfy+`")
        if reply.status != 200:
            raise self._odd(reply, "GET /api/v2/health")
        return self._transport.record(reply, "/api/v2/health", Health)

    def job(self, job_id: str) -> tuple[ApiJob | None, float | None]:
        """A job and the credits that it used so far as they are told; None for one that the server does not know (any more)."""
        path = f"{JOBS}/{quote(job_id, safe='')}"
        reply = self._transport.get(path, limit=LARGE_ANSWER)
        if reply.status in (404, 410):
            return None, None
        if reply.status != 200:
            raise self._odd(reply, f"GET {JOBS}/{{id}}")
        job = self._transport.record(reply, path, ApiJob)
        if job.id != job_id:
            raise self._transport.odd(f"asked for job {job_id}, it tells of {job.id}")
        return job, reply.credits

    def jobs(self, statuses: str = "", count: int = LISTED_JOBS) -> list[ApiJob] | None:
        """The newest jobs; None where the server lists none. Raises UnavailableError, also where the token is wrong."""
        params = {"limit": str(count)} | ({"status": statuses} if statuses else {})
        reply = self._transport.get(JOBS, params, limit=LARGE_ANSWER)
        if reply.status in NOT_THERE:
            return None
        if reply.status != 200:
            raise self._odd(reply, f"GET {JOBS}")
        return self._transport.record(reply, JOBS, JobList).jobs

    def create(self, label: str, graph: dict[str, Any]) -> tuple[ApiJob, float | None]:
        """Queue a graph once, under a key that is never used again. Raises RejectedPrompt, BusyError, and NoReplyError where a job may
        have been made all the same."""
        body = {"workflow": graph, "metadata": label}
        reply = self._transport.post_once(JOBS, body, more={"Idempotency-Key": str(uuid.uuid4())})
        if reply.status in (200, 201, 202):
            made = self._transport.record(reply, JOBS, ApiJob)
            if made.metadata not in (None, label):
                raise self._transport.odd("a job of ours comes back with the metadata of another")
            return made, reply.credits
        error = self._error(reply)
        if reply.status == 429:
            raise BusyError(self.url, reply.retry_after)
        if reply.status in PASSING_STATUSES or error.code == "idempotency_key_reuse":  # a key may be spent by a proxy that repeats
            why = f"answers POST {JOBS} with status {reply.status}" + (f" ({error.code})" if error.code else "")
            kind = UpstreamSilentError if error.code == "upstream_unreachable" else NoReplyError
            raise kind(self.url, why, may_have_arrived=True, retry_after=reply.retry_after)
        if reply.status in (400, 409, 413, 422):
            raise read_refusal(self.url, error)
        raise self._odd(reply, f"POST {JOBS}")

    def cancel(self, job_id: str, told: str | None) -> None:
        """Cancel a job of ours; `told` is its `urls.cancel`."""
        path = own_path(self._transport.address.base, told) if told else None
        self._transport.post_safely(path or f"{JOBS}/{quote(job_id, safe='')}/cancel", {})

    def fetch(self, url: str, limit: int) -> Reply:
        """What is at the address of an output. Our token goes to the server itself only; elsewhere, such as to a cloud's store of files,
        nothing but the request goes."""
        for _ in range(MAX_REDIRECTS + 1):
            try:
                path = own_path(self._transport.address.base, url)
                reply = self._transport.get_once(path, limit=limit) if path is not None else self._fetch_elsewhere(url, limit)
            except ValueError:
                raise RefusedReplyError(self.url, "names an output at what is no address", "look at the server") from None
            if reply.status not in REDIRECTS:
                if reply.status in PASSING_STATUSES:
                    raise NoReplyError(self.url, f"gives status {reply.status} for an output", may_have_arrived=True)
                return reply
            url = urljoin(f"{self._transport.address.base}{path}" if path is not None else url, reply.location or "")
        raise RefusedReplyError(self.url, "redirects an output again and again", "look at the server")

    def _fetch_elsewhere(self, url: str, limit: int) -> Reply:
        here = self._transport.address.base
        return fetch_elsewhere(self.url, here, url, timeout_seconds=self._transport.timeout_seconds, limit=limit)

    def upload_model(self, folder: str, file: Path) -> str:
        """Put a model file there, and return its name in the folder: the older one where the same bytes are there under another.

        Raises InputError where the server takes none, or another file may have that name; UnavailableError where what it took is not this
        file.
        """
        target = f"{folder}/{file.name}"
        try:
            form = FileForm({"file_path": target, "content_type": "application/octet-stream"}, file)
        except OSError as error:
            raise InputError(file, f"cannot be read: {error.strerror or error}", "look at the file") from None
        seconds = max(self._transport.answer_seconds, form.file_bytes / UPLOAD_BYTES_PER_SECOND)
        reply = self._transport.post_file(ASSETS, form, seconds)
        if reply.status not in (200, 201):
            raise self._upload_refusal(reply, file, target)
        taken = self._transport.record(reply, ASSETS, Asset)
        if taken.size_bytes != form.file_bytes:
            why = f"took {taken.size_bytes:,} of the {form.file_bytes:,} bytes of {file.name}"
            raise UnavailableError(self.url, why, "run the same command again")
        return posixpath.normpath(taken.file_path).removeprefix("models/").removeprefix(f"{folder}/")

    def upload_picture(self, name: str, data: bytes) -> dict[str, Any]:
        """Put a picture there, and return the reference that an input of a graph holds in place of its name: the server may know the same
        bytes under another. Raises RejectedPrompt."""
        reply = self._transport.send_form(ASSETS, form_of("file", name, data, {"file_path": f"input/{name}"}))
        if reply.status not in (200, 201):
            if reply.status not in (400, 404, 405, 409, 413, 422, 501):
                raise self._odd(reply, f"POST {ASSETS}")
            why = self._error(reply).message or f"status {reply.status}"
            fix = "start comfy-api-proxy with a larger --max-upload-mb" if reply.status == 413 else "use a plain ComfyUI for it"
            raise RejectedPrompt(self.url, "", f"it does not take the picture {name} ({len(data) / 1e6:.1f} MB): {why}", fix)
        taken = self._transport.record(reply, ASSETS, Asset)
        if taken.id is None or taken.size_bytes != len(data):
            raise UnavailableError(self.url, f"took {taken.size_bytes:,} of the {len(data):,} bytes of {name}", "look at the server")
        return {"__type": "core/ASSET", "info": {"id": taken.id}}

    def _upload_refusal(self, reply: Reply, file: Path, target: str) -> Exception:
        error = self._error(reply)
        if reply.status == 409 or "overwrite" in error.message:  # a proxy that was started anew knows no file by its hash
            fix = f"if it is another file, rename {file}; if it is this one, nothing is to be done"
            return InputError(self.url, f"has a file at {target} already, and does not say whether it is this one", fix)
        if reply.status == 413:
            fix = f"start comfy-api-proxy with --max-upload-mb {file.stat().st_size // (1 << 20) + 1}, or copy the file to models/{target}"
            return InputError(self.url, f"{file.name} is too large for it", fix)
        if reply.status in (400, 404, 405, 422, 501):
            fix = f"start comfy-api-proxy beside ComfyUI with --comfyui-base-dir, or copy {file} to models/{target}"
            return InputError(self.url, f"takes no model files: {error.message or f'status {reply.status}'}", fix)
        if reply.status in PASSING_STATUSES:
            return NoReplyError(self.url, f"gives status {reply.status} for an upload", may_have_arrived=True)
        return self._odd(reply, f"POST {ASSETS}")

    def close(self) -> None:
        self._transport.close()

    def _error(self, reply: Reply) -> ApiError:
        try:
            return self._transport.record(reply, JOBS, ApiErrorAnswer).error
        except UnavailableError:  # a proxy's own page, say: the status tells enough
            return ApiError()

    def _odd(self, reply: Reply, request: str) -> UnavailableError:
        """The error of an answer that no other try changes."""
        if reply.status in (401, 403):
            why = "refuses our token: it is wrong, has expired, or lacks the right" if self.look_at_token else "wants a token"
            return RefusedReplyError(self.url, f"{why} (status {reply.status})", self.look_at_token or TOKEN_FIX)
        if reply.status == 402:
            return RefusedReplyError(self.url, "has no credits left for us (status 402)", CREDITS_FIX)
        if reply.status in NOT_THERE:
            why = f"there is no Comfy API v2 ({request} gives status {reply.status})"
            return RefusedReplyError(self.url, why, "check --comfy-url; a plain ComfyUI is given without `comfy+`")
        return RefusedReplyError(self.url, f"answers {request} with status {reply.status}", "look at the server")
