"""Which files a family's workflow loads: those that are named, else the only ones that fit by their names."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from lifeos.errors import InputError
from tests.tools.families.published_files import published_files
from tools.families.families import FAMILIES, Family, find_family
from tools.production.model_choice import check_files, choose_files, find_fitting, read_components


def server(**folders: list[str]) -> Any:
    """A server, as far as its model files are asked for."""
    return SimpleNamespace(url="http://pod:8188", offers=SimpleNamespace(lists_models=True), models=lambda folder: folders.get(folder, []))


EVERYTHING = published_files()


@pytest.mark.parametrize("family", FAMILIES, ids=lambda row: row.id)
def test_among_the_files_of_all_families_each_finds_its_own(family: Family) -> None:
    assert choose_files(family, {}, server(**EVERYTHING)) == {each.name: each.file for each in family.files}


@pytest.mark.parametrize(
    ("family_id", "name", "file"),
    [
        ("flux", "model", "FLUX/flux1-krea-dev_fp8_scaled.safetensors"),
        ("flux", "t5xxl", "t5/t5xxl_fp8_e4m3fn_scaled.safetensors"),
        ("flux", "vae", "FLUX1/ae.safetensors"),
        ("flux", "vae", "flux_vae.safetensors"),
        ("sdxl", "model", "juggernautXL_v9.safetensors"),
        ("sdxl", "model", "my_own_merge.safetensors"),
        ("sd15", "model", "realisticVision.safetensors"),
        ("z-image", "text_encoder", "Qwen3-4B.safetensors"),
        ("wan22", "low_noise", "Wan2_2-T2V-A14B-LOW_fp8_e4m3fn_scaled_KJ.safetensors"),
        ("wan22", "text_encoder", "umt5-xxl-enc-bf16.safetensors"),
        ("qwen-image", "text_encoder", "qwen_2.5_vl_7b.safetensors"),
    ],
)
def test_names_as_people_have_them(family_id: str, name: str, file: str) -> None:
    family = find_family(family_id)
    wanted = next(each for each in family.files if each.name == name)
    assert find_fitting(family, wanted, [file]) == [file]


@pytest.mark.parametrize(
    ("family_id", "name", "file"),
    [
        ("flux", "t5xxl", "umt5_xxl_fp16.safetensors"),
        ("flux", "model", "flux2_dev.safetensors"),
        ("flux", "model", "flux1-kontext-dev.safetensors"),
        ("flux", "vae", "flux2-vae.safetensors"),
        ("flux", "vae", "wan_2.1_vae.safetensors"),
        ("flux", "clip_l", "clip_g.safetensors"),
        ("z-image", "model", "z_image_turbo_bf16.safetensors"),
        ("qwen-image", "model", "qwen_image_edit_2509.safetensors"),
        ("sdxl", "model", "sd3.5_large.safetensors"),
    ],
)
def test_names_of_other_files(family_id: str, name: str, file: str) -> None:
    family = find_family(family_id)
    wanted = next(each for each in family.files if each.name == name)
    assert find_fitting(family, wanted, [file]) == []


def test_what_is_missing_and_what_could_be_several_is_told_at_once() -> None:
    found = server(diffusion_models=["flux1-dev.safetensors", "mine.safetensors"], text_encoders=["t5xxl_fp16.safetensors"])
    with pytest.raises(InputError) as caught:
        choose_files(find_family("flux"), {}, found)
    assert str(caught.value) == (
        "http://pod:8188: has 2 files that may be the diffusion model: flux1-dev.safetensors, mine.safetensors; has no CLIP-L of Flux.1 in "
        "models/text_encoders; has no VAE of Flux.1 in models/vae (choose one with --checkpoint NAME; put clip_l.safetensors into its "
        "models/text_encoders; put ae.safetensors into its models/vae)"
    )


@pytest.mark.parametrize(
    ("there", "said"),
    [
        (
            ["v1-5-pruned.safetensors"],
            "has no checkpoint of SDXL in models/checkpoints (put sd_xl_base_1.0.safetensors into its models/checkpoints, or choose the "
            "--family of what is there: v1-5-pruned.safetensors)",
        ),
        ([], "has no checkpoint of SDXL in models/checkpoints (put sd_xl_base_1.0.safetensors into its models/checkpoints)"),
        (
            [f"{letter}.safetensors" for letter in "abcdefg"],
            "has 7 files that may be the checkpoint: a.safetensors, b.safetensors, c.safetensors, d.safetensors, e.safetensors and 2 more "
            "(choose one with --checkpoint NAME)",
        ),
    ],
)
def test_what_is_said_of_checkpoints(there: list[str], said: str) -> None:
    with pytest.raises(InputError) as caught:
        choose_files(find_family("sdxl"), {}, server(checkpoints=there))
    assert str(caught.value) == f"http://pod:8188: {said}"


def test_what_is_named_is_not_looked_for() -> None:
    family = find_family("flux")
    given = read_components(["vae=odd.safetensors", "clip_l=a.safetensors", "t5xxl=b=c.safetensors", "model=m.safetensors"], family)
    wanted = {"vae": "odd.safetensors", "clip_l": "a.safetensors", "t5xxl": "b=c.safetensors", "model": "m.safetensors"}
    assert choose_files(family, given, server()) == wanted


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["vae"], "--component vae: is not NAME=FILE (such as --component vae=FILE)"),
        (["vae="], "--component vae=: is not NAME=FILE (such as --component vae=FILE)"),
        (["clip_k=a"], "--component clip_k=a: Flux.1 has no clip_k (did you mean clip_l?)"),
        (["vae=a", "vae=b"], "--component: vae is given twice: a and b (leave one of the two out)"),
    ],
)
def test_components_that_are_none(texts: list[str], said: str) -> None:
    with pytest.raises(InputError) as caught:
        read_components(texts, find_family("flux"))
    assert str(caught.value) == said


def test_the_health_check_says_where_a_missing_file_goes() -> None:
    pod = server(diffusion_models=["flux1-dev.safetensors"], vae=["ae.safetensors", "my_ae.safetensors"])
    found = list(check_files(pod, find_family("flux")))
    assert [(each.severity, each.message, each.fix) for each in found] == [
        ("ok", "diffusion model of Flux.1: flux1-dev.safetensors", ""),
        (
            "error",
            "no CLIP-L of Flux.1 in models/text_encoders of the server",
            "put it into ComfyUI/models/text_encoders, as clip_l.safetensors or with a name like it",
        ),
        (
            "error",
            "no T5-XXL of Flux.1 in models/text_encoders of the server",
            "put it into ComfyUI/models/text_encoders, as t5xxl_fp16.safetensors or with a name like it",
        ),
        ("warning", "2 files that may be the VAE: ae.safetensors, my_ae.safetensors", "choose one with --component vae=NAME"),
    ]
