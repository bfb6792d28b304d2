"""How many examples the property tests try: a few hundred each time, as many as LIFEOS_TEST_EXAMPLES says on demand."""

from __future__ import annotations

import os

EXAMPLES = int(os.environ.get("LIFEOS_TEST_EXAMPLES", "200"))
