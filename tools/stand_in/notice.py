"""What the embedded server says of itself, so that nobody takes its pictures for a model's."""

from __future__ import annotations

NOTICE = (
    "Rendered by the embedded demo server of LifeOS: variations of a public-domain NASA portrait, made without any image model. "
    "Not output of ComfyUI, and no evidence about any LoRA."
)
"""What the server says of itself in `/system_stats`, in every picture, and in every report made with it."""
