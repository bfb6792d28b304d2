"""The batch command: what it makes, what it skips, how it ends."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
from PIL import Image

from lifeos import cli
from lifeos.errors import InputError
from lifeos.locks import hold
from lifeos.picture_names import parse_picture_name
from tests.capabilities import POSIX
from tools import generate_batch
from tools.generate_batch import find_base_seed, main, plan_pictures
from tools.stand_in import Faults
from tools.workflows.workflow import Workflow

SMALL = ("--width", "64", "--height", "64", "--steps", "2")
SCRIPT = Path(generate_batch.__file__)
PATIENCE = 30.0


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.png"))


def opened(path: Path) -> Image.Image:
    image = Image.open(io.BytesIO(path.read_bytes()))
    image.load()
    return image


def chunk(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(opened(path).info["prompt"])
    return document


def test_plan_takes_every_prompt_in_turn_with_its_own_seed() -> None:
    pictures = plan_pictures(["amira, in a park", "at sea"], 2, 100)
    assert [(each.stem, each.prompt, each.seed) for each in pictures] == [
        ("0001_p001_v01_seed100_in-a-park", "amira, in a park", 100),
        ("0002_p002_v01_seed101_at-sea", "at sea", 101),
        ("0003_p001_v02_seed102_in-a-park", "amira, in a park", 102),
        ("0004_p002_v02_seed103_at-sea", "at sea", 103),
    ]


def test_seeds_wrap_at_the_largest() -> None:
    assert [each.seed for each in plan_pictures(["a"], 2, 2**64 - 1)] == [2**64 - 1, 0]


def test_pictures_carry_what_was_asked(embedded_server: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--prompt", "amira, portrait", "--prompt", "amira, <b>`park`</b>", "--images-per-prompt", "2", "--base-seed", "7"]
    flags += ["--negative-prompt", "none of it", "--cfg", "3.5", "--sampler", "euler", "--scheduler", "normal"]
    flags += ["--lora", "amiranoor_v3.safetensors", "--lora-strength", "0.6", "--json"]
    assert main(["--comfy-url", embedded_server().url, "--output-dir", str(tmp_path), *SMALL, *flags]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["base_seed"], document["existing"], document["failed"]) == (7, [], [])
    assert (
        sorted(document["made"])
        == names(tmp_path)
        == [
            "0001_p001_v01_seed7_portrait.png",
            "0002_p002_v01_seed8_b-park-b.png",
            "0003_p001_v02_seed9_portrait.png",
            "0004_p002_v02_seed10_b-park-b.png",
        ]
    )
    for path in tmp_path.glob("*.png"):
        graph, seed = chunk(path), parse_picture_name(path.name).seed
        assert graph["5"]["inputs"]["seed"] == seed
        assert graph["2"]["inputs"]["text"] in ("amira, portrait", "amira, <b>`park`</b>")
        assert graph["3"]["inputs"]["text"] == "none of it"
        assert [graph["5"]["inputs"][key] for key in ("steps", "cfg", "sampler_name", "scheduler")] == [2, 3.5, "euler", "normal"]
        assert [graph["8"]["inputs"][key] for key in ("lora_name", "strength_model")] == ["amiranoor_v3.safetensors", 0.6]
        assert graph["4"]["inputs"]["width"] == 64


def test_same_command_makes_only_what_is_missing(embedded_server: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    embedded = embedded_server()
    command = ["--comfy-url", embedded.url, "--output-dir", str(tmp_path), *SMALL, "--prompt", "a", "--images-per-prompt", "3", "--json"]
    assert main(command) == 0
    first = {path.name: path.read_bytes() for path in tmp_path.glob("*.png")}
    gone = sorted(first)[1]
    (tmp_path / gone).unlink()
    capsys.readouterr()
    assert main(command) == 0
    assert json.loads(capsys.readouterr().out)["made"] == [gone]
    again = {path.name: path.read_bytes() for path in tmp_path.glob("*.png")}
    assert again.keys() == first.keys()
    assert all(again[name] == first[name] for name in first if name != gone)
    assert embedded.counters["POST /prompt"] == 4


def test_base_seed_of_a_folder(tmp_path: Path) -> None:
    assert find_base_seed(tmp_path / "absent") is None
    (tmp_path / "holiday.png").touch()
    (tmp_path / "0003_p001_v02_seed102_x.png").touch()
    assert find_base_seed(tmp_path) == 100


def test_several_servers_share_the_work_and_a_dead_one_hands_it_over(embedded_server: Any, tmp_path: Path) -> None:
    servers = [embedded_server(seconds_per_picture=0.1) for _ in range(2)]
    urls = [part for each in servers for part in ("--comfy-url", each.url)]
    gone = ["--comfy-url", "http://127.0.0.1:9"]
    assert main([*urls, *gone, "--output-dir", str(tmp_path), *SMALL, "--prompt", "a", "--images-per-prompt", "10"]) == 0
    assert len(names(tmp_path)) == 10
    assert min(each.counters["accepted"] for each in servers) >= 3


def test_workflow_of_the_user_keeps_its_own_values(embedded_server: Any, tmp_path: Path) -> None:
    graph = Workflow.built_in().graph
    graph["1"]["inputs"]["ckpt_name"] = "embedded_demo_sdxl.safetensors"
    graph["4"]["inputs"] |= {"width": 128, "height": 64, "batch_size": 4}
    graph["5"]["inputs"]["steps"] = 3
    (tmp_path / "mine.json").write_text(json.dumps(graph))
    flags = [
        "--workflow",
        str(tmp_path / "mine.json"),
        "--prompt",
        "P",
        "--cfg",
        "2",
        "--positive-node-id",
        "2",
        "--positive-node-key",
        "text",
    ]
    assert main(["--comfy-url", embedded_server().url, "--output-dir", str(tmp_path / "out"), *flags]) == 0
    (path,) = (tmp_path / "out").glob("*.png")
    sent = chunk(path)
    assert opened(path).size == (128, 64)
    assert (sent["5"]["inputs"]["steps"], sent["5"]["inputs"]["cfg"], sent["2"]["inputs"]["text"]) == (3, 2.0, "P")


def test_a_saved_workflow_may_hold_a_class_that_only_the_server_knows(embedded_server: Any, tmp_path: Path) -> None:
    """`SaveWEBP` stands in no stored signature: what its saved values are for is asked of the server alone."""
    kinds: dict[str, tuple[list[tuple[str, str, int]], list[Any]]] = {  # class -> inputs (name, type, link), saved values
        "CheckpointLoaderSimple": ([], ["embedded_demo_sdxl.safetensors"]),
        "EmptyLatentImage": ([], [64, 64, 1]),
        "CLIPTextEncode": ([("clip", "CLIP", 1)], ["old words"]),
        "KSampler": (
            [("model", "MODEL", 2), ("positive", "CONDITIONING", 3), ("negative", "CONDITIONING", 4), ("latent_image", "LATENT", 5)],
            [1, "fixed", 2, 7.0, "euler", "normal", 1.0],
        ),
        "VAEDecode": ([("samples", "LATENT", 6), ("vae", "VAE", 7)], []),
        "SaveWEBP": ([("images", "IMAGE", 8)], ["ComfyUI", "webp", 80]),
    }
    nodes = [
        {"id": at, "type": name, "inputs": [{"name": key, "type": of, "link": link} for key, of, link in inputs], "widgets_values": values}
        for at, (name, (inputs, values)) in enumerate(kinds.items(), 1)
    ]
    links = [
        *([1, 1, 1, 3, 0, "CLIP"], [2, 1, 0, 4, 0, "MODEL"], [3, 3, 0, 4, 1, "CONDITIONING"], [4, 3, 0, 4, 2, "CONDITIONING"]),
        *([5, 2, 0, 4, 3, "LATENT"], [6, 4, 0, 5, 0, "LATENT"], [7, 1, 2, 5, 1, "VAE"], [8, 5, 0, 6, 0, "IMAGE"]),
    ]
    (tmp_path / "saved.json").write_text(json.dumps({"nodes": nodes, "links": links, "version": 0.4}))
    flags = ["--workflow", str(tmp_path / "saved.json"), "--prompt", "P"]
    assert main(["--comfy-url", embedded_server().url, "--output-dir", str(tmp_path / "out"), *flags]) == 0
    assert len(list((tmp_path / "out").glob("*.webp"))) == 1


def test_prompts_from_a_file(embedded_server: Any, tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_bytes("\ufeff# a comment\r\n\r\none 🎉\r\ntwo\r\n".encode())
    command = ["--comfy-url", embedded_server().url, "--output-dir", str(tmp_path / "out"), *SMALL]
    assert main([*command, "--prompts-file", str(tmp_path / "prompts.txt")]) == 0
    assert {chunk(path)["2"]["inputs"]["text"] for path in (tmp_path / "out").glob("*.png")} == {"one 🎉", "two"}


# How it ends


def test_exit_1_when_a_picture_cannot_be_made(embedded_server: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    embedded = embedded_server(faults=Faults(disk_full_at_prompts=frozenset({2})))
    command = ["--comfy-url", embedded.url, "--output-dir", str(tmp_path), *SMALL, "--prompt", "a", "--images-per-prompt", "3"]
    assert main(command) == 1
    assert len(names(tmp_path)) == 2
    out = capsys.readouterr().out
    assert re.match(r"2 pictures made, 0 were there, 1 failed: ", out)
    assert "No space left on device" in out
    assert main(command) == 0
    assert len(names(tmp_path)) == 3


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--prompt", "a", "--prompts-file", "x"], "--prompt: given beside --prompts-file"),
        (["--prompts-file", "absent.txt"], "absent.txt: no such file"),
        (["--prompt", " "], "--prompt number 1: is empty"),
        (["--workflow", "absent.json"], "absent.json: no such file"),
        (["--width", "100"], "width 100: a multiple of 8 is wanted, such as 96 or 104"),
        (["--lora-strength", "0.5"], "--lora-strength: given without --lora"),
        (["--base-seed", "-1"], "--base-seed: -1 is not from 0 to 18446744073709551615"),
        (["--images-per-prompt", "0"], "--images-per-prompt: 0 is not 1 or more"),
        (["--positive-node-id", "6"], "name nodes of your own workflow (give it with --workflow)"),
        (["--comfy-url", "ftp://x"], "--comfy-url ftp://x: ftp:// is no back end that is known"),
        (["--imagesperprompt", "3"], "unknown argument --imagesperprompt (did you mean --images-per-prompt"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_exit_2_before_anything_is_reached(tmp_path: Path, flags: list[str], told: str) -> None:
    with pytest.raises(InputError) as caught:
        main(["--output-dir", str(tmp_path / "out"), *flags])
    assert told in str(caught.value)


def test_exit_2_names_the_missing_lora_before_the_first_picture(embedded_server: Any, tmp_path: Path) -> None:
    embedded = embedded_server()
    with pytest.raises(InputError, match=r"lora_name 'amiranor_v3\.safetensors' .* did you mean amiranoor_v3\.safetensors"):
        main(["--comfy-url", embedded.url, "--output-dir", str(tmp_path), "--lora", "amiranor_v3.safetensors"])
    assert embedded.counters["POST /prompt"] == 0


def test_exit_3_when_no_server_answers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(lambda: main(["--comfy-url", "http://127.0.0.1:9", "--output-dir", str(tmp_path)])) == 3
    assert capsys.readouterr().err.startswith(
        "error: http://127.0.0.1:9: cannot be reached (Connection refused) (is ComfyUI running there?"
    )


def test_exit_4_when_the_directory_is_in_use(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with hold(tmp_path / generate_batch.LOCK_NAME, "a test"):
        assert cli.run(lambda: main(["--comfy-url", "http://127.0.0.1:9", "--output-dir", str(tmp_path)])) == 4
    assert "in use by process" in capsys.readouterr().err


SOMEONE_ELSES = "8f14e45f-ceea-467f-ab5e-000000000001"
"""A prompt id as newer servers want it."""


def wait_until(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.mark.skipif(not POSIX, reason="signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "sigterm"])
def test_exit_130_cancels_only_ours(embedded_server: Any, tmp_path: Path, number: signal.Signals) -> None:
    embedded = embedded_server(seconds_per_picture=0.5)
    command = [sys.executable, str(SCRIPT), "--comfy-url", embedded.url, "--output-dir", str(tmp_path), *SMALL]
    with subprocess.Popen([*command, "--prompt", "a", "--images-per-prompt", "50"], stderr=subprocess.PIPE, text=True) as process:
        wait_until(lambda: bool(names(tmp_path)))
        theirs = Workflow.built_in().graph
        theirs["1"]["inputs"]["ckpt_name"] = "embedded_demo_sdxl.safetensors"
        requests.post(f"{embedded.url}/prompt", json={"prompt": theirs, "prompt_id": SOMEONE_ELSES}, timeout=10).raise_for_status()
        process.send_signal(number)
        _, error = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert "Traceback" not in error
    queued = requests.get(f"{embedded.url}/queue", timeout=10).json()
    assert {item[1] for item in queued["queue_running"] + queued["queue_pending"]} <= {SOMEONE_ELSES}
    wait_until(lambda: SOMEONE_ELSES in requests.get(f"{embedded.url}/history/{SOMEONE_ELSES}", timeout=10).json())
    for path in tmp_path.glob("*.png"):
        opened(path)


@pytest.mark.skipif(os.name == "nt", reason="kill -9 is POSIX")
@pytest.mark.parametrize("stored", [0, 1, 3])
def test_what_was_posted_before_a_kill_is_not_made_twice(embedded_server: Any, tmp_path: Path, stored: int) -> None:
    """The server goes on with what it was given. The same command takes that over, also where the seed was drawn and nothing shows it."""
    embedded = embedded_server(seconds_per_picture=0.2)
    flags = ["--comfy-url", embedded.url, "--output-dir", str(tmp_path), *SMALL, "--prompt", "a", "--images-per-prompt", "6"]
    with subprocess.Popen([sys.executable, str(SCRIPT), *flags], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        wait_until(lambda: embedded.counters["accepted"] >= 1 and len(names(tmp_path)) >= stored)
        process.kill()
    assert main(flags) == 0
    assert len(names(tmp_path)) == 6
    assert len({parse_picture_name(name).seed for name in names(tmp_path)}) == 6
    assert embedded.counters["accepted"] == 6
    assert list(tmp_path.glob(".*.tmp")) == []


@pytest.mark.skipif(os.name == "nt", reason="kill -9 is POSIX")
def test_what_was_posted_with_other_settings_is_not_taken_over(embedded_server: Any, tmp_path: Path) -> None:
    embedded = embedded_server(seconds_per_picture=0.5)
    flags = ["--comfy-url", embedded.url, "--output-dir", str(tmp_path), *SMALL, "--prompt", "a", "--base-seed", "5"]
    with subprocess.Popen([sys.executable, str(SCRIPT), *flags], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        wait_until(lambda: embedded.counters["accepted"] >= 1)
        process.kill()
    assert main([*flags, "--cfg", "3.25"]) == 0
    (name,) = names(tmp_path)
    assert chunk(tmp_path / name)["5"]["inputs"]["cfg"] == 3.25


def test_a_damaged_record_costs_only_itself(embedded_server: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / ".generate_batch.jsonl").write_bytes(
        b'{"event": "planned", "base_seed": 41}\n[]\n{"event": "submitted", "picture": 7}\n{"torn'
    )
    assert main(["--comfy-url", embedded_server().url, "--output-dir", str(tmp_path), *SMALL, "--prompt", "a"]) == 0
    assert [parse_picture_name(name).seed for name in names(tmp_path)] == [41]
    assert capsys.readouterr().err.count("line skipped") == 3


def test_exit_2_where_nothing_may_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tmp_path.chmod(0o500)
    if os.access(tmp_path, os.W_OK):
        tmp_path.chmod(0o700)
        pytest.skip("nothing is read-only to this user, such as root")
    try:
        assert cli.run(lambda: main(["--comfy-url", "http://127.0.0.1:9", "--output-dir", str(tmp_path / "out")])) == 2
    finally:
        tmp_path.chmod(0o700)
    assert f"{tmp_path} may not be written (change its permissions" in capsys.readouterr().err


def test_help_from_anywhere(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, str(SCRIPT), "--help"], cwd=tmp_path, capture_output=True, text=True, check=True)
    listed = "--workflow --comfy-url --prompts-file --prompt --negative-prompt --images-per-prompt --output-dir --base-seed --steps"
    listed += " --positive-node-id --positive-node-key --negative-node-id --negative-node-key --ksampler-node-id --seed-key --steps-key"
    for flag in f"{listed} --timeout-sec --poll-interval --skip-install".split():
        assert flag in done.stdout
