"""The node classes that sample: what reaches a sampler becomes a scene, and stays with the picture."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tools.stand_in.node_class import Run
from tools.stand_in.node_values import Conditioning, DrawnPicture, Guider, Inputs, Latent, LoadedModel, NodeResult, NodeRun, Sigmas
from tools.stand_in.scene import Scene

LAST_STEP = 10_000
"""`end_at_step` of a pass that goes to the end."""


def sample(run: NodeRun, guider: Guider, seed: int, sampler: str, sigmas: Sigmas, latent: Latent) -> Latent:
    """The latent after one pass. A pass that only refines (a later part of the schedule, or less than all noise) keeps what is drawn.

    A pass whose part of the schedule is empty does nothing, as on a real server.
    """
    end = min(sigmas.end if sigmas.end is not None else sigmas.steps, sigmas.steps)
    if sigmas.start >= end:
        return latent
    before = latent.pictures or (None,) * latent.batch
    own = [_scene(guider, seed, sampler, sigmas, latent, index) for index in range(len(before))]
    refines = sigmas.denoise < 1 or sigmas.start > 0
    own = [
        replace(scene, repairs=refines and picture is not None and not picture.passes) for scene, picture in zip(own, before, strict=True)
    ]
    shown = [_as_begun(scene, picture) if refines and picture is not None else scene for scene, picture in zip(own, before, strict=True)]
    pixels = run.sample(shown, end - sigmas.start)
    pictures = tuple(
        DrawnPicture(drawn, (*(picture.passes if picture is not None else ()), scene))
        for drawn, picture, scene in zip(pixels, before, own, strict=True)
    )
    return replace(latent, pictures=pictures)


def _scene(guider: Guider, seed: int, sampler: str, sigmas: Sigmas, latent: Latent, index: int) -> Scene:
    positive = guider.positive
    return Scene(
        positive=positive.text, negative=guider.negative.text, seed=seed, index=index, steps=sigmas.steps, cfg=guider.cfg, sampler=sampler,
        scheduler=sigmas.scheduler, width=latent.width, height=latent.height, loras=guider.model.loras, denoise=sigmas.denoise,
        model=guider.model.file, clip_loras=positive.loras, guidance=positive.guidance, start_step=sigmas.start, end_step=sigmas.end,
        schedule_size=sigmas.size, patches=guider.model.patches,
    )  # fmt: skip


def _as_begun(scene: Scene, picture: DrawnPicture) -> Scene:
    """The scene of a refining pass with the subject of the first; a refiner without a LoRA does not undo the first pass's."""
    if not picture.passes:
        return scene
    first = picture.passes[0]
    return replace(scene, positive=first.positive, seed=first.seed, index=first.index, loras=scene.loras or first.loras)


def _ksampler(run: NodeRun, inputs: Inputs) -> NodeResult:
    guider = Guider(inputs["model"], inputs["positive"], inputs["negative"], inputs["cfg"])
    end = inputs.get("end_at_step", LAST_STEP)
    sigmas = Sigmas(
        inputs["scheduler"], inputs["steps"], float(inputs.get("denoise", 1.0)), None, inputs.get("start_at_step", 0),
        None if end >= LAST_STEP else end,
    )  # fmt: skip
    seed = int(inputs["seed"] if "seed" in inputs else inputs["noise_seed"])
    return NodeResult((sample(run, guider, seed, inputs["sampler_name"], sigmas, inputs["latent_image"]),))


def _custom_sampler(run: NodeRun, inputs: Inputs) -> NodeResult:
    guider = Guider(inputs["model"], inputs["positive"], inputs["negative"], inputs["cfg"])
    sampled = sample(run, guider, int(inputs["noise_seed"]), inputs["sampler"], inputs["sigmas"], inputs["latent_image"])
    return NodeResult((sampled, sampled))


def _guided_sampler(run: NodeRun, inputs: Inputs) -> NodeResult:
    sampled = sample(run, inputs["guider"], inputs["noise"], inputs["sampler"], inputs["sigmas"], inputs["latent_image"])
    return NodeResult((sampled, sampled))


def _guider(positive: str, negative: str | None, cfg: str | None) -> Run:
    def guide(run: NodeRun, inputs: Inputs) -> NodeResult:
        model: LoadedModel = inputs["model"]
        against: Conditioning = inputs[negative] if negative else Conditioning("")
        return NodeResult((Guider(model, inputs[positive], against, float(inputs[cfg]) if cfg else 1.0),))

    return guide


def _split(run: NodeRun, inputs: Inputs) -> NodeResult:
    """The first steps of a schedule, and the rest."""
    sigmas: Sigmas = inputs["sigmas"]
    end = sigmas.end if sigmas.end is not None else sigmas.steps
    middle = max(sigmas.start, min(end, sigmas.start + int(inputs["step"])))
    return NodeResult((replace(sigmas, end=middle), replace(sigmas, start=middle)))


def _split_by_share(run: NodeRun, inputs: Inputs) -> NodeResult:
    """The same by the share of the steps that comes last."""
    sigmas: Sigmas = inputs["sigmas"]
    steps = (sigmas.end if sigmas.end is not None else sigmas.steps) - sigmas.start
    return _split(run, {"sigmas": sigmas, "step": steps - round(steps * float(inputs["denoise"]))})


def _noise(seed: str | None) -> Run:
    return lambda run, inputs: NodeResult((int(inputs[seed]) if seed else 0,))


SAMPLING_FUNCTIONS: dict[str, Run] = {
    "KSampler": _ksampler,
    "KSamplerAdvanced": _ksampler,
    "SamplerCustom": _custom_sampler,
    "SamplerCustomAdvanced": _guided_sampler,
    "BasicGuider": _guider("conditioning", None, None),
    "CFGGuider": _guider("positive", "negative", "cfg"),
    "DualCFGGuider": _guider("cond1", "negative", "cfg_conds"),
    "RandomNoise": _noise("noise_seed"),
    "DisableNoise": _noise(None),
    "SplitSigmas": _split,
    "SplitSigmasDenoise": _split_by_share,
}


def refine(run: NodeRun, inputs: Inputs, pictures: tuple[DrawnPicture, ...], positive: Conditioning) -> tuple[DrawnPicture, ...]:
    """Pictures after a detailer's own pass, with its own settings."""
    height, width = pictures[0].pixels.shape[:2]
    guider = Guider(inputs["model"], positive, inputs["negative"], inputs["cfg"])
    sigmas = Sigmas(inputs["scheduler"], inputs["steps"], float(inputs["denoise"]))
    latent = Latent(width, height, len(pictures), pictures)
    after: Any = sample(run, guider, int(inputs["seed"]), inputs["sampler_name"], sigmas, latent).pictures
    return tuple(after)
