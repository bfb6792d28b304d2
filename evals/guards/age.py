"""Guard *age*: how young does an age model take the people in a picture for? Whatever it takes for younger than the limit needs a person's
eyes before it is published.

Such models err by years, so only a wide margin is honest: with the limit 25 most of a set of grown-up, computer-made people are held back.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evals.judging.gate import look_up
from evals.judging.records import NOT_MEASURED, Reading
from evals.judging.view import Prepared
from lifeos.errors import UnavailableError
from lifeos.free_models import AGE

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from evals.faces.face_engine import Face, Rgb
    from evals.judging.view import Setting, View

    Estimate = Callable[[Rgb, Face], float]
    """Years, from a face in a picture."""

METRIC = "age/1"
KEY = "age"
WITHOUT = "without a model"
OLDEST = 80.0
CAUSE = "a person must look"
WITHOUT_MODEL, REPORT = "gates.age.without_model", "report"
FIX = "run: python -m lifeos setup --age; or let pictures pass without it: gates.age.without_model: report"
LEAST_HEIGHT = 40
"""Pixels. Another face than the subject's that is smaller is not looked at: of so few the model tells nothing."""

CHIP, WIDE = 64, 256
"""Pixels of the square that the model is fed, and of the one that is cut out of the picture and then reduced."""
CHIP_POINTS = ((0.22733, 0.22140), (0.75281, 0.22123), (0.49011, 0.62780))
"""Where the middles of the eyes and the base of the nose lie in dlib's aligned face, in parts of it without padding."""
PADDING = 0.2
NOSE_BASE = 0.83
"""How far down from the eyes to the mouth the base of the nose lies."""
MEANS, DIVISOR = (122.782, 117.001, 104.298), 256.0
GENDERAGE = "genderage.onnx"


def prepare(setting: Setting) -> Prepared:
    """Open the age model: the free one that `setup --age` brings, else that of the InsightFace pack in use.

    Raises UnavailableError without either, unless the policy says that pictures may then be judged without this guard.
    """
    from evals.faces import model_files

    path, pack = model_files.find(AGE), _genderage_of(setting.engine)
    if path is not None:
        setting.memory[KEY] = open_free_model(path)
        return Prepared(f"{AGE.name} {AGE.sha256[:12]}")
    if pack is not None:
        from lifeos.files import sha256_file

        setting.memory[KEY] = open_genderage(pack)
        return Prepared(f"{GENDERAGE} {sha256_file(pack)[:12]}")
    if look_up(setting.policy, WITHOUT_MODEL) != REPORT:
        raise UnavailableError("gates.age", "has a limit, but no age model is here, so nobody's apparent age can be judged", FIX)
    return Prepared(WITHOUT, ("the guard apparent age did not run: no age model is here (python -m lifeos setup --age)",))


def measure(view: View) -> Reading:
    """The years that the model takes the youngest face in the picture for, 0 to 80."""
    if view.sighting is None:
        return Reading(None, "no_face")
    estimate: Estimate | None = view.memory.get(KEY)
    if estimate is None:
        return Reading(None, NOT_MEASURED)
    subject = view.sighting.subject
    faces = [face for face in view.sighting.faces if face is subject or face.box[3] - face.box[1] >= LEAST_HEIGHT]
    return Reading(round(min(OLDEST, max(0.0, min(estimate(view.picture.rgb, face) for face in faces))), 2), cause=CAUSE)


def _genderage_of(engine: Any) -> Path | None:
    pack = getattr(engine, "pack", None)
    path = None if pack is None else pack.folder / GENDERAGE
    return path if path is not None and path.is_file() else None


def open_free_model(path: Path) -> Estimate:
    """The free model: the years of a face and of its mirror image, of which the lower counts. Raises UnavailableError for a broken file."""
    import numpy as np

    session = _open(path)
    name = session.get_inputs()[0].name
    years = np.arange(81, dtype=np.float32)
    years[0] = 0.25  # the middle of the first class, as the model's authors have it

    def estimate(rgb: Rgb, face: Face) -> float:
        chip = cut_chip(rgb, face.landmarks)
        both = np.stack([chip, chip[:, ::-1]]).astype(np.float32)
        planes = ((both - np.array(MEANS, dtype=np.float32)) / np.float32(DIVISOR)).transpose(0, 3, 1, 2)
        return float((session.run(None, {name: np.ascontiguousarray(planes)})[0] @ years).min())

    return estimate


def cut_chip(rgb: Rgb, landmarks: NDArray[np.float64]) -> Rgb:
    """The face as the free model wants it: 64 x 64 pixels, upright, by the eyes and the base of the nose."""
    import cv2
    import numpy as np

    from evals.faces.alignment import align

    left, right, _, *corners = landmarks
    eyes, mouth = (left + right) / 2, (corners[0] + corners[1]) / 2
    points = np.stack([left, right, eyes + NOSE_BASE * (mouth - eyes)])
    wide = align(rgb, points, (np.array(CHIP_POINTS) + PADDING) / (1 + 2 * PADDING) * WIDE, WIDE)
    return np.asarray(cv2.resize(wide, (CHIP, CHIP), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def open_genderage(path: Path) -> Estimate:
    """The age model of an InsightFace pack, read by InsightFace itself. Raises UnavailableError for a broken file."""
    import numpy as np
    from insightface.app.common import Face as PackFace
    from insightface.model_zoo.attribute import Attribute

    try:
        model = Attribute(str(path), _open(path))
    except (AssertionError, IndexError, TypeError) as error:
        raise UnavailableError(path, "is no model of gender and age", "fetch the pack again") from error

    def estimate(rgb: Rgb, face: Face) -> float:
        return float(model.get(np.ascontiguousarray(rgb[..., ::-1]), PackFace(bbox=np.array(face.box)))[1])

    return estimate


def _open(path: Path) -> Any:
    import onnxruntime

    from evals.faces.onnx_session import CPU, session_options

    try:
        return onnxruntime.InferenceSession(path.read_bytes(), sess_options=session_options(threads=1), providers=[CPU])
    except Exception as error:  # onnxruntime's own errors have no nearer base
        raise UnavailableError(path, f"the age model does not load: {error}", FIX) from error
