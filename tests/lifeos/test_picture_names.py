"""Picture names: what is read from them, and that what is written is read back."""

from __future__ import annotations

import pytest

from lifeos.picture_names import PictureName, find_config, format_config, format_picture_name, parse_picture_name, slug_of


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("0007_p003_v02_seed42_close-up.png", PictureName(None, 7, 3, 2, 42, "close-up")),
        ("step1500_str0.80_0007_p003_v02_seed42_close-up.png", PictureName("step1500_str0.80", 7, 3, 2, 42, "close-up")),
        ("my sweep_0001_p001_v01_seed2_x.png", PictureName("my sweep", 1, 1, 1, 2, "x")),
        ("rejected/12345_p100_v10_seed18446744073709551615_a.webp", PictureName(None, 12345, 100, 10, 18446744073709551615, "a")),
        ("step2000_str0.75_seed42_close_up.png", PictureName("step2000_str0.75", None, None, None, 42, "close_up")),
        ("step1500_str0.80_00001_.png", PictureName("step1500_str0.80", 1)),
        ("step1500_str0.80.png", PictureName("step1500_str0.80")),
        ("STEP500_STR1.png", PictureName("STEP500_STR1")),
        ("ComfyUI_00012_.png", PictureName(slug="ComfyUI_00012")),
        ("portrait seed 77.png", PictureName(seed=77, slug="portrait seed 77")),
        ("strength of will.png", PictureName(slug="strength of will")),
        ("C:\\out\\0001_p001_v01_seed1_a.png", PictureName(None, 1, 1, 1, 1, "a")),
        ("", PictureName()),
        (".png", PictureName(slug=".png")),
        ("seed" + "9" * 5000, PictureName(slug="seed" + "9" * 5000)),
    ],
)
def test_parse(name: str, expected: PictureName) -> None:
    assert parse_picture_name(name) == expected


@pytest.mark.parametrize("config", [None, "step1500_str0.80", "weird name", "../../etc", "…"])
@pytest.mark.parametrize("text", ["close up portrait", "", "🎉 <b>|x|</b> ../..\\", "_p001_v02_seed3_", "a" * 10_000])
def test_what_is_written_is_read_back(config: str | None, text: str) -> None:
    name = format_picture_name(index=12, prompt_id=3, variation=4, seed=0, text=text, config=config)
    found = parse_picture_name(name)
    assert (found.index, found.prompt_id, found.variation, found.seed) == (12, 3, 4, 0)
    assert (found.config is None) == (config is None)
    assert not set(name) & set('/\\:*?"<>|\n') and not name.startswith(".") and len(name) < 120


def test_the_name_is_that_of_the_design() -> None:
    name = format_picture_name(index=7, prompt_id=3, variation=2, seed=42, text="Émilie, close-up", config="step1500_str0.80")
    assert name == "step1500_str0.80_0007_p003_v02_seed42_emilie-close-up.png"


@pytest.mark.parametrize(
    ("text", "slug"),
    [("Golden hour, 85mm!", "golden-hour-85mm"), ("写真", "picture"), ("x" * 60, "x" * 40), ("a " + "b" * 50, "a")],
    ids=["words", "nothing in ascii", "one long word", "a word that does not fit"],
)
def test_slug(text: str, slug: str) -> None:
    assert slug_of(text) == slug


@pytest.mark.parametrize(
    ("lora", "strength", "config"),
    [
        ("amira_v3-step00001500.safetensors", 0.8, "step1500_str0.80"),
        ("sub\\amira_v3.safetensors", 0.75, "amira_v3_str0.75"),
        (None, 1.0, "str1.00"),
        ("a.safetensors", 0.0, "a_str0.00"),
        (None, None, None),
    ],
)
def test_the_configuration_of_a_batch(lora: str | None, strength: float | None, config: str | None) -> None:
    assert format_config(lora, strength) == config


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("out/step9_str1.00_0001_p001_v01_seed1_a.png", "step9_str1.00"),
        ("out/step8_str0.50/approved/0001_p001_v01_seed1_a.png", "step8_str0.50"),
        ("out/step8/step7/a.png", "step7"),
        ("out/a.png", "str0.80"),
        ("elsewhere/a.png", "str0.80"),
    ],
    ids=["its name", "a folder above", "the nearest folder", "the batch", "not in the folder"],
)
def test_where_a_configuration_is_found(file: str, expected: str) -> None:
    assert find_config(file, "out", "str0.80") == expected


def test_the_judged_folder_itself_may_name_it() -> None:
    assert find_config("runs/step500_str0.90/a.png", "runs/step500_str0.90") == "step500_str0.90"
    assert find_config("runs/other/a.png", "runs/other") is None
