"""Rejected pictures that go through a second graph: which, when, once each, whatever happens in between."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from evals.judging.picture_verdict import Reason, Verdict, verdict
from evals.judging.records import Assessment, Reading
from lifeos.errors import InputError
from lifeos.files import read_records
from lifeos.picture_names import parse_picture_name
from tests.tools.backends.three_kinds import KEY
from tests.tools.production.repair_graphs import GRAPH
from tests.tools.production.scenes import NAMES, SETTINGS, WORKFLOW, filed, make_assessment, make_plan, make_policy
from tools.backends.backend import Backend, BackendOptions
from tools.backends.comfyui import ComfyServer
from tools.backends.credentials import Credential
from tools.backends.dispatch import Job
from tools.backends.registry import open_backends
from tools.backends.server_entry import ServerEntry
from tools.certifying.batch_evidence import read_evidence
from tools.certifying.batch_links import plan_links
from tools.production.budget import Limits
from tools.production.decisions import DecidedPicture, Decision
from tools.production.filing import BatchFolder
from tools.production.finish import Ending, finish_batch
from tools.production.growth import check_growth
from tools.production.journal import Journal, read_state
from tools.production.plan import Item, Plan, RepairPlan, read_plan, write_plan
from tools.production.planning import Generation
from tools.production.rejudging import rejudge
from tools.production.repair_graph import RepairGraph, RepairOptions, check_repair
from tools.production.repair_numbers import key_of, number_of, repair_number
from tools.production.repairing import Repairs, is_repairable
from tools.production.runner import BatchEnd, Equipment, run_batch
from tools.production.settling import NOTHING_SETTLED
from tools.stand_in.serverless_endpoint import ServerlessEndpoint

if TYPE_CHECKING:
    from tests.tools.backends.api_proxy import Proxied
    from tools.stand_in.server import EmbeddedServer

    StartServer = Callable[..., EmbeddedServer]

FIRST, SECOND, THIRD, FOURTH = NAMES


def repaired(name: str) -> str:
    return name.replace(".png", "_repaired.png")


class NameScorer:
    """Approves by name: `rejected` pictures have a poor face, a repaired one has a good face unless it is among them."""

    def __init__(self, *rejected: str) -> None:
        self.rejected = rejected
        self.seen: list[str] = []

    def assess_bytes(self, data: bytes, path: Path) -> Assessment:
        self.seen.append(path.name)
        return make_assessment(path.name, 0.3 if path.name in self.rejected else 0.9, sha256=sha256(data).hexdigest())


def load(tmp_path: Path, graph: dict[str, Any] = GRAPH, **options: Any) -> RepairGraph:
    file = tmp_path / "repair.json"
    file.write_text(json.dumps(graph))
    return RepairGraph.load(RepairOptions(file, **options))


def generation(repair: RepairGraph | None) -> Generation:
    return Generation(WORKFLOW, SETTINGS, ("amiranoor, cafe", "amiranoor, park"), repair=repair)


def plan_with(repair: RepairGraph, **fields: Any) -> Plan:
    plan = make_plan(**fields)
    graph = generation(repair).graph_of(plan, plan.item(repair_number(1, 1)))
    return replace(plan, repair=RepairPlan(repair.name, repair.with_picture(graph, ""), repair.image.node, repair.image.key))


def run(
    folder: BatchFolder,
    plan: Plan,
    server: EmbeddedServer,
    scorer: Any,
    repair: RepairGraph | None,
    limits: Limits | None = None,
    **options: Any,
) -> BatchEnd:
    with ComfyServer(server.url) as client:
        return run_on([client], folder, plan, scorer, repair, limits, **options)


def run_on(
    servers: Sequence[Backend],
    folder: BatchFolder,
    plan: Plan,
    scorer: Any,
    repair: RepairGraph | None,
    limits: Limits | None = None,
    **options: Any,
) -> BatchEnd:
    made = generation(repair)
    for each in servers:
        each.connect()
    equipment = Equipment(
        scorer, make_policy(), servers, lambda item: made.graph_of(plan, item), workers=2,
        with_picture=repair.with_picture if repair else None, **options,
    )  # fmt: skip
    return run_batch(plan, folder, equipment, limits or Limits(), note=lambda text: None)


def report(plan: Plan, folder: BatchFolder, history: Path | None = None) -> dict[str, Any]:
    end = BatchEnd("complete", read_state(folder.root / "journal.jsonl"))
    return finish_batch(plan, folder, end, Ending(make_policy(), {}, history), lambda text: None)


def events(folder: BatchFolder, name: str) -> list[dict[str, Any]]:
    return [record.data for record in read_records(folder.root / "journal.jsonl") if record.data["event"] == name]


@pytest.fixture
def folder(tmp_path: Path) -> BatchFolder:
    return BatchFolder(tmp_path / "batch")


# Which pictures


def grounds(face: float | None = 0.9, skin: float | None = 0.8, **measures: float) -> tuple[Reason, ...]:
    policy = make_policy()
    policy["gates"] = {"second_face": {"limit": 0.5}, "memorised": {"limit": 0.5}}
    found = make_assessment("a.png", face, skin=skin)
    return verdict(replace(found, measures={key: Reading(value, None) for key, value in measures.items()}), policy).grounds


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        ({"face": 0.3}, True),
        ({"skin": 0.2}, True),  # skin realism, texture and colour
        ({"face": 0.3, "skin": 0.2}, True),
        ({}, False),  # approved
        ({"face": None}, False),  # no face: there is nothing to repair
        ({"face": 0.3, "second_face": 0.9}, False),
        ({"memorised": 0.9}, False),
    ],
)
def test_only_what_the_face_or_skin_gate_rejects_is_repaired(found: dict[str, Any], wanted: bool) -> None:
    assert is_repairable(grounds(**found)) is wanted


def test_skin_that_could_not_be_measured_is_the_skin_gates_and_a_duplicate_is_nobodys() -> None:
    assert is_repairable([Reason("skin", "unmeasured", "too_small", "")])
    assert not is_repairable([Reason("duplicate", "duplicate", "", "")])


@pytest.mark.parametrize(("index", "place", "key"), [(7, 1, "0007-repaired"), (12345, 2, "12345-repaired2")])
def test_numbers_of_repairs_are_told_from_their_keys(index: int, place: int, key: str) -> None:
    number = repair_number(index, place)
    assert (key_of(number), number_of(key)) == (key, number)
    assert number_of("0007") == 7


def test_a_repaired_picture_is_known_by_its_name() -> None:
    told = parse_picture_name(repaired(FIRST))
    assert (told.index, told.prompt_id, told.seed, told.is_repaired) == (1, 1, 100, True)
    assert not parse_picture_name(FIRST).is_repaired
    assert not parse_picture_name("0001_p001_v01_seed100_repaired.png").is_repaired  # the prompt is the one word


# The graph


def test_prompt_seed_lora_and_picture_go_into_the_second_graph(tmp_path: Path) -> None:
    repair = load(tmp_path)
    plan = plan_with(repair)
    graph = generation(repair).graph_of(plan, plan.item(repair_number(3, 1)))
    sent = repair.with_picture(graph, "lifeos-abc.png")
    assert sent["4"]["inputs"]["text"] == "amiranoor, cafe"
    assert sent["5"]["inputs"]["text"] == "plastic skin"
    assert (sent["6"]["inputs"]["seed"], sent["6"]["inputs"]["denoise"]) == (102, 0.4)
    assert sent["8"]["inputs"]["filename_prefix"] == "lifeos/batch_001/0003-repaired"
    assert sent["1"]["inputs"]["image"] == "lifeos-abc.png"
    loader = sent[sent["6"]["inputs"]["model"][0]]
    assert loader["inputs"]["lora_name"] == "amiranoor_v3.safetensors"


def without(*nodes: str) -> dict[str, Any]:
    return {node: each for node, each in GRAPH.items() if node not in nodes}


UPSCALER = {
    "1": GRAPH["1"],
    "2": {"class_type": "ImageScaleBy", "inputs": {"image": ["1", 0], "upscale_method": "lanczos", "scale_by": 2.0}},
    "8": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "x"}},
}
TWO = {
    **UPSCALER,
    "9": {"class_type": "LoadImage", "inputs": {"image": "b.png"}},
    "2": {"class_type": "ImageBatch", "inputs": {"image1": ["1", 0], "image2": ["9", 0]}},
}
NO_PICTURE = {
    **without("1", "3"),
    "3": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}},
}


@pytest.mark.parametrize(
    ("graph", "options", "said"),
    [
        (NO_PICTURE, {}, "no node of it loads a picture (put a LoadImage node where the picture that is repaired comes in)"),
        (TWO, {}, "several nodes load a picture: node 1 (LoadImage), node 9 (LoadImage) (choose one with --repair-image-node 1)"),
        (without("8"), {}, "no node of it saves a picture (add a SaveImage node behind the repaired picture)"),
        (GRAPH, {"image_node": "4"}, "--repair-image-node 4: node 4 (CLIPTextEncode) loads no picture (name a LoadImage node)"),
        (GRAPH, {"image_node": "77"}, "--repair-image-node 77: "),
        (GRAPH, {"nodes": ("sed=6",)}, "--repair-node sed=6: wanted NAME=ID"),
        (GRAPH, {"assignments": ("99.x=1",)}, "--repair-set 99.x"),
        ([1, 2], {}, "--repair-workflow"),
    ],
)
def test_a_graph_that_cannot_repair_is_refused_in_one_line(tmp_path: Path, graph: Any, options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as caught:
        load(tmp_path, graph, **options)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not [flag for flag in ("--set ", "-node-id", "--ksampler") if flag in str(caught.value)]  # flags of the other graph


def test_advice_on_an_ambiguous_graph_names_flags_that_work(tmp_path: Path) -> None:
    graph = {**GRAPH, "4": {"class_type": "ConditioningCombine", "inputs": {"conditioning_1": ["10", 0], "conditioning_2": ["11", 0]}},
             "10": GRAPH["4"], "11": {"class_type": "CLIPTextEncode", "inputs": {"clip": ["2", 1], "text": "another"}}}  # fmt: skip
    with pytest.raises(InputError, match="choose with --repair-node positive=ID") as caught:
        load(tmp_path, graph).fill(generation(None).repair_settings("a prompt", 1, "p"))
    assert "(and --repair-node positive-key=KEY)" in str(caught.value)
    found = load(tmp_path, graph, nodes=("positive=10",)).fill(generation(None).repair_settings("a prompt", 1, "p"))
    assert found.graph["10"]["inputs"]["text"] == "a prompt"


def test_an_upscaler_takes_the_picture_alone_and_says_so(tmp_path: Path) -> None:
    lines = load(tmp_path, UPSCALER).lines(generation(None).repair_settings("a prompt", 1, "p"))
    assert lines == [
        "repair, picture: the rejected one → image of node 1 (LoadImage)",
        "repair, filename prefix: p → filename_prefix of node 8 (SaveImage)",
        "repair, nothing samples in it: prompt, seed and LoRA have no place",
    ]


def test_a_server_without_its_nodes_is_named_before_anything_is_made(tmp_path: Path, embedded_server: StartServer) -> None:
    graph = {**UPSCALER, "2": {"class_type": "FancyDetailer", "inputs": {"image": ["1", 0]}}}
    repair = load(tmp_path, graph)
    with ComfyServer(embedded_server().url) as client, pytest.raises(InputError, match="node class FancyDetailer of node 2") as caught:
        check_repair(repair, generation(None).repair_settings("a", 1, "p"), [client])
    assert str(caught.value).startswith(f"--repair-workflow {repair.name}: ")


def test_a_mask_that_will_be_empty_is_told(tmp_path: Path) -> None:
    graph = {
        **GRAPH,
        "3": {"class_type": "VAEEncodeForInpaint", "inputs": {"pixels": ["1", 0], "vae": ["2", 2], "mask": ["1", 1], "grow_mask_by": 6}},
    }
    lines = load(tmp_path, graph).lines(generation(None).repair_settings("a prompt", 1, "p"))
    assert any("node 3 (VAEEncodeForInpaint) takes the mask of the picture" in line for line in lines)


# The batch


def test_rejected_pictures_are_repaired_once_and_judged_again(folder: BatchFolder, tmp_path: Path, embedded_server: StartServer) -> None:
    server, repair = embedded_server(), load(tmp_path)
    plan, scorer = plan_with(repair), NameScorer(FIRST, THIRD, repaired(THIRD))
    end = run(folder, plan, server, scorer, repair)
    assert end.why == "complete"
    assert filed(folder) == {
        FIRST: "rejected", SECOND: "approved", THIRD: "rejected", FOURTH: "approved",
        repaired(FIRST): "approved", repaired(THIRD): "rejected",
    }  # fmt: skip
    assert (folder.root / "approved" / repaired(FIRST)).read_bytes() != (folder.root / "rejected" / FIRST).read_bytes()
    planned = events(folder, "repair")
    assert sorted((each["item"], each["file"]) for each in planned) == [(1000000001, FIRST), (1000000003, THIRD)]
    assert sorted(each["repairs"] for each in events(folder, "downloaded") if "repairs" in each) == [FIRST, THIRD]
    again = run(folder, plan, server, scorer, repair)
    assert again.why == "complete"
    assert len(scorer.seen) == 6  # nothing is repaired twice, a repaired picture never
    assert server.store.inputs()  # uploaded


def test_servers_of_every_kind_repair(folder: BatchFolder, tmp_path: Path, proxied: Proxied, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server of Comfy API v2 takes the picture as an asset, an endpoint with the job: the same picture comes out."""
    monkeypatch.setenv("RUNPOD_API_KEY", KEY)
    repair = load(tmp_path)
    plan = plan_with(repair, prompts=("amiranoor, cafe",), count=1)
    made: list[bytes] = []
    with ServerlessEndpoint(proxied.comfyui.url, KEY) as endpoint:
        rows = ((proxied.url, Credential(file=proxied.token_file)), (endpoint.url, None))
        for at, (url, credential) in enumerate(rows):
            mine = BatchFolder(tmp_path / f"batch{at}")
            with open_backends([ServerEntry(url, credential)], BackendOptions(poll_seconds=0.05, outage_seconds=2)) as servers:
                check_repair(repair, generation(repair).repair_settings("a prompt", 1, "p"), servers)
                assert run_on(servers, mine, plan, NameScorer(FIRST, repaired(FIRST)), repair).why == "complete"
            assert filed(mine)[repaired(FIRST)] == "rejected"
            made.append(Image.open(mine.root / "rejected" / repaired(FIRST)).tobytes())
    assert made[0] == made[1]


def test_the_report_counts_what_repairing_won_and_cost(folder: BatchFolder, tmp_path: Path, embedded_server: StartServer) -> None:
    server, repair = embedded_server(), load(tmp_path)
    plan, history = plan_with(repair), tmp_path / "history.jsonl"
    run(folder, plan, server, NameScorer(FIRST, THIRD, repaired(THIRD)), repair, rate_per_hr=3600.0)
    document = report(plan, folder, history)
    counts, found = document["counts"], document["repair"]
    assert {name: counts[name] for name in ("generated", "repaired", "approved", "rejected")} == {
        "generated": 6, "repaired": 2, "approved": 3, "rejected": 3,
    }  # fmt: skip
    assert (found["before"], found["after"]) == ({"approved": 2, "rate": 0.5}, {"approved": 3, "rate": 0.75})
    assert found["usd"] == pytest.approx(found["seconds"], abs=0.06)  # a dollar a second
    assert document["judgement"].startswith("3 of 4 pictures may be published. 1 of them was won by repairing 2 rejected ones.")
    rows = {image["file"]: image for image in document["images"]}
    assert (rows[FIRST]["repaired_as"], rows[repaired(FIRST)]["repairs"]) == (repaired(FIRST), FIRST)
    assert rows[repaired(FIRST)]["index"] == 1
    assert [image["file"] for image in document["images"]][:2] == [FIRST, repaired(FIRST)]
    csv = (folder.root / "scores.csv").read_text().splitlines()
    assert csv[0].endswith(",repairs,repaired_as")
    assert csv[1].endswith(f",,{repaired(FIRST)}")
    text = (folder.root / "batch_report.md").read_text()
    assert "| Approved with it | 3 of 4 (75%) |" in text
    assert f"[`{FIRST}`](rejected/{FIRST}) | [`{repaired(FIRST)}`](approved/{repaired(FIRST)}) | approved" in text
    (row,) = [record.data for record in read_records(history)]
    assert [image["file"] for image in row["images"]] == NAMES  # the LoRA's own, which a comparison reads
    assert sum(image["approved"] for image in row["images"]) == 2
    page = (folder.root / "batch_report.html").read_text()
    assert "Approved with it" in page


KILLED_AT = [("repair", 1), ("repair", 2), ("submitted", 1), ("downloaded", 2), ("scored", 1), ("filed", 1)]


@pytest.mark.parametrize("is_written", [False, True], ids=["before-the-record", "after-the-record"])
@pytest.mark.parametrize(("event", "number"), KILLED_AT)
def test_killed_at_any_record_of_a_repair_the_same_command_continues(
    folder: BatchFolder, tmp_path: Path, embedded_server: StartServer, monkeypatch: Any, event: str, number: int, is_written: bool
) -> None:
    """Every picture is there once, and none was repaired twice, wherever the program was killed."""

    class KilledError(BaseException):
        pass

    server, append, left, repair = embedded_server(), Journal.append, [number], load(tmp_path)
    plan, scorer = plan_with(repair), NameScorer(FIRST, SECOND, repaired(SECOND))

    def dying(self: Journal, kind: str, **fields: Any) -> None:
        if kind == event and fields.get("item", 0) > 4:
            left[0] -= 1
            if left[0] <= 0:
                if is_written:
                    append(self, kind, **fields)
                raise KilledError
        append(self, kind, **fields)

    with monkeypatch.context() as patched:
        patched.setattr(Journal, "append", dying)
        with pytest.raises(KilledError):
            run(folder, plan, server, scorer, repair)
    before = filed(folder)
    assert run(folder, plan, server, scorer, repair).why == "complete"
    after = filed(folder)
    assert before.items() <= after.items()
    assert sorted(after) == sorted([*NAMES, repaired(FIRST), repaired(SECOND)])
    assert list(folder.incoming.iterdir()) == []
    scored = Counter(each["file"] for each in events(folder, "scored"))
    assert set(scored.values()) == {1}
    assert sorted(each["item"] for each in events(folder, "repair")) == [1000000001, 1000000002]


def test_a_repair_that_fails_is_not_tried_again_and_stops_nothing(
    folder: BatchFolder, tmp_path: Path, embedded_server: StartServer
) -> None:
    server, repair = embedded_server(), load(tmp_path)
    plan, scorer = plan_with(repair), NameScorer(FIRST)
    broken = replace(plan)

    def told(graph: Any, name: str) -> dict[str, Any]:
        return repair.with_picture(graph, "not there.png")

    with ComfyServer(server.url) as client:
        client.connect()
        made = generation(repair)
        equipment = Equipment(scorer, make_policy(), [client], lambda item: made.graph_of(broken, item), workers=2, with_picture=told)
        assert run_batch(broken, folder, equipment, Limits()).why == "complete"
    assert repaired(FIRST) not in filed(folder)
    assert run(folder, plan, server, scorer, repair).why == "complete"
    assert sorted(filed(folder)) == NAMES
    found = report(plan, folder)["repair"]
    assert (found["failed"], found["repaired"], found["failures"][0]["file"]) == (1, 0, FIRST)
    assert report(plan, folder)["failures"] == []  # every planned picture was made


def test_a_target_counts_what_repairing_won(folder: BatchFolder, tmp_path: Path, embedded_server: StartServer) -> None:
    """Two of the first two are wanted and the first is rejected: its repair makes the second, long before the limit of pictures."""
    server, repair = embedded_server(), load(tmp_path)
    plan = plan_with(repair, target_approved=2)
    end = run(folder, plan, server, AllButRepaired(), repair, Limits(max_images=20))
    assert end.why == "target"
    assert all("_repaired" in name for name, place in filed(folder).items() if place == "approved")
    assert len([name for name in filed(folder) if "_repaired" not in name]) < 20


class AllButRepaired(NameScorer):
    """Rejects every picture that is not repaired."""

    def assess_bytes(self, data: bytes, path: Path) -> Assessment:
        return make_assessment(path.name, 0.9 if "_repaired" in path.name else 0.3, sha256=sha256(data).hexdigest())


def test_the_whole_cost_is_limited_with_repairs(folder: BatchFolder, tmp_path: Path, embedded_server: StartServer) -> None:
    """The originals are there; a limit of nothing lets no repair be queued, and a higher one goes on."""
    server, repair = embedded_server(), load(tmp_path)
    plan, scorer = plan_with(repair), NameScorer(FIRST)
    run(folder, make_plan(), server, scorer, None)
    assert run(folder, plan, server, scorer, repair, Limits(max_cost=0.0), rate_per_hr=1.0).why == "max_cost"
    assert events(folder, "repair") == []
    assert run(folder, plan, server, scorer, repair, Limits(max_cost=100.0), rate_per_hr=1.0).why == "complete"
    assert filed(folder)[repaired(FIRST)] == "approved"


def test_what_a_person_decided_about_is_left_alone(folder: BatchFolder, tmp_path: Path, embedded_server: StartServer) -> None:
    server, repair = embedded_server(), load(tmp_path)
    scorer = NameScorer(FIRST, SECOND)
    run(folder, make_plan(), server, scorer, None)
    (folder.root / "rejected" / FIRST).rename(folder.root / "approved" / FIRST)
    assert run(folder, plan_with(repair), server, scorer, repair).why == "complete"
    assert [each["file"] for each in events(folder, "repair")] == [SECOND]


def test_judged_again_by_lower_limits_the_original_takes_the_place_of_its_repair(
    folder: BatchFolder, tmp_path: Path, embedded_server: StartServer
) -> None:
    server, repair = embedded_server(), load(tmp_path)
    plan = plan_with(repair)
    folder.prepare()
    write_plan(folder.root, plan)
    assert read_plan(folder.root) == plan
    run(folder, plan, server, NameScorer(FIRST), repair)
    policy = make_policy()
    policy["face_similarity"]["pass_threshold"] = 0.2
    policy["face_similarity"]["warn_threshold"] = 0.1
    rejudge(folder, policy, lambda text: None)
    assert (filed(folder)[FIRST], filed(folder)[repaired(FIRST)]) == ("approved", "rejected")
    rejudge(folder, make_policy(), lambda text: None)
    assert (filed(folder)[FIRST], filed(folder)[repaired(FIRST)]) == ("rejected", "approved")


def test_a_batch_may_begin_to_repair_and_not_change_how(tmp_path: Path) -> None:
    repair = load(tmp_path)
    plan = plan_with(repair)
    assert check_growth(tmp_path, make_plan(), plan) == [f"what only the face or skin gate rejects is repaired by {repair.name}"]
    graph = {**GRAPH, "6": {**GRAPH["6"], "inputs": {**GRAPH["6"]["inputs"], "denoise": 0.6}}}
    (tmp_path / "other").mkdir()
    with pytest.raises(InputError, match="repair workflow as sent"):
        check_growth(tmp_path, plan, plan_with(load(tmp_path / "other", graph)))
    with pytest.raises(InputError, match="repair workflow as sent"):
        check_growth(tmp_path, plan, make_plan())


def test_a_certificate_shows_the_picture_before_its_repair(folder: BatchFolder, tmp_path: Path, embedded_server: StartServer) -> None:
    """The graph in the repaired picture's file is the planned one, and loads the very picture that was rejected."""
    server, repair = embedded_server(), load(tmp_path)
    plan, name = plan_with(repair, count=1), repaired(FIRST)
    folder.prepare()
    write_plan(folder.root, plan)
    run(folder, plan, server, NameScorer(FIRST), repair)

    def links() -> dict[str, tuple[str, str]]:
        return {link.key: (link.state, str(link.private.get("picture", ""))) for link in plan_links(read_evidence(folder.root), name)}

    assert links() == {"parent": ("verified", FIRST), "plan": ("verified", ""), "workflow": ("verified", "")}
    (folder.root / "rejected" / FIRST).write_bytes(b"another picture")
    assert links()["parent"][0] == "broken"
    (folder.root / "rejected" / FIRST).unlink()
    assert links()["parent"][0] == "missing"
    other = replace(plan, repair=replace(repair_of(plan), graph={**repair_of(plan).graph, "9": {"class_type": "X", "inputs": {}}}))
    write_plan(folder.root, other)
    assert links()["plan"][0] == "broken"


def repair_of(plan: Plan) -> RepairPlan:
    assert plan.repair is not None
    return plan.repair


# When


class Waiting:
    """Repairs over a folder, and pictures that were rejected in it."""

    def __init__(self, root: Path, repair: RepairGraph, journal: Journal) -> None:
        self.folder, self.plan = BatchFolder(root), plan_with(repair, count=9)
        self.state = read_state(root / "journal.jsonl")
        self.repairs = Repairs(self.plan, self.folder, self.state, journal, repair.with_picture, lambda text: None)

    def reject(self, *indexes: int) -> None:
        for index in indexes:
            name = f"{index:04d}.png"
            (self.folder.root / "rejected" / name).write_bytes(b"x")
            self.state.item(index).files = (name,)
            self.state.verdicts[name] = False
            self.state.filed.add(name)
            self.repairs.found(self.plan.item(index), name, Verdict(False, (Reason("face", "below", "", ""),)))

    def next(self, missing: int | None = None, *, is_last: bool = False) -> Item | None:
        return self.repairs.next(NOTHING_SETTLED, missing=missing, is_last=is_last)


@pytest.fixture
def waiting(folder: BatchFolder, tmp_path: Path) -> Iterator[Waiting]:
    folder.prepare()
    with closing(Journal(folder.root / "journal.jsonl")) as journal:
        yield Waiting(folder.root, load(tmp_path), journal)


@pytest.mark.parametrize(
    ("count", "missing", "is_last", "goes"),
    [
        (7, None, False, False),  # a group is 8
        (8, None, False, True),
        (1, None, True, True),  # nothing else is left to be queued
        (3, 3, False, True),  # they may be all that a target lacks
        (2, 3, False, False),
        (0, None, True, False),
    ],
)
def test_repairs_wait_for_a_group(waiting: Waiting, count: int, missing: int | None, is_last: bool, goes: bool) -> None:
    waiting.reject(*range(1, count + 1))
    assert (waiting.next(missing, is_last=is_last) is not None) is goes


def test_a_group_goes_one_behind_the_other(waiting: Waiting) -> None:
    """Eight go; the ninth, which came meanwhile, waits for the next group."""
    waiting.reject(*range(1, 9))
    sent = []
    while (item := waiting.next()) is not None:
        waiting.repairs.job(Job(item.key, {}))
        sent.append(item.key)
        if len(sent) == 1:
            waiting.reject(9)
    assert sent == [f"{index:04d}-repaired" for index in range(1, 9)]
    assert waiting.repairs.are_waiting


def test_a_graph_that_the_server_refuses_ends_repairing_not_the_batch(waiting: Waiting) -> None:
    waiting.reject(*range(1, 9))
    waiting.repairs.failed(is_set_up=False)
    assert waiting.next() is not None
    waiting.repairs.failed(is_set_up=True)
    assert waiting.next() is None
    assert not waiting.repairs.are_waiting


def test_a_picture_that_a_person_rejected_meanwhile_loses_its_turn(waiting: Waiting) -> None:
    waiting.reject(1, 2)
    decided = replace(NOTHING_SETTLED, decisions={"0001.png": Decision(DecidedPicture("0001.png", ""), approved=False)})
    item = waiting.repairs.next(decided, missing=None, is_last=True)
    assert item is not None
    assert item.key == "0002-repaired"
