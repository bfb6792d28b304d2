"""`setup` fetches only what it can verify; `doctor` tells what is missing and changes nothing. Real sockets."""

from __future__ import annotations

import hashlib
import json
import sys
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from evals.faces.engines import ENGINES
from lifeos import doctor, setup
from lifeos.errors import UnavailableError
from lifeos.model_folders import MODELS_FOLDER, model_folders
from lifeos.setup import Model

BODY = b"model weights" * 1000


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        routes: dict[str, tuple[int, bytes]] = {
            "/good.onnx": (200, BODY),
            "/system_stats": (200, json.dumps({"system": {"comfyui_version": "0.8.0"}}).encode()),
            "/html/system_stats": (200, b"<html>a login page</html>"),
        }
        status, body = routes.get(self.path, (404, b""))
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_address[1]}"
        http.shutdown()


def _model(url: str, sha256: str | None = None) -> Model:
    return Model("face.onnx", sha256 or hashlib.sha256(BODY).hexdigest(), url, "MIT")


def test_a_model_is_fetched_once(server: str, tmp_path: Path) -> None:
    path = setup.fetch_model(_model(f"{server}/good.onnx"), tmp_path)
    assert path.read_bytes() == BODY
    assert setup.fetch_model(_model(f"{server}/gone"), tmp_path) == path  # there already: no request


def test_a_model_with_other_bytes_is_refused_and_not_kept(server: str, tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="its SHA-256 is "):
        setup.fetch_model(_model(f"{server}/good.onnx", "0" * 64), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_model_is_fetched_again(server: str, tmp_path: Path) -> None:
    (tmp_path / "face.onnx").write_bytes(b"half")
    assert setup.fetch_model(_model(f"{server}/good.onnx"), tmp_path).read_bytes() == BODY


def test_no_network_says_where_to_put_the_file(server: str, tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match=r"cannot be fetched: .*\(fetch it by other means into .*face\.onnx\)"):
        setup.fetch_model(_model(f"{server}/missing"), tmp_path)


def test_the_detector_of_version_3_0_is_fetched_if_it_can_be(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said: list[str] = []
    monkeypatch.setattr(setup, "YUNET", _model(f"{server}/missing"))
    setup.fetch_old_detector(tmp_path, said.append)
    assert said == [] and capsys.readouterr().err.endswith("only what was begun with this file of YuNet needs it\n")
    monkeypatch.setattr(setup, "YUNET", _model(f"{server}/good.onnx"))
    setup.fetch_old_detector(tmp_path, said.append)
    assert said == [f"face detector of version 3.0.0: {tmp_path / 'face.onnx'} (MIT)"] and capsys.readouterr().err == ""


def test_a_pack_is_unpacked_flat_whatever_its_names_say(tmp_path: Path) -> None:
    archive = tmp_path / "pack.zip"
    with zipfile.ZipFile(archive, "w") as pack:
        pack.writestr("../../det.onnx", b"d")
        pack.writestr("readme.txt", b"no model")
    setup.unpack(archive)
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.onnx")) == [str(Path("pack/det.onnx"))]


def test_doctor_finds_a_comfyui(server: str) -> None:
    assert doctor.examine_comfyui(server).message == f"0.8.0 at {server}"


def test_doctor_is_not_fooled_by_another_server(server: str) -> None:
    assert doctor.examine_comfyui(f"{server}/html").severity == "warning"


@pytest.mark.parametrize(
    ("provider", "profile", "status", "words"),
    [
        ("CPUExecutionProvider", "cpu", "ok", "1.26.0 runs on CPUExecutionProvider"),
        ("CUDAExecutionProvider", "gpu", "ok", "1.26.0 runs on CUDAExecutionProvider"),
        ("CPUExecutionProvider", "gpu", "warning", "CUDA is offered but does not start"),
    ],
)
def test_doctor_tells_the_provider_that_ran(provider: str, profile: str, status: str, words: str) -> None:
    said = {
        "versions": {"onnxruntime": "1.26.0"},
        "broken": {},
        "providers": ["CUDAExecutionProvider", "CPUExecutionProvider"],
        "provider": provider,
    }
    (finding,) = doctor.examine_packages(said, profile)
    assert finding.severity == status
    assert words in finding.message


def test_doctor_without_an_environment_names_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LIFEOS_HOME", str(tmp_path / "none"))
    assert doctor.main(["--comfy-url", "http://127.0.0.1:9"]) == 1
    printed = capsys.readouterr().out
    assert "error    environment" in printed and "-> python -m lifeos setup" in printed
    assert "setup brings the packages and the default face engine's models; --dlib adds the engine dlib" in " ".join(printed.split())
    assert not (tmp_path / "none").exists()


def test_doctor_as_json(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    monkeypatch.setenv("LIFEOS_HOME", str(tmp_path / "none"))
    doctor.main(["--json", "--comfy-url", "http://127.0.0.1:9"])
    names = {finding["rule"]: finding["severity"] for finding in json.loads(capsys.readouterr().out)["findings"]}
    assert names["environment"] == "error" and names["Python"] == "ok"


ROWS = [
    {"engine": "big", "summary": "a pack", "ready": False, "found": "model pack big: not here", "fix": "fetch it"},
    {"engine": "hurt", "summary": "any use", "ready": False, "found": "model.onnx: damaged", "fix": "run setup"},
    {"engine": "free", "summary": "any use", "ready": True, "found": "with YuNet", "fix": ""},
    {
        "engine": "last",
        "summary": "any use",
        "ready": False,
        "found": "face engine last: the package is not installed",
        "fix": "run setup --last",
    },
]


def test_doctor_says_which_engine_auto_takes_and_why_not_one_before_it() -> None:
    found = list(doctor.examine_engines(doctor.ModuleAnswer({"engines": ROWS}, "")))
    assert [(item.severity, item.rule, item.message, item.fix) for item in found] == [
        (
            "ok",
            "--engine auto",
            "takes free, the first of big, hurt, free, last that can run; big passed over: model pack big: not here; "
            "hurt passed over: model.onnx: damaged",
            "",
        ),
        ("notice", "face engine big", "model pack big: not here", "fetch it"),
        ("notice", "face engine hurt", "model.onnx: damaged", "run setup"),
        ("ok", "face engine free", "with YuNet (any use)", ""),
        ("notice", "face engine last", "the package is not installed", "run setup --last"),
    ]


def test_doctor_calls_it_an_error_where_no_engine_can_run_and_says_what_setup_brings() -> None:
    choice, *rows = doctor.examine_engines(doctor.ModuleAnswer({"engines": ROWS[:2]}, ""))
    assert (choice.severity, choice.fix) == ("error", "python -m lifeos setup"), "nothing can be scored"
    assert choice.message.startswith("finds none of big, hurt that can run; setup brings the packages and the default face engine's models")
    assert [row.severity for row in rows] == ["notice", "notice"], "one fault, told once"
    (broken,) = doctor.examine_engines(doctor.ModuleAnswer({}, "no module named numpy"))
    assert (broken.severity, broken.message) == ("error", "no module named numpy")


def test_doctor_reads_the_engines_of_this_project() -> None:
    """The line is about the registry in force, as the environment's own Python reads it."""
    choice, *rows = doctor.examine_engines(doctor._ask(Path(sys.executable), "evals.faces"))
    assert choice.rule == "--engine auto" and choice.severity == "ok"
    assert [row.rule for row in rows] == [f"face engine {row.name}" for row in ENGINES]


def test_a_user_without_a_home_has_the_project_s_models(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("LIFEOS_MODELS", raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    assert model_folders() == [MODELS_FOLDER]


def test_doctor_asks_servers_of_any_kind() -> None:
    args = doctor.build_parser().parse_args(["--comfy-url", "comfy+http://127.0.0.1:9"])
    (found,) = doctor.examine_servers(Path(sys.executable), doctor.flags_for_report(args))
    assert found.severity == "warning"
    assert found.message.startswith("comfy+http://127.0.0.1:9: cannot be reached")
    assert doctor.flags_for_report(doctor.build_parser().parse_args(["--comfy-url", "http://127.0.0.1:9"])) == []
