"""The face engines on real pictures: SFace, dlib with and without YuNet, and a real InsightFace pack; and which of them is chosen."""

from __future__ import annotations

import contextlib
import importlib.util
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageFilter

from evals.faces import model_files, yunet
from evals.faces.__main__ import examine_engines
from evals.faces.aligned_engine import AlignedEngine
from evals.faces.dlib_engine import DlibEngine, share_inside
from evals.faces.engines import choose_engine
from evals.faces.face_engine import Face, FaceEngine, Rgb
from evals.faces.insightface_engine import InsightFaceEngine, Pack, find_packs, read_pack
from evals.faces.onnx_session import CPU
from evals.faces.policy_scale import PolicyScale
from evals.faces.subject import Sighting, sight_subject
from evals.load_thresholds import load_thresholds
from lifeos.errors import InputError, LifeosError, UnavailableError
from tests.evals.portraits import group, noise, portrait, tight_close_up

POLICY = load_thresholds()


def rgb(image: Image.Image) -> Rgb:
    return np.asarray(image.convert("RGB"), dtype=np.uint8)


@pytest.fixture(scope="module")
def make_engine(request: pytest.FixtureRequest) -> Callable[[str], FaceEngine]:
    """An engine by name, made once; skips where its models are not here."""
    made: dict[str, FaceEngine] = {}

    def make(name: str) -> FaceEngine:
        if name not in made:
            if name == "insightface":
                made[name] = choose_engine(name, POLICY, model_root=request.getfixturevalue("model_root"), model_pack="mini")
            else:
                made[name] = DlibEngine() if name == "dlib_hog" else choose_engine(name.removesuffix("_yunet"), POLICY)
        return made[name]

    return make


@pytest.fixture(params=["sface", "dlib_hog", "dlib_yunet", "insightface"])
def engine(request: pytest.FixtureRequest, make_engine: Callable[[str], FaceEngine]) -> Iterator[FaceEngine]:
    yield make_engine(request.param)


def sight(engine: FaceEngine, image: Image.Image) -> Sighting:
    sighting = sight_subject(engine, rgb(image))
    assert sighting is not None
    return sighting


def policy_score(engine: FaceEngine, first: Image.Image, second: Image.Image) -> float:
    cosine = float(sight(engine, first).embedding @ sight(engine, second).embedding)
    return PolicyScale.from_policy(POLICY["face_similarity"]["engines"][engine.scale_key]).score(cosine)


@pytest.mark.parametrize(
    "changed",
    [
        portrait().transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        portrait().resize((1024, 1024), Image.Resampling.BICUBIC),
        portrait().rotate(8, Image.Resampling.BICUBIC),
        portrait().crop((60, 0, 400, 340)),
        tight_close_up(),
    ],
    ids=["mirrored", "larger", "leaning", "cropped", "tight close-up"],
)
def test_the_same_person_passes(engine: FaceEngine, changed: Image.Image) -> None:
    assert policy_score(engine, portrait(), changed) > POLICY["face_similarity"]["pass_threshold"]


def test_strangers_do_not(engine: FaceEngine) -> None:
    everyone, _ = engine.find(rgb(group()))
    assert len(everyone) == 6
    own = sight(engine, portrait()).embedding
    scale = PolicyScale.from_policy(POLICY["face_similarity"]["engines"][engine.scale_key])
    scores = [scale.score(float(engine.embed(rgb(group()), face) @ own)) for face in everyone]
    assert max(scores) < POLICY["face_similarity"]["warn_threshold"]


def test_an_embedding_is_a_unit_vector(engine: FaceEngine) -> None:
    embedding = sight(engine, portrait()).embedding
    assert embedding.shape == (128,)
    assert float(np.linalg.norm(embedding)) == pytest.approx(1.0)


def test_box_and_landmarks_lie_where_the_face_is(engine: FaceEngine) -> None:
    """By eye, in the picture: eyes at (203, 102) and (247, 104), nose tip at (222, 126), mouth from (202, 141) to (243, 143)."""
    subject = sight(engine, portrait()).subject
    by_eye = np.array([[203, 102], [247, 104], [222, 126], [202, 141], [243, 143]])
    assert np.abs(subject.landmarks - by_eye).max() < 7
    x0, y0, x1, y1 = subject.box
    assert x0 < 195 < 250 < x1 and y0 < 95 < 145 < y1
    assert 80 < x1 - x0 < 110 and 80 < y1 - y0 < 135


def test_no_face_in_noise_or_in_a_stripe(engine: FaceEngine) -> None:
    assert sight_subject(engine, rgb(noise())) is None
    assert sight_subject(engine, np.zeros((3, 5000, 3), dtype=np.uint8)) is None
    assert sight_subject(engine, np.zeros((1, 1, 3), dtype=np.uint8)) is None


def test_a_face_without_margin_takes_a_border(make_engine: Callable[[str], FaceEngine]) -> None:
    engine = make_engine("insightface")
    sighting = sight(engine, tight_close_up())
    assert sighting.attempt == "border_50"
    assert sight(make_engine("sface"), tight_close_up()).subject.box == pytest.approx(sighting.subject.box, abs=60)
    assert sight(engine, portrait()).attempt == "as_is"
    x0, y0, x1, y1 = sighting.subject.box
    assert x0 > 0 and x1 < 630 and y1 - y0 > 500  # in pixels of the picture, not of the bordered one


def test_hog_looks_closer_where_a_face_is_small(make_engine: Callable[[str], FaceEngine]) -> None:
    half = portrait().resize((256, 256), Image.Resampling.BOX)  # its face is 45 pixels wide, HOG's smallest is 80
    assert sight(make_engine("dlib_hog"), half).attempt == "doubled"


def test_hog_boxes_far_weaker_than_the_face_are_no_faces(make_engine: Callable[[str], FaceEngine]) -> None:
    """At this size HOG sees a second, faint face in the suit: confidence .13 beside 1.28."""
    assert len(sight(make_engine("dlib_hog"), portrait().resize((1024, 1024))).faces) == 1


@pytest.mark.parametrize(
    ("box", "share", "attempt"),
    [
        ((10, 10, 60, 60), 1.0, "low_threshold"),
        ((-20, 0, 80, 100), 0.8, "low_threshold"),
        ((-60, 0, 90, 100), 0.6, "low_threshold"),
        ((-50, 0, 50, 100), 0.5, ""),
        ((-33, 70, 277, 380), 0.0312, ""),  # 100 x 30 of 310 x 310: a box of this kind was seen in a real picture
    ],
)
def test_a_faint_face_counts_where_it_lies_in_the_picture(
    box: tuple[float, float, float, float], share: float, attempt: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    face = Face(box, np.zeros((5, 2)), 0.1)
    picture = np.zeros((100, 100, 3), dtype=np.uint8)
    assert share_inside(face, picture) == pytest.approx(share, abs=0.002)
    engine = DlibEngine()
    monkeypatch.setattr(engine, "_find_hog", lambda rgb, border, threshold, doubled=False: [face] if threshold < 0 else [])
    assert engine.find(picture)[1] == attempt


def test_the_pack_embeds_as_its_own_library_does(model_root: Path, make_engine: Callable[[str], FaceEngine]) -> None:
    from insightface.app import FaceAnalysis

    modules = ["detection", "recognition"]
    library = FaceAnalysis(str(model_root / "insightface" / "mini"), allowed_modules=modules, providers=[CPU])
    library.prepare(0, det_size=(640, 640))
    (own,) = library.get(np.ascontiguousarray(rgb(portrait())[..., ::-1]))  # it takes BGR
    ours = sight(make_engine("insightface"), portrait())
    assert np.allclose(ours.subject.landmarks, own.kps, atol=0.01)
    assert float(ours.embedding @ own.normed_embedding) > 0.9999


def test_yunet_sees_what_opencv_sees() -> None:
    picture, path = rgb(portrait()), model_files.require(model_files.YUNET_INT8)
    detector = cv2.FaceDetectorYN.create(str(path), "", (512, 512), 0.6, 0.3, 500)
    (row,) = detector.detect(np.ascontiguousarray(picture[..., ::-1]))[1]
    (face,) = yunet.YuNet(path).detect(picture)
    assert face.landmarks.ravel() == pytest.approx(row[4:14], abs=0.01)
    assert face.box == pytest.approx((row[0], row[1], row[0] + row[2], row[1] + row[3]), abs=0.01)


def test_threads_do_not_change_scores(engine: FaceEngine) -> None:
    pictures = [rgb(portrait()), rgb(group()), rgb(portrait().filter(ImageFilter.GaussianBlur(1))), rgb(tight_close_up())]
    alone = [sight_subject(engine, picture) for picture in pictures]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda picture: sight_subject(engine, picture), pictures * 2))
    for one, other in zip(alone * 2, together, strict=True):
        assert one is not None and other is not None
        assert np.allclose(one.embedding, other.embedding, atol=1e-6)


def test_identity_reads_no_file(engine: FaceEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked for several times in each run; the files were hashed when the engine was opened."""
    monkeypatch.setattr("builtins.open", lambda *_args, **_more: pytest.fail("a file is opened"))
    assert engine.identity()["models"]


def test_identity_names_files_and_hashes(model_root: Path, make_engine: Callable[[str], FaceEngine]) -> None:
    pack = make_engine("insightface").identity()
    assert pack["models"] == {
        "det_500m.onnx": "b467f878e26ff1e7ee05cd9936fdff63fa2a5af5d732ed17ee231f2dd5cc07ae",
        "rec_mobilefacenet.onnx": "e8e15de7b894f917ecc7f068dbe12d7c00e79c9c4a7414538d8de2dcb76d6458",
    }
    assert (pack["engine"], pack["model_pack"]) == ("insightface", "mini")
    with_yunet, with_hog = make_engine("dlib_yunet").identity(), make_engine("dlib_hog").identity()
    detector = {"face_detection_yunet_2023mar_int8bq.onnx": "49f000ec501fef24739071fc7e68267d32209045b6822c0c72dce1da25726f10"}
    assert with_yunet["detector"] == {"name": "yunet", "borders": [0.0, 0.5, 1.0], "refined_at": 200, "cells": "mean"}
    assert with_yunet["models"].items() >= detector.items()
    assert with_hog["detector"]["name"] == "dlib_hog" and not with_hog["models"].keys() & detector.keys()
    sface = make_engine("sface").identity()
    embedder = {"face_recognition_sface_2021dec_int8bq.onnx": "fb143eea07838aa532d1c95df5f69899974ea0140e1fba05e94204be13ed74ee"}
    assert (sface["engine"], sface["models"], sface["detector"]) == ("sface", embedder | detector, with_yunet["detector"])
    assert "shape_predictor_5_face_landmarks.dat" in with_hog["models"]
    assert not any("68" in name for name in with_hog["models"])  # not licensed for commercial use


def test_the_provider_is_the_one_that_runs_and_the_licence_is_told(make_engine: Callable[[str], FaceEngine]) -> None:
    engine = make_engine("insightface")
    assert engine.provider == CPU
    assert sum("non-commercial research only" in note for note in engine.notes) == 1


def test_cuda_that_does_not_run_is_told(model_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """onnxruntime lists CUDA on machines without a GPU, and falls back to the CPU without a word."""
    import onnxruntime

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider", CPU])
    with pytest.warns(UserWarning, match="CUDAExecutionProvider"):
        engine = InsightFaceEngine(read_pack(model_root / "insightface" / "mini"))
    assert engine.provider == CPU
    assert any(note.startswith("CUDA does not run, so the CPU scores") for note in engine.notes)
    assert len(InsightFaceEngine(read_pack(model_root / "insightface" / "mini"), prefer_cpu=True).notes) == 1


@pytest.fixture
def no_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home and project: nothing is found but what a test puts there. The home's folder."""
    monkeypatch.setattr("lifeos.cli.PROJECT_ROOT", tmp_path / "project")
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    monkeypatch.delenv("LIFEOS_MODELS", raising=False)
    return tmp_path / "home"


def test_auto_without_a_pack_is_sface(no_models: Path) -> None:
    engine = choose_engine("auto", POLICY)
    assert (engine.identity()["engine"], engine.provider, engine.notes) == ("sface", CPU, ())
    ready = {row["engine"]: row["found"] for row in examine_engines() if row["ready"]}
    assert next(iter(ready.items())) == ("sface", "with YuNet; Apache-2.0 and MIT")


@pytest.fixture
def no_free_models(no_models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which `setup` never brought the default engine's two files."""
    monkeypatch.setattr(model_files, "package_folders", list)


@pytest.mark.usefixtures("no_free_models")
def test_auto_without_sface_is_dlib_where_it_is_installed() -> None:
    engine = choose_engine("auto", POLICY)
    assert isinstance(engine, DlibEngine)
    assert "misses many close-ups" in engine.notes[0]


@pytest.mark.usefixtures("no_free_models")
def test_dlib_takes_the_detector_of_version_3_0_where_there_is_no_other(model_root: Path) -> None:
    """Nothing was begun with it, so each face is looked at again."""
    identity = choose_engine("dlib", POLICY, model_root=model_root).identity()
    assert (yunet.FLOAT_FILE in identity["models"], identity["detector"]["refined_at"]) == (True, 200)


@pytest.mark.usefixtures("no_free_models")
def test_without_any_engine_both_set_ups_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "dlib" else found(name))
    message = fails(UnavailableError, engine="auto")
    assert message.startswith("SFace: its model file face_recognition_sface_2021dec_int8bq.onnx is not here ")
    assert "python -m lifeos setup; or" in message and message.endswith("python -m lifeos setup --dlib)")


@pytest.mark.parametrize("place", ["--model-root", "LIFEOS_MODELS", "project/models", "home/.lifeos/models", "home/.insightface/models"])
def test_auto_takes_a_pack_from_any_of_the_places(
    place: str, model_root: Path, no_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = not place.startswith(("project", "home"))
    folder = tmp_path / ("named" if named else place)
    shutil.copytree(model_root / "insightface" / "mini", folder / "mini")
    if place == "LIFEOS_MODELS":
        monkeypatch.setenv("LIFEOS_MODELS", str(folder))
    engine = choose_engine("auto", POLICY, model_root=folder if place == "--model-root" else None)
    assert isinstance(engine, InsightFaceEngine)
    assert (engine.pack.name, engine.pack.folder) == ("mini", folder / "mini")


def test_packs_lie_in_a_folder_or_in_its_models(tmp_path: Path) -> None:
    for name in ("a", "models/b", "insightface/c", "models/one_file"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "1.onnx").touch()
        if not name.endswith("one_file"):
            (tmp_path / name / "2.onnx").touch()
    assert sorted(find_packs([tmp_path])) == ["a", "b", "c"]
    assert find_packs([tmp_path / "a"]) == {"a": tmp_path / "a"}  # the pack's own folder will do
    assert find_packs([tmp_path / "missing"]) == {}


def fails(error: type[LifeosError], **wanted: object) -> str:
    with pytest.raises(error) as caught:
        choose_engine(policy=POLICY, **wanted)  # type: ignore[arg-type]
    return str(caught.value)


def test_a_pack_that_is_not_there(no_models: Path) -> None:
    message = fails(UnavailableError, engine="insightface")
    assert message.startswith("model pack buffalo_l: not in ")
    assert message.endswith("(run: python -m lifeos setup --insightface, or use --engine sface)")


def test_a_mistyped_pack(model_root: Path) -> None:
    message = fails(UnavailableError, engine="auto", model_root=model_root, model_pack="minni")
    assert "(did you mean mini?; run: python -m lifeos setup" in message


def test_a_pack_without_thresholds_is_refused(model_root: Path, tmp_path: Path, no_models: Path) -> None:
    shutil.copytree(model_root / "insightface" / "mini", tmp_path / "own")
    message = fails(InputError, engine="insightface", model_root=tmp_path, model_pack="own")
    assert message.startswith("model pack own: the policy has no thresholds for it")
    assert "face_similarity.engines.insightface_own" in message
    assert isinstance(choose_engine("auto", POLICY, model_root=tmp_path), AlignedEngine)
    assert choose_engine("insightface", POLICY, model_root=tmp_path, needs_row=False).scale_key == "insightface_own"
    row = {"stranger": 0.02, "warn": 0.25, "pass": 0.3, "same": 1.0}
    policy = {"face_similarity": {"engines": {"insightface_own": row}}}
    assert choose_engine("auto", policy, model_root=tmp_path).scale_key == "insightface_own"


@pytest.mark.parametrize("fault", ["another file", "truncated", "no recognition", "empty files"])
def test_a_faulty_pack(fault: str, model_root: Path, tmp_path: Path) -> None:
    source, folder = model_root / "insightface" / "mini", tmp_path / "mini"
    shutil.copytree(source, folder)
    folder.chmod(0o755)
    expected = {
        "another file": "its SHA-256 is",
        "truncated": "not a usable ONNX model",
        "no recognition": "the model pack has no recognition model",
        "empty files": "the model pack has no detection model",
    }[fault]
    recognition, detection = folder / "rec_mobilefacenet.onnx", folder / "det_500m.onnx"
    for path in (recognition, detection):
        path.chmod(0o644)
    if fault == "another file":  # under the name of a pack whose files are known
        folder = folder.rename(tmp_path / "buffalo_l")
        (folder / "det_500m.onnx").rename(folder / "det_10g.onnx")
    elif fault == "truncated":
        recognition.write_bytes(recognition.read_bytes()[:-100_000])
    elif fault == "no recognition":
        shutil.copy(detection, recognition)
    else:
        for path in (recognition, detection):
            path.write_bytes(b"")
    with pytest.raises(UnavailableError) as caught:
        read_pack(folder)
    assert expected in str(caught.value)


def test_a_pack_that_onnxruntime_refuses(model_root: Path, tmp_path: Path) -> None:
    """Well-formed, so that reading the pack finds no fault: only loading it does."""
    import onnx

    folder = Path(shutil.copytree(model_root / "insightface" / "mini", tmp_path / "mini", copy_function=shutil.copyfile))
    model = onnx.load_model(str(folder / "rec_mobilefacenet.onnx"))
    model.graph.node[0].op_type = "NoSuchOperator"
    onnx.save_model(model, str(folder / "rec_mobilefacenet.onnx"))
    with pytest.raises(UnavailableError, match=r"mini: the model pack does not load: .*NoSuchOperator") as caught:
        InsightFaceEngine(read_pack(folder))
    assert caught.value.fix == "fetch it again, or use --engine sface"


@pytest.mark.usefixtures("no_free_models")
def test_another_detector_under_yunets_name(tmp_path: Path) -> None:
    (tmp_path / yunet.FLOAT_FILE).write_bytes(b"something else")
    message = fails(UnavailableError, engine="dlib", model_root=tmp_path)
    assert message.startswith(f"{tmp_path / yunet.FLOAT_FILE}: not the detector that was calibrated: its SHA-256 is ")


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"engine": "facenet"}, "--engine: 'facenet' is no engine (use auto, onnx, insightface, sface, dlib)"),
        ({"engine": "dlib", "model_pack": "mini"}, "--model-pack: dlib has no model packs (leave it out, or use --engine insightface)"),
    ],
    ids=["unknown engine", "a pack for dlib"],
)
def test_wrong_wishes(wanted: dict[str, object], message: str) -> None:
    assert fails(InputError, **wanted) == message


def test_a_model_root_that_is_not_there(tmp_path: Path) -> None:
    assert fails(InputError, engine="auto", model_root=tmp_path / "x").endswith(
        "no such directory (give --model-root an existing directory)"
    )


def test_a_models_folder_in_the_environment_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIFEOS_MODELS", str(tmp_path / "x"))
    message = fails(InputError, engine="auto")
    assert message.endswith("no such directory (give LIFEOS_MODELS an existing directory)")


@pytest.mark.parametrize(
    ("engine", "package"),
    [("dlib", "dlib"), ("dlib", "face_recognition_models"), ("insightface", "insightface"), ("insightface", "onnxruntime")],
)
def test_a_package_that_is_not_installed(engine: str, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == package else found(name))
    with pytest.raises(UnavailableError) as caught:
        DlibEngine() if engine == "dlib" else InsightFaceEngine(Pack("mini", tmp_path, tmp_path / "1.onnx", tmp_path / "2.onnx", {}))
    command = "python -m lifeos setup --dlib" if engine == "dlib" else "python -m lifeos setup"
    assert str(caught.value) == f"face engine {engine}: the package {package} is not installed (run: {command})"


def test_threads_that_open_detectors_at_once_leave_opencv_s_log_level_as_it_was() -> None:
    before, inside = cv2.utils.logging.getLogLevel(), []
    meeting = threading.Barrier(2, timeout=0.2)

    def lower() -> None:
        with yunet._quiet_opencv():
            with contextlib.suppress(threading.BrokenBarrierError):
                meeting.wait()  # met only where both are inside
            inside.append(cv2.utils.logging.getLogLevel())

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(lower) for _ in range(2)]:
            done.result()
    assert inside == [cv2.utils.logging.LOG_LEVEL_ERROR] * 2
    assert not meeting.n_waiting and meeting.broken
    assert cv2.utils.logging.getLogLevel() == before


@pytest.mark.usefixtures("links")
def test_models_in_a_folder_of_any_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On Windows neither OpenCV nor dlib opens a path with letters outside ASCII: one is given bytes, the other a relative path."""
    import dlib

    from evals.faces import dlib_engine

    folder = tmp_path / "größe 北京"
    folder.mkdir()
    shutil.copy2(model_files.require(model_files.YUNET_INT8), folder)
    for name in (dlib_engine.PREDICTOR, dlib_engine.EMBEDDER):
        (folder / name).symlink_to(dlib_engine._weights_folder() / name)
    real, opened = dlib.shape_predictor, []
    monkeypatch.setattr(dlib, "shape_predictor", lambda path: opened.append(path) or real(path))
    before = Path.cwd()
    models = dlib_engine._Models(folder)
    faces = yunet.YuNet(folder / model_files.YUNET_INT8.name).detect(rgb(portrait()))
    assert (len(faces), len(models.find(rgb(portrait()), 0.0)), Path.cwd()) == (1, 1, before)
    assert opened[0].isascii()
