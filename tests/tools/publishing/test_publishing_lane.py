"""Publishing on approval: beside a running batch, and what the pass at its end does."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from lifeos import cli
from lifeos.policy.loading import POLICY_FILE, load_thresholds
from tests.tools.publishing.published_batches import make_batch, published, told_batch, told_png
from tools import production_pipeline
from tools.production.filing import BatchFolder
from tools.production.journal import JOURNAL_FILE, read_state
from tools.production.plan import read_plan
from tools.publishing import publishing_lane
from tools.publishing.label_check import check_labels
from tools.publishing.publishing_lane import PublishingPlan, plan_publishing
from tools.stand_in import render_references

if TYPE_CHECKING:
    from tools.stand_in.server import EmbeddedServer

    StartServer = Callable[..., EmbeddedServer]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose policy publishes on approval."""
    monkeypatch.setenv("LIFEOS_HOME", str(tmp_path / "home"))
    write_policy(tmp_path)
    return tmp_path


def write_policy(root: Path, **rules: Any) -> None:
    (root / POLICY_FILE).parent.mkdir(exist_ok=True)
    (root / "tools").mkdir(exist_ok=True)
    (root / POLICY_FILE).write_text(yaml.safe_dump({"publishing": {"on_approval": True, "languages": ["de"], **rules}}))


def plan_of(project: Path, notes: list[str] | None = None) -> PublishingPlan:
    plan = plan_publishing(load_thresholds(project), project, (notes if notes is not None else []).append)
    assert plan is not None
    return plan


def produce(*arguments: object) -> tuple[int, dict[str, Any], str]:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = cli.run(lambda: production_pipeline.main([*map(str, arguments), "--json"]))
    return code, json.loads(out.getvalue()), err.getvalue()


def test_the_pipeline_publishes_what_it_approves(project: Path, embedded_server: StartServer) -> None:
    render_references(project / "references", 2)
    command = [
        *("--project-root", project, "--output-dir", project / "batch", "--reference-dir", project / "references", "--engine", "sface"),
        *("--width", 384, "--height", 576, "--base-seed", 7, "--lora", "amiranoor_v3.safetensors", "--comfy-url", embedded_server().url),
    ]
    code, document, told = produce(*command, "--prompt", "amiranoor, close up portrait in a quiet harbour", "--count", 2)
    assert code == 0, told
    assert document["publishing"]["counts"]["approved"] == document["counts"]["approved"] >= 1
    assert document["publishing"]["refused"] == []
    copies = published(project / "batch")
    assert len(copies) == document["counts"]["approved"]
    for path in copies:
        assert check_labels(path.read_bytes(), path).is_whole and b"quiet harbour" not in path.read_bytes()
    assert f"published {len(copies)}: {project / 'batch' / 'published'}" in told
    report = (project / "batch" / "batch_report.md").read_text(encoding="utf-8")
    assert f"| Published, labelled and verified | {len(copies)} of {len(copies)} |" in report
    assert "KI erzeugt" in (project / "batch" / "published" / "README.txt").read_text(encoding="utf-8")
    code, document, told = produce("--rejudge", "--project-root", project, "--output-dir", project / "batch", "--face-threshold", 1)
    assert code == 1 and published(project / "batch") == []
    assert document["publishing"]["counts"]["withdrawn"] == len(copies)


def test_what_cannot_sign_stops_the_batch_before_it_begins(project: Path, embedded_server: StartServer) -> None:
    write_policy(project, certificate="there_is_none.pem", key="env:NO_KEY")
    server = embedded_server()
    code, document, _ = produce("--project-root", project, "--output-dir", project / "batch", "--comfy-url", server.url, "--prompt", "x")
    assert (code, document["error"]["why"]) == (2, "no such file")
    assert server.executed == [] and not (project / "batch").exists()


def test_it_is_off_unless_the_policy_says_so() -> None:
    assert plan_publishing(load_thresholds(), Path(), lambda text: None) is None


def test_the_lane_works_in_a_thread_of_its_own_and_ends_behind_a_copy(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = told_batch(project / "batch", approved=3, rejected=0)
    folder, plan = BatchFolder(batch), read_plan(batch)
    assert plan is not None
    state = read_state(batch / JOURNAL_FILE)
    threads: list[str] = []
    begun, may_go = threading.Event(), threading.Event()
    publish = publishing_lane.Publisher.publish

    def wait(self: Any, original: Any, **taken: Any) -> Any:
        threads.append(threading.current_thread().name)
        begun.set()
        may_go.wait(20)
        return publish(self, original, **taken)

    monkeypatch.setattr(publishing_lane.Publisher, "publish", wait)
    publishing = plan_of(project)
    with publishing.lane(plan, folder) as lane:
        for index, name in enumerate(sorted(state.scored), 1):
            lane.approved(name, index, state.scored[name].sha256)
        assert begun.wait(20), "this thread goes on while the other works"
        threading.Timer(0.2, may_go.set).start()
    assert threads == ["publishing"] and len(published(batch)) == 1
    result = publishing.finish(plan, folder, state)
    assert (len(result.published), len(result.kept), result.exit_code) == (2, 1, 0)


def test_a_picture_that_the_lane_cannot_publish_is_named_at_the_end(project: Path) -> None:
    batch = make_batch(project / "batch", {"0001_x.png": (told_png(1, width=200), True), "0002_x.png": (told_png(2), True)})
    folder, plan = BatchFolder(batch), read_plan(batch)
    assert plan is not None
    state = read_state(batch / JOURNAL_FILE)
    publishing = plan_of(project)
    with publishing.lane(plan, folder) as lane:
        lane.approved("0001_x.png", 1, state.scored["0001_x.png"].sha256)
        lane.approved("there_is_none.png", 3, "0" * 64)
    result = publishing.finish(plan, folder, state)
    assert [name for name, _ in result.refused] == ["0001_x.png"] and len(published(batch)) == 1
    shutil.rmtree(batch / "published")
    assert len(publishing.finish(plan, folder, state).published) == 1
