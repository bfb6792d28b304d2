"""`runpod_cost_tracker --guard` as a command: the real program over loopback, its flags, a pod's heartbeats, its line in the report."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lifeos import cli, locks, web
from lifeos.errors import LifeosError
from tests.tools.cost.cost_logs import row, write
from tests.tools.cost.pod_stand_in import KEY, PlannedPod, PodStandIn, served
from tools import runpod_cost_tracker as tracker
from tools.backends.credentials import Credential
from tools.cost.guard_clock import read_date, seconds_since
from tools.cost.guard_log import GuardLook, read_stops
from tools.cost.heartbeats import PodPulse, PulseKeeper, SessionPulse, is_idle_name, read_pulse, read_shared, serve_pulse
from tools.cost.pod_sight import Sights
from tools.cost.pods_api import RentedPod
from tools.cost.session import OpenSession

POLICY = "cost:\n  guard:\n    idle_minutes: 0.01\n    name_prefix: lora-\n"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RUNPOD_API_KEY", KEY)
    (tmp_path / "evals").mkdir()
    (tmp_path / "evals" / "thresholds.yaml").write_text(POLICY)
    return tmp_path


def _guard(project: Path, url: str, *arguments: str) -> list[str]:
    places = ["--api-url", url, "--endpoint-url", url, "--proxy-url", f"{url}/proxy/{{pod}}/{{port}}"]
    return ["--guard", "--project-root", str(project), *places, "--watch-interval", "0.1", *arguments]


def test_the_real_command_stops_the_idle_pod_alone(project: Path, project_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pods = [
        PlannedPod("idle1", [(0, "idle")]),
        PlannedPod("busy1", [(0, "generation")]),
        PlannedPod("other", [(0, "idle")], name="production"),
        PlannedPod("kept1", [(0, "idle")], locked=True),
    ]
    stand_in = PodStandIn(pods)
    stand_in.latency = 1.0  # RunPod counts uptimes in seconds
    health = {"jobs": {"inQueue": 2, "inProgress": 1}, "workers": {"idle": 0, "running": 1}}
    with served(stand_in, {"ep1": health}) as url:
        command = [
            sys.executable,
            "tools/runpod_cost_tracker.py",
            *_guard(project, url, "--endpoint", "ep1", "--watch-samples", "14", "--json"),
        ]
        done = subprocess.run(command, cwd=project_root, env=os.environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert {one["id"]: one["state"] for one in told["pods"]} == {"idle1": "stopped", "busy1": "working", "kept1": "locked"}
    assert [(stop["pod"], stop["reason"], stop["outcome"]) for stop in told["stops"]] == [("lora-pod (idle1)", "idle", "stopped")]
    assert (told["other_pods"], told["endpoints"][0]["workers"]["running"]) == (1, 1)
    assert {pod.id: pod.stop_asked for pod in pods} == {"idle1": 1, "busy1": 0, "other": 0, "kept1": 0}
    assert "lora-pod (idle1) is stopped; its volume is kept, and costs on" in done.stderr
    assert "endpoint ep1: workers 1 running; jobs 1 running, 2 waiting" in done.stderr
    written = "".join(path.read_text() for path in (project / "tools").rglob("*") if path.is_file())
    assert KEY not in written + done.stdout + done.stderr

    tracker.main(["--action", "report", "--project-root", str(project)])
    assert "Stopped by the guard: 1 pod, saved $0.0" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--pod-prefix", ""], "--guard: no pod is named, and it stops no other (give --pod ID or --pod-prefix TEXT"),
        (["--pod", "a/b"], "--pod: 'a/b' is no id of a pod"),
        (["--lease", "soon"], "argument --lease: 'soon' is no time such as 4h, 90m or 1h30m"),
        (["--api-url", "http://api.example.org"], "--api-url: begins with http://: anybody on the way could read the key"),
        (["--api-url", "ftp://u:secret@x"], "--api-url: 'x' is no http or https address (leave the flag out, or give https://"),
        (["--api-url", "api.runpod.io"], "--api-url: 'api.runpod.io' is no http or https address"),
        (["--proxy-url", "https://example.org"], "--proxy-url: is no address with {pod} and {port}"),
        (["--comfy-token-env", "NO_SUCH_VARIABLE"], "the variable NO_SUCH_VARIABLE: holds no token"),
        (
            ["--comfy-token-env", "RUNPOD_API_KEY", "--proxy-url", "http://x.example/{pod}/{port}"],
            "http://x.example/pod/8188: a token would go there over plain http, where everybody on the way can read it",
        ),
        (["--endpoint", "../x"], "--endpoint: '../x' is no id of an endpoint"),
    ],
)
def test_bad_usage_of_the_guard_is_one_line(project: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], line: str) -> None:
    assert cli.run(lambda: tracker.main([*_guard(project, "http://127.0.0.1:9"), *arguments])) == 2
    error = capsys.readouterr().err
    assert line in error and error.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--action", "report", "--dry-run"], "--dry-run: says what the guard would stop (give --guard too)"),
        (["--action", "report", "--pod", "abc"], "--pod: belongs to --guard (give --guard too, or leave it out)"),
        (["--watch", "--pod-prefix", "lora-"], "--pod-prefix: belongs to --guard"),
        (["--action", "report", "--lease", "4h"], "--lease: belongs to --guard, --watch and --action start"),
        (["--action", "report", "--comfy-token-env", "X"], "--comfy-token-env: is for what --watch and --guard ask of ComfyUI"),
        (["--watch", "--comfy-token-env", "NO_SUCH_VARIABLE"], "the variable NO_SUCH_VARIABLE: holds no token"),
        (["--watch", "--comfy-token-env", "sk-secret"], "--comfy-token-env: wants the name of a variable, never the token itself"),
        (["--action", "report", "--serve-heartbeats"], "--serve-heartbeats: tells what --watch sees (give --watch too)"),
    ],
)
def test_flags_of_the_guard_alone_are_refused(capsys: pytest.CaptureFixture[str], arguments: list[str], line: str) -> None:
    assert cli.run(lambda: tracker.main(arguments)) == 2
    assert line in capsys.readouterr().err


def test_the_token_of_comfyui_goes_to_its_port_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """RunPod's key goes to neither, the token not to the heartbeats; a ComfyUI that wants it is seen."""
    monkeypatch.setenv("COMFY_TOKEN", "secret-of-the-test")
    asked: dict[str, dict[str, str]] = {}

    def get(url: str, what: str, *, headers: dict[str, str] | None = None, **options: Any) -> bytes:
        asked[url.partition("/")[2].partition("/")[2]] = dict(headers or {})
        return b'{"exec_info": {"queue_remaining": 2}}'

    credential = Credential(variable="COMFY_TOKEN")
    sights = Sights(8188, 8190, [], "https://{pod}-{port}.proxy.test", get, credential)
    sights.check_token()
    sight = sights.look(RentedPod("p1", ports=["8188/http", "8190/http"]))
    bearer = {"Authorization": "Bearer secret-of-the-test"}
    assert sight.queued == 2
    assert asked == {
        "p1-8188.proxy.test/prompt": bearer,
        "p1-8188.proxy.test/history?max_items=1": bearer,
        "p1-8190.proxy.test/heartbeats": {},
    }
    assert "secret" not in repr(sights)


def test_a_wrong_key_ends_the_guard_with_3(project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("RUNPOD_API_KEY", "wrong-key")
    with served(PodStandIn([])) as url:
        assert cli.run(lambda: tracker.main(_guard(project, url))) == 3
    error = capsys.readouterr().err
    assert "error: RunPod: answered 401, Unauthorized (check the key in RUNPOD_API_KEY)" in error and "wrong-key" not in error


def test_a_second_guard_of_the_same_log_is_refused(project: Path) -> None:
    with locks.hold(project / "tools" / ".guard_state.json.lock", "a guard"):
        assert cli.run(lambda: tracker.main(_guard(project, "http://127.0.0.1:9"))) == 4


def _session(pod: str, activity: str = "training", **changes: Any) -> OpenSession:
    return OpenSession("2026-11-30_001", "2026-11-30T12:00:00Z", activity, "RTX 4090", "0.6", pod_id=pod, **changes)


def test_a_pod_serves_its_heartbeats_and_nothing_else() -> None:
    sessions = [_session("pod1", lease_seconds=7200.0), _session("pod2")]
    keeper = PulseKeeper("pod1", lambda: sessions)
    keeper.looked("transfer", True)
    with serve_pulse(0, keeper.pulse) as port:
        url = f"http://127.0.0.1:{port}"
        told = read_pulse(url, 5)
        assert told == PodPulse("pod1", 1, "transfer", [SessionPulse("2026-11-30_001", "training", "", 7200.0)], 1)
        assert (told.is_idle, told.lease_seconds) == (False, 7200.0)
        with pytest.raises(LifeosError, match="404"):
            web.get(f"{url}/etc", "the pod", seconds=5)
        keeper.looked("idle", False)
        again = read_pulse(url, 5)
        assert again is not None and again.is_idle and again.mark != told.mark
    assert read_pulse(url, 1) is None


def test_heartbeats_of_a_folder_that_both_see(tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    assert tracker.main(["--action", "status", "--state-file", str(state)]) == 0
    state.write_text(json.dumps({"open": [{**_document(_session("pod1", "lora_v3_training"))}, _document(_session(""))]}))
    told = read_shared([tmp_path / "none.json", state], "pod1")
    assert told is not None and (told.is_idle, len(told.sessions)) == (False, 1)
    assert read_shared([state], "pod2") is None  # a session without a pod is of none


def _document(session: OpenSession) -> dict[str, Any]:
    return {name: getattr(session, name) for name in OpenSession.__slots__}


@pytest.mark.parametrize(("activity", "idle"), [("idle", True), ("comfyui_idle", True), ("training", False), ("idlewild", False)])
def test_which_activities_are_idle(activity: str, idle: bool) -> None:
    assert is_idle_name(activity) is idle


def test_a_lease_given_at_the_start_is_in_the_session(tmp_path: Path) -> None:
    places = ["--log-file", str(tmp_path / "log.jsonl"), "--state-file", str(tmp_path / "state.json")]
    assert tracker.main(["--action", "start", "--lease", "1h30m", *places]) == 0
    assert json.loads((tmp_path / "state.json").read_text())["open"][0]["lease_seconds"] == 5400


@pytest.mark.parametrize(
    ("before", "now", "seconds"),
    [
        pytest.param(GuardLook(), GuardLook("2026-11-30T12:00:00Z", "2026-11-30T12:00:00Z", "b", 5), 0, id="the first look"),
        pytest.param(
            GuardLook("2026-11-30T12:00:00Z", "2026-11-30T12:00:00Z", "b", 5),
            GuardLook("2026-12-30T12:00:00Z", "2020-11-30T12:00:00Z", "b", 25),
            20,
            id="one boot: nobody sets its uptime",
        ),
        pytest.param(
            GuardLook("2026-11-30T12:00:00Z", "2026-11-30T12:00:00Z", "a", 500),
            GuardLook("2026-11-30T12:01:00Z", "2026-12-01T12:00:00Z", "b", 5),
            60,
            id="another boot: the shorter span",
        ),
        pytest.param(
            GuardLook("", "2026-11-30T12:00:00Z", "a", 500), GuardLook("x", "2026-11-30T11:00:00Z", "b", 5), 0, id="set back: never below 0"
        ),
    ],
)
def test_time_between_two_looks(before: GuardLook, now: GuardLook, seconds: float) -> None:
    assert seconds_since(before, now) == seconds


def test_an_http_date_is_read_or_left() -> None:
    assert [read_date(text) for text in ("Mon, 30 Nov 2026 12:00:00 GMT", "", "soon")] == ["2026-11-30T12:00:00Z", "", ""]


def _stop(stop_id: str, *, price: float | None, stood_hours: float, outcome: str = "stopped") -> list[dict[str, Any]]:
    ids = {"stop_id": stop_id, "at": "2026-11-30T12:00:00Z"}
    return [
        {**ids, "event": "asked", "pod_id": "p", "pod_name": "lora", "reason": "idle", "usd_per_hr": price, "volume_usd_per_hr": 0.1},
        {**ids, "event": "settled", "outcome": outcome},
        {**ids, "event": "ended", "stood_seconds": stood_hours * 3600},
    ]


def test_what_was_saved_stands_in_the_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """2 h at $0.60 less $0.10 for the volume is $1.00; of 100 h at $0.60 only 12 count: $6.00; a refused stop saved nothing."""
    write(tmp_path / "log.jsonl", row(1))
    stops = [
        *_stop("a", price=0.6, stood_hours=2),
        *_stop("b", price=0.6, stood_hours=100),
        *_stop("c", price=9, stood_hours=9, outcome="refused"),
    ]
    write(tmp_path / "guard_log.jsonl", *stops, "{torn")
    found = read_stops(tmp_path / "guard_log.jsonl", tmp_path / "none.json")
    assert [str(stop.saved_usd) for stop in found] == ["1.0", "6.0", "0"]
    places = ["--log-file", str(tmp_path / "log.jsonl"), "--state-file", str(tmp_path / "state.json"), "--pictures", str(tmp_path)]
    tracker.main(["--action", "report", *places])
    printed = capsys.readouterr()
    assert "Stopped by the guard: 2 pods, saved $7.00\n" in printed.out
    assert "The guard asked for 1 more stop that did not come about; they are in its log" in printed.out
    assert "guard_log.jsonl:10" in printed.err
    tracker.main(["--action", "report", *places, "--json", "--until", "2026-11-29"])
    assert json.loads(capsys.readouterr().out)["guard"] == {"stopped": 0, "saved_usd": "0.0000", "stops": []}
