"""Where sentences end in written text."""

STOPS = (".", "?", "!")
COMMAS = (",", ";", ":")
TITLES = frozenset("mr. mrs. ms. dr. messrs. st. prof. mt.".split())  # are followed by a name
MAYBE_LAST = frozenset("a.m. p.m. etc. jr. sr. inc. ltd. co.".split())  # end a sentence before a capital


def ends_sentence(text: str, following: str) -> bool:
    """Whether a written word is the last of its sentence.

    Args:
        text: the word with its punctuation.
        following: the next word, or "" at the end.
    """
    if not text.rstrip("\"')\u201d\u2019").endswith(STOPS):
        return False
    bare = text.lower()
    if bare in TITLES or (len(text) == 2 and text[0].isupper() and text != "I."):
        return not following
    return bare not in MAYBE_LAST or not following or following[0].isupper()
