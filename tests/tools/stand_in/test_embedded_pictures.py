"""What the embedded server renders: deterministic, as asked, and of a quality that the real gates can tell apart."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from evals.judging.assessor import open_assessor
from evals.judging.records import Assessment
from evals.load_thresholds import load_thresholds
from lifeos.images import read_picture
from tools.stand_in import render_references
from tools.stand_in.backdrops import PLACES, STUDIO, place_of
from tools.stand_in.portrait import FACE_CENTER, SIZE
from tools.stand_in.quality import Quality, quality_of
from tools.stand_in.renderer import choose_look, compose, render
from tools.stand_in.sample_references import FLAWLESS
from tools.stand_in.saver_formats import encode_png
from tools.stand_in.scene import LoraUse, Scene
from tools.stand_in.warps import Framing, sample_map

WIDTH, HEIGHT = 416, 608


def scene(**changes: object) -> Scene:
    plain = Scene(
        positive="amiranoor, close up portrait", negative="", seed=1, index=0, steps=28, cfg=5.0, sampler="euler", scheduler="normal",
        width=WIDTH, height=HEIGHT, loras=(LoraUse("amiranoor_v3.safetensors", 0.8),),
    )  # fmt: skip
    return replace(plain, **changes)  # type: ignore[arg-type]


def mean_drift(count: int = 300, **changes: object) -> float:
    """The mean drift over seeds; quality alone, no picture is made."""
    return float(np.mean([quality(scene(seed=seed, **changes)).drift for seed in range(count)]))


def quality(asked: Scene) -> Quality:
    return quality_of(asked, np.random.default_rng(asked.random_seed("quality")))


def test_same_scene_same_bytes_and_every_difference_shows() -> None:
    first = render(scene())
    assert first.shape == (HEIGHT, WIDTH, 3)
    assert first.dtype == np.uint8
    assert np.array_equal(first, render(scene()))
    for change in ({"seed": 2}, {"index": 1}, {"positive": "amiranoor, beach"}, {"loras": ()}, {"cfg": 14.0}, {"steps": 3}):
        assert not np.array_equal(first, render(scene(**change))), change


def test_sampler_settings_do_not_deal_another_picture() -> None:
    """A sweep compares settings on the same seeds: pose and light stay, so most of the picture does."""
    one, other = render(scene()).astype(int), render(scene(cfg=5.5, loras=(LoraUse("amiranoor_v3.safetensors", 0.75),))).astype(int)
    assert np.abs(one - other).mean() < 4
    assert np.abs(one - render(scene(seed=2)).astype(int)).mean() > 20


@pytest.mark.parametrize(("width", "height"), [(832, 1216), (1216, 832), (64, 64), (96, 512), (512, 96), (8, 8)])
def test_any_size(width: int, height: int) -> None:
    assert render(scene(width=width, height=height)).shape == (height, width, 3)


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        pytest.param({}, {"loras": (LoraUse("amiranoor_v2.safetensors", 0.8),)}, id="v3 over v2"),
        pytest.param({"loras": (LoraUse("amiranoor_v2.safetensors", 0.8),)}, {"loras": ()}, id="v2 over no LoRA"),
        pytest.param({"loras": (LoraUse("sub\\other.safetensors", 0.8),)}, {"loras": ()}, id="unknown LoRA over none"),
        pytest.param({}, {"loras": (LoraUse("amiranoor_v3.safetensors", 0.5),)}, id="0.8 over 0.5"),
        pytest.param({}, {"loras": (LoraUse("amiranoor_v3.safetensors", 1.1),)}, id="0.8 over 1.1"),
        pytest.param(
            {"loras": (LoraUse("amiranoor_v3.safetensors", 0.1),)}, {"loras": (LoraUse("amiranoor_v3.safetensors", 0.0),)}, id="0.1 over 0"
        ),
        *[
            pytest.param(
                {"loras": (LoraUse(f"runs/amiranoor_v3-step{more:05}.safetensors", 0.8),)},
                {"loras": (LoraUse(f"amiranoor_v3-step{less:04}.safetensors", 0.8),)},
                id=f"step {more} over {less}",
            )
            for more, less in ((1000, 500), (1500, 1000), (2000, 1500), (2000, 3000), (3000, 9000))
        ],
    ],
)
def test_quality_model(better: dict[str, object], worse: dict[str, object]) -> None:
    assert mean_drift(**better) < mean_drift(**worse) - 0.01


def test_shares_of_flaws() -> None:
    drawn = [quality(scene(seed=seed)) for seed in range(2000)]
    shares = {
        "empty": np.mean([one.is_empty for one in drawn]),
        "filtered": np.mean([one.filter_strength > 0 for one in drawn]),
        "blurred": np.mean([one.blur > 0 for one in drawn]),
        "cast": np.mean([one.cast != (1, 1, 1) for one in drawn]),
    }
    # the shares of quality.py; 0.03 is over three standard errors of a share of 2,000
    assert shares == {
        key: pytest.approx(share, abs=0.03) for key, share in (("empty", 0.05), ("filtered", 0.22), ("blurred", 0.10), ("cast", 0.06))
    }
    relieved = [quality(scene(seed=seed, negative="blurry, plastic skin")) for seed in range(2000)]
    assert np.mean([one.filter_strength > 0 for one in relieved]) == pytest.approx(0.11, abs=0.03)
    assert np.mean([one.blur > 0 for one in relieved]) == pytest.approx(0.05, abs=0.02)


@pytest.mark.parametrize(
    ("prompt", "word"),
    [
        ("amiranoor, candid photo at outdoor cafe, golden hour", "cafe"),
        ("amiranoor, beach sunset, looking at camera, warm tones", "beach"),
        ("amiranoor, coffee shop window seat, rainy day, cozy lighting, reading", "rain"),
        ("amiranoor, poolside, bright midday sun", "pool"),
    ],
)
def test_prompt_chooses_the_place(prompt: str, word: str) -> None:
    assert word in place_of(prompt).words
    assert place_of("amiranoor") is STUDIO


@pytest.mark.parametrize(("width", "height"), [(832, 1216), (1216, 832), (256, 1024)])
def test_frame_shows_no_edge_of_the_source(width: int, height: int) -> None:
    """Below its last row the source has nothing: every framing must end above it."""
    for seed, shot in itertools.product(range(12), ("close up", "walking", "")):
        look = choose_look(shot, width, height, PLACES[0], np.random.default_rng(seed))
        _, y = sample_map(width, height, replace(look.framing, angle=0.0), (0.0, 0.0), {})
        assert y.max() <= SIZE - 10


def test_sample_map_without_warp_is_the_framing() -> None:
    framing = Framing(center=FACE_CENTER, anchor=(0.5, 0.5), scale=2.0, angle=0.0)
    x, y = sample_map(100, 60, framing, (0.0, 0.0), {})
    # pixel (50, 30) is the picture's middle; 10 pixels to the right are 5 in the source
    assert (x[30, 50], y[30, 50]) == pytest.approx(FACE_CENTER)
    assert (x[30, 60], y[40, 50]) == pytest.approx((FACE_CENTER[0] + 5, FACE_CENTER[1] + 5))


def test_references_are_whole_pictures_and_the_same_each_time(tmp_path: Path) -> None:
    first, second = render_references(tmp_path / "a", 2), render_references(tmp_path / "b", 2)
    assert [path.name for path in first] == ["reference_01.png", "reference_02.png"]
    assert [read_picture(path).rgb.shape for path in first] == [(1216, 832, 3)] * 2
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


@pytest.fixture(scope="module")
def assess(model_root: Path, tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    """Assess a picture of one look with a given quality, with the real small InsightFace pack and real references."""
    references = tmp_path_factory.mktemp("references")
    render_references(references, 4)
    assessor = open_assessor(references, load_thresholds(), engine="insightface", prefer_cpu=True, model_root=model_root, model_pack="mini")

    def run(flawed: Quality, seed: int = 1) -> Assessment:
        random = np.random.default_rng(seed)
        look = choose_look("close up", 832, 1216, STUDIO, random)
        return assessor.assess_bytes(encode_png(compose(look, STUDIO, flawed, 832, 1216, random)), Path("picture.png"))

    return run


def test_gates_find_each_flaw(assess) -> None:  # type: ignore[no-untyped-def]
    """Every flaw that the quality model deals is found by the gate that it is meant for, and by no other."""
    good = assess(FLAWLESS)
    assert (good.face.score > 0.8, good.skin.score > 0.8) == (True, True)
    stranger = assess(replace(FLAWLESS, drift=1.0))
    assert stranger.face.score < 0.5
    assert stranger.skin.score > 0.6
    filtered = assess(replace(FLAWLESS, filter_strength=1.0))
    assert filtered.skin.texture < 0.5
    assert filtered.face.score > 0.6
    assert assess(replace(FLAWLESS, blur=0.01)).skin.texture < 0.3
    assert assess(replace(FLAWLESS, cast=(1.22, 0.98, 0.66))).skin.color < 0.5
    empty = assess(replace(FLAWLESS, is_empty=True))
    assert (empty.face.score, empty.face.reason) == (None, "no_face")


def test_similarity_falls_with_drift(assess) -> None:  # type: ignore[no-untyped-def]
    scores = [assess(replace(FLAWLESS, drift=drift)).face.score for drift in (0.0, 0.3, 0.6, 0.9)]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] - scores[-1] > 0.4
