"""The parser of every command: of each script of evals/ and tools/, and of the launcher's verbs."""

from __future__ import annotations

import importlib
import re
from typing import cast

from lifeos.arguments import Parser
from lifeos.files import read_text
from lifeos.guardrails.checkout import Checkout
from tests.checkouts import ROOT

PARSERS = sorted(
    path
    for path in Checkout(ROOT).files
    if re.fullmatch(r"(?:evals|tools|lifeos)/\w+\.py", path) and "\ndef build_parser(" in read_text(ROOT / path)
)


def make_parser(script: str) -> Parser:
    module = importlib.import_module(script.removesuffix(".py").replace("/", "."))
    return cast("Parser", module.build_parser())
