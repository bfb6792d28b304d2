"""How a checkpoint reaches the servers: uploaded where a back end takes models, copied into ComfyUI's folder, or put there by a person.

A copy has the file's hash in its name: a LoRA that is replaced under one name keeps its old weights in a server's cache. Each copy is
written down before it is made, so that it is taken away again also after a kill.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lifeos import files
from lifeos.errors import InputError, UnavailableError
from tools.backends.backend import Backend
from tools.backends.server_groups import ask_all
from tools.trainers.lora_header import read_lora_header
from tools.workflows.lora_names import one_spelling

LORAS = "loras"
HASH_DIGITS = 12
LISTED_SECONDS = 120.0
"""How long a server may take to list a file that was put into its folder."""
POLL_SECONDS = 0.5


def served_name(file: str, sha256: str) -> str:
    """The name of a checkpoint on a server: its own, with its hash."""
    return f"{file.removesuffix('.safetensors')}.{sha256[:HASH_DIGITS]}.safetensors"


@dataclass(frozen=True, slots=True)
class Delivery:
    """Brings LoRAs to `servers`, as long as there is one that can have them: the others are left out of the pictures.

    `lora_dir`: the folder that they load LoRAs from, or one in it; None: there is none at hand. `work_dir`: for files on their way. `note`
    is told what a person must do; `is_stopped` ends a wait.
    """

    servers: Sequence[Backend]
    lora_dir: Path | None
    work_dir: Path
    note: Callable[[str], None]
    is_stopped: Callable[[], bool] = lambda: False
    listed_seconds: float = LISTED_SECONDS

    def bring(self, path: Path, sha256: str, before_copy: Callable[[Path], None]) -> str | None:
        """Make a LoRA loadable on the servers, and return its name there; None if the wait was stopped. `before_copy` is told of a file
        before it is made. Raises UnavailableError where none lists it in the end, with what to do."""
        name = served_name(path.name, sha256)
        for server, found in self._listed(name):
            if server.offers.takes_models and not (server.offers.lists_models and found):
                self._upload(server, path, name)
        if self.lora_dir is not None and not all(found for _, found in self._listed(name)):
            self._copy(path, self.lora_dir / name, sha256, before_copy)
            return self._wait_for(name)
        return self._named_alike(name) or self._own_name(path)

    def _upload(self, server: Backend, path: Path, name: str) -> None:
        self.work_dir.mkdir(parents=True, exist_ok=True)
        renamed = self.work_dir / name
        try:
            shutil.copyfile(path, renamed)
            kept = server.upload_model(LORAS, renamed)
            if kept != name:
                raise InputError(server.url, f"has the same LoRA already, as {kept}", f"remove it there: it is wanted as {name}")
        finally:
            renamed.unlink(missing_ok=True)

    def _copy(self, path: Path, target: Path, sha256: str, before_copy: Callable[[Path], None]) -> None:
        if not target.parent.is_dir():
            raise InputError(target.parent, "no such directory", "give --comfy-lora-dir the folder that ComfyUI loads LoRAs from")
        if target.exists():
            if files.sha256_file(target) == sha256:
                return
            raise InputError(target, "is in the way: it is another file than the checkpoint whose hash it is named by", "move it away")
        before_copy(target)
        with files.replacing(target) as temporary:
            shutil.copyfile(path, temporary)
            if files.sha256_file(temporary) != sha256:
                raise InputError(path, "changed while it was copied", "the same command goes on")

    def _wait_for(self, name: str) -> str | None:
        """Until every server that answers lists a file that was copied, or long enough for those that do."""
        until = time.monotonic() + self.listed_seconds
        while (found := self._named_alike(name)) is None:
            if self.is_stopped():
                return None
            if time.monotonic() > until:
                if some := self._named_alike(name, everywhere=False):
                    return some
                missing = next(server for server, there in self._listed(name) if not there)
                why = f"does not list {name} after {self.listed_seconds:.0f} s, though it lies in {self.lora_dir}"
                raise UnavailableError(missing.url, why, "give --comfy-lora-dir the folder that this server loads LoRAs from")
            time.sleep(POLL_SECONDS)
        return found

    def _listed(self, name: str) -> list[tuple[Backend, str | None]]:
        """The servers that answer, each with the name under which it lists a file. Raises UnavailableError where none answers."""
        found = list(zip(self.servers, ask_all(self.servers, lambda server: _find(server, name)), strict=True))
        there = [(server, each) for server, each in found if not isinstance(each, UnavailableError)]
        if not there and isinstance(found[0][1], UnavailableError):
            raise found[0][1]
        return there

    def _named_alike(self, name: str, *, everywhere: bool = True) -> str | None:
        """The name under which the servers list a file; None where none does, or not every one. Raises InputError where they list it in
        two folders."""
        listed = [found for _, found in self._listed(name)]
        names = [found for found in listed if found]
        if not names or (everywhere and len(names) < len(listed)):
            return None
        if len(set(map(one_spelling, names))) > 1:
            raise InputError("the servers", f"list {name} in different folders: {', '.join(names)}", "put it into the same one")
        return names[0]

    def _own_name(self, path: Path) -> str:
        """A file that somebody has put there under its own name. Raises UnavailableError where no server has it, InputError where it is
        another."""
        found = self._named_alike(path.name, everywhere=False)
        if found is None:
            missing = next(server for server, there in self._listed(path.name) if not there)
            fix = f"give --comfy-lora-dir the folder that it loads LoRAs from, or copy {path} into it; the same command goes on"
            raise UnavailableError(missing.url, f"has no {path.name}", fix)
        told = read_lora_header(path).metadata
        for server, there in self._listed(path.name):
            metadata = server.lora_metadata(there) if there else None
            if metadata is not None and metadata != {key: value for key, value in told.items() if isinstance(value, str)}:
                why = f"its {there} is another LoRA than {path}: its header says something else"
                raise InputError(server.url, why, "give --comfy-lora-dir, which copies it under a name of its own")
        return found


def _find(server: Backend, name: str) -> str | None:
    """The name under which a server lists a file, in whichever of its folders."""
    if not server.offers.lists_models:
        return name if server.offers.takes_models else None
    return next((each for each in server.models(LORAS) if re.split(r"[/\\]", each)[-1] == name), None)


def remove_copy(target: Path) -> bool:
    """Take a copy of ours away. False if it cannot be now: another program has it open."""
    try:
        target.unlink(missing_ok=True)
    except OSError:
        return False
    return True
