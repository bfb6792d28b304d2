"""What makes two scores comparable, and its id: a hash over all of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any


def content_id(hashes: Iterable[str]) -> str:
    """The id of a set of files by their contents' SHA-256: independent of names, order and place."""
    return hashlib.sha256("\n".join(sorted(set(hashes))).encode("ascii")).hexdigest()[:16]


def with_id(protocol: Mapping[str, Any]) -> dict[str, Any]:
    """The protocol with `id`, a hash over everything else in it."""
    rest = {key: value for key, value in protocol.items() if key != "id"}
    canonical = json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return {**rest, "id": hashlib.sha256(canonical.encode("utf-8")).hexdigest()[:16]}
