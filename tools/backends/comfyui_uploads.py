"""Pictures for a ComfyUI: `POST /upload/image`, after which a LoadImage can name them."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from tools.backends.backend import RejectedPrompt
from tools.backends.transport import Form, Transport

FIX = "raise --max-upload-size of ComfyUI, or have the proxy before it let larger bodies pass"


@dataclass(frozen=True, slots=True)
class UploadAnswer:
    """Where the server put a picture: its own words."""

    name: str
    subfolder: str = ""


def upload_picture(transport: Transport, name: str, data: bytes) -> str:
    """Put a picture into the server's input folder and return what LoadImage calls it. One of that name there is replaced.

    Raises RejectedPrompt where the server refuses it.
    """
    reply = transport.send_form("/upload/image", form_of("image", name, data, {"type": "input", "overwrite": "true"}))
    if reply.status != 200:
        where = transport.address.base
        raise RejectedPrompt(where, "", f"it does not take the picture {name} ({len(data) / 1e6:.1f} MB): status {reply.status}", FIX)
    answer: UploadAnswer = transport.record(reply, "/upload/image", UploadAnswer)
    return f"{answer.subfolder}/{answer.name}" if answer.subfolder else answer.name


def form_of(part: str, name: str, data: bytes, fields: dict[str, str]) -> Form:
    """`multipart/form-data` (RFC 7578) with some fields and, behind them, one file `name` as `part`."""
    boundary = f"lifeos-{secrets.token_hex(16)}"
    parts = [f'--{boundary}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n' for key, value in fields.items()]
    kind = "Content-Type: application/octet-stream"
    parts.append(f'--{boundary}\r\nContent-Disposition: form-data; name="{part}"; filename="{name}"\r\n{kind}\r\n\r\n')
    return Form("".join(parts).encode() + data + f"\r\n--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}")
