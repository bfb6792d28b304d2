"""The text that goes with published pictures (published/README.txt): that they were made with AI, how to say so, and where an icon belongs.

The wording follows Article 50(2) and 50(4) of Regulation (EU) 2024/1689; it is no legal advice, and says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Wording:
    """One language: a caption to put beside a picture, and what a reader of the folder should know."""

    caption: str
    icon: str
    labels: str
    no_advice: str


WORDINGS = {
    "en": Wording(
        "This picture was made with AI.",
        "Where a picture shows a person who looks real, viewers must be able to see at first glance that it was made with AI: put the"
        " caption beside it, and the EU's icon for AI-made content on it or next to it.",
        "The labels inside the files (IPTC source type, content credentials, watermark) are read by machines. They do not replace the"
        " caption.",
        "This is no legal advice.",
    ),
    "de": Wording(
        "Dieses Bild wurde mit KI erzeugt.",
        "Zeigt ein Bild eine Person, die echt wirkt, muss auf den ersten Blick zu sehen sein, dass es mit KI erzeugt wurde: Setzen Sie die"
        " Bildunterschrift daneben und das EU-Symbol für KI-Inhalte auf das Bild oder neben das Bild.",
        "Die Kennzeichen in den Dateien (IPTC-Quellentyp, Content Credentials, Wasserzeichen) lesen Maschinen. Sie ersetzen die"
        " Bildunterschrift nicht.",
        "Dies ist keine Rechtsberatung.",
    ),
    "fr": Wording(
        "Cette image a été créée avec une IA.",
        "Si une image montre une personne qui paraît réelle, on doit voir au premier coup d'œil qu'elle a été créée avec une IA : placez la"
        " légende à côté, et l'icône de l'UE pour les contenus d'IA sur l'image ou à côté d'elle.",
        "Les marques contenues dans les fichiers (type de source IPTC, Content Credentials, filigrane) sont lues par des machines. Elles ne"
        " remplacent pas la légende.",
        "Ceci n'est pas un conseil juridique.",
    ),
    "es": Wording(
        "Esta imagen se ha creado con IA.",
        "Si una imagen muestra a una persona que parece real, debe verse a primera vista que se ha creado con IA: ponga la leyenda al lado"
        " y el icono de la UE para contenidos de IA sobre la imagen o junto a ella.",
        "Las marcas dentro de los archivos (tipo de fuente IPTC, Content Credentials, marca de agua) las leen las máquinas. No sustituyen a"
        " la leyenda.",
        "Esto no es asesoramiento jurídico.",
    ),
    "it": Wording(
        "Questa immagine è stata creata con l'IA.",
        "Se un'immagine mostra una persona che sembra reale, si deve vedere a prima vista che è stata creata con l'IA: mettete la"
        " didascalia accanto e l'icona dell'UE per i contenuti di IA sull'immagine o accanto a essa.",
        "I contrassegni nei file (tipo di fonte IPTC, Content Credentials, filigrana) sono letti dalle macchine. Non sostituiscono la"
        " didascalia.",
        "Questa non è una consulenza legale.",
    ),
    "nl": Wording(
        "Deze afbeelding is met AI gemaakt.",
        "Toont een afbeelding een persoon die echt lijkt, dan moet op het eerste gezicht te zien zijn dat zij met AI is gemaakt: zet het"
        " bijschrift ernaast, en het EU-pictogram voor AI-inhoud op of naast de afbeelding.",
        "De kenmerken in de bestanden (IPTC-brontype, Content Credentials, watermerk) worden door machines gelezen. Zij vervangen het"
        " bijschrift niet.",
        "Dit is geen juridisch advies.",
    ),
}


def disclosure_text(languages: Sequence[str]) -> str:
    """The text of published/README.txt."""
    return "\n\n".join(_paragraphs(language, WORDINGS[language]) for language in dict.fromkeys(languages)) + "\n"


def is_disclosure(text: str) -> bool:
    """Whether a text is one of these, in whatever languages: not one that somebody changed."""
    known = {_paragraphs(language, words) for language, words in WORDINGS.items()}
    return bool(text.strip()) and all(paragraph in known for paragraph in text.strip("\n").split("\n\n"))


def _paragraphs(language: str, words: Wording) -> str:
    return "\n".join((f"[{language}]", f'"{words.caption}"', words.icon, words.labels, words.no_advice))
