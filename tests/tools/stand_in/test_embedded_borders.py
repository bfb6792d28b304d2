"""The embedded server stands apart: nobody imports it unasked, no other name reaches it, and no link leads out of its folder."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.checkouts import ROOT
from tests.tools.stand_in.embedded_graphs import flat_graph, queue, wait_for
from tools.stand_in import start_embedded_server
from tools.stand_in.server import EmbeddedServer

SECRET = b"a file of this machine"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedServer]:
    with start_embedded_server(output_dir=tmp_path / "root") as server:
        yield server


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1.evil.example:{port}", "192.168.0.5:{port}", "[::1", "localhost.evil.example"]
)
def test_a_name_that_leads_here_is_refused(server: EmbeddedServer, host: str) -> None:
    """DNS rebinding: a page's own name is made to lead to 127.0.0.1, so that Origin and Host agree."""
    named = host.replace("{port}", server.url.rpartition(":")[2])
    headers = {"Host": named, "Origin": f"http://{named}"}
    assert requests.get(f"{server.url}/queue", headers=headers, timeout=10).status_code == 403
    assert requests.post(f"{server.url}/prompt", json={"prompt": {}}, headers=headers, timeout=10).status_code == 403
    assert requests.get(f"{server.url}/ws", headers=headers, timeout=10).status_code == 403


@pytest.mark.parametrize("host", ["127.0.0.1:{port}", "localhost:{port}", "[::1]:{port}", "LOCALHOST", "127.1.2.3"])
def test_this_machine_s_own_names_are_not(server: EmbeddedServer, host: str) -> None:
    named = host.replace("{port}", server.url.rpartition(":")[2])
    assert requests.get(f"{server.url}/queue", headers={"Host": named}, timeout=10).status_code == 200


@pytest.fixture
def linked(server: EmbeddedServer, tmp_path: Path) -> EmbeddedServer:
    """With links in its output folder to a file and a folder outside."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.png").write_bytes(SECRET)
    try:
        (server.output_dir / "link.png").symlink_to(outside / "secret.png")
        (server.output_dir / "folder").symlink_to(outside)
        (server.output_dir.parent / "input" / "link.png").symlink_to(outside / "secret.png")
    except OSError:
        pytest.skip("links may not be made here")
    return server


@pytest.mark.usefixtures("links")
@pytest.mark.parametrize("params", [{"filename": "link.png"}, {"filename": "secret.png", "subfolder": "folder"}], ids=["file", "folder"])
def test_no_link_is_followed_out_of_the_folder(linked: EmbeddedServer, params: dict[str, str]) -> None:
    answer = requests.get(f"{linked.url}/view", params=params, timeout=10)
    assert (answer.status_code, answer.content) == (403, b"")


@pytest.mark.usefixtures("links")
def test_a_picture_behind_a_link_is_not_loaded(linked: EmbeddedServer) -> None:
    """The name is offered, as a real server offers it, and then not followed."""
    graph = {"1": {"class_type": "LoadImage", "inputs": {"image": "link.png"}}, "2": flat_graph()["2"]}
    entry = wait_for(linked, queue(linked, graph))
    assert (entry["status"]["status_str"], entry["outputs"]) == ("error", {})


@pytest.mark.usefixtures("links")
def test_links_in_a_circle_and_endless_names_are_no_file(server: EmbeddedServer) -> None:
    try:
        (server.output_dir / "round.png").symlink_to("about.png")
        (server.output_dir / "about.png").symlink_to("round.png")
    except OSError:
        pytest.skip("links may not be made here")
    asked = {
        name: requests.get(f"{server.url}/view", params={"filename": name}, timeout=10).status_code for name in ("round.png", "x" * 5000)
    }
    assert asked == {"round.png": 403, "x" * 5000: 404}


@pytest.mark.usefixtures("links")
def test_nothing_is_written_through_a_link(linked: EmbeddedServer, tmp_path: Path) -> None:
    entry = wait_for(linked, queue(linked, flat_graph(7, "folder/a")))
    assert entry["status"]["status_str"] == "error"
    upload = {"image": ("link.png", b"other")}
    answer = requests.post(f"{linked.url}/upload/image", files=upload, data={"overwrite": "true"}, timeout=10)
    assert answer.status_code == 403
    answer = requests.post(f"{linked.url}/upload/image", files=upload, data={"subfolder": "folder", "type": "output"}, timeout=10)
    assert answer.status_code == 400
    assert {path.name: path.read_bytes() for path in (tmp_path / "outside").iterdir()} == {"secret.png": SECRET}


@pytest.mark.usefixtures("links")
def test_a_link_within_the_folder_is_followed(server: EmbeddedServer) -> None:
    (server.output_dir / "a.png").write_bytes(b"inside")
    try:
        (server.output_dir / "b.png").symlink_to("a.png")
    except OSError:
        pytest.skip("links may not be made here")
    assert requests.get(f"{server.url}/view", params={"filename": "b.png"}, timeout=10).content == b"inside"


def test_a_pod_imports_neither_the_server_nor_its_portrait() -> None:
    """What runs a batch on a real server: the pipeline, the sweep, the health check and their back end, opened and asked."""
    code = """
import sys
import tools.production_pipeline, tools.parameter_sweep, tools.generate_batch, tools.pod_health_check
import tools.production.pipeline, tools.production.preview, tools.sweep.running, tools.backends.dispatch
from tools.backends.registry import open_backends
from lifeos.errors import UnavailableError
with open_backends(["http://127.0.0.1:9"]) as (server,):
    try:
        server.connect()
    except UnavailableError:
        pass
print(*sorted(name for name in sys.modules if name.partition(".")[0] == "aiohttp" or name.startswith("tools.stand_in")))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
