"""The servers of a command line and of a file, their tokens, and where these go."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from lifeos.errors import InputError, UnavailableError
from tests.capabilities import POSIX
from tests.tools.backends.raw_server import http, raw_server
from tools.backends.backend import BackendOptions, Tariff
from tools.backends.comfyui_events import EventStream
from tools.backends.comfyui_routes import ServerApi
from tools.backends.credentials import Credential, address_of
from tools.backends.registry import open_backends
from tools.backends.server_entry import ServerEntry
from tools.backends.server_list import list_servers, read_servers
from tools.production.request import Request

GOOD = """
servers:
  - url: comfy+https://cloud.comfy.org
    token_env: CLOUD_KEY
    usd_per_credit: 0.004
    most_at_once: 3
  - url: https://pod-8188.proxy.example
    token_file: pod_token
    header: X-Api-Key
    usd_per_hour: 1
    has_loras: true
  - url: embedded
"""


def test_a_file_and_the_command_line(tmp_path: Path) -> None:
    file = tmp_path / "servers.yaml"
    file.write_text(GOOD, "utf-8")
    assert list_servers(["pod-8188.proxy.example", "127.0.0.1:9"], file) == (
        ServerEntry("comfy+https://cloud.comfy.org", Credential("CLOUD_KEY"), Tariff(usd_per_credit=0.004), 3),
        ServerEntry("https://pod-8188.proxy.example", Credential(None, tmp_path / "pod_token", "X-Api-Key"), Tariff(1), None, True),
        ServerEntry("embedded"),
        ServerEntry("127.0.0.1:9"),
    )


FAULTS = {
    "servers: []": ":1: servers: a list of servers is wanted (write `servers:` and below it `- url: …`)",
    "server:\n- url: x": ":1: server: no such key (and 1 more) (did you mean servers?)",
    "servers:\n- url: http://a\n  token: x": ":3: token: no such key (did you mean token_env, token_file?)",
    "servers:\n- token_env: A": ":2: url: an address is wanted (write `url: http://127.0.0.1:8188`, say)",
    "servers:\n- url: comfi+https://a": ":2: url: comfi+https:// is no back end that is known (did you mean comfy+https",
    "servers:\n- url: http://a?b=1": ":2: url: an address with a query (?…) cannot be followed",
    "servers:\n- url: http://a\n- url: http://b\n- url: http://a/": ":4: url: the same server as at line 2 (name each server once)",
    "servers:\n- url: https://a\n- url: https://A:443/": ":3: url: the same server as at line 2 (name each server once)",
    "servers:\n- url: comfy+http://localhost:1\n- url: COMFY+HTTP://127.0.0.1:1": ":3: url: the same server as at line 2",
    "servers:\n- url: runpod://abc\n- url: RunPod://abc/": ":3: url: the same server as at line 2",
    "servers:\n- url: http://a\n  token_env: A\n  token_file: b": ":4: token_file: given beside token_env (keep one of the two)",
    "servers:\n- url: http://a\n  token_env: sk-secret-77": (
        ":3: token_env: the name of a variable is wanted, never the token itself (export NAME=…, and write NAME)"
    ),
    "servers:\n- url: http://a\n  header: X-Key": ":3: header: given without a token (add token_env or token_file)",
    'servers:\n- url: http://a\n  token_env: A\n  header: "X: y"': ":4: header: the name of a header for the token is wanted",
    "servers:\n- url: http://a\n  usd_per_hour: -1": ":3: usd_per_hour: dollars are wanted, 0 or more, not -1",
    "servers:\n- url: http://a\n  usd_per_second: .nan": ":3: usd_per_second: dollars are wanted, 0 or more, not nan",
    "servers:\n- url: http://a\n  usd_per_hour: '0.69'": ":3: usd_per_hour: dollars are wanted, 0 or more, not the text '0.69'",
    "servers:\n- url: http://a\n  most_at_once: 0": ":3: most_at_once: a whole number of 1 or more is wanted, not 0",
    "servers:\n- url: http://a\n  has_loras: maybe": ":3: has_loras: true or false is wanted",
    "servers:\n- http://a": ":2: a server is `- url: …`, with its other keys below",
    "": ": is empty (write `servers:` and below it `- url: …`)",
    "servers:\n- [": ":3: not YAML: ",
    "servers:\n- url: http://a\n  url: http://b": ":3: servers.0.url: given twice (first at line 2): YAML would silently keep the last",
}


@pytest.mark.parametrize(("text", "said"), FAULTS.items())
def test_each_fault_is_one_line(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(text, "utf-8")
    with pytest.raises(InputError) as caught:
        read_servers(file)
    assert str(caught.value).startswith(f"{file}{said}")
    assert "secret" not in str(caught.value)


def test_an_address_that_is_written_in_two_ways_is_one_server() -> None:
    urls = ["https://a:443", "http://localhost:9", "https://A/", "127.0.0.1:9", "runpod://X", "https://b", "RUNPOD://X", "http://a"]
    assert [entry.url for entry in list_servers(urls)] == ["https://a:443", "http://localhost:9", "runpod://X", "https://b", "http://a"]


def test_a_token_of_the_command_line_is_for_one_server() -> None:
    (entry, demo) = list_servers(["http://127.0.0.1:9", "embedded"], token_env="POD_KEY")
    assert (entry.credential, demo.credential) == (Credential("POD_KEY"), None)
    for urls, said in ((["http://a", "http://b"], "says not which of 2 servers"), (["embedded"], "none is given")):
        with pytest.raises(InputError, match=said):
            list_servers(urls, token_env="POD_KEY")
    with pytest.raises(InputError, match="the name of a variable, never the token itself") as caught:
        list_servers(["http://a"], token_env="sk-1234")
    assert "sk-1234" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "over_http", "is_sent"),
    [
        ("https://pod.example", False, True),
        ("http://127.0.0.1:8188", False, True),
        ("http://localhost:8188", False, True),
        ("http://[::1]:8188", False, True),
        ("http://10.1.2.3:8188", False, True),
        ("http://192.168.0.9", False, True),
        ("http://0.0.0.0:8188", False, False),
        ("http://8.8.8.8:8188", False, False),
        ("http://pod.example:8188", False, False),
        ("http://localhost.example:8188", False, False),
        ("http://pod.example:8188", True, True),
    ],
)
def test_plain_http_takes_a_token_only_at_home(monkeypatch: pytest.MonkeyPatch, url: str, over_http: bool, is_sent: bool) -> None:
    monkeypatch.setenv("POD_KEY", "sk-1234567")
    credential = Credential("POD_KEY", over_http=over_http)
    if is_sent:
        assert address_of(url, credential).credentials == {"Authorization": "Bearer sk-1234567"}
        return
    with pytest.raises(InputError, match="--insecure-token sends it all the same") as caught:
        address_of(url, credential)
    assert "sk-1234567" not in str(caught.value)


@pytest.mark.parametrize("value", [None, "", "two words", "line\nend x", "schlüssel", "x" * 9000])
def test_what_is_no_token_is_refused_without_showing_it(monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    monkeypatch.delenv("POD_KEY", raising=False)
    if value is not None:
        monkeypatch.setenv("POD_KEY", value)
    with pytest.raises(InputError) as caught:
        address_of("https://pod.example", Credential("POD_KEY"))
    assert str(caught.value).startswith("the variable POD_KEY: holds no token")
    assert not value or value not in str(caught.value)


@pytest.mark.skipif(not POSIX, reason="permission bits are POSIX")
def test_a_token_s_file_is_its_owner_s_alone(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("sk-1234567\n", "utf-8")
    file.chmod(0o640)
    with pytest.raises(InputError) as caught:
        Credential(file=file).read()
    assert str(caught.value) == f"{file}: can be read by others (mode 640) (chmod 600 {file})"
    file.chmod(0o600)
    assert Credential(file=file).read() == "Bearer sk-1234567"
    with pytest.raises(InputError, match="the token cannot be read: No such file"):
        Credential(file=tmp_path / "none").read()


def test_a_password_and_a_token_are_not_both_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POD_KEY", "sk-1234567")
    with pytest.raises(InputError, match="give one of the two"):
        address_of("https://me:pw@pod.example", Credential("POD_KEY"))


def test_a_plain_comfyui_gets_the_header_and_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the port beside it, to which the server redirects; and what the server says of our token is hidden."""
    monkeypatch.setenv("POD_KEY", "sk-1234567")
    stats = b'{"system": {"comfyui_version": "1.2 sk-1234567"}, "devices": []}'
    with raw_server(lambda head: [http(stats)]) as elsewhere, raw_server(lambda head: [http(stats)]) as pod:
        api = ServerApi(pod.url, credential=Credential("POD_KEY", header="X-Api-Key"))
        assert api.info().version == "1.2 ***"
        assert b"\r\nX-Api-Key: sk-1234567\r\n" in pod.heads[0]
        assert b"Authorization" not in pod.heads[0]
        pod.answer = lambda head: [http(status="302 Found", Location=f"{elsewhere.url}/system_stats")]
        with pytest.raises(UnavailableError, match="where your password or token is not sent"):
            api.info()
        assert elsewhere.heads == []
        api.close()


def test_the_socket_of_a_plain_comfyui_has_the_header(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POD_KEY", "sk-1234567")
    with raw_server(lambda head: [http(status="403 Forbidden")]) as pod:
        stream = EventStream(address_of(pod.url, Credential("POD_KEY", header="X-Api-Key")), "lifeos-x")
        stream.start()
        until = time.monotonic() + 10
        while not pod.heads and time.monotonic() < until:
            time.sleep(0.01)
        stream.close()
        assert b"\r\nX-Api-Key: sk-1234567\r\n" in pod.heads[0]


def test_prices_and_limits_reach_the_back_end() -> None:
    entry = ServerEntry("http://127.0.0.1:9", tariff=Tariff(usd_per_work_second=0.01), most_at_once=2)
    with open_backends([entry], BackendOptions()) as (server,):
        assert (server.tariff(0.7), server.depth(2)) == (Tariff(usd_per_work_second=0.01), 2)


def test_the_usual_variable_of_runpod(monkeypatch: pytest.MonkeyPatch) -> None:
    from tools.backends.registry import BACKENDS

    monkeypatch.setitem(BACKENDS, "runpod", "somewhere")
    entries: tuple[Any, ...] = list_servers(["runpod://abc123"])
    assert entries[0].credential == Credential("RUNPOD_API_KEY")


def test_a_batch_goes_on_with_its_servers_or_with_another_set(tmp_path: Path) -> None:
    """What is stored of a batch names the variable; a new set takes the place of the old one, token and all."""
    begun = Request(tmp_path, servers_file=tmp_path / "servers.yaml", comfy_urls=("http://a",), comfy_token_env="POD_KEY").to_json()
    assert begun["comfy_token_env"] == "POD_KEY"
    again = Request(tmp_path).completed_by(begun)
    assert (again.servers_file, again.comfy_urls, again.comfy_token_env) == (tmp_path / "servers.yaml", ("http://a",), "POD_KEY")
    other = Request(tmp_path, comfy_urls=("http://b",)).completed_by(begun)
    assert (other.servers_file, other.comfy_urls, other.comfy_token_env) == (None, ("http://b",), None)


@pytest.mark.parametrize("url", ["runpod://two words", "http://me:secret@pod:8188"])
def test_an_address_that_cannot_be_opened_is_told_with_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("POD_TOKEN", "t0ken")
    file = tmp_path / "servers.yaml"
    file.write_text(f"servers:\n  - url: embedded\n  - url: {url}\n    token_env: POD_TOKEN\n", encoding="utf-8")
    with pytest.raises(InputError) as caught, open_backends(list_servers([], file)):
        pass
    assert str(caught.value).startswith(f"{file}:3: ")
    assert "--comfy-url" not in str(caught.value)
    assert "secret" not in str(caught.value)
