"""The chain behind a picture: its links, and what they say together.

A link is *verified* where what was recorded agrees with what is there now, *missing* where there is no record or the thing itself is not
at hand, *broken* where two things contradict each other. `said` and `facts` may be shown to anybody; names, paths, prompts and what
people wrote are in `private`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from lifeos.counting import counted, verb

SCHEMA = 1
VERIFIED: Final = "verified"
MISSING: Final = "missing"
BROKEN: Final = "broken"
LinkState = Literal["verified", "missing", "broken"]


@dataclass(frozen=True, slots=True)
class ChainLink:
    """One link. `key` is its name in JSON, `title` for people, `said` one sentence."""

    key: str
    title: str
    state: LinkState
    said: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    private: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self, *, public: bool) -> dict[str, Any]:
        shown = {"key": self.key, "title": self.title, "state": self.state, "said": self.said, "facts": dict(self.facts)}
        return shown if public else {**shown, "private": dict(self.private)}


@dataclass(frozen=True, slots=True)
class Certificate:
    """The chain of one picture. `is_known`: whether anything leads from it to a picture that was made here."""

    name: str
    sha256: str
    is_known: bool
    links: tuple[ChainLink, ...]
    checked: str
    software: str

    def of_state(self, state: LinkState) -> list[ChainLink]:
        return [link for link in self.links if link.state == state]

    @property
    def is_sound(self) -> bool:
        """Whether the picture is known and no link is broken; links may be missing."""
        return self.is_known and not self.of_state(BROKEN)

    @property
    def summary(self) -> str:
        """All links in one sentence, the broken ones first."""
        if not self.is_known:
            return "Nothing leads from this picture to a picture that was made here."
        return "; ".join(self._parts()) + "."

    def _parts(self) -> Iterator[str]:
        for state in (BROKEN, MISSING):
            found = self.of_state(state)
            if found:
                yield f"{counted(len(found), 'link')} {verb(len(found), 'is', 'are')} {state} ({', '.join(link.title for link in found)})"
        verified = len(self.of_state(VERIFIED))
        whole = verified == len(self.links)
        yield f"all {verified} links are verified" if whole else f"{counted(verified, 'link')} {verb(verified, 'is', 'are')} verified"

    def to_json(self, *, public: bool) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "picture": {"sha256": self.sha256, **({} if public else {"name": self.name})},
            "sound": self.is_sound,
            "known": self.is_known,
            "summary": self.summary,
            "verified": [link.key for link in self.of_state(VERIFIED)],
            "missing": [link.key for link in self.of_state(MISSING)],
            "broken": [link.key for link in self.of_state(BROKEN)],
            "links": [link.to_json(public=public) for link in self.links],
            "checked": self.checked,
            "software": self.software,
            "public": public,
        }
