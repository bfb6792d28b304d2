"""The XMP of a published picture: that a model made it (IPTC's digital source type), by whom, and with what. Written and read here.

Fields are those of the IPTC Photo Metadata Standard 2025.1 (https://www.iptc.org/std/photometadata/specification/). It is read with expat,
not with the code that wrote it.
"""

from __future__ import annotations

from dataclasses import dataclass
from xml.sax.saxutils import escape

from lifeos.errors import InputError

TRAINED_ALGORITHMIC_MEDIA = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
"""A picture that a model made which was trained on other pictures (https://cv.iptc.org/newscodes/digitalsourcetype/)."""

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
NAMESPACES = {
    "dc": "http://purl.org/dc/elements/1.1/",
    "photoshop": "http://ns.adobe.com/photoshop/1.0/",
    "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
}
SOURCE_TYPE = "Iptc4xmpExt:DigitalSourceType"
FIELD_OF_KEY = {
    "creator": "dc:creator",
    "credit": "photoshop:Credit",
    "ai_system": "Iptc4xmpExt:AISystemUsed",
    "ai_system_version": "Iptc4xmpExt:AISystemVersionUsed",
}
"""The keys of the policy, and where their texts go."""
MOST_BYTES = 60_000
"""A JPEG holds 65,502 of them in one segment."""


@dataclass(frozen=True, slots=True)
class Credits:
    """What the policy has written into each copy; what is empty is left out."""

    creator: str = ""
    credit: str = ""
    ai_system: str = ""
    ai_system_version: str = ""

    def fields(self) -> dict[str, str]:
        """The names of XMP, and the values that are written."""
        named = {field: str(getattr(self, key)) for key, field in FIELD_OF_KEY.items()}
        return {SOURCE_TYPE: TRAINED_ALGORITHMIC_MEDIA, **{name: value for name, value in named.items() if value}}


def write_packet(credits: Credits) -> bytes:
    """The packet with these fields. Raises InputError where a text is too long, or holds what XML cannot."""
    lines = []
    for name, value in credits.fields().items():
        if any(ord(char) < 32 or 0xD800 <= ord(char) <= 0xDFFF or ord(char) in (0xFFFE, 0xFFFF) for char in value):
            key = next(key for key, own in FIELD_OF_KEY.items() if own == name)
            raise InputError(f"publishing.{key}", "a line end or another character that XMP cannot hold", "write one line of plain text")
        text = escape(value)
        whole = f"<rdf:Seq><rdf:li>{text}</rdf:li></rdf:Seq>" if name == "dc:creator" else text
        lines.append(f"   <{name}>{whole}</{name}>")
    spaces = " ".join(f'xmlns:{prefix}="{uri}"' for prefix, uri in NAMESPACES.items())
    packet = "\n".join(
        (
            '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>',
            '<x:xmpmeta xmlns:x="adobe:ns:meta/">',
            f' <rdf:RDF xmlns:rdf="{RDF}">',
            f'  <rdf:Description rdf:about="" {spaces}>',
            *lines,
            "  </rdf:Description>",
            " </rdf:RDF>",
            "</x:xmpmeta>",
            '<?xpacket end="r"?>',
        )
    ).encode("utf-8")
    if len(packet) > MOST_BYTES:
        raise InputError("publishing", f"its texts make {len(packet):,} bytes of XMP: at most {MOST_BYTES:,} fit", "shorten them")
    return packet


def read_packet(packet: bytes) -> dict[str, str]:
    """The fields of a packet, by the names above; other schemas by `{namespace}name`. Several values of one field are joined with `; `.

    Raises ValueError for a packet that is not XMP.
    """
    from xml.etree import ElementTree

    if b"<!DOCTYPE" in packet or b"<!ENTITY" in packet:
        raise ValueError("it declares entities, which XMP does not")
    try:
        root = ElementTree.fromstring(packet.strip(b"\0 \t\r\n"))
    except ElementTree.ParseError as error:
        raise ValueError(f"not XML: {error}") from None
    found: dict[str, str] = {}
    for description in root.iter(f"{{{RDF}}}Description"):
        for name, value in description.attrib.items():
            if not name.startswith(f"{{{RDF}}}"):
                found[_short(name)] = value
        for field in description:
            items = [item.text or "" for item in field.iter(f"{{{RDF}}}li")]
            found[_short(field.tag)] = "; ".join(items) if items else (field.text or field.get(f"{{{RDF}}}resource") or "").strip()
    return found


def _short(name: str) -> str:
    for prefix, uri in NAMESPACES.items():
        if name.startswith(f"{{{uri}}}"):
            return f"{prefix}:{name.partition('}')[2]}"
    return name
