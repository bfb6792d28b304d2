"""That a batch lives, and whether it moves on: told now and then to its lock, the cost log and the heartbeat of the cost session."""

from __future__ import annotations

import time

from lifeos.locks import Held
from tools.production.charging import Charging
from tools.production.equipment import Equipment

REFRESH_SECONDS = 20


class SignsOfLife:
    """`moved_on` whenever a picture was made, scored or filed; `tell` from the loop of the batch. A batch that begins has moved on."""

    def __init__(self, held: Held | None, charging: Charging, equipment: Equipment) -> None:
        self._held, self._charging, self._equipment = held, charging, equipment
        self._told = time.monotonic() - REFRESH_SECONDS
        self._moved = True

    def moved_on(self) -> None:
        self._moved = True

    def tell(self) -> None:
        now = time.monotonic()
        if now - self._told < REFRESH_SECONDS:
            return
        self._told = now
        if self._held is not None:
            self._held.refresh()
        self._charging.keep_alive()
        self._equipment.beat(self._moved)
        self._moved = False
