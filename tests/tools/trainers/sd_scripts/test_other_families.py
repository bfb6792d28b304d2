"""What sd-scripts is told for each family that it trains, and what it is not: its real parsers accepted these arguments."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lifeos.policy.defaults import DEFAULTS
from tests.tools.trainers.safetensors_files import write_safetensors
from tools.families.families import find_family
from tools.families.family import fit_to_trainer
from tools.trainers.sd_scripts.conflicts import NAME, find_conflicts, read_options
from tools.trainers.sd_scripts.member import TRAINER
from tools.trainers.trainer import RunIdentity, Subset, TrainingJob, TrainingPlan, find_row
from tools.trainers.trainer_checkout import TrainerCheckout
from tools.training.training_choices import find_without_effect, settings_from
from tools.training.training_flags import build_training_parser, read_components

FLUX_FILES = ("--clip-l", "c", "--t5xxl", "t", "--vae", "v")
CASES: list[tuple[str, tuple[str, ...], str, str, int, tuple[str, ...], tuple[str, ...]]] = [
    ("sd15", (), "train_network.py", "networks.lora", 64, ("min_snr_gamma", "noise_offset"), ("cache_text_encoder_outputs", "model_type")),
    (
        *("sd35", ("--clip-l", "c", "--clip-g", "g", "--t5xxl", "t"), "sd3_train_network.py", "networks.lora_sd3", 32),
        *(("clip_l", "clip_g", "t5xxl", "cache_text_encoder_outputs"), ("min_snr_gamma", "noise_offset", "model_type")),
    ),
    (
        *("flux", FLUX_FILES, "flux_train_network.py", "networks.lora_flux", 64),
        *(("clip_l", "t5xxl", "ae", "timestep_sampling", "model_prediction_type"), ("min_snr_gamma", "noise_offset", "vae")),
    ),
    (
        *("chroma", ("--t5xxl", "t", "--vae", "v"), "flux_train_network.py", "networks.lora_flux", 64),
        *(("t5xxl", "ae", "apply_t5_attn_mask"), ("clip_l", "min_snr_gamma")),
    ),
]


def job_of(family_id: str, folder: Path, *flags: str) -> TrainingJob:
    fixed = ["--family", family_id, "--base-model", "base.safetensors", "--output-dir", str(folder / "out"), "--trainer-dir", str(folder)]
    args = build_training_parser(None, is_general=True).parse_args([*fixed, *flags])
    family = find_family(family_id)
    how = family.training_with(NAME)
    settings = settings_from(args, DEFAULTS, find_row(NAME), family, how, read_components(args))
    subset = Subset(folder / "staged", 2, "amiranoor woman", pictures=3)
    return TrainingJob(settings, fit_to_trainer(family, how), TrainerCheckout(folder, "python"), (subset,), RunIdentity("run", None, None))


def plan_of(family_id: str, folder: Path, *flags: str) -> tuple[TrainingPlan, list[str]]:
    """A plan, and the flags that are said to change nothing."""
    job = job_of(family_id, folder, *flags)
    how = job.family.training_with(NAME)
    return TRAINER.plan(job), [finding.rule for finding in find_without_effect(job.settings, job.family, how)]


@pytest.mark.parametrize(("family", "flags", "script", "module", "step", "told", "untold"), CASES, ids=[case[0] for case in CASES])
def test_what_a_family_is_trained_with(
    tmp_path: Path, family: str, flags: tuple[str, ...], script: str, module: str, step: int, told: tuple[str, ...], untold: tuple[str, ...]
) -> None:
    plan, idle = plan_of(family, tmp_path, *flags)
    options = read_options(plan.training.argv)
    assert (options.script, options.one("network_module"), options.family and options.family.id) == (script, module, family)
    assert plan.files[0].document["datasets"][0]["bucket_reso_steps"] == step
    assert [name for name in told if not options.has(name)] == [] == [name for name in untold if options.has(name)]
    assert find_conflicts(plan.training.argv, plan.files[0].document) == []
    assert idle == []
    assert plan.files[0].text.startswith("# written by tools/retrain_lora.py: ")


def test_what_changes_nothing_is_said_where_somebody_chose_it(tmp_path: Path) -> None:
    plan, idle = plan_of("flux", tmp_path, *FLUX_FILES, "--min-snr-gamma", "3", "--noise-offset", "0")
    assert idle == ["--min_snr_gamma"]
    assert read_options(plan.training.argv).one("min_snr_gamma") == "3", "passed on if somebody insists"


def test_what_the_scripts_of_transformers_assert(tmp_path: Path) -> None:
    plan, _ = plan_of("chroma", tmp_path, "--t5xxl", "t", "--vae", "v", "--trainer-arg=--blocks_to_swap=18")
    document = plan.files[0].document
    argv = [item for item in plan.training.argv if item != "--apply_t5_attn_mask"]
    assert [finding.rule for finding in find_conflicts(argv, document)] == ["--apply_t5_attn_mask"]
    swapped = find_conflicts([*plan.training.argv, "--cpu_offload_checkpointing"], document)
    assert [finding.rule for finding in swapped] == ["--blocks_to_swap"]
    narrow = {"datasets": [{**document["datasets"][0], "bucket_reso_steps": 32}], "general": document["general"]}
    assert [finding.rule for finding in find_conflicts(plan.training.argv, narrow)] == ["bucket_reso_steps"]


def test_buckets_are_of_the_trainer_s_steps() -> None:
    flux = find_family("flux")
    how = flux.training_with(NAME)
    assert (fit_to_trainer(flux, how).resolution.bucket_step, fit_to_trainer(flux, replace(how, bucket_multiple=0))) == (64, flux)


@pytest.mark.parametrize(("family", "flags", "refused"), [("flux", FLUX_FILES, True), ("sd15", (), False)], ids=["flux", "sd15"])
def test_a_name_on_a_hub_where_the_script_opens_a_file(tmp_path: Path, family: str, flags: tuple[str, ...], refused: bool) -> None:
    plan, _ = plan_of(family, tmp_path, *flags, "--base-model", "nobody/a-model")
    found = [finding.rule for finding in find_conflicts(plan.training.argv, plan.files[0].document)]
    assert found == (["--pretrained_model_name_or_path"] if refused else [])


def test_scaled_fp8_is_refused(tmp_path: Path) -> None:
    """The trainer reads such a file without an error, and without its scales."""
    weights = {"shared.weight": [32128, 64], "encoder.block.0.layer.0.SelfAttention.q.weight": [4, 4]}
    plain = write_safetensors(tmp_path / "plain.safetensors", weights)
    scaled = write_safetensors(tmp_path / "scaled.safetensors", {**weights, "scaled_fp8": [0]})
    found = {name: rules_of(tmp_path, str(name)) for name in (plain, scaled)}
    assert found == {plain: [], scaled: ["--t5xxl"]}


def rules_of(folder: Path, t5xxl: str) -> list[str]:
    job = job_of("flux", folder, "--clip-l", "c", "--t5xxl", t5xxl, "--vae", "v")
    return [finding.rule for finding in TRAINER.find_conflicts(job, TRAINER.plan(job))]
