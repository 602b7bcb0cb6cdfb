"""Words for people: numbers with their nouns, and text from elsewhere made harmless to a terminal."""

import unicodedata

HIDDEN = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}  # control and format characters, halves of pairs, private ones, line ends


def counted(count: float, noun: str, plural: str = "", form: str = ",") -> str:
    """1 rank, 2 ranks; form : of the number."""
    shown = f"{count:{form}}"
    return f"{shown} {noun if shown == '1' else plural or noun + 's'}"


def harmless(text: str) -> str:
    """The text with whatever a terminal would obey, or could not print, as escapes; tabs and newlines stay."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c in "\n\t" or unicodedata.category(c) not in HIDDEN else _escaped(c) for c in text)


def storable(text: str) -> str:
    """The text with escapes for what is no Unicode, as in the names of files that are not UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode()


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()
