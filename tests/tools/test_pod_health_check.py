"""The health check finds what would stop a batch, and says how to fix it."""

from __future__ import annotations

import json
import os
import re
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lifeos.errors import InputError
from lifeos.findings import Finding
from tests.capabilities import POSIX
from tests.tools.backends.fakes import fake_server
from tools import pod_health_check
from tools.backends.registry import open_backends
from tools.pod_health_check import check_disk, check_local_vram, check_model_file, check_pod, exit_code_of, main

MIB = 1 << 20
GPU = {
    "type": "cuda",
    "name": "RTX 4090",
    "vram_total": 24_000 * MIB,
    "vram_free": 20_000 * MIB,
    "torch_vram_total": 0,
    "torch_vram_free": 0,
}


def answers(**changes: Any) -> dict[str, Any]:
    """A healthy pod with a GPU. Keys of `changes`: gpu, queue, nodes, checkpoints, loras."""
    nodes = changes.get("nodes", ["KSampler"])
    return {
        "GET /system_stats": (200, {"system": {"comfyui_version": "0.8.0"}, "devices": changes.get("devices", [GPU])}),
        "GET /queue": (200, changes.get("queue", {"queue_running": [], "queue_pending": []})),
        "GET /object_info": (200, {name: {} for name in [*nodes, "KSamplerAdvanced"]}),
        **{f"GET /object_info/{name}": (200, {name: {"input": {}}}) for name in nodes},
        "GET /models": (200, ["checkpoints", "loras", "diffusion_models"]),
        "GET /models/checkpoints": (200, changes.get("checkpoints", ["base.safetensors"])),
        "GET /models/loras": (200, changes.get("loras", ["sub/mine_v3.safetensors", "mine_v2.safetensors"])),
        "GET /models/diffusion_models": (200, []),
    }


def check(pod: dict[str, Any], **options: Any) -> dict[str, Finding]:
    options = {"required_nodes": ["KSampler"], "min_free_disk_gb": 0.0, "stall_seconds": 0.0} | options
    with fake_server(pod) as fake, open_backends([fake.url]) as (server,):
        return {each.rule: each for each in check_pod(server, **options)}


def test_healthy_pod(tmp_path: Path) -> None:
    found = check(answers(), required_models=["sub/mine_v3.safetensors"], disk_path=tmp_path, min_free_vram_mb=6000)
    assert list(found) == ["ComfyUI", "queue", "nodes", "model", "models", "GPU memory", "disk"]
    assert {each.severity for each in found.values()} == {"ok"}
    assert found["model"].message == "sub/mine_v3.safetensors in loras"
    assert found["GPU memory"].message == "20,000 of 24,000 MiB free on RTX 4090"


BUSY = {"queue_running": [[0, "a"]], "queue_pending": [[1, "b"], [2, "c"]]}
DEAD = {"queue_running": [], "queue_pending": [[1, "b"], [2, "c"]]}


@pytest.mark.parametrize(
    ("pod", "options", "name", "status", "found", "fix"),
    [
        pytest.param(
            answers(queue=BUSY), {}, "queue", "warning", "busy: 1 running, 2 waiting; ours come after them", "wait, or cancel", id="busy"
        ),
        pytest.param(
            answers(queue=DEAD),
            {},
            "queue",
            "error",
            "2 prompts waiting, and none runs: the server's worker has died",
            "restart ComfyUI",
            id="dead worker",
        ),
        pytest.param(answers(nodes=[]), {}, "node", "error", "KSampler is not there", "did you mean KSamplerAdvanced?", id="node missing"),
        pytest.param(
            answers(),
            {"required_models": ["mine_v3.safetensors"]},
            "model",
            "error",
            "mine_v3.safetensors is not on the server",
            "did you mean",
            id="model missing",
        ),
        pytest.param(
            answers(checkpoints=[]),
            {},
            "models",
            "error",
            "no checkpoint and no diffusion model at all",
            "models/checkpoints",
            id="no checkpoint",
        ),
        pytest.param(
            answers(),
            {"min_free_vram_mb": 20_001},
            "GPU memory",
            "error",
            "20,000 of 24,000 MiB free on RTX 4090, 20,001 wanted",
            "end what else",
            id="GPU full",
        ),
        pytest.param(answers(devices=[]), {}, "GPU memory", "warning", "works on unknown device, without a GPU", "minutes", id="no GPU"),
        pytest.param(answers(devices=[]), {"gpu_wanted": True}, "GPU memory", "error", "without a GPU", "minutes", id="no GPU, but wanted"),
        pytest.param(answers(), {"min_free_disk_gb": 1e9}, "disk", "error", "1e+09 wanted", "free some room", id="disk full"),
        pytest.param({}, {}, "ComfyUI", "error", "/system_stats gives status 404", "check --comfy-url", id="not ComfyUI"),
    ],
)
def test_what_would_stop_a_batch(pod: dict[str, Any], options: dict[str, Any], name: str, status: str, found: str, fix: str) -> None:
    checks = check(pod, **options)
    assert checks[name].severity == status
    assert found in checks[name].message
    assert fix in checks[name].fix
    others = {each.severity for each in checks.values() if each.rule != name}
    assert others <= {"ok", "warning"}


def queued(prompt_id: str, client_id: str | None = None) -> list[Any]:
    return [0, prompt_id, {}, {} if client_id is None else {"client_id": client_id}, ["9"]]


OURS = {"queue_running": [queued("a", "lifeos-1")], "queue_pending": [queued("b", "lifeos-1"), queued("c", "lifeos-1")]}
MIXED = {"queue_running": [queued("theirs", "5f0c")], "queue_pending": [queued("b", "lifeos-1"), queued("other", "lifeos-2")]}


@pytest.mark.parametrize(
    ("queue", "ours", "severity", "found"),
    [
        pytest.param(OURS, {"a", "b", "c", "gone"}, "ok", "3 prompts of this batch from before: followed, not made again", id="all ours"),
        pytest.param(
            OURS,
            {"b"},
            "warning",
            "busy: 1 running, 1 waiting; ours come after them; all of them by LifeOS: a batch that runs, or was killed; "
            "1 prompt of this batch from before: followed, not made again",
            id="some of another batch of ours",
        ),
        pytest.param(
            OURS,
            (),
            "warning",
            "busy: 1 running, 2 waiting; ours come after them; all of them by LifeOS: a batch that runs, or was killed",
            id="asked by hand",
        ),
        pytest.param(
            MIXED,
            {"b"},
            "warning",
            "busy: 1 running, 1 waiting; ours come after them; 1 of them by LifeOS: a batch that runs, or was killed; "
            "1 prompt of this batch from before: followed, not made again",
            id="everybody's",
        ),
        pytest.param(BUSY, {"x"}, "warning", "busy: 1 running, 2 waiting; ours come after them", id="somebody else's, who says nothing"),
    ],
)
def test_our_own_prompts_are_not_taken_for_somebody_else_s(queue: dict[str, Any], ours: Any, severity: str, found: str) -> None:
    told = check(answers(queue=queue), ours=ours)["queue"]
    assert (told.severity, told.message) == (severity, found)


@pytest.mark.parametrize("count", [1, 2, 0])
def test_models_are_counted_in_words(count: int) -> None:
    """A server with diffusion models alone, or with one checkpoint."""
    pod = answers(checkpoints=["a.safetensors", "b.safetensors"][:count]) | {"GET /models/diffusion_models": (200, ["u.safetensors"])}
    words = {1: "1 checkpoint, 1 diffusion model", 2: "2 checkpoints, 1 diffusion model", 0: "0 checkpoints, 1 diffusion model"}
    assert check(pod)["models"].message == words[count]


def test_no_finding_names_the_server_a_second_time() -> None:
    """The pipeline writes the address before each finding."""
    with fake_server(answers(devices=[])) as fake, open_backends([fake.url]) as (server,):
        checks = check_pod(server, required_nodes=["KSampler"], min_free_disk_gb=0.0)
        assert [each.rule for each in checks if fake.url in each.message] == ["ComfyUI"]


def test_each_of_several_servers_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with fake_server(answers(queue=BUSY)) as busy, fake_server(answers()) as idle:
        urls = ["--comfy-url", busy.url, "--comfy-url", idle.url]
        main([*urls, "--required-node", "KSampler", "--min-free-disk-gb", "0"])
        printed = capsys.readouterr().out
    assert f"{busy.url}: busy: 1 running, 2 waiting" in printed
    row = f"ready {idle.url} ComfyUI 0.8.0, RTX 4090 empty 20,000 of 24,000 MiB free on RTX 4090 all there"
    assert row in [re.sub(" +", " ", line.strip()) for line in printed.splitlines()]


def test_servers_of_all_kinds_are_a_table_and_each_fault_is_told_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ComfyUI, a RunPod endpoint that starts, two dead ones, one that refuses the key, and one whose token is nowhere."""
    monkeypatch.setenv("ENDPOINT_KEY", "key-of-nobody")
    monkeypatch.delenv("NO_TOKEN", raising=False)
    health = {"workers": {"idle": 0, "running": 0, "initializing": 2}, "jobs": {"inQueue": 3}}
    with fake_server(answers()) as comfy, fake_server({"GET /one/health": (200, health), "GET /two/health": (401, b"")}) as runpod:
        base = runpod.url.removeprefix("http://")
        rows = [f"runpod+http://{base}/one\n  token_env: ENDPOINT_KEY", f"runpod+http://{base}/two\n  token_env: ENDPOINT_KEY"]
        rows += ["http://127.0.0.1:11", "http://127.0.0.1:12", "comfy+http://127.0.0.1:13\n  token_env: NO_TOKEN", comfy.url]
        file = tmp_path / "servers.yaml"
        file.write_text("servers:\n" + "".join(f"- url: {row}\n" for row in rows))
        flags = ["--servers", str(file), "--required-node", "KSampler", "--disk-path", str(tmp_path), "--min-free-disk-gb", "0"]
        assert main(flags) == 3
        lines = [re.sub(" +", " ", line.strip()) for line in capsys.readouterr().out.splitlines()]
        assert main([*flags, "--json"]) == 3
        document = json.loads(capsys.readouterr().out)
    assert lines[0] == "pod health: 2 of 6 servers ready, 4 no answer"
    cold = f"ready runpod+http://{base}/one RunPod serverless cold start, 2 workers starting; 3 jobs wait empty, as far as it tells"
    assert f"{cold} cannot be asked cannot be asked" in lines
    assert f"ready {comfy.url} ComfyUI 0.8.0, RTX 4090 empty 20,000 of 24,000 MiB free on RTX 4090 all there" in lines
    assert [line for line in lines if line.startswith("error")] == [
        f"error: runpod+http://{base}/two: RunPod refuses our key: it is wrong, or lacks the right (status 401) (check the token in the "
        "variable ENDPOINT_KEY, and that it may use serverless endpoints) [ComfyUI]",
        "error: 2 servers: cannot be reached (Connection refused): http://127.0.0.1:11, http://127.0.0.1:12 "
        "(is ComfyUI running there? start it, or give another --comfy-url) [ComfyUI]",
        "error: comfy+http://127.0.0.1:13: the variable NO_TOKEN holds no token (export NO_TOKEN=… before the command) [ComfyUI]",
    ]
    assert [row["state"] for row in document["servers"]] == ["ready", "no answer", "no answer", "no answer", "ready", "no answer"]
    assert "key-of-nobody" not in "".join(lines) + json.dumps(document)


def test_nothing_else_is_asked_of_a_server_that_is_not_there(tmp_path: Path) -> None:
    with open_backends(["http://127.0.0.1:9"]) as (server,):
        checks = check_pod(server, disk_path=tmp_path, min_free_disk_gb=0.0)
    assert [(each.rule, each.severity) for each in checks] == [("ComfyUI", "error"), ("disk", "ok")]


def write_safetensors(path: Path, tensor_bytes: int, *, cut: int = 0) -> Path:
    header = json.dumps({"__metadata__": {}, "w": {"dtype": "U8", "shape": [tensor_bytes], "data_offsets": [0, tensor_bytes]}}).encode()
    data = struct.pack("<Q", len(header)) + header + bytes(tensor_bytes)
    path.write_bytes(data[: len(data) - cut])
    return path


@pytest.mark.parametrize(("cut", "status"), [(0, "ok"), (1, "error"), (500, "error")], ids=["whole", "one byte short", "half"])
def test_model_file_is_whole(tmp_path: Path, cut: int, status: str) -> None:
    assert check_model_file(write_safetensors(tmp_path / "m.safetensors", 1000, cut=cut)).severity == status


@pytest.mark.parametrize("data", [b"", b"\xff" * 40, b"<html>login</html>"], ids=["empty", "garbage", "web page"])
def test_model_file_that_is_none(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(data)
    assert check_model_file(path).severity == "error"
    assert check_model_file(tmp_path / "absent.safetensors").message.endswith("no such file")


def test_path_of_a_model_is_looked_for_here(tmp_path: Path) -> None:
    path = write_safetensors(tmp_path / "m.safetensors", 10)
    checks = check(answers(), required_models=[str(path)])
    assert checks["model file"].severity == "ok"
    assert "model" not in checks


def test_disk_of_a_folder_that_is_not_made_yet(tmp_path: Path) -> None:
    assert check_disk(tmp_path / "a" / "b", 0.0).severity == "ok"


@pytest.mark.skipif(not POSIX, reason="a script as nvidia-smi")
@pytest.mark.parametrize(
    ("output", "status", "found"),
    [
        ("4000, 24000, RTX 4090\n9000, 24000, RTX 4090\n", "ok", "9,000 of 24,000 MiB free on RTX 4090"),
        ("4000, 24000, RTX 4090\n", "error", "4,000 of 24,000 MiB free on RTX 4090, 6,000 wanted"),
        ("No devices were found\n", "warning", "nvidia-smi finds no GPU on this machine"),
    ],
    ids=["the freest of two", "full", "none"],
)
def test_gpu_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str, status: str, found: str) -> None:
    (tmp_path / "output").write_text(output)
    script = tmp_path / "nvidia-smi"
    script.write_text(f"#!/bin/sh\ncat '{tmp_path}/output'\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    (checked,) = check_local_vram(6000, gpu_wanted=False)
    assert (checked.severity, checked.message) == (status, found)


# The command


@pytest.mark.parametrize(
    ("checks", "code"),
    [
        ([Finding("ComfyUI", "1.0", severity="ok"), Finding("queue", "busy", severity="warning")], 0),
        ([Finding("ComfyUI", "1.0", severity="ok"), Finding("disk", "full")], 1),
        ([Finding("disk", "full"), Finding("ComfyUI", "no answer")], 3),
    ],
    ids=["warnings", "a check failed", "no server"],
)
def test_exit_codes_of_checks(checks: list[Finding], code: int) -> None:
    assert exit_code_of(checks) == code


def test_exit_0_and_json(embedded_server: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = [
        "--required-model",
        "amiranoor_v3.safetensors",
        "--disk-path",
        str(tmp_path),
        "--min-free-disk-gb",
        "0",
        "--json",
        "--skip-install",
    ]
    assert main(["--comfy-url", embedded_server().url, *flags]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["ready"] is True
    assert [check["name"] for check in document["checks"]] == ["ComfyUI", "queue", "nodes", "model", "models", "GPU memory", "disk"]


def test_exit_1_says_how_to_mend_it(embedded_server: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = [
        "--required-model",
        "amiranor_v3.safetensors",
        "--required-node",
        "NoSuchNode",
        "--disk-path",
        str(tmp_path),
        "--min-free-disk-gb",
        "0",
    ]
    assert main(["--comfy-url", embedded_server().url, *flags]) == 1
    text = capsys.readouterr().out
    assert "error    node        NoSuchNode is not there" in text
    assert "-> did you mean amiranoor_v3.safetensors" in text
    assert text.startswith("pod health: not ready: 2 of 7 checks\n")
    assert text.endswith("FAILED: 2 errors\n")
    assert main(["--comfy-url", embedded_server().url, *flags, "--format", "github"]) == 1
    assert "::error title=node::NoSuchNode is not there" in capsys.readouterr().out
    assert main(["--comfy-url", embedded_server().url, *flags, "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert [check["status"] for check in document["checks"] if check["name"] == "node"] == ["failed"], "the words of the version before"
    assert [item["severity"] for item in document["findings"] if item["rule"] == "node"] == ["error"]


def test_exit_2_for_a_bad_value() -> None:
    with pytest.raises(InputError, match="-1 is below 0"):
        main(["--min-free-disk-gb", "-1"])


def test_exit_3_when_nobody_is_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--comfy-url", "http://127.0.0.1:9", "--disk-path", str(tmp_path), "--min-free-disk-gb", "0"]) == 3
    assert "start it, or give another --comfy-url" in capsys.readouterr().out


def test_several_pods_and_one_disk(embedded_server: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    urls = [part for _ in range(2) for part in ("--comfy-url", embedded_server().url)]
    assert main([*urls, "--disk-path", str(tmp_path), "--min-free-disk-gb", "0", "--json"]) == 0
    names = [check["name"] for check in json.loads(capsys.readouterr().out)["checks"]]
    assert (names.count("ComfyUI"), names.count("disk")) == (2, 1)


def test_skip_comfy_api_asks_no_server(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with fake_server({}) as fake:
        assert main(["--comfy-url", fake.url, "--skip-comfy-api", "--disk-path", str(tmp_path), "--min-free-disk-gb", "0"]) == 0
        assert fake.requests == []
    assert "ComfyUI" not in capsys.readouterr().out


def test_policy_gives_the_limits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A policy of its own asks for more disk than there is; a flag of 0 wins over it."""
    (tmp_path / "evals").mkdir()
    (tmp_path / "evals" / "thresholds.yaml").write_text("production:\n  min_free_disk_gb: 1000000000\n")
    flags = ["--skip-comfy-api", "--project-root", str(tmp_path), "--disk-path", str(tmp_path)]
    assert main(flags) == 1
    assert main([*flags, "--min-free-disk-gb", "0"]) == 0
    capsys.readouterr()


def test_help_from_anywhere(tmp_path: Path) -> None:
    script = Path(pod_health_check.__file__)
    done = subprocess.run([sys.executable, str(script), "--help"], cwd=tmp_path, capture_output=True, text=True, check=True)
    for flag in (
        "--comfy-url",
        "--skip-comfy-api",
        "--required-node",
        "--required-model",
        "--disk-path",
        "--min-free-disk-gb",
        "--min-free-vram-mb",
    ):
        assert flag in done.stdout
