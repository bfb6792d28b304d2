"""C2PA content credentials: sign the bytes of a copy, and read what a file says and whether it is intact.

Everything happens in memory: the library cuts a source that is also its destination to nothing, and leaves half a file behind where
signing fails. It never fetches what a picture names; only a time-stamping authority that the policy names is asked.
"""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from lifeos import foreign
from lifeos.errors import InputError
from lifeos.project import project_version
from tools.publishing.signing_identity import SELF_MADE, SigningIdentity
from tools.publishing.xmp_packet import TRAINED_ALGORITHMIC_MEDIA

READING: dict[str, Any] = {"verify": {"remote_manifest_fetch": False, "ocsp_fetch": False}}
"""A misspelt setting is accepted in silence: a test sees that a picture's address is not asked."""
SIGNING: dict[str, Any] = {**READING, "builder": {"thumbnail": {"enabled": False}}}
STAMP_SECONDS = 20.0
"""For a time stamp; the library itself waits for ever."""
UNTRUSTED = "signingCredential.untrusted"
SELF_SIGNED = "unknown to platforms (self-signed)"
MOST_JSON_BYTES = 32 << 20
NONE_INSIDE = ("Remote", "NotSupported")
"""How the library's message begins where a file carries no credentials: it names their address, which is not asked; its format has none."""


@dataclass(frozen=True, slots=True)
class _Status:
    code: str
    explanation: str = ""


@dataclass(frozen=True, slots=True)
class _Results:
    success: tuple[_Status, ...] = ()
    failure: tuple[_Status, ...] = ()


@dataclass(frozen=True, slots=True)
class _Signature:
    issuer: str = ""
    common_name: str = ""
    time: str = ""
    cert_serial_number: str = ""


@dataclass(frozen=True, slots=True)
class _Assertion:
    label: str
    data: Any = None


@dataclass(frozen=True, slots=True)
class _Ingredient:
    title: str = ""
    relationship: str = ""
    active_manifest: str | None = None


@dataclass(frozen=True, slots=True)
class _Manifest:
    signature_info: _Signature | None = None
    assertions: tuple[_Assertion, ...] = ()
    ingredients: tuple[_Ingredient, ...] = ()


@dataclass(frozen=True, slots=True)
class _AllResults:
    activeManifest: _Results | None = None


@dataclass(frozen=True, slots=True)
class _Store:
    active_manifest: str
    manifests: dict[str, _Manifest]
    validation_results: _AllResults | None = None
    validation_state: str = ""


@dataclass(frozen=True, slots=True)
class CredentialsReading:
    """What the content credentials of a file say. `faults`: why its integrity is not verified, empty where it is.

    `signer`: what is known of who signed it. `time_stamp`: the authority's time, empty where there is none. `older`: how many manifests
    of before it carries as ingredients.
    """

    faults: tuple[str, ...]
    signer: str
    time_stamp: str
    says_ai: bool
    older: int


def mime_of(kind: str) -> str:
    """Of a format by Pillow's name."""
    return f"image/{kind.lower()}"


def read_credentials(data: bytes, mime: str, anchors: str = "") -> CredentialsReading | None:
    """The content credentials in the bytes of a file; None where it holds none. `anchors`: PEM text of the roots that are trusted."""
    import c2pa

    settings = {**READING, "trust": {"trust_anchors": anchors}} if anchors else READING
    try:
        with c2pa.Context.from_dict(settings) as context:
            reader = c2pa.Reader.try_create(mime, io.BytesIO(data), context=context)
            if reader is None or not reader.is_embedded():
                return None
            with reader:
                store = foreign.decode(reader.json(), _Store, "content credentials", max_bytes=MOST_JSON_BYTES)
    except c2pa.C2paError as error:
        if str(error).startswith(NONE_INSIDE):
            return None
        return CredentialsReading((_plain(error),), "unknown", "", says_ai=False, older=0)
    return _reading(store, with_anchors=bool(anchors))


def _reading(store: _Store, *, with_anchors: bool) -> CredentialsReading:
    active = store.manifests.get(store.active_manifest, _Manifest())
    results = store.validation_results.activeManifest if store.validation_results else None
    failures = results.failure if results else ()
    faults = [f"{each.explanation} ({each.code})" for each in failures if each.code != UNTRUSTED]
    if store.validation_state not in ("Valid", "Trusted") and not faults:
        faults = [f"C2PA's reader calls it {store.validation_state or 'nothing'}"]
    signature = active.signature_info or _Signature()
    untrusted = any(each.code == UNTRUSTED for each in failures)
    return CredentialsReading(
        tuple(faults),
        _signer(signature, is_trusted=store.validation_state == "Trusted" and not untrusted, with_anchors=with_anchors),
        signature.time,
        any(_says_ai(assertion) for assertion in active.assertions),
        sum(ingredient.active_manifest is not None for ingredient in active.ingredients),
    )


def _signer(signature: _Signature, *, is_trusted: bool, with_anchors: bool) -> str:
    if SELF_MADE in (signature.issuer, signature.common_name):
        return SELF_SIGNED
    name = " of ".join(part for part in (signature.common_name, signature.issuer) if part) or "without a name"
    if is_trusted:
        return f"{name}, trusted by the roots of publishing.trust_anchors"
    return (
        f"{name}, not trusted by the roots of publishing.trust_anchors"
        if with_anchors
        else f"{name}, not compared with any list of trusted signers"
    )


def _says_ai(assertion: _Assertion) -> bool:
    if not assertion.label.startswith("c2pa.actions") or not isinstance(assertion.data, Mapping):
        return False
    actions = assertion.data.get("actions")
    told = [action.get("digitalSourceType") for action in actions if isinstance(action, Mapping)] if isinstance(actions, list) else []
    return TRAINED_ALGORITHMIC_MEDIA in told


@dataclass(frozen=True, slots=True)
class Older:
    """An original that carries content credentials already."""

    data: bytes
    mime: str


class CredentialsWriter:
    """Signs copies with one identity. Where the time-stamping authority does not answer, it is not asked again, and `note` is told once."""

    def __init__(self, identity: SigningIdentity, stamp_url: str = "", note: Callable[[str], None] = lambda text: None) -> None:
        self.identity = identity
        self._stamp_url, self._note = stamp_url, note

    def sign(self, data: bytes, mime: str, title: str, software: str, older: Older | None = None) -> bytes:
        """The file with content credentials: made with AI, by `software`. Raises InputError with the library's reason."""
        manifest = manifest_of(title, mime, software, edits=older is not None)
        if self._stamp_url:
            signed, why = self._stamped(data, mime, manifest, older)
            if signed is not None:
                return signed
            plain = self._sign(data, mime, manifest, older, None)
            self._note(f"warning: no time stamp from {self._stamp_url}: {why}; signed without one, as are the pictures that follow")
            self._stamp_url = ""
            return plain
        return self._sign(data, mime, manifest, older, None)

    def _stamped(self, data: bytes, mime: str, manifest: Mapping[str, Any], older: Older | None) -> tuple[bytes | None, str]:
        """The signed file, else the reason: an authority that answers nothing is left alone after STAMP_SECONDS."""
        done: list[bytes] = []
        failed: list[str] = []

        def work() -> None:
            try:
                done.append(self._sign(data, mime, manifest, older, self._stamp_url))
            except InputError as error:
                failed.append(error.why)

        thread = threading.Thread(target=work, name="time-stamp", daemon=True)
        thread.start()
        thread.join(STAMP_SECONDS)
        if done:
            return done[0], ""
        return None, failed[0] if failed else f"no answer in {STAMP_SECONDS:g} s"

    def _sign(self, data: bytes, mime: str, manifest: Mapping[str, Any], older: Older | None, stamp_url: str | None) -> bytes:
        import c2pa

        signed = io.BytesIO()
        try:
            info = c2pa.C2paSignerInfo(self.identity.algorithm, self.identity.chain, self.identity.key, stamp_url)
            with (
                c2pa.Signer.from_info(info) as signer,
                c2pa.Context.from_dict(SIGNING) as context,
                c2pa.Builder(json.dumps(manifest), context) as builder,
            ):
                if older is not None:
                    builder.set_intent(c2pa.C2paBuilderIntent.EDIT)
                    builder.add_ingredient({"title": "original", "relationship": "parentOf"}, older.mime, io.BytesIO(older.data))
                builder.sign(signer, mime, io.BytesIO(data), signed)
        except c2pa.C2paError as error:
            raise InputError("content credentials", _plain(error)) from None
        return signed.getvalue()


def manifest_of(title: str, mime: str, software: str, *, edits: bool) -> dict[str, Any]:
    """What is signed: how the picture came to be. An original that carries credentials is edited, any other created."""
    made: dict[str, Any] = {"action": "c2pa.edited" if edits else "c2pa.created", "digitalSourceType": TRAINED_ALGORITHMIC_MEDIA}
    if software:
        made["softwareAgent"] = {"name": software}
    return {
        "claim_generator_info": [{"name": "LifeOS", "version": project_version()}],
        "title": title,
        "format": mime,
        "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": [made, {"action": "c2pa.watermarked.unbound"}]}}],
    }


def _plain(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
