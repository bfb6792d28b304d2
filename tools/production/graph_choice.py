"""The graph of a run: its model family, the files that it loads, its settings; and whether its LoRAs are made for that family."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lifeos.errors import InputError, UnavailableError
from tools.backends.backend import Backend
from tools.backends.server_groups import LeftOutServer, ask_all, none_of
from tools.families.families import DEFAULT_FAMILY, FAMILIES, Family, find_family, policy_of
from tools.production import choices
from tools.production.model_choice import choose_files, fits, read_components
from tools.production.request import Request
from tools.trainers.lora_header import read_lora_header
from tools.trainers.recognition import MadeFor, recognise, recognise_metadata
from tools.workflows.graph_family import GraphFamilies, base_models, find_graph_families
from tools.workflows.server_fit import among, listed_name
from tools.workflows.workflow import Settings, Workflow

FLAG = "--allow-family-mismatch"
UNKNOWN = MadeFor(())


@dataclass(frozen=True, slots=True)
class ChosenGraph:
    """A workflow with its settings, and what should be told of how it was chosen. `request` names the family and files that were chosen, so
    that the batch goes on with them."""

    request: Request
    workflow: Workflow
    settings: Settings
    remarks: tuple[str, ...] = ()


def choose_graph(
    request: Request, policy: Mapping[str, Any], servers: Sequence[Backend] = (), begun: Settings | None = None
) -> ChosenGraph:
    """The workflow and the settings of every picture: files are chosen on the first of the servers that has all that is needed.

    `begun`: those of the batch that goes on, which keeps its family.

    Raises InputError for files that are missing, and for a LoRA of another family than the model's.
    """
    refusals: list[InputError] = []
    for place, server in enumerate(asked := _leading(request, servers)):
        try:
            return _choose_graph(request, policy, asked[place:], begun)
        except InputError as error:
            if error.what != server.url:  # else it is what this server lacks: another may have it
                raise
            refusals.append(error)
    if len(refusals) > 1:
        refusal = none_of([LeftOutServer(each.what, each.why, each.fix) for each in refusals], "has what the pictures need")
        raise InputError(refusal.what, refusal.why, refusal.fix)
    if refusals:
        raise refusals[0]
    return _choose_graph(request, policy, (), begun)


def _leading(request: Request, servers: Sequence[Backend]) -> Sequence[Backend]:
    """The servers with one in front that has the LoRAs that are named, if there is one: the files of the graph are chosen on it."""
    names = loras_of(request)

    def has_all(server: Backend) -> bool:
        there = server.models("loras") if server.offers.lists_models else []
        return server.offers.lists_models and all(among(name, there) for name in names)

    if len(servers) < 2 or (not names and servers[0].offers.lists_models):
        return servers
    found = next((server for server, has in zip(servers, ask_all(servers, has_all), strict=True) if has is True), servers[0])
    return [found, *(server for server in servers if server is not found)]


def _choose_graph(request: Request, policy: Mapping[str, Any], servers: Sequence[Backend], begun: Settings | None) -> ChosenGraph:
    made_for = _find_made_for(request, loras_of(request), servers[0] if servers else None)
    if request.workflow is not None:
        return _own_graph(request, policy, servers, begun, made_for)
    return _built_in_graph(request, policy, servers[0] if servers else None, begun, made_for)


def _own_graph(
    request: Request, policy: Mapping[str, Any], servers: Sequence[Backend], begun: Settings | None, made_for: Mapping[str, MadeFor]
) -> ChosenGraph:
    if request.components:
        raise InputError("--component", "names files of a built-in workflow", "with --workflow, write --set NODE.INPUT=FILE")
    workflow = choices.choose_workflow(request, servers)
    settings = choices.choose_settings(request, policy, request.checkpoint, workflow, begun)
    rows = _families_of(request, workflow, servers[0] if servers else None)
    return ChosenGraph(request, workflow, settings, check_family(made_for, rows, is_allowed=_is_allowed(request, begun)))


def _built_in_graph(
    request: Request, policy: Mapping[str, Any], server: Backend | None, begun: Settings | None, made_for: Mapping[str, MadeFor]
) -> ChosenGraph:
    family, why = choose_family(request, made_for, server, begun)
    remarks = list(check_family(made_for, GraphFamilies((family,), why), is_allowed=_is_allowed(request, begun)))
    if server is None and request.family is None and begun is None and loras_of(request) and not made_for:
        remarks.append(f"warning: no server was asked what {request.lora} is made for: name its family with --family")
    files = choose_files(family, _given_files(request, policy, family), server)
    if family.id != DEFAULT_FAMILY:
        told = ", ".join(f"{name} {file}" for name, file in files.items())
        remarks.insert(0, f"family {family.id}, {family.title} ({why})" + (f": {told}" if told else ""))
    workflow = Workflow.built_in(family, choices.loras_at_models(request, family), files=files)
    placed = files.get(family.models[0].name) if len(family.models) == 1 else None
    settings = choices.choose_settings(replace(request, family=family.id), policy, placed, workflow, begun)
    return ChosenGraph(replace(request, family=family.id), workflow, settings, tuple(remarks))


def _given_files(request: Request, policy: Mapping[str, Any], family: Family) -> dict[str, str]:
    """The files that the command names, else the policy. Raises InputError where `--checkpoint` and `--component` contradict each other."""
    own = read_components((f"{name}={file}" for name, file in policy_of(family, policy).get("components", {}).items()), family)
    given = read_components(request.components, family)
    main = family.files[0].name if family.files else ""
    if request.checkpoint is not None and given.get(main, request.checkpoint) != request.checkpoint:
        why = f"{request.checkpoint} is given, and --component {main}={given[main]}"
        raise InputError("--checkpoint", why, "leave one of the two out")
    checkpoint = choices.given_checkpoint(request, policy, family)
    return {**own, **({main: checkpoint} if main and checkpoint is not None else {}), **given}


def loras_of(request: Request) -> tuple[str, ...]:
    return (*((request.lora,) if request.lora is not None else ()), *(request.more_loras or ()))


def choose_family(request: Request, made_for: Mapping[str, MadeFor], server: Backend | None, begun: Settings | None) -> tuple[Family, str]:
    """The family of the built-in workflow, and what told it: the command, else the LoRA, else the model, else the default."""
    if request.family is not None:
        return find_family(request.family), "as named"
    if begun is not None:
        return find_family(), "as the batch began"
    for name, each in made_for.items():
        if len(each.architectures) == 1 and each.families:
            return _of_server(each.families, server), f"{name} is made for it"
    if request.checkpoint is not None:
        for folder in ("checkpoints", "diffusion_models"):
            if rows := _metadata_of(server, folder, request.checkpoint).families:
                return rows[0], f"{request.checkpoint} is one"
        named = [row for row in FAMILIES if row.files and fits(row.files[0], request.checkpoint)]
        if len({row.made_for for row in named}) == 1:
            return named[0], f"as {request.checkpoint} is called"
    return find_family(), "the default"


def _of_server(rows: Sequence[Family], server: Backend | None) -> Family:
    """Of variants that take the same LoRAs the one whose model is on the server, where that is one; else the first."""
    if len(rows) == 1 or server is None or not server.offers.lists_models:
        return rows[0]
    there = [row for row in rows if any(fits(row.files[0], name) for name in server.models(row.model_folder))]
    return there[0] if len(there) == 1 else rows[0]


def check_family(made_for: Mapping[str, MadeFor], graph: GraphFamilies, *, is_allowed: bool = False) -> tuple[str, ...]:
    """Warnings about LoRAs whose family, or whose graph's, is not known. Raises InputError for one that is made for another family."""
    remarks = []
    for name, each in made_for.items():
        said = ""
        if not each.is_known:
            said = f"the family of {name} cannot be told from its header"
        elif len(each.architectures) > 1:
            said = f"{name} holds weights for {each.title}"
        elif not graph.rows:
            remarks.append(f"warning: {name} is made for {each.title}; of which family the workflow is cannot be told")
            continue
        elif not any(each.fits(row) for row in graph.rows):
            said = f"{name} is made for {each.title}, the graph is of {' or '.join(dict.fromkeys(row.title for row in graph.rows))}"
            said += f" ({graph.why})" if graph.why else ""
        if said and each.is_known and not is_allowed:
            effect = "without an effect" if len(each.architectures) == 1 else "and leave out what is not the model's"
            why = f"{said}: the server would run it {effect}"
            raise InputError("--lora", why, f"use a LoRA and a model of one family, or give {FLAG}")
        if said:
            remarks.append(f"warning: {said}")
    return tuple(remarks)


def check_loras(names: Sequence[str], request: Request, workflow: Workflow, server: Backend, *, is_allowed: bool) -> tuple[str, ...]:
    """The same for further LoRAs that go into a chosen graph, as those of a sweep do. `request` names the family that was chosen."""
    return check_family(_find_made_for(request, names, server), _families_of(request, workflow, server), is_allowed=is_allowed)


def _is_allowed(request: Request, begun: Settings | None) -> bool:
    """A batch that was begun goes on: what it is made with is known from its pictures."""
    return bool(request.allow_family_mismatch) or begun is not None


def _families_of(request: Request, workflow: Workflow, server: Backend | None) -> GraphFamilies:
    """The families that a graph may be of: as named, as its nodes and models tell, as the model's header on the server tells."""
    if request.family is not None:
        return GraphFamilies((find_family(request.family),), "as --family says")
    placed = workflow.graph
    found = find_graph_families(placed)
    if found.rows:
        return found
    for folder, name in base_models(placed):
        if rows := _metadata_of(server, folder, name).families:
            return GraphFamilies(rows, f"{name} is one")
    return found


def _find_made_for(request: Request, names: Sequence[str], server: Backend | None) -> dict[str, MadeFor]:
    """What LoRAs are made for: the own header where the file is at hand, else what the server tells; what nobody can be asked about is
    left out, and so is what tells nothing on a demo server, whose files are none."""
    found = {}
    for name in dict.fromkeys(names):
        if request.lora_file is not None and name == request.lora:
            found[name] = recognise(read_lora_header(request.lora_file).file)
        elif server is not None:
            found[name] = _metadata_of(server, "loras", name)
    if server is not None and not all(each.is_known for each in found.values()) and server.info().notice:
        found = {name: each for name, each in found.items() if each.is_known}
    return found


def _metadata_of(server: Backend | None, folder: str, name: str) -> MadeFor:
    if server is None:
        return UNKNOWN
    try:
        metadata = server.model_metadata(folder, listed_name(server, folder, name))
    except UnavailableError:
        return UNKNOWN
    return recognise_metadata(name, metadata) if metadata else UNKNOWN
