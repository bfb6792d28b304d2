"""Servers that join a batch while it runs: told to people, recorded, and paid for from then on."""

from __future__ import annotations

import threading

from lifeos.errors import UnavailableError
from tools.backends.backend import Backend
from tools.production.charging import Charging
from tools.production.equipment import Equipment
from tools.production.stopping import Note


class JoiningServers:
    """Lets the servers of a batch that came (back) in, or says why not, each reason once. Called from the servers' own threads."""

    def __init__(self, equipment: Equipment, charging: Charging, note: Note) -> None:
        self._equipment, self._charging, self._note = equipment, charging, note
        self._told = dict(equipment.left_out)
        self._paid = {server.url for server in equipment.taking_part}
        self._lock = threading.Lock()

    def admit(self, server: Backend) -> None:
        """Raises UnavailableError where it cannot take part yet."""
        try:
            self._equipment.admit(server)
        except UnavailableError as error:
            if self._told.get(server.url) != error.why:
                self._told[server.url] = error.why
                self._note(f"{error}; it is left out for now")
            raise
        self._told.pop(server.url, None)
        with self._lock:
            if server.url in self._paid:
                return
            self._paid.add(server.url)
            self._charging.joined(server.url)
