"""The cost tracker as a command: what it prints, its exit codes, and that nothing is lost. Real processes and sockets."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import pytest

from lifeos import cli
from tests.capabilities import POSIX
from tests.tools.cost.cost_logs import row, write
from tools import runpod_cost_tracker as tracker


class Folder:
    """A log and state of the test's own."""

    def __init__(self, path: Path) -> None:
        self.path, self.log, self.state = path, path / "log.jsonl", path / "state.json"

    def run(self, *arguments: str) -> int:
        places = ["--log-file", str(self.log), "--state-file", str(self.state), "--pictures", str(self.path)]
        return cli.run(lambda: tracker.main([*arguments, *places]))


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def _session(number: int, activity: str, minutes: float, usd: float, **changes: Any) -> dict[str, Any]:
    return row(number, activity=activity, duration_min=minutes, cost_usd=usd, **changes)


@pytest.fixture
def example(folder: Folder) -> Folder:
    """The sessions behind the specification's example: 3 x 45 min, 6 x 15 min, 3 x 295 min at $0.60."""
    sessions = [_session(n, "lora_v3_training", 45, 0.45) for n in range(1, 4)]
    sessions += [_session(n, "generation", 15, 0.15) for n in range(4, 10)]
    sessions += [_session(n, "comfyui_idle", 295, 2.95) for n in range(10, 13)]
    write(folder.log, *sessions)
    return folder


def test_the_block_of_the_specification(example: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    assert example.run("--action", "report") == 0
    printed = capsys.readouterr().out
    assert printed.startswith(
        "=== RunPod Cost Report ===\n"
        "Total sessions: 12\n"
        "Total hours: 18.5\n"
        "Total cost: $11.10\n"
        "By activity:\n"
        "  LoRA training: 3 sessions, 2.25 hrs, $1.35\n"
        "  Generation: 6 sessions, 1.5 hrs, $0.90\n"
        "  ComfyUI idle: 3 sessions, 14.75 hrs, $8.85\n"
    )
    assert "By day (UTC):\n  2026-02-11: 12 sessions, 18.5 hrs, $11.10\n" in printed
    assert "Idle: 80% of the hours" in printed  # 14.75 / 18.5


def test_cost_per_picture_comes_from_the_batches(example: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    report = {"run_id": "v3", "started": "2026-02-11T15:00:00Z", "counts": {"generated": 200, "approved": 120}, "cost": {"usd": 0.9}}
    for name, document in {"real": report, "demo": report | {"engine_notice": "embedded server"}, "older": {"counts": None}}.items():
        (example.path / name).mkdir()
        (example.path / name / "batch_report.json").write_text(json.dumps(document))
    (example.path / "lora").mkdir()
    (example.path / "lora" / "training_record.json").write_text(
        json.dumps({"output_name": "amiranoor_v3", "started": "2026-02-11", "steps": 2500, "cost_usd": 0.45})
    )
    example.run("--action", "report")
    printed = capsys.readouterr().out
    assert "Pictures: 200 generated, 120 approved in 1 batch, $0.90" in printed
    assert "per generated picture: $0.0045; per approved picture: $0.0075" in printed
    assert "per approved picture with everything else above: $0.0925" in printed  # 11.10 / 120
    assert "Training amiranoor_v3 (2026-02-11): 2,500 steps, $0.45" in printed


@pytest.mark.parametrize(
    ("recorded", "told"),
    [
        ({"state": "running", "run_id": "r", "host": "a pod that is gone", "process_group": 7}, "killed"),
        ({"state": "prepared", "run_id": "r"}, "killed"),
        ({"state": "running"}, "running"),  # it names no run: nobody can be asked
        ({"state": "failed", "run_id": "r"}, "failed"),
        ({"state": "finished", "run_id": "r"}, ""),
    ],
)
def test_a_training_that_was_killed_is_not_said_to_run(
    example: Folder, capsys: pytest.CaptureFixture[str], recorded: dict[str, object], told: str
) -> None:
    (example.path / "lora").mkdir()
    document = {"output_name": "v3", "started": "2026-02-11T15:00:00Z", "steps": 12, "cost_usd": 0.45, **recorded}
    (example.path / "lora" / "training_record.json").write_text(json.dumps(document))
    example.run("--action", "report")
    assert f"Training v3 (2026-02-11): 12 steps, $0.45{', ' if told else ''}{told}\n" in capsys.readouterr().out
    example.run("--action", "report", "--json")
    assert json.loads(capsys.readouterr().out)["trainings"][0]["state"] == (told or "finished")


def test_report_as_json_adds_up(example: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    example.run("--action", "report", "--json")
    document = json.loads(capsys.readouterr().out)
    assert document["total"] == {"sessions": 12, "hours": 18.5, "usd": "11.1000"}
    for group in ("by_activity", "by_tag", "by_gpu", "by_day", "by_lora_version"):
        assert sum(Decimal(part["usd"]) for part in document[group].values()) == Decimal("11.1"), group


def test_csv_is_safe_for_spreadsheets(folder: Folder) -> None:
    write(folder.log, row(1, activity='=HYPERLINK("http://x")'))
    assert folder.run("--action", "report", "--csv", str(folder.path / "out.csv")) == 0
    lines = (folder.path / "out.csv").read_text().splitlines()
    assert lines[0] == "day,activity,gpu,rate_per_hr,lora_version,sessions,hours,cost_usd"
    assert lines[1] == """2026-02-11,"'=HYPERLINK(""http://x"")",RTX 4090,0.6,,1,1.2500,0.7500"""


def test_the_plot_is_a_picture(example: Folder) -> None:
    from lifeos.images import read_picture

    assert example.run("--action", "report", "--plot", str(example.path / "cost.png")) == 0
    assert read_picture(example.path / "cost.png").width > 800


def test_a_whole_session(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    assert folder.run("--action", "start", "--activity", "generation", "--rate-per-hr", "0") == 0
    assert "at $0.00/hr" in capsys.readouterr().out  # an explicit 0 is a value
    assert folder.run("--action", "status") == 0
    assert "generation on RTX 4090 since" in capsys.readouterr().out
    assert folder.run("--action", "heartbeat", "--json") == 0
    assert json.loads(capsys.readouterr().out)["activity"] == "generation"
    assert folder.run("--action", "stop", "--json") == 0
    assert json.loads(capsys.readouterr().out)["rate_per_hr"] == 0.0
    assert folder.run("--action", "status") == 0
    assert capsys.readouterr().out == "No session is open.\n"


def test_a_second_start_warns_and_names_the_first(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    folder.run("--action", "start", "--activity", "training")
    folder.run("--action", "start", "--activity", "generation")
    assert "_001 (training, since" in capsys.readouterr().err
    assert json.loads(folder.log.read_text())["end_is"] == "next_start"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--action", "stop"], "error: cost session: none is open (open one with --action start)"),
        (["--action", "start", "--rate-per-hr", "-1"], "--rate-per-hr: -1 is no rate"),
        (["--action", "start", "--gpu", "RTX 409"], "error: RTX 409: no rate for this GPU in the policy (did you mean RTX 4090"),
        (["--action", "report", "--since", "yesterday"], "'yesterday' is no date such as 2026-11-01"),
        (["--action", "stop", "--at", "noon"], "'noon' is no UTC time such as 2026-11-01T12:00:00Z"),
        ([], "one of the arguments --action --watch --check-billing --guard is required"),
    ],
)
def test_bad_usage_is_one_line(folder: Folder, capsys: pytest.CaptureFixture[str], arguments: list[str], line: str) -> None:
    assert folder.run(*arguments) == 2
    error = capsys.readouterr().err
    assert line in error and error.count("\n") == 1


def test_watching_splits_the_time_and_closes_its_session(folder: Folder, project_root: Path) -> None:
    flag = folder.path / "idle-flag"
    command = [sys.executable, "tools/runpod_cost_tracker.py", "--watch", "--watch-interval", "0.01", "--watch-samples", "3"]
    command += ["--comfy-url", "http://127.0.0.1:9", "--log-file", str(folder.log), "--state-file", str(folder.state)]
    done = subprocess.run([*command, "--on-idle", f"echo x > {flag}"], cwd=project_root, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(folder.state.read_text())["open"] == []
    assert folder.log.read_text()  # one session, or more where other tests train and score on this machine meanwhile
    assert not flag.exists()  # 15 minutes have not passed


@pytest.mark.skipif(not POSIX, reason="signals are POSIX")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, getattr(signal, "SIGHUP", signal.SIGTERM)])
def test_watching_that_is_stopped_closes_its_session(folder: Folder, project_root: Path, number: signal.Signals) -> None:
    command = [sys.executable, "tools/runpod_cost_tracker.py", "--watch", "--watch-interval", "0.05", "--comfy-url", "http://127.0.0.1:9"]
    command += ["--log-file", str(folder.log), "--state-file", str(folder.state), "--json"]
    with subprocess.Popen(command, cwd=project_root, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as watching:
        assert watching.stdout is not None
        for _ in range(600):
            if folder.state.exists() and json.loads(folder.state.read_text())["open"]:
                break
            time.sleep(0.05)
        watching.send_signal(number)
        printed = watching.communicate(timeout=60)[0]
    assert watching.returncode == 130
    assert json.loads(printed)["sessions"] == [json.loads(line) for line in folder.log.read_text().splitlines()] != []
    assert json.loads(folder.state.read_text())["open"] == []
    assert folder.log.read_text()


def _billed(pod: str, start: str, usd: float) -> dict[str, Any]:
    parts = {"totalAmount": usd, "gpuAmount": usd - 0.01, "cpuAmount": 0, "diskAmount": 0.01}
    return {"startTime": start, "endTime": "2026-02-13T00:00:00Z", **parts, "podId": pod}


class _RunPod(BaseHTTPRequestHandler):
    seen: ClassVar[list[tuple[str, str | None]]] = []
    body: ClassVar[bytes] = b""
    """Instead of a bill."""

    def do_GET(self) -> None:
        self.seen.append((self.path, self.headers.get("Authorization")))
        if self.path.startswith("/v2/moved"):
            self.send_response(302)
            self.send_header("Location", self.path.replace("/v2/moved", ""))
            self.end_headers()
            return
        good = self.headers.get("Authorization") == "Bearer key-of-the-test"
        body = {
            "records": [_billed("pod1", "2026-02-11T00:00:00Z", 11.10), _billed("pod2", "2026-02-12T01:00:00+01:00", 0.84)],
            "metadata": {},
        }
        data = self.body or json.dumps(body if good else {"error": "no"}).encode()
        self.send_response(200 if good else 401)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def runpod() -> Iterator[str]:
    _RunPod.seen.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), _RunPod) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def _check(folder: Folder, url: str) -> int:
    return folder.run("--check-billing", "--since", "2026-02-01", "--until", "2026-02-28", "--billing-url", url)


def test_the_bill_beside_the_log(folder: Folder, runpod: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("RUNPOD_API_KEY", "key-of-the-test")
    write(folder.log, _session(1, "training", 1110, 11.10, pod_id="pod1"), _session(2, "idle", 75, 0.75))
    assert _check(folder, runpod) == 1
    printed = capsys.readouterr()
    assert "2026-02-11  pod1                11.10     11.10       +0.00\n" in printed.out
    assert "2026-02-11  (no pod id)          0.00      0.75       -0.75  <- look here\n" in printed.out
    assert "2026-02-12  pod2                 0.84      0.00       +0.84  <- look here\n" in printed.out
    assert "key-of-the-test" not in printed.out + printed.err
    query = parse_qs(urlsplit(_RunPod.seen[0][0]).query)
    assert (urlsplit(_RunPod.seen[0][0]).path, query["bucketSize"]) == ("/v2/billing/pods", ["day"])
    assert (query["startTime"], query["endTime"]) == (["2026-02-01T00:00:00Z"], ["2026-03-01T00:00:00Z"])


def test_a_wrong_key_is_never_shown(
    folder: Folder, runpod: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RUNPOD_API_KEY", "wrong-key")
    assert _check(folder, runpod) == 3
    assert capsys.readouterr().err == "error: RunPod billing: answered 401 (check RUNPOD_API_KEY)\n"


class _Redirect(BaseHTTPRequestHandler):
    target: ClassVar[str]

    def do_GET(self) -> None:
        self.send_response(302)
        self.send_header("Location", f"{self.target}{self.path}")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


def test_the_key_does_not_follow_a_redirect(folder: Folder, runpod: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNPOD_API_KEY", "key-of-the-test")
    _Redirect.target = runpod
    with ThreadingHTTPServer(("127.0.0.1", 0), _Redirect) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        assert _check(folder, f"http://127.0.0.1:{server.server_address[1]}") == 3
        server.shutdown()
    assert _RunPod.seen == []  # another host is not asked at all


def test_the_key_follows_no_redirect_on_its_own_host_either(
    folder: Folder, runpod: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RUNPOD_API_KEY", "key-of-the-test")
    assert _check(folder, f"{runpod}/v2/moved") == 3
    assert [path[:9] for path, _ in _RunPod.seen] == ["/v2/moved"]
    assert capsys.readouterr().err == "error: RunPod billing: no usable answer: it redirects, and the key does not follow\n"


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("https://rest.runpod.io/v1", "version 1 of RunPod's API was retired in November 2026 (leave the flag out"),
        ("http://rest.example.org", "begins with http://: anybody on the way could read the key"),
    ],
)
def test_where_no_key_is_sent(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], url: str, why: str
) -> None:
    monkeypatch.setenv("RUNPOD_API_KEY", "key-of-the-test")
    assert _check(folder, url) == 2
    assert f"error: --billing-url: {why}" in capsys.readouterr().err


def test_a_session_over_midnight_is_compared_day_by_day(
    folder: Folder, runpod: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """18.5 hours on the 11th and 1.4 on the 12th, at $0.60: as RunPod bills them."""
    monkeypatch.setenv("RUNPOD_API_KEY", "key-of-the-test")
    night = {"start": "2026-02-11T05:30:00Z", "end": "2026-02-12T01:24:00Z", "pod_id": "pod1"}
    monkeypatch.setattr(
        _RunPod,
        "body",
        json.dumps({"records": [_billed("pod1", "2026-02-11T00:00:00Z", 11.10), _billed("pod1", "2026-02-12T00:00:00Z", 0.84)]}).encode(),
    )
    write(folder.log, _session(1, "training", 1194, 11.94, **night))
    assert _check(folder, f"{runpod}/v2") == 0
    assert "2026-02-12  pod1                 0.84      0.84       +0.00\n" in capsys.readouterr().out


def test_a_key_that_no_header_can_hold_is_not_shown(
    folder: Folder, runpod: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RUNPOD_API_KEY", "first-line\nsecond-line")
    assert _check(folder, runpod) == 2
    wanted = "error: RUNPOD_API_KEY: holds a line end or another character that no key has (copy the key again)\n"
    assert (capsys.readouterr().err, _RunPod.seen) == (wanted, [])


GOOD_RECORD = '{"startTime": "2026-02-11T00:00:00Z", "totalAmount": 1, "podId": "p"}'


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param("<html>", id="no JSON"),
        pytest.param("[" * 100_000, id="deep"),
        pytest.param('{"records": [' + GOOD_RECORD.replace("1,", "Infinity,") + "]}", id="infinite"),
        pytest.param('{"records": [' + GOOD_RECORD.replace("1,", "9" * 5000 + ",") + "]}", id="5,000 digits"),
        pytest.param('{"records": [' + GOOD_RECORD.replace('"2026-02-11T00:00:00Z"', "7") + "]}", id="a number for a time"),
        pytest.param('{"records": [' + GOOD_RECORD.replace("2026-02-11T00:00:00Z", "yesterday") + "]}", id="no time"),
        pytest.param('[{"podId": "p", "time": "2026-02-11T00:00:00Z", "amount": 1}]', id="the form of version 1"),
        pytest.param('{"title": "Too many requests", "status": 429}', id="a problem"),
        pytest.param('{"records": [' + GOOD_RECORD, id="cut"),
    ],
)
def test_an_answer_of_another_form_is_one_line(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], answer: str
) -> None:
    monkeypatch.setenv("RUNPOD_API_KEY", "key-of-the-test")
    monkeypatch.setattr(_RunPod, "body", answer.encode())
    with ThreadingHTTPServer(("127.0.0.1", 0), _RunPod) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        assert _check(folder, f"http://127.0.0.1:{server.server_address[1]}") == 3
        server.shutdown()
    error = capsys.readouterr().err
    assert error.startswith("error: RunPod billing: ") and error.count("\n") == 1


def test_the_last_day_of_all_days_can_be_named(folder: Folder, runpod: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNPOD_API_KEY", "key-of-the-test")
    assert folder.run("--check-billing", "--since", "2026-02-11", "--until", "9999-12-31", "--billing-url", runpod) == 1


def test_rows_that_are_not_compared_are_named(
    folder: Folder, runpod: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RUNPOD_API_KEY", "key-of-the-test")
    write(folder.log, _session(1, "training", 1110, 11.10, pod_id="pod1"), "{torn")
    assert _check(folder, runpod) == 1
    assert f"warning: {folder.log}:2: not counted: not JSON" in capsys.readouterr().err


def test_without_a_key_nothing_is_asked(folder: Folder, runpod: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RUNPOD_API_KEY", raising=False)
    assert _check(folder, runpod) == 2
    assert _RunPod.seen == []
