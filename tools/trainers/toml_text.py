"""Tables as TOML, which tomllib reads back equal."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def toml_pairs(table: Mapping[str, Any]) -> list[str]:
    """The lines of one table: its values are text, numbers, switches and lists of them."""
    # a TOML basic string has JSON's escapes; DEL is the one character that JSON leaves bare and TOML forbids
    return [f"{key} = {json.dumps(value).replace(chr(127), chr(92) + 'u007f')}" for key, value in table.items()]
