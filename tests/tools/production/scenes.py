"""What the tests of the production pipeline share: a small plan, scorers that need no model, ways to run a batch and to look at it."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from evals.judging.records import Assessment, FaceScore, Geometry
from evals.load_thresholds import load_thresholds
from evals.skin.realism import SkinScore
from lifeos.files import read_records
from tests.tools.backends.fakes import Fake
from tools.backends.comfyui import ComfyServer
from tools.production.budget import Limits
from tools.production.filing import BatchFolder
from tools.production.finish import Ending, finish_batch
from tools.production.intake import Intake
from tools.production.journal import JOURNAL_FILE, Journal, read_state
from tools.production.plan import Item, Plan, Variant, judging_policy
from tools.production.runner import BatchEnd, Equipment, run_batch
from tools.production.stopping import StopSignal
from tools.workflows.workflow import Settings, Workflow

if TYPE_CHECKING:
    from tools.stand_in.server import EmbeddedServer

SETTINGS = Settings(width=64, height=96, steps=2, checkpoint="embedded_demo_sdxl.safetensors", lora="amiranoor_v3.safetensors")
WORKFLOW = Workflow.built_in()

NAMES = [
    "0001_p001_v01_seed100_cafe.png",
    "0002_p002_v01_seed101_park.png",
    "0003_p001_v02_seed102_cafe.png",
    "0004_p002_v02_seed103_park.png",
]
"""The pictures of `make_plan()`."""


def make_policy(**production: Any) -> dict[str, Any]:
    policy = load_thresholds()
    policy["production"] |= {"retries": 0, **production}
    return policy


def make_plan(**fields: Any) -> Plan:
    plan = Plan(
        batch_id="b" * 32,
        run_id="batch_001",
        lora_version="v3",
        created="2026-11-23T00:00:00.000Z",
        prompts=("amiranoor, cafe", "amiranoor, park"),
        count=2,
        base_seed=100,
        variants=(Variant(SETTINGS),),
        workflow_name="built-in",
        workflows=(WORKFLOW.place(SETTINGS),),
        reference_dir="/refs",
        policy=judging_policy(load_thresholds()),
        protocol={"engine": "test", "id": "0123456789abcdef"},
        engine="a test's scorer",
    )
    return replace(plan, **fields)


def graph_maker(plan: Plan) -> Any:
    def make_graph(item: Item) -> dict[str, Any]:
        return WORKFLOW.place(replace(SETTINGS, positive=plan.prompt_of(item), seed=item.seed, filename_prefix=f"t/{item.key}"))

    return make_graph


class HashScorer:
    """Scores by the first byte of the picture's hash: the same for the same bytes, and about half of them pass."""

    def __init__(self, *, least: float = 0.0) -> None:
        self.least = least
        self.seen: list[str] = []

    def assess_bytes(self, data: bytes, path: Path) -> Assessment:
        self.seen.append(path.name)
        digest = hashlib.sha256(data).hexdigest()
        return make_assessment(path.name, max(self.least, 0.3 + 0.6 * (int(digest[:2], 16) / 255)), sha256=digest)


def make_assessment(file: str, face: float | None, *, skin: float | None = 0.8, yaw: float = 0.0, sha256: str = "") -> Assessment:
    """`sha256`: of the picture, by default one of its name, so that no two pictures are the same file."""
    sha256 = sha256 or hashlib.sha256(file.encode()).hexdigest()
    geometry = Geometry(yaw, 0.0, 0.05, 0.3, 0.5, 0.4, "medium close-up", ((0.4, 0.4), (0.6, 0.4), (0.5, 0.5), (0.42, 0.6), (0.58, 0.6)))
    seen = face is not None
    return Assessment(
        file=file,
        sha256=sha256,
        width=64,
        height=96,
        reason=None,
        face=FaceScore(face, None if seen else "no_face", cosine=face, faces=int(seen), best_reference="r1.png" if seen else None),
        skin=SkinScore(skin if seen else None, None if seen else "no_face", texture=skin if seen else None, color=skin if seen else None),
        geometry=geometry if seen else None,
        dhash=sha256[:16],
    )


def filed(folder: BatchFolder) -> dict[str, str]:
    """Picture name -> the folder it lies in. A picture in both fails the test that asks."""
    found: dict[str, str] = {}
    for place in ("approved", "rejected"):
        for path in sorted((folder.root / place).iterdir()):
            assert path.name not in found, f"{path.name} lies in two places"
            found[path.name] = place
    return found


NASTY = '<script>alert("x")</script> | **bold** [a](javascript:b) `c` \'"><img src=x onerror=1> 😀'

ROWS: list[tuple[float | None, list[str]]] = [
    (0.9, []),
    (0.7, []),
    (0.5, ["face similarity 0.50 is below 0.60"]),
    (None, ["no face found"]),
]
"""A face score and the reasons against the picture: by the policy two of four are approved."""


def make_batch(tmp_path: Path, plan: Plan, rows: list[tuple[float | None, list[str]]]) -> BatchFolder:
    """A finished batch as the runner leaves it: pictures, journal. A row is a face score and the reasons against it."""
    folder = BatchFolder(tmp_path / "batch")
    folder.prepare()
    journal = Journal(folder.root / "journal.jsonl")
    journal.append("started", servers=["http://a"], rate_per_hr=0.6)
    for index, (face, reasons) in enumerate(rows, 1):
        name, place = f"{index:04d}_p001_v01_seed{index}_x.png", "rejected" if reasons else "approved"
        Image.new("RGB", (64, 96), (index, 0, 0)).save(folder.root / place / name)
        journal.append("downloaded", item=index, files=[{"file": name}], seconds=8.0)
        assessment = make_assessment(name, face, yaw=float(index), sha256=f"{index * 0x1111:064x}").to_json()
        journal.append("scored", item=index, file=name, approved=not reasons, reasons=reasons, assessment=assessment)
        journal.append("filed", item=index, file=name, place=place)
    journal.append("ended", why="complete")
    journal.close()
    return folder


def finish(plan: Plan, folder: BatchFolder, *, why: str = "complete", history: Path | None = None) -> dict[str, Any]:
    end = BatchEnd(why, read_state(folder.root / "journal.jsonl"))
    return finish_batch(plan, folder, end, Ending(make_policy(), {"cfg": 5.0, "negative": NASTY}, history), lambda text: None)


def run(
    folder: BatchFolder,
    plan: Plan,
    *servers: EmbeddedServer | Fake,
    limits: Limits | None = None,
    scorer: Any = None,
    stop: StopSignal | None = None,
    rate: float = 0.0,
    outage_seconds: float = 5,
    note: Callable[[str], None] = lambda text: None,
    **production: Any,
) -> BatchEnd:
    """A batch on real connections to these servers. `production` changes the policy."""
    clients = [ComfyServer(server.url, outage_seconds=outage_seconds) for server in servers]
    for client in clients:
        client.connect()
    try:
        equipment = Equipment(scorer or HashScorer(), make_policy(**production), clients, graph_maker(plan), rate, workers=2)
        return run_batch(plan, folder, equipment, limits or Limits(), stop=stop, note=note)
    finally:
        for client in clients:
            client.close()


def picture(shade: int, kind: str = "PNG") -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (8, 8), (shade, 0, 0)).save(out, kind)
    return out.getvalue()


class Scripted:
    """Gives each picture the face score that was written down for its bytes, and remembers who was asked for."""

    def __init__(self, scores: dict[bytes, float]) -> None:
        self.scores = scores
        self.asked: list[str] = []

    def assess_bytes(self, data: bytes, path: Path) -> Assessment:
        self.asked.append(path.name)
        return make_assessment(path.name, self.scores[data])


class Bench:
    """An intake over a batch in a folder. `again` is the one that a new run of the program would have."""

    def __init__(self, root: Path, plan: Plan, scores: dict[bytes, float], policy: dict[str, Any] | None = None) -> None:
        self.plan, self.scorer, self.policy = plan, Scripted(scores), policy or make_policy()
        self.folder = BatchFolder(root)
        self.folder.prepare()
        self.path = root / JOURNAL_FILE
        self.intake = Intake(plan, self.folder, Journal(self.path), read_state(self.path), self.scorer, self.policy)

    def again(self) -> Intake:
        self.close()
        self.intake = Intake(self.plan, self.folder, Journal(self.path), read_state(self.path), self.scorer, self.policy)
        return self.intake

    def close(self) -> None:
        self.intake.journal.close()

    def written(self, *fields: str) -> list[tuple[Any, ...]]:
        """The named fields of each record."""
        return [tuple(record.data.get(name) for name in fields) for record in read_records(self.path)]
