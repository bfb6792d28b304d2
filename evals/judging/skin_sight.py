"""The skin of the face that an engine found, by the same landmarks whichever engine runs: with points of its own each of two engines
would look at other skin, and judge one picture differently."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evals.faces import model_files, yunet
from evals.skin.measurement import SkinMeasurement, measure_skin

if TYPE_CHECKING:
    from evals.faces.face_engine import Face, FaceEngine, Rgb
    from evals.skin.realism import SkinReference

ENGINES_OWN = "the engine's"


class SkinSight:
    """Measures skin for one engine. `points` says whose landmarks it takes, for the protocol: YuNet's where its file is installed."""

    def __init__(self, engine: FaceEngine) -> None:
        identity = engine.identity()
        has_them = "refined_at" in identity.get("detector", {}) and model_files.YUNET_INT8.sha256 in identity.get("models", {}).values()
        self._yunet = None if has_them else yunet.open_installed()
        self.points = f"yunet {model_files.YUNET_INT8.sha256[:16]}" if has_them or self._yunet else ENGINES_OWN

    def measure(self, rgb: Rgb, face: Face, reference: SkinReference | None = None) -> SkinMeasurement:
        """As `measure_skin`."""
        seen = self._yunet.refine(rgb, face) if self._yunet else None
        usual_noise = None if reference is None else reference.noise
        return measure_skin(rgb, (seen or face).landmarks, face.box, usual_noise=usual_noise)
