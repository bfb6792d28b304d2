"""What the guard sees of a pod from outside: RunPod's figures, ComfyUI's queue through the proxy, and the pod's heartbeats.

Each of the three may be missing. What each can tell, and what it cannot, stands in docs/guides/guarding.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lifeos import web
from tools.backends.address import Address
from tools.backends.credentials import Credential, address_of
from tools.cost.comfy_queue import look_at_queue
from tools.cost.heartbeats import PodPulse, read_pulse, read_shared
from tools.cost.pods_api import RentedPod

PROXY_URL = "https://{pod}-{port}.proxy.runpod.net"
TIMEOUT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class PodSight:
    """One look. None, or an empty mark, is what was not seen. `figures_mark` and `pulse_mark` change while what they stand for lives."""

    gpu_percent: float | None = None
    cpu_percent: float | None = None
    figures_mark: str = ""
    queued: int | None = None
    made_mark: str = ""
    """The last picture that ComfyUI made; read while its queue holds something."""
    pulse: PodPulse | None = None


@dataclass(frozen=True, slots=True)
class Sights:
    """How to look. `proxy_url` holds {pod} and {port}; RunPod's key never goes there. `credential`: the token of the pods' ComfyUI."""

    comfy_port: int
    heartbeat_port: int
    state_files: list[Path]
    proxy_url: str = PROXY_URL
    get: Callable[..., bytes] = web.get
    credential: Credential | None = None

    def look(self, pod: RentedPod) -> PodSight:
        gpu, cpu, mark = read_figures(pod)
        queued, made = self._look_at_comfyui(pod)
        return PodSight(gpu, cpu, mark, queued, made, self._read_pulse(pod))

    def _address(self, pod: RentedPod, port: int) -> str:
        return self.proxy_url.replace("{pod}", pod.id).replace("{port}", str(port))

    def _look_at_comfyui(self, pod: RentedPod) -> tuple[int | None, str]:
        """Prompts that run or wait, and the last one done."""
        if not pod.exposes(self.comfy_port):
            return None, ""
        queued, made = look_at_queue(self._comfy_address(pod), self.get)
        return queued, made or ""

    def check_token(self) -> None:
        """Raises InputError where the token is not there, or could be read on its way: before the first look, not in its middle."""
        self._comfy_address(RentedPod("pod"))

    def _comfy_address(self, pod: RentedPod) -> Address:
        """With what lets us in, which goes to the pod's ComfyUI alone."""
        return address_of(self._address(pod, self.comfy_port), self.credential)

    def _read_pulse(self, pod: RentedPod) -> PodPulse | None:
        """The pod's own word, else that of a folder that both see. One that calls itself another pod is not believed."""
        if pod.exposes(self.heartbeat_port):
            pulse = read_pulse(self._address(pod, self.heartbeat_port), TIMEOUT_SECONDS, self.get)
            if pulse is not None and pulse.pod_id in ("", pod.id):
                return pulse
        return read_shared(self.state_files, pod.id)


def read_figures(pod: RentedPod) -> tuple[float | None, float | None, str]:
    """The busiest GPU and the CPU in percent, and a mark that changes while RunPod measures. A pod without a GPU has 0 percent of one."""
    runtime = pod.runtime
    if runtime is None:
        return None, None, ""
    gpus = [one.util for one in runtime.gpus or []]
    known = [util for util in gpus if util is not None]
    gpu = max(known) if known and (len(known) == len(gpus) or max(known) > 0) else None
    if gpu is None and pod.gpu is None and not gpus:
        gpu = 0.0
    return gpu, runtime.cpu.util if runtime.cpu else None, "" if runtime.uptime is None else str(runtime.uptime)
