"""A picture from a ComfyUI server, whole or not at all."""

from __future__ import annotations

from collections.abc import Callable

from lifeos.picture_formats import format_of
from tools.backends.backend import LostPicture, PictureRef
from tools.backends.bounded_connection import RefusedReplyError, Reply
from tools.backends.picture_bytes import find_damage, is_other_format
from tools.backends.transport import Transport

DOWNLOAD_PAUSES = (0.1, 0.3, 1.0, 2.0)
"""Seconds between the tries to get a picture that arrives incomplete: it may still be written."""

GONE_STATUSES = frozenset({400, 403, 404, 410})


def download_picture(transport: Transport, ref: PictureRef, limit: int, rest: Callable[[float], object]) -> bytes:
    """A picture, complete: its length, its chunks and its end are checked, and it is fetched again where they are wrong.

    `limit` is in bytes; `rest` waits for some seconds. Raises LostPicture where the server has it no more, never sends it whole, or
    made a file that we cannot take; else UnavailableError.
    """
    params = {"filename": ref.filename, "subfolder": ref.subfolder, "type": ref.type}
    name = f"{transport.address.base}: {ref.subfolder}/{ref.filename}".replace(": /", ": ")
    return whole_picture(name, lambda: transport.get("/view", params, limit=limit), rest)


def whole_picture(name: str, fetch: Callable[[], Reply], rest: Callable[[float], object]) -> bytes:
    """What `fetch` gets, complete, as above. Raises LostPicture, which calls it `name`, and what `fetch` raises."""
    damage, before = "", b""
    for pause in (*DOWNLOAD_PAUSES, 0.0):
        try:
            reply = fetch()
        except RefusedReplyError as error:
            raise LostPicture(name, error.why, error.fix, can_heal=False) from None
        if reply.status in GONE_STATUSES:
            raise LostPicture(name, f"the server has this picture no more (status {reply.status})", "it is generated again")
        if reply.content_length not in (None, len(reply.body)):
            damage = f"{len(reply.body)} of {reply.content_length} bytes"
        else:
            damage = find_damage(reply.body) or ""
        if not damage:
            return reply.body
        is_unknown = bool(reply.body) and reply.body == before and not format_of(reply.body)  # twice the same
        if is_other_format(reply.body) or is_unknown:
            raise LostPicture(name, damage, "have the workflow save PNG, JPEG or WebP", can_heal=False, is_set_up=True)
        before = reply.body
        rest(pause)
    raise LostPicture(name, f"arrived incomplete {len(DOWNLOAD_PAUSES) + 1} times: {damage}", "is the server's disk full?")
