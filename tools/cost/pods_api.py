"""RunPod's pods through its REST API v2: list them, look at one, stop one. What is rented is never terminated from here.

The key goes to the API's own host alone. Every fault is a `PodsApiError`, which knows whether waiting can help.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lifeos import foreign, web
from lifeos.errors import LifeosError, UnavailableError
from lifeos.escaping import escape_line

RUNPOD = "RunPod"
TIMEOUT_SECONDS = 10.0
LONGEST_WAIT_SECONDS = 300.0
POD_ID = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
RUNNING, EXITED, TERMINATED, ERROR = "RUNNING", "EXITED", "TERMINATED", "ERROR"
STOP = "stop"


@dataclass(frozen=True, slots=True)
class MeasuredUse:
    """How busy a part of the pod is, in percent; None where RunPod does not say."""

    util: float | None = None


@dataclass(frozen=True, slots=True)
class PodRuntime:
    """What RunPod measures in a running pod. `uptime` in seconds."""

    uptime: float | None = None
    gpus: list[MeasuredUse] | None = None
    cpu: MeasuredUse | None = None


@dataclass(frozen=True, slots=True)
class PodVolume:
    """The pod's own volume. `size` in GB."""

    size: float | None = None


@dataclass(frozen=True, slots=True)
class PodMounts:
    persistent: PodVolume | None = None


@dataclass(frozen=True, slots=True)
class RentedPod:
    """A pod as RunPod tells it. `cost` is US dollars per hour, now. Raises ValueError for an id that cannot stand in an address."""

    id: str
    name: str | None = None
    status: str = ""
    actions: list[str] | None = None
    gpu: dict[str, Any] | None = None
    mounts: PodMounts | None = None
    ports: list[str] | None = None
    cost: float | None = None
    locked: bool | None = None
    runtime: PodRuntime | None = None
    startedAt: str | None = None
    cluster: Any = None

    def __post_init__(self) -> None:
        if not POD_ID.fullmatch(self.id):
            raise ValueError(f"{self.id[:40]!r} is no id of a pod")

    @property
    def title(self) -> str:
        return escape_line(f"{self.name} ({self.id})" if self.name else self.id)

    @property
    def may_stop(self) -> bool:
        """Whether RunPod would take a stop now; where it names no actions, the status tells."""
        return self.status == RUNNING if self.actions is None else STOP in self.actions

    def exposes(self, port: int) -> bool:
        """Whether RunPod's proxy leads to this port."""
        return f"{port}/http" in (self.ports or ())


@dataclass(frozen=True, slots=True)
class PodListing:
    """RunPod's answer to the list."""

    pods: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class ProblemDetails:
    """A refusal (RFC 9457)."""

    title: str | None = None
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class PodsSeen:
    """The account's pods, what could not be read of the list, and RunPod's clock as its Date header has it."""

    pods: list[RentedPod]
    odd: list[str]
    date: str


class PodsApiError(UnavailableError):
    """RunPod did not do what was asked. `status` is None where no answer came; `wait_seconds`: what it wants us to wait."""

    def __init__(self, why: str, fix: str = "", status: int | None = None, wait_seconds: float = 0.0) -> None:
        super().__init__(RUNPOD, why, fix)
        self.status, self.wait_seconds = status, wait_seconds

    @property
    def is_denied(self) -> bool:
        return self.status in (401, 403)

    @property
    def may_pass(self) -> bool:
        """Whether the same request may succeed later: no network, too many requests, a fault at RunPod."""
        return self.status is None or self.status == 429 or self.status >= 500


Ask = Callable[..., web.WebReply]
"""`web.ask`, or what stands for it in a test."""


class PodsApi:
    """The routes of the API that the guard needs. `api_url` without a version."""

    def __init__(self, api_url: str, key: str, ask: Ask = web.ask) -> None:
        self._url, self._ask = api_url.rstrip("/"), ask
        self._key = key
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}

    def list_pods(self) -> PodsSeen:
        """Every pod of the account. One that cannot be read is named, and is in no danger."""
        reply = self._request("/v2/pods")
        pods, odd = [], []
        for number, one in enumerate(foreign.decode(reply.data, PodListing, RUNPOD, error=PodsFault).pods):
            try:
                pods.append(foreign.convert(one, RentedPod, f"pod {escape_line(one.get('id', number))}"))
            except LifeosError as error:
                odd.append(str(error))
        return PodsSeen(pods, odd, reply.date)

    def find_pod(self, pod_id: str) -> RentedPod:
        return foreign.decode(self._request(f"/v2/pods/{pod_id}").data, RentedPod, RUNPOD, error=PodsFault)

    def stop(self, pod_id: str) -> None:
        """Ask for a stop, which keeps the volume and wipes the container disk. Asked twice it does no more than once."""
        self._request(f"/v2/pods/{pod_id}/action", json.dumps({"action": STOP}).encode())

    def _request(self, path: str, body: bytes | None = None) -> web.WebReply:
        try:
            return self._ask(f"{self._url}{path}", RUNPOD, seconds=TIMEOUT_SECONDS, headers=self._headers, body=body)
        except web.StatusError as error:
            raise _in_words(error, self._key) from None
        except UnavailableError as error:
            raise PodsApiError(error.why, error.fix) from None


class PodsFault(PodsApiError):
    """An answer that cannot be read."""

    def __init__(self, what: object, why: str, fix: str = "") -> None:
        super().__init__(f"{what}: {why}".removeprefix(f"{RUNPOD}: "), fix)


def _in_words(error: web.StatusError, key: str) -> PodsApiError:
    """What RunPod said, without the key should it repeat that."""
    fixes = {
        401: "check the key in RUNPOD_API_KEY",
        403: "the key in RUNPOD_API_KEY may not do this: give it the right to read and write pods at RunPod",
        404: "",
    }
    told = ""
    try:
        problem = foreign.decode(error.body, ProblemDetails, RUNPOD)
        told = escape_line((problem.detail or problem.title or "").replace(key, "(the key)"))[:200]
    except LifeosError:
        pass  # no problem document: the status says enough
    wait = float(error.retry_after) if re.fullmatch(r"[0-9]{1,6}", error.retry_after) else 0.0
    why = f"answered {error.status}" + (f", {told}" if told else "")
    return PodsApiError(why, fixes.get(error.status, ""), error.status, min(wait, LONGEST_WAIT_SECONDS))
