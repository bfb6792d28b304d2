"""What the two caching processes share with the training: the TOML, and caches that are found by a picture's name."""

from __future__ import annotations

import argparse
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

EXTENSIONS = (".png", ".jpg", ".jpeg", ".webp", ".bmp")


def read_config(path: str) -> dict[str, Any]:
    with open(path, "rb") as file:
        return tomllib.load(file)


def pictures_of(config: dict[str, Any]) -> Iterator[tuple[Path, Path, Path]]:
    """(picture, caption, folder of caches); a picture without a caption is left out, as the real trainer leaves it out."""
    for dataset in config["datasets"]:
        folder = Path(dataset["image_directory"])
        for picture in sorted(path for path in folder.iterdir() if path.suffix.lower() in EXTENSIONS):
            caption = picture.with_suffix(config["general"]["caption_extension"])
            if caption.is_file():
                yield picture, caption, Path(dataset["cache_directory"])


def cache(parser: argparse.ArgumentParser, ending: str) -> None:
    parser.add_argument("--dataset_config", required=True)
    args = parser.parse_args()
    found = list(pictures_of(read_config(args.dataset_config)))
    for number, (picture, caption, folder) in enumerate(found, 1):
        folder.mkdir(parents=True, exist_ok=True)
        if picture.stem == "broken":
            raise OSError(f"cannot identify image file {picture}")
        (folder / f"{picture.stem}{ending}").write_bytes(caption.read_bytes() + picture.read_bytes()[:16])
        sys.stderr.write(f"\r{100 * number // len(found):3d}%|██████████| {number}/{len(found)} [00:00<00:00, 60.99it/s]")
