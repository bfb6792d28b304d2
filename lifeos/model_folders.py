"""Where face models lie: what `setup` fills, `doctor` shows and the engines search, in one order."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from lifeos import cli

MODELS_FOLDER = cli.PROJECT_ROOT / "models"


def model_folders() -> list[Path]:
    """LIFEOS_MODELS if it is set, the project's folder, the user's, InsightFace's own: first match first. They need not exist."""
    named = os.environ.get("LIFEOS_MODELS")
    places = [Path(named).expanduser()] if named else []
    places.append(cli.PROJECT_ROOT / "models")
    with contextlib.suppress(RuntimeError):  # a user without a home, as in many containers
        places += [Path.home() / ".lifeos" / "models", Path.home() / ".insightface"]
    return places
