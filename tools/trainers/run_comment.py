"""What a LoRA itself says of its data and its run: JSON, in whichever field of comment its trainer has. `kohya_header` reads it back."""

from __future__ import annotations

import json
from typing import Any

from tools.trainers.trainer import RunIdentity


def training_comment(identity: RunIdentity) -> str:
    """The text for the field of comment."""
    said: dict[str, Any] = {"dataset_id": identity.dataset_id, "dataset_manifest_hash": identity.manifest_hash, "run_id": identity.run_id}
    if identity.parts:
        said["continued_at"] = list(identity.parts)
    return json.dumps(said, separators=(",", ":"))
