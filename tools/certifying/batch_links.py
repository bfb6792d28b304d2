"""The links of a batch: the batch itself, the picture in it, how it was made, and who or what approved it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

from evals.judging.gates import DIGITS, gates_in_force
from evals.judging.picture_verdict import verdict
from evals.judging.protocol import with_id
from lifeos.errors import LifeosError
from tools.certifying.batch_evidence import BatchEvidence, digest_of
from tools.certifying.chain import BROKEN, MISSING, VERIFIED, ChainLink, LinkState
from tools.certifying.embedded_graph import read_embedded_graph, unexplained
from tools.certifying.picture_search import BY_ORIGINAL, SoughtPicture
from tools.production.batch_state import BatchState, original_of
from tools.production.decisions import OWNER
from tools.production.overruling import titles_of
from tools.production.plan import Item, Plan, judging_policy, sha256_of
from tools.production.rejudging import describe_rules, policy_in_force
from tools.production.repair_numbers import split_number
from tools.production.repairing import upload_name
from tools.workflows.workflow import find_models

PUBLIC_PROTOCOL = ("id", "engine", "aggregation", "face_metric", "skin_metric", "reference_set_id", "references")


def batch_link(found: SoughtPicture) -> ChainLink:
    """Whether the batch is there, and is the one that the register names."""
    evidence, entry = found.evidence, found.entry
    place = {"batch": str(found.batch)} if found.batch is not None else {}
    if evidence is not None and evidence.fault:
        return ChainLink("batch", "batch", BROKEN, "The batch's plan or journal cannot be read.", {}, {**place, "why": evidence.fault})
    if evidence is None or evidence.plan is None:
        said = "The batch's directory is not at hand: name it with --batch." if entry is not None else "No batch directory is known."
        return ChainLink("batch", "batch", MISSING, said, {}, place)
    plan = evidence.plan
    facts: dict[str, Any] = {"batch id": plan.batch_id, "created": plan.created}
    private = {**place, "run id": plan.run_id, "LoRA version": plan.lora_version}
    if entry is not None and entry.picture.batch_id and entry.picture.batch_id != plan.batch_id:
        said = "The directory holds another batch than the one that the register names."
        return ChainLink("batch", "batch", BROKEN, said, {**facts, "registered batch id": entry.picture.batch_id}, private)
    if plan.engine_notice:
        facts["notice"] = plan.engine_notice
    said = "Its plan, written before the first picture was queued, can be read whole."
    if entry is not None and entry.picture.batch_id:
        said = "Its plan, written before the first picture was queued, is of the batch that the register names."
    return ChainLink("batch", "batch", VERIFIED, said, facts, private)


def original_link(found: SoughtPicture, evidence: BatchEvidence, name: str | None) -> ChainLink:
    """Whether the picture that was published is the one that the journal scored, and lies where it was filed."""
    if name is None:
        said = "The batch's journal holds no picture with the bytes of the original."
        return ChainLink("original", "picture in the batch", BROKEN, said, {"SHA-256": found.original or ""})
    return _file_link(
        evidence,
        name,
        ("original", "picture in the batch"),
        {
            MISSING: "The journal holds the picture; its file was deleted or taken away.",
            BROKEN: "The file in the batch holds other bytes than those that were scored.",
            VERIFIED: "The file in the batch holds the bytes that were scored.",
        },
    )


def _file_link(evidence: BatchEvidence, name: str, link: tuple[str, str], said: Mapping[str, str]) -> ChainLink:
    """Whether a picture that the journal scored lies in the batch as it was. `link`: key and title; `said`: a sentence for each finding."""
    scored, path = evidence.state.scored[name].sha256, evidence.file_of(name)
    finding: LinkState = MISSING if path is None else VERIFIED if digest_of(path) == scored else BROKEN
    private = {"picture": name, "file": str(path) if path is not None else "gone"}
    return ChainLink(*link, finding, said[finding], {"SHA-256": scored}, private)


def plan_links(evidence: BatchEvidence, name: str) -> Iterator[ChainLink]:
    """The prompt, the seed and the workflow of a picture."""
    plan, number = evidence.plan, evidence.item_of(name)
    assert plan is not None
    if number is None:
        yield ChainLink("plan", "plan entry", BROKEN, "The journal does not say which prompt of the plan made the picture.")
        return
    try:
        item = plan.item(number)
    except LifeosError as error:
        why = {"why": str(error)}
        yield ChainLink("plan", "plan entry", BROKEN, f"The plan holds no picture of the number {number}.", {"number": number}, why)
        return
    if item.source is not None:
        said = "The picture was taken in from a folder: how it was made is not recorded."
        yield ChainLink("plan", "plan entry", MISSING, said, {"number": number}, {"taken from": item.source})
        return
    parent = original_of(evidence.state, number)
    if item.repairs:
        yield _parent(evidence, parent)
    yield _plan_entry(plan, evidence, item, name)
    yield _workflow(plan, evidence, item)


def _parent(evidence: BatchEvidence, parent: str | None) -> ChainLink:
    """The rejected picture from which a repaired one was made."""
    if parent is None or parent not in evidence.state.scored:
        return ChainLink("parent", "picture before its repair", BROKEN, "The journal does not hold the picture that was repaired.")
    return _file_link(
        evidence,
        parent,
        ("parent", "picture before its repair"),
        {
            MISSING: "It was made from a rejected picture, whose file was deleted or taken away.",
            BROKEN: "The file of the picture that was repaired holds other bytes than those that were scored.",
            VERIFIED: "It was made by a second workflow from a picture that the gates rejected, which is there as it was scored.",
        },
    )


def _loaded(evidence: BatchEvidence, item: Item) -> str:
    """What the server called the picture that a repair loads."""
    parent = original_of(evidence.state, item.index)
    scored = evidence.state.scored.get(parent) if parent is not None else None
    return upload_name(scored.sha256, parent) if parent is not None and scored is not None else ""


def _plan_entry(plan: Plan, evidence: BatchEvidence, item: Item, name: str) -> ChainLink:
    """Prompt and seed as planned, compared with the workflow that the server wrote into the picture, where one is in it."""
    prompt = plan.prompt_of(item)
    facts = {"number": split_number(item.index)[1], "prompt (SHA-256)": hashlib.sha256(prompt.encode()).hexdigest(), "seed": item.seed}
    private = {"prompt": prompt, "prompt number": item.prompt_id, "variation": item.variation}
    path = evidence.file_of(name)
    embedded = read_embedded_graph(path) if path is not None else None
    if embedded is None:
        said = "Prompt and seed stand in the plan; the picture's file holds no workflow to compare them with."
        return ChainLink("plan", "plan entry", VERIFIED, said, facts, private)
    odd = unexplained(plan, item, embedded, _loaded(evidence, item))
    if odd:
        said = "The workflow in the picture's file is not the planned one with this prompt and this seed."
        return ChainLink("plan", "plan entry", BROKEN, said, facts, {**private, "differs": ", ".join(odd)})
    said = "The workflow in the picture's file is the planned one, with this prompt and this seed."
    return ChainLink("plan", "plan entry", VERIFIED, said, facts, private)


def _workflow(plan: Plan, evidence: BatchEvidence, item: Item) -> ChainLink:
    graph = plan.graph_of(item)
    computed = sha256_of(graph)
    stored = evidence.digests[item.variant] if item.variant < len(evidence.digests) else ""
    name = plan.workflow_name
    if item.repairs and plan.repair is not None:
        stored, name = evidence.repair_digest, plan.repair.workflow_name
    models = {f"{model.folder}": model.name for model in find_models(graph)}
    facts, private = {"SHA-256": computed, "nodes": len(graph)}, {"workflow": name, **models}
    if not stored:
        return ChainLink("workflow", "workflow", MISSING, "The plan holds the workflow, but no hash of it.", facts, private)
    if stored != computed:
        said = "The workflow in the plan is not the one whose hash stands beside it: the plan was edited."
        return ChainLink("workflow", "workflow", BROKEN, said, {**facts, "recorded": stored}, private)
    return ChainLink("workflow", "workflow", VERIFIED, "The workflow in the plan is the one whose hash stands beside it.", facts, private)


def judging_links(found: SoughtPicture, evidence: BatchEvidence, name: str, policy: Mapping[str, Any]) -> Iterator[ChainLink]:
    """By which rules the picture was judged, with which result, and by whom. `policy`: today's, for what an older batch leaves out."""
    plan, state = evidence.plan, evidence.state
    assert plan is not None
    rules = policy_in_force(policy, plan, state)
    yield _policy(plan, state, rules)
    yield _protocol(plan)
    yield _verdict(found, evidence, name, rules)
    yield _reviewer(evidence, name)


def _policy(plan: Plan, state: BatchState, rules: Mapping[str, Any]) -> ChainLink:
    if not plan.policy:
        return ChainLink("policy", "policy", MISSING, "The batch does not hold the policy that judged it.")
    facts = {"SHA-256": sha256_of(judging_policy(rules)), "limits": describe_rules(rules), "judged again": state.rejudged}
    said = "The rules that the batch was last judged again by are recorded." if state.policy is not None else "The batch holds its rules."
    return ChainLink("policy", "policy", VERIFIED, said, facts)


def _protocol(plan: Plan) -> ChainLink:
    if not plan.protocol.get("id"):
        return ChainLink("protocol", "protocol", MISSING, "How the scores were measured is not recorded.")
    facts = {key: plan.protocol[key] for key in PUBLIC_PROTOCOL if plan.protocol.get(key) is not None}
    models = plan.protocol.get("models")
    private = dict(models) if isinstance(models, Mapping) else {}
    if private:
        facts["models (SHA-256)"] = ", ".join(map(str, private.values()))
    computed = with_id(plan.protocol)["id"]
    if computed != plan.protocol["id"]:
        said = "The protocol is not the one that its id stands for: the plan was edited."
        return ChainLink("protocol", "protocol", BROKEN, said, {**facts, "computed id": computed}, private)
    said = "How the scores were measured is recorded, and its id is that of what is recorded."
    return ChainLink("protocol", "protocol", VERIFIED, said, facts, private)


def _verdict(found: SoughtPicture, evidence: BatchEvidence, name: str, rules: Mapping[str, Any]) -> ChainLink:
    """The gates' verdict, computed again from the recorded scores; and that nothing was published that is rejected now."""
    state, record = evidence.state, evidence.score_of(name)
    if record is None or record.assessment is None or name not in state.verdicts:
        return ChainLink("verdict", "verdict", MISSING, "The journal holds no scores of this picture.")
    assessment = record.assessment
    scores = {gate.title: gate.reading(assessment, ()).score for gate in gates_in_force(rules)}
    facts: dict[str, Any] = {title: round(score, DIGITS) for title, score in scores.items() if score is not None}
    recorded = state.verdicts[name]
    facts["gates"] = "approved" if recorded else "rejected"
    private = {} if recorded else {"reasons": "; ".join(verdict(assessment, rules).reasons or record.reasons)}
    if name in state.duplicates:
        facts["duplicate"] = "rejected: the batch holds the same picture already"
    assert evidence.plan is not None
    if not evidence.plan.policy and state.policy is None:
        said = "The verdict is recorded; without the rules it cannot be judged again."
        return ChainLink("verdict", "verdict", MISSING, said, facts, private)
    if verdict(assessment, rules).approved != recorded:
        said = "The recorded scores and the recorded rules give another verdict than the recorded one."
        return ChainLink("verdict", "verdict", BROKEN, said, facts, private)
    approved = _is_approved(evidence, name)
    if found.how != BY_ORIGINAL and not approved:
        return ChainLink("verdict", "verdict", BROKEN, "The picture was published, and is rejected.", facts, private)
    said = f"The recorded scores, judged again by the recorded rules, give the recorded verdict: {facts['gates']} by the gates."
    return ChainLink("verdict", "verdict", VERIFIED, said, facts, private)


def _is_approved(evidence: BatchEvidence, name: str) -> bool:
    decision = evidence.decision_on(name)
    return evidence.state.approves(name) if decision is None else decision.approved


def _reviewer(evidence: BatchEvidence, name: str) -> ChainLink:
    decision = evidence.decision_on(name)
    if decision is None:
        return ChainLink("reviewer", "reviewer", MISSING, "No person's decision about this picture is recorded: the gates decided.")
    by_gates = evidence.state.approves(name)
    overruled = decision.approved != by_gates
    facts: dict[str, Any] = {"decision": decision.verdict, "when": decision.when, "overrules the gates": "yes" if overruled else "no"}
    if decision.overrules:
        facts["overruled guards"] = titles_of(decision.overrules)
    others = [each for each in evidence.standing.verdicts.get(name, ()) if each != decision and not each.opinion]
    if others:
        facts["other reviewers"] = ", ".join(each.verdict for each in others)
    private = {"by": "the owner" if decision.by == OWNER else decision.by, "reason": decision.reason, "how": decision.origin}
    said = f"A person {decision.verdict} it, as the gates did."
    if overruled:
        said = f"A person {decision.verdict} it, which overrules the gates{', with a reason' if decision.reason else ', without a reason'}."
    return ChainLink("reviewer", "reviewer", VERIFIED, said, facts, {key: value for key, value in private.items() if value})
