"""Guard *lookalike*: does a face in the picture resemble somebody in a folder of people whom no picture may resemble?

Every face of the picture is compared with every face in the folder, one by one: nothing tells which of its pictures show one person. The
score is that of the nearest pair, on the policy's scale of the engine.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evals.judging.gate import GateFolder, look_up
from evals.judging.records import Reading
from evals.judging.view import Prepared
from lifeos.counting import counted, verb
from lifeos.errors import InputError
from lifeos.escaping import escape_line

if TYPE_CHECKING:
    from evals.faces.face_engine import FaceEngine, Vector
    from evals.faces.policy_scale import PolicyScale
    from evals.judging.view import Setting, View

METRIC = "lookalike/1"
KEY = "lookalike"
FOLDER = GateFolder("gates.lookalike.folder", "--listed-dir", "pictures of people whom no picture may resemble, for that gate")
LEAST_HEIGHT = 40
"""Pixels. Another face than the subject's that is smaller than this is not compared: likeness of so few pixels says little."""
NAMED = 3


@dataclass(frozen=True, slots=True, eq=False)
class ListedPeople:
    """The faces of the folder, one unit row each, with the file that shows it; and what compares them."""

    names: tuple[str, ...]
    embeddings: Any
    engine: FaceEngine
    scale: PolicyScale

    def nearest(self, embeddings: list[Vector]) -> tuple[float, str]:
        """The highest cosine of any of these faces to any in the folder, and the file of that one."""
        import numpy as np

        cosines = self.embeddings @ np.stack(embeddings).T
        best = int(cosines.max(axis=1).argmax())
        return float(cosines[best].max()), self.names[best]


@dataclass(frozen=True, slots=True, eq=False)
class _Listed:
    """A picture of the folder: its faces, or why it counts for nothing."""

    name: str
    sha256: str
    embeddings: tuple[Vector, ...] = ()
    why_not: str = ""


def prepare(setting: Setting) -> Prepared:
    """Find every face in the folder. Raises InputError where no folder is named, or nobody's face is in it."""
    from evals.judging.references import content_id

    folder = FOLDER.require(setting, "people whom no picture may resemble")
    listed = _read_folder(folder, setting)
    people = [picture for picture in listed if picture.embeddings]
    left_out = [f"{escape_line(picture.name)} ({picture.why_not})" for picture in listed if picture.why_not]
    if not people:
        more = f" and {len(left_out) - NAMED} more" if len(left_out) > NAMED else ""
        why = f"shows nobody's face: {', '.join(left_out[:NAMED])}{more}" if left_out else "no pictures in it"
        raise InputError(folder, why, "give --listed-dir pictures that show the faces of these people, or take the guard out of the policy")
    import numpy as np

    names = tuple(picture.name for picture in people for _ in picture.embeddings)
    found = ListedPeople(names, np.stack([row for picture in people for row in picture.embeddings]), setting.engine, setting.scale)
    setting.memory[KEY] = found
    identity = f"people {content_id(picture.sha256 for picture in people)}"
    return Prepared(identity, _warnings(found, setting, len(left_out)), tuple(f"listed picture left out: {each}" for each in left_out))


def _read_folder(folder: Path, setting: Setting) -> list[_Listed]:
    """Every file of the folder and its sub-folders that is or looks like a picture, by name."""
    from lifeos.images import ImageError, list_pictures, read_picture

    def measure(path: Path) -> _Listed:
        name = path.relative_to(folder).as_posix()
        try:
            picture = read_picture(path)
        except ImageError as error:
            return _Listed(name, "", why_not=error.why)
        faces, _ = setting.engine.find(picture.rgb)
        vectors = tuple(setting.engine.embed(picture.rgb, face) for face in faces)
        return _Listed(name, picture.sha256, vectors, "" if vectors else "no face found")

    listing = list_pictures(folder, recursive=True)
    with ThreadPoolExecutor(setting.workers) as pool:
        measured = list(pool.map(measure, listing.pictures))
    return [*measured, *(_Listed(item.path.name, "", why_not=item.why) for item in listing.left_out)]


def _warnings(people: ListedPeople, setting: Setting, left_out: int) -> tuple[str, ...]:
    """What to know before trusting it, without the name of anybody."""
    lines = []
    if left_out:
        lines.append(f"listed people: {counted(left_out, 'file')} {verb(left_out, 'shows', 'show')} no face that could be compared")
    limit = look_up(setting.policy, "gates.lookalike.limit")
    score = setting.scale.score(people.nearest([setting.references.centroid])[0])
    if limit is not None and score > limit:
        lines.append(f"the references themselves look like a listed person ({score:.2f}): no picture of this character can pass")
    return tuple(lines)


def measure(view: View) -> Reading:
    """The highest likeness of any face in the picture to any in the folder; the note names the file."""
    if view.sighting is None:
        return Reading(None, "no_face")
    people: ListedPeople = view.memory[KEY]
    subject = view.sighting.subject
    others = [face for face in view.sighting.faces if face is not subject and face.box[3] - face.box[1] >= LEAST_HEIGHT]
    cosine, name = people.nearest([view.sighting.embedding, *(people.engine.embed(view.picture.rgb, face) for face in others)])
    return Reading(round(people.scale.score(cosine), 6), note=f"nearest is {name}")
