"""What a command leaves open, chosen from the policy and from what there is; the choice is printed and recorded."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from evals.faces.engine_flags import ENGINE_FLAGS
from evals.faces.engines import AUTO
from evals.judging.assessor import Assessor, open_assessor
from evals.judging.inputs import left_out_lines, list_to_judge
from lifeos.errors import InputError
from lifeos.images import LeftOut, Listing, list_pictures
from tools.backends.backend import Backend
from tools.families.families import Family, find_family, picture_settings, policy_of, settle
from tools.production.prompts import BUILT_IN, check_prompt, read_prompts
from tools.production.request import Request
from tools.publishing.marked_pictures import describe_marked, find_marked
from tools.trainers.lora_header import read_lora_header
from tools.workflows.placing import NodeOverrides
from tools.workflows.signatures import signatures_of
from tools.workflows.workflow import Settings, Workflow

GENERATED_PER_APPROVED = 10
"""Without --max-images, `--target-approved N` gives up after this many times N pictures: the gate lets nearly none through."""


def choose_prompts(request: Request) -> tuple[str, ...]:
    if request.prompts is not None:
        for number, prompt in enumerate(request.prompts, 1):
            check_prompt(prompt, f"--prompt number {number}")
            if not prompt.strip():
                raise InputError(f"--prompt number {number}", "is empty")
        return tuple(prompt.strip() for prompt in request.prompts)
    return tuple(read_prompts(request.prompts_file)) if request.prompts_file is not None else BUILT_IN


def choose_workflow(request: Request, servers: Sequence[Backend] = ()) -> Workflow:
    """The user's workflow, by the signatures of the server where there is one."""
    assert request.workflow is not None
    with_clip = _may_have_text_encoder(request.lora_file)
    return Workflow.load(request.workflow, request.overrides, signatures=signatures_of(servers), lora_with_clip=with_clip)


def _may_have_text_encoder(lora_file: Path | None) -> bool:
    """Whether a LoRA may have weights of a text encoder: as its header tells, where the file is at hand."""
    if lora_file is None:
        return True
    parts = read_lora_header(lora_file).trained_modules
    return not parts or any(part.startswith("text_encoder") for part in parts)


def choose_settings(
    request: Request, policy: Mapping[str, Any], checkpoint: str | None, workflow: Workflow | None = None, saved: Settings | None = None
) -> Settings:
    """The settings of every picture. A workflow of the user's keeps its own values where no flag says otherwise.

    A LoRA that gets a loader of its own in `workflow` gets the policy's strength; a batch that was begun without keeps that (`saved`).
    """
    settings = Settings(
        negative=request.negative_prompt, steps=request.steps, cfg=request.cfg, sampler=request.sampler, scheduler=request.scheduler,
        width=request.width, height=request.height, checkpoint=checkpoint, lora=request.lora, lora_strength=request.lora_strength,
        guidance=request.guidance, more_loras=request.more_loras or (),
    )  # fmt: skip
    rules = picture_settings(find_family(request.family), policy)
    if request.workflow is not None:
        is_open = settings.lora is not None and settings.lora_strength is None and (saved is None or saved.lora_strength is not None)
        if is_open and workflow is not None and workflow.inserts_lora(settings):
            return replace(settings, lora_strength=rules.get("lora_strength"))
        return settings
    if settings.lora_strength is not None and settings.lora is None:
        raise InputError("--lora-strength", "given without --lora", "name the LoRA, as the server does")
    names = ("steps", "cfg", "guidance", "sampler", "scheduler", "width", "height")
    filled = {name: rules[name] for name in names if name in rules and getattr(settings, name) is None}
    if settings.negative is None:
        filled["negative"] = rules.get("negative_prompt")
    if settings.lora is not None and settings.lora_strength is None:
        filled["lora_strength"] = rules.get("lora_strength")
    return replace(settings, **filled)


def given_checkpoint(request: Request, policy: Mapping[str, Any], family: Family) -> str | None:
    """The base model of the built-in workflow as the command or the policy names it."""
    own = policy_of(family, policy).get("checkpoint")
    return request.checkpoint or own or settle(family, policy["production"]["checkpoint"], "") or None


def loras_at_models(request: Request, family: Family) -> NodeOverrides:
    """The nodes that were named by hand. Where a family has several models and each gets a LoRA of its own, they go to them in order."""
    models = [each.node for each in family.models]
    if len(models) > 1 and 1 + len(request.more_loras or ()) == len(models) and not request.lora_node_ids:
        return replace(request.overrides, lora_node=models[0], more_lora_nodes=tuple(models[1:]))
    return request.overrides


def choose_references(
    request: Request, policy: Mapping[str, Any], root: Path, note: Callable[[str], None], begun: Mapping[str, Any] | None = None
) -> tuple[Path, Assessor]:
    """The reference folder and its assessor: the one given, else the first of the policy's that holds faces. `begun`: the protocol of
    the batch that goes on."""
    if request.reference_dir is not None:
        _warn_of_marked(request.reference_dir, note)
        return request.reference_dir, _open(request.reference_dir, request, policy, begun)
    places = [root / name for name in policy["production"]["reference_dirs"]]
    for place in places:
        listing = list_pictures(place) if place.is_dir() else Listing(())
        if not listing.pictures:
            for line in left_out_lines(listing.left_out, place):
                note(f"{place}: {line}")
            continue
        _warn_of_marked(place, note)
        try:
            return place, _open(place, request, policy, begun)
        except InputError as error:
            note(f"{place} cannot be used as references: {error.why}")
    raise InputError(
        "--reference-dir",
        f"not given, and none of {', '.join(map(str, places))} holds pictures with a face",
        "give a folder with a few pictures of the character",
    )


def _warn_of_marked(folder: Path, note: Callable[[str], None]) -> None:
    pictures = list_pictures(folder).pictures if folder.is_dir() else ()
    if marked := find_marked(pictures):
        note(f"warning: {folder}: {describe_marked(marked, len(pictures))}; use the originals as references")


def _open(folder: Path, request: Request, policy: Mapping[str, Any], begun: Mapping[str, Any] | None) -> Assessor:
    flags = {name: getattr(request, name) for name in ENGINE_FLAGS}
    return open_assessor(folder, policy, begun=begun, **{**flags, "engine": request.engine or AUTO})


def choose_run_id(request: Request) -> str:
    name = request.run_id or re.sub(r"[^\w.+-]+", "_", request.output_dir.resolve().name).strip("_")
    return name or "batch"


def choose_lora_version(request: Request, loras: Sequence[str]) -> str:
    """`--lora-version`, else the name of the LoRA that is used, without folder and suffix."""
    if request.lora_version is not None:
        return request.lora_version
    used = [request.lora] if request.lora is not None else list(loras)
    return re.split(r"[/\\]", used[0])[-1].removesuffix(".safetensors") if used else "none"


def find_sources(folder: Path, reference_dir: Path | None, output_dir: Path) -> tuple[str, ...]:
    """The pictures of `--images`, `/`-separated and relative to it. Raises InputError where there is none."""
    if not folder.is_dir():
        raise InputError(folder, "is a file, not a directory" if folder.exists() else "no such directory", "give --images a folder")
    inside, output = folder.resolve(), output_dir.resolve()
    if output == inside or output in inside.parents or inside in output.parents:
        raise InputError(output_dir, "lies in, or holds, the folder of --images", "choose an --output-dir beside it")
    pictures = list_to_judge(folder, reference_dir, "--images").pictures
    return tuple(path.relative_to(folder).as_posix() for path in pictures)


def left_out_of(source_dir: str | None, reference_dir: str) -> tuple[LeftOut, ...]:
    """What was left out of the folder of `--images`; nothing where it is gone, or nothing was taken from a folder."""
    folder = Path(source_dir) if source_dir is not None else None
    if folder is None or not folder.is_dir():
        return ()
    try:
        return list_to_judge(folder, Path(reference_dir) if reference_dir else None, "--images").left_out
    except InputError:  # all pictures were taken away since
        return ()
