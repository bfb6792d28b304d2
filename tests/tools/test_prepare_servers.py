"""A LoRA is brought to each server that takes it, and what cannot be done is said with what to do."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.tools.backends.api_proxy import TOKEN, Proxied
from tools import prepare_servers

if TYPE_CHECKING:
    from tools.stand_in.server import EmbeddedServer


@pytest.fixture
def lora(tmp_path: Path) -> Path:
    data = json.dumps({"lora_unet_a.lora_down.weight": {"dtype": "F32", "shape": [1, 2], "data_offsets": [0, 8]}}).encode()
    file = tmp_path / f"{tmp_path.name}.safetensors"
    file.write_bytes(struct.pack("<Q", len(data)) + data + tmp_path.name.encode()[-8:].rjust(8))
    return file


def run(capsys: pytest.CaptureFixture[str], *flags: object) -> tuple[int, list[dict[str, Any]]]:
    code = prepare_servers.main([*map(str, flags), "--json"])
    said = capsys.readouterr()
    assert TOKEN not in said.out + said.err
    return code, json.loads(said.out)["findings"]


def test_uploaded_where_it_is_taken_and_looked_for_elsewhere(
    proxied: Proxied, embedded_server: Callable[..., EmbeddedServer], lora: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain, other = embedded_server(), embedded_server()
    servers = tmp_path / "servers.yaml"
    servers.write_text(
        f"servers:\n- url: {proxied.url}\n  token_file: {proxied.token_file}\n- url: {other.url}\n  has_loras: true\n", "utf-8"
    )
    flags = ("--lora-file", lora, "--servers", servers, "--comfy-url", plain.url, "--comfy-url", "http://127.0.0.1:7")
    code, found = run(capsys, *flags)
    there, said, lacks, dead = (
        next(each for each in found if url in each["message"]) for url in (proxied.url, other.url, plain.url, ":7:")
    )
    assert code == 3
    assert said["severity"] == "ok"
    assert (there["severity"], there["message"]) == ("ok", f"{proxied.url}: has {lora.name}, {lora.stat().st_size:,} bytes")
    assert (proxied.models / "loras" / lora.name).read_bytes() == lora.read_bytes()
    assert dead["message"].startswith("http://127.0.0.1:7: cannot be reached")
    assert lacks["message"] == f"{plain.url}: has no {lora.name}, and takes no model files over HTTP"
    assert lacks["fix"] == f"copy {lora} into the folder models/loras there"
    plain.add_model("loras", lora.name)
    assert run(capsys, "--lora-file", lora, "--comfy-url", plain.url)[0] == 0


def test_a_server_without_the_file_is_a_failure(
    embedded_server: Callable[..., EmbeddedServer], lora: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(capsys, "--lora-file", lora, "--comfy-url", embedded_server().url)[0] == 1


def test_the_same_bytes_under_another_name_are_said(
    proxied: Proxied, lora: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PROXY_TOKEN", TOKEN)
    flags = ("--comfy-url", proxied.url, "--comfy-token-env", "PROXY_TOKEN")
    assert run(capsys, "--lora-file", lora, *flags)[0] == 0
    second = lora.with_name("second.safetensors")
    second.write_bytes(lora.read_bytes())
    code, (said,) = run(capsys, "--lora-file", second, *flags)
    assert (code, said["message"]) == (1, f"{proxied.url}: has the same bytes already, as {lora.name}")


def test_one_that_is_dead_or_lacks_its_token_stops_none_of_the_others(
    embedded_server: Callable[..., EmbeddedServer], lora: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    has_it = embedded_server()
    has_it.add_model("loras", f"chars\\{lora.name}")
    rows = ["http://127.0.0.1:11", "http://127.0.0.1:12", "http://127.0.0.1:13\n  token_file: nowhere", has_it.url]
    servers = tmp_path / "servers.yaml"
    servers.write_text("servers:\n" + "".join(f"- url: {row}\n" for row in rows))
    code, found = run(capsys, "--lora-file", lora, "--servers", servers)
    assert (code, [each["severity"] for each in found].count("ok"), len(found)) == (3, 1, 4)
    assert prepare_servers.main(["--lora-file", str(lora), "--servers", str(servers)]) == 3
    printed = capsys.readouterr().out
    assert "2 servers: cannot be reached (Connection refused): http://127.0.0.1:11, http://127.0.0.1:12\n" in printed
    assert f"http://127.0.0.1:13: {tmp_path / 'nowhere'} the token cannot be read" in printed
    assert f"{has_it.url}: has chars\\{lora.name}, " in printed
