"""A batch over a server that wants a token and one that wants none: the token is in nothing that the batch writes or prints."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.tools.backends.api_proxy import TOKEN, Proxied
from tools import production_pipeline
from tools.stand_in import render_references

if TYPE_CHECKING:
    from tools.stand_in.server import EmbeddedServer


def test_a_batch_over_two_kinds_of_servers_writes_no_token(
    proxied: Proxied, embedded_server: Callable[..., EmbeddedServer], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = embedded_server(seconds_per_picture=0.4)
    render_references(tmp_path / "references", 1)
    servers = tmp_path / "servers.yaml"
    servers.write_text(f"servers:\n- url: {proxied.url}\n  token_file: {proxied.token_file}\n  usd_per_hour: 3600\n", "utf-8")
    out = tmp_path / "batch"
    flags: list[object] = ["--servers", servers, "--comfy-url", plain.url, "--output-dir", out, "--count", 4, "--prompt", "amiranoor"]
    flags += ["--reference-dir", tmp_path / "references", "--engine", "dlib", "--history-file", tmp_path / "history.jsonl"]
    flags += ["--checkpoint", "embedded_demo_sdxl.safetensors", "--base-seed", 7, "--width", 320, "--height", 320, "--json"]
    assert production_pipeline.main([str(flag) for flag in flags]) in (0, 1)
    said = capsys.readouterr()
    document = json.loads(said.out)
    assert document["counts"]["generated"] == 4
    assert document["cost"]["usd"] > 0
    journal = (out / "journal.jsonl").read_text("utf-8")
    assert proxied.url in journal
    assert plain.url in journal
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) > 8
    secret = TOKEN.encode()
    assert [path.name for path in written if secret in path.read_bytes()] == []
    assert TOKEN not in said.out + said.err
    by_server = {record["server"] for record in map(json.loads, journal.splitlines()) if record["event"] == "submitted"}
    assert by_server == {proxied.url, plain.url}
