"""A second graph that repairs pictures, for the embedded server."""

from __future__ import annotations

from typing import Any

CHECKPOINT = "embedded_demo_sdxl.safetensors"
GRAPH: dict[str, Any] = {
    "1": {"class_type": "LoadImage", "inputs": {"image": "example.png"}},
    "2": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": CHECKPOINT}},
    "3": {"class_type": "VAEEncode", "inputs": {"pixels": ["1", 0], "vae": ["2", 2]}},
    "4": {"class_type": "CLIPTextEncode", "inputs": {"clip": ["2", 1], "text": "a face"}},
    "5": {"class_type": "CLIPTextEncode", "inputs": {"clip": ["2", 1], "text": "plastic skin"}},
    "6": {
        "class_type": "KSampler",
        "inputs": {"model": ["2", 0], "positive": ["4", 0], "negative": ["5", 0], "latent_image": ["3", 0], "seed": 1, "steps": 2,
                   "cfg": 5.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 0.4},
    },
    "7": {"class_type": "VAEDecode", "inputs": {"samples": ["6", 0], "vae": ["2", 2]}},
    "8": {"class_type": "SaveImage", "inputs": {"images": ["7", 0], "filename_prefix": "fixed"}},
}  # fmt: skip
"""Image to image: a picture in, less than all noise, a picture out."""
