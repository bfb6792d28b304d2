"""What the tests of reviewing share: a small finished batch whose pictures have their real digests, and a server over it."""

from __future__ import annotations

import hashlib
import http.client
import json
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from evals.judging import gates
from tests.capabilities import POSIX
from tests.tools.production.scenes import make_assessment, make_plan
from tools.production.decisions import read_decisions
from tools.production.filing import BatchFolder
from tools.production.journal import Journal
from tools.production.plan import Plan, write_plan
from tools.reviewing.carrying import Carrier
from tools.reviewing.desk import ReviewDesk
from tools.reviewing.review_server import ReviewServer
from tools.reviewing.reviewed_batch import ReviewedBatch

PROJECT = Path(__file__).resolve().parents[3]
FACES = (0.9, 0.7, 0.5, None, 0.61, 0.2)
"""Face scores: by the policy (0.60) the first, second and fifth picture are approved; the fifth is the nearest thing, then the second
and third. The fourth has no face."""
NAMES = tuple(f"{index:04d}_p001_v01_seed{index}_x.png" for index in range(1, len(FACES) + 1))
kills = pytest.mark.skipif(not POSIX, reason="kill -9 is POSIX")
TOKEN = "a-token-for-the-tests_0123456789"


def make_reviewed(root: Path, faces: tuple[float | None, ...] = FACES, **fields: Any) -> BatchFolder:
    """A finished batch as the runner leaves it."""
    (root / "references").mkdir(parents=True)
    Image.new("RGB", (40, 60), (90, 60, 50)).save(root / "references" / "r1.png")
    folder = BatchFolder(root / "batch")
    folder.prepare()
    write_plan(folder.root, plan_of(root, **fields))
    journal = Journal(folder.root / "journal.jsonl")
    journal.append("started", servers=["http://a"], rate_per_hr=0.6)
    for index, face in enumerate(faces, 1):
        add_picture(folder, journal, index, face)
    journal.append("ended", why="complete")
    journal.close()
    return folder


def plan_of(root: Path, **fields: Any) -> Plan:
    return make_plan(reference_dir=str(root / "references"), **fields)


def add_picture(folder: BatchFolder, journal: Journal, index: int, face: float | None) -> None:
    name = f"{index:04d}_p001_v01_seed{index}_x.png"
    approved = face is not None and face >= 0.6
    path = folder.root / ("approved" if approved else "rejected") / name
    picture = Image.linear_gradient("L").resize((64, 96)).convert("RGB")
    picture.paste((40 * index % 256, 90, 30 * index % 256), (8 * (index % 6), 20, 8 * (index % 6) + 20, 60))
    picture.save(path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    reasons = [] if approved else ["no face found" if face is None else f"face similarity {face:.2f} is below 0.60"]
    grounds = [] if approved else [{"gate": "" if face is None else "face", "kind": "unmeasured" if face is None else "below", "cause": ""}]
    journal.append("downloaded", item=index, files=[{"file": name}], seconds=8.0)
    assessment = make_assessment(name, face, sha256=digest).to_json()
    scored = {"approved": approved, "reasons": reasons, "grounds": grounds, "assessment": assessment, "bytes": path.stat().st_size}
    journal.append("scored", item=index, file=name, **scored)
    journal.append("filed", item=index, file=name, place=path.parent.name)


def make_desk(folder: BatchFolder, reviewer: str = "owner", **options: Any) -> ReviewDesk:
    return ReviewDesk(ReviewedBatch(folder, PROJECT, lambda text: None), reviewer, **options)


def make_guard_of_face(monkeypatch: pytest.MonkeyPatch) -> None:
    """The gate of the face becomes a guard of publishing: whom it rejects is approved with a reason alone."""
    rows = tuple(replace(gate, is_guard=True) if gate.key == "face" else gate for gate in gates.GATES)
    monkeypatch.setattr("tools.production.overruling.GATES", rows)


def written(folder: BatchFolder) -> list[str]:
    """The lines of decisions.jsonl in short: `anna 3 approved`, ` undo` behind it where it is one."""
    return [
        f"{each.by} {int(each.picture.name[:4])} {each.verdict}{' undo' if each.undo else ''}{' opinion' if each.opinion else ''}"
        for each in read_decisions(folder.root)
    ]


def placed(folder: BatchFolder) -> str:
    """Where the pictures lie, in order: `aarrar` is as the gates want it, `-` for one that is gone."""
    there = {path.name: path.parent.name[0] for place in ("approved", "rejected") for path in (folder.root / place).iterdir()}
    return "".join(there.get(name, "-") for name in NAMES)


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody who asks the server, with or without what it wants to see."""

    port: int
    cookie: str = ""

    def ask(self, path: str, body: Any = None, *, method: str = "", headers: Mapping[str, str] | None = None) -> Reply:
        host = f"127.0.0.1:{self.port}"
        sent = {"Host": host, **({"Cookie": self.cookie} if self.cookie else {})}
        if body is not None:
            sent |= {"Origin": f"http://{host}", "Content-Type": "application/json"}
        sent |= headers or {}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.putrequest(method or ("GET" if body is None else "POST"), path, skip_host=True, skip_accept_encoding=True)
            data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
            for name, value in sent.items():
                if value:
                    connection.putheader(name, value)
            if body is not None and "Content-Length" not in sent:
                connection.putheader("Content-Length", str(len(data)))
            connection.endheaders(data)
            reply = connection.getresponse()
            return Reply(reply.status, dict(reply.getheaders()), reply.read())
        finally:
            connection.close()


@contextmanager
def serving(desk: ReviewDesk, *, carries: bool = False) -> Iterator[Caller]:
    """A server over a desk, and somebody who is let in. Where it `carries`, pictures move and reports follow."""
    carrier = Carrier(desk.batch.folder, PROJECT, lambda text: None)
    desk.on_change = carrier.wake if carries else lambda: None
    with ReviewServer(desk, carrier, port=0, token=TOKEN) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        if carries:
            carrier.start()
        try:
            yield Caller(server.port, f"lifeos_review_{server.port}={TOKEN}")
        finally:
            server.shutdown()
            if carries:
                carrier.end()


@contextmanager
def running(folder: BatchFolder, *flags: str) -> Iterator[tuple[subprocess.Popen[str], Caller, dict[str, Any]]]:
    """The command in a process of its own, once it has told its address."""
    command = [sys.executable, str(PROJECT / "tools" / "review.py"), str(folder.root), "--json", *flags]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8")
    try:
        assert process.stdout is not None
        text = ""
        while not text.endswith("}\n"):
            line = process.stdout.readline()
            assert line, process.communicate()[1]
            text += line
        told = json.loads(text)
        token = told["address"].rpartition("=")[2]
        yield process, Caller(told["port"], f"lifeos_review_{told['port']}={token}"), told
    finally:
        process.kill()
        process.communicate()
