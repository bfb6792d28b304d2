"""The files of the embedded server: the names that savers give, what `/view` may show, what `/upload/image` takes."""

from __future__ import annotations

import io
import threading
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FOLDERS = ("output", "input", "temp")


class RefusedPathError(Exception):
    """A file name that may not be opened. `status` is the HTTP status that a real server answers with."""

    def __init__(self, status: int) -> None:
        self.status = status
        super().__init__(f"refused with {status}")


class PictureStore:
    """The folders `output`, `input` and `temp` under `root`; they survive a restart of the server."""

    def __init__(self, root: Path, notice: str) -> None:
        self.root = root
        self.notice = notice
        self._lock = threading.Lock()
        for folder in FOLDERS:
            (root / folder).mkdir(parents=True, exist_ok=True)

    def save(self, files: Sequence[bytes], prefix: str, ending: str, size: tuple[int, int], folder: str = "output") -> list[dict[str, str]]:
        """Write each file as `PREFIX_00001_.ENDING`, the counter going on from the files that are there; `size` fills in `%width%`.

        Returns ComfyUI's references: filename, subfolder, type.
        """
        expanded = _expand(prefix, *size)
        name = PurePath(expanded).name or "."
        base = (self.root / folder).resolve()
        target = (base / PurePath(expanded).parent).resolve()  # where links lead
        if not target.is_relative_to(base):
            raise Exception("Saving image outside the output folder is not allowed.")  # a real server raises no better one
        subfolder = "" if target == base else target.relative_to(base).as_posix()
        saved = []
        with self._lock:
            target.mkdir(parents=True, exist_ok=True)
            # A prefix such as "dir/" names the file "dir" but counts files of no name: as on a real server, it overwrites
            counter = _next_counter(target, name) if expanded.endswith(name) else 1
            for index, data in enumerate(files):
                filename = f"{name.replace('%batch_num%', str(index))}_{counter:05}_.{ending}"
                self._inside(folder, target / filename).write_bytes(data)
                saved.append({"filename": filename, "subfolder": subfolder, "type": folder})
                counter += 1
        return saved

    def find(self, filename: str, subfolder: str | None, folder: str) -> Path | None:
        """The file of a `/view` request, None if there is none. Raises RefusedPathError."""
        if not filename or filename[0] == "/" or ".." in filename or folder not in FOLDERS:
            raise RefusedPathError(400)
        path = self._inside(folder, self.root / folder / (subfolder or "") / Path(filename).name)
        try:
            return path if path.is_file() else None
        except OSError:  # a name that is too long for this disk
            return None

    def _inside(self, folder: str, path: Path) -> Path:
        """The path, wherever links lead it. Raises RefusedPathError where that is out of its folder, or goes round in a circle."""
        try:
            real = path.resolve()
        except (OSError, RuntimeError):
            raise RefusedPathError(403) from None
        if not real.is_relative_to((self.root / folder).resolve()):
            raise RefusedPathError(403)
        return path

    def upload(self, data: bytes, filename: str, subfolder: str, folder: str, *, overwrite: bool) -> dict[str, str]:
        """Keep an uploaded file; a different one of the same name gets a number. Raises RefusedPathError."""
        if not filename or folder not in FOLDERS or PurePath(filename).name != filename:
            raise RefusedPathError(400)
        base = (self.root / folder).resolve()
        path = (base / subfolder).resolve() / filename
        if not path.parent.is_relative_to(base):
            raise RefusedPathError(400)
        with self._lock:
            path.parent.mkdir(parents=True, exist_ok=True)
            number = 1
            stem, suffix = path.stem, path.suffix
            while not overwrite and path.exists() and path.read_bytes() != data:
                path = path.with_name(f"{stem} ({number}){suffix}")
                number += 1
            self._inside(folder, path).write_bytes(data)
        return {"name": path.name, "subfolder": subfolder, "type": folder}

    def inputs(self) -> list[str]:
        return sorted(path.name for path in (self.root / "input").iterdir() if path.is_file())


def encode_preview(picture: NDArray[np.uint8]) -> bytes:
    """An RGB picture as a small JPEG."""
    import cv2

    return bytes(cv2.imencode(".jpg", picture[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 80])[1])


def convert_view(data: bytes, preview: str | None, channel: str) -> tuple[bytes, str] | None:
    """The body and type of a `/view` answer that is not the file itself; None where it is."""
    from PIL import Image

    if preview is None and channel not in ("rgb", "a"):
        return None
    image: Image.Image = Image.open(io.BytesIO(data))
    buffer = io.BytesIO()
    if preview is not None:
        words = preview.split(";")
        kind = words[0] if words[0] in ("webp", "jpeg") and "a" not in channel else "webp"
        quality = int(words[-1]) if words[-1].isdigit() else 90
        image.convert("RGB").save(buffer, format=kind, quality=quality)
        return buffer.getvalue(), f"image/{kind}"
    if channel == "rgb":
        image.convert("RGB").save(buffer, format="PNG", compress_level=1)
    else:
        mask = image.convert("RGBA").getchannel("A")
        alpha = Image.new("RGBA", image.size)
        alpha.putalpha(mask)
        alpha.save(buffer, format="PNG")
    return buffer.getvalue(), "image/png"


def _expand(prefix: str, width: int, height: int) -> str:
    """ComfyUI's `%width%`, `%height%`, `%year%` …; `%date%` is the web page's doing and stays as it is."""
    now = datetime.now()
    values = {"width": width, "height": height, "year": now.year, "month": now.month, "day": now.day}
    values |= {"hour": now.hour, "minute": now.minute, "second": now.second}
    for key, value in values.items():
        prefix = prefix.replace(f"%{key}%", str(value) if key in ("width", "height", "year") else f"{value:02}")
    return prefix


def _next_counter(folder: Path, name: str) -> int:
    counters = [0]
    for path in folder.iterdir():
        rest = path.name[len(name) :]
        digits = rest[1:].split("_")[0]
        if path.name.startswith(name) and rest[:1] == "_" and digits.isdecimal():
            counters.append(int(digits))
    return max(counters) + 1


def read_input_picture(path: Path) -> Any:
    """An uploaded picture as RGB, for LoadImage."""
    from lifeos.images import read_picture

    return read_picture(path).rgb
