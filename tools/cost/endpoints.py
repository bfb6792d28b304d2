"""RunPod's serverless endpoints as the guard reports them: workers and jobs. It stops none: a worker that idles ends by itself."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field

from lifeos import foreign, web
from lifeos.errors import LifeosError, UnavailableError
from lifeos.escaping import escape_line

ENDPOINT_URL = "https://api.runpod.ai"
TIMEOUT_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class EndpointHealth:
    """RunPod's answer to GET /v2/ID/health."""

    jobs: dict[str, float] = field(default_factory=dict)
    workers: dict[str, float] = field(default_factory=dict)


def read_endpoint(url: str, endpoint: str, key: str, get: Callable[..., bytes] = web.get) -> EndpointHealth | None:
    """How an endpoint stands; None where that cannot be read."""
    with contextlib.suppress(LifeosError):
        data = get(
            f"{url.rstrip('/')}/v2/{endpoint}/health",
            "RunPod",
            seconds=TIMEOUT_SECONDS,
            headers={"Authorization": f"Bearer {key}"},
        )
        return foreign.decode(data, EndpointHealth, "RunPod", error=UnavailableError)
    return None


def describe_endpoint(endpoint: str, health: EndpointHealth | None) -> str:
    if health is None:
        return f"endpoint {endpoint}: cannot be read"
    parts = [f"{count:.0f} {escape_line(name)}" for name, count in sorted(health.workers.items()) if count]
    running, waiting = (health.jobs.get(name, 0) for name in ("inProgress", "inQueue"))
    return f"endpoint {endpoint}: workers {', '.join(parts) or 'none'}; jobs {running:.0f} running, {waiting:.0f} waiting"
