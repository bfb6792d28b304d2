"""Write the metadata-only wheels that let insightface accept the builds we choose.

insightface asks for `onnxruntime` and `opencv-python`. The pod needs `onnxruntime-gpu`, a bare server needs
`opencv-python-headless` (no X libraries), and each pair shares one import package, so that installing both leaves whichever
came last. A shim carries the name that insightface asks for, holds no code, and requires the build that we want.

    python wheels/make_shims.py

The bytes are the same on every machine (fixed time stamps, no compression), so the hash locks can pin them.
"""

from __future__ import annotations

import base64
import hashlib
import zipfile
from dataclasses import dataclass
from pathlib import Path

EARLIEST_ZIP_TIME = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Shim:
    profile: str
    """The folder it lies in: only that profile's lock looks there, since `==1.26.0` would match `1.26.0+gpu` too."""
    name: str
    version: str
    requires: str


SHIMS = (
    Shim("gpu", "onnxruntime", "1.26.0+gpu", "onnxruntime-gpu[cuda,cudnn]==1.26.0"),
    Shim("any", "opencv-python", "5.0.0.93+headless", "opencv-python-headless==5.0.0.93"),
)


def write_shim(shim: Shim, folder: Path) -> Path:
    """Write one wheel into `folder` and return its path (binary distribution format, PEP 427)."""
    stem = f"{shim.name.replace('-', '_')}-{shim.version}"
    info = f"{stem}.dist-info"
    files = {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {shim.name}\nVersion: {shim.version}\n"
        f"Summary: Metadata only: stands for {shim.requires}\nRequires-Dist: {shim.requires}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: make_shims\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{name},sha256={_record_hash(text)},{len(text.encode())}\n" for name, text in files.items())
    files[f"{info}/RECORD"] = record + f"{info}/RECORD,,\n"
    path = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as wheel:
        for name, text in files.items():
            entry = zipfile.ZipInfo(name, EARLIEST_ZIP_TIME)
            entry.create_system = 3  # Unix, whatever the machine: part of the bytes
            wheel.writestr(entry, text)
    return path


def _record_hash(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


if __name__ == "__main__":
    for shim in SHIMS:
        folder = Path(__file__).parent / shim.profile
        folder.mkdir(exist_ok=True)
        print(write_shim(shim, folder).relative_to(folder.parent))
