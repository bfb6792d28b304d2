"""The signatures of ComfyUI's own node classes, stored beside this module for a run that has no server to ask.

`core_signatures.json` is recorded from a whole running server by `benchmarks/record_signatures.py`. Each class stands there in the shape of
`/object_info`, without what only people read (tooltips, categories): `input` (`required`, `optional`: name -> `[type, options]`, in the
order of the widgets), `output`, `output_name` and, where they say something, `output_matchtypes`, `output_node`, `is_input_list`,
`output_is_list`. A choice among files of one machine is `["COMBO", {}]`: what there is, only a server knows.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lifeos import foreign

FILE = Path(__file__).with_name("core_signatures.json")


@dataclass(frozen=True, slots=True)
class StoredSignatures:
    """`classes`: class name -> its signature. `version`: of the ComfyUI they came from; `recorded`: the day, `YYYY-MM-DD`."""

    version: str
    recorded: str
    classes: Mapping[str, dict[str, Any]]


@functools.cache
def read_stored() -> StoredSignatures:
    """The stored copy, read once a process: some tens of milliseconds."""
    return foreign.read_file(FILE, StoredSignatures)
