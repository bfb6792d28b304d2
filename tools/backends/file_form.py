"""A file and some fields as the body of one request (`multipart/form-data`), read from the disk piece by piece."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path

PIECE_BYTES = 1 << 20


class FileForm:
    """The body of a POST: iterate over it once for each try. `file` is opened then; it must not change meanwhile."""

    def __init__(self, fields: Mapping[str, str], file: Path) -> None:
        self._file = file
        boundary = uuid.uuid4().hex
        parts = [f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in fields.items()]
        about = 'form-data; name="file"; filename="file"\r\nContent-Type: application/octet-stream'
        parts.append(f"--{boundary}\r\nContent-Disposition: {about}\r\n\r\n")
        self._head, self._tail = "".join(parts).encode(), f"\r\n--{boundary}--\r\n".encode()
        self.file_bytes = os.stat(file).st_size
        length = len(self._head) + self.file_bytes + len(self._tail)
        self.content_type = f"multipart/form-data; boundary={boundary}"
        self.headers = {"Content-Length": str(length)}

    @property
    def data(self) -> FileForm:
        return self

    def __iter__(self) -> Iterator[bytes]:
        yield self._head
        with open(self._file, "rb") as file:
            while piece := file.read(PIECE_BYTES):
                yield piece
        yield self._tail
