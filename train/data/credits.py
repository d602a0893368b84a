"""Sources and licences of training speech and texts, for the credits of a model card. The data are in credits.json."""

import json
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # not at run time: reading a card should not load the training code
    from train.data.manifest import ManifestClip


UNKNOWN = "not stated"


@dataclass(frozen=True)
class Source:
    """Origin and terms of a corpus.

    Attributes:
        title: display name.
        licence: name of the licence, or the terms in words.
        what: speakers and recording conditions.
        credit: whom to credit.
        hub: identifier of the dataset on the Hub, or empty.
    """

    title: str
    licence: str
    what: str
    credit: str = ""
    hub: str = ""


_FOLDER = Path(__file__).parent
_CREDITS = json.loads((_FOLDER / "credits.json").read_text(encoding="utf-8"))

# Name of a corpus in manifests -> its source.
SPEECH = {corpus: Source(**source) for corpus, source in _CREDITS["speech"].items()}
# Training texts of the embedded language model, as entries of `training_data` in a bundle's config.
TEXTS = [text | {"kind": "text"} for text in _CREDITS["texts"]]
# Copyright notice of the CMU Pronouncing Dictionary, which must accompany any part of it.
DICTIONARY_NOTICE = (_FOLDER / "dictionary_notice.txt").read_text(encoding="utf-8").rstrip()


def training_data(clips: "Iterable[ManifestClip]") -> list[dict]:
    """The field `training_data` of a bundle's config: an entry for each corpus, the largest first.

    A corpus that is not in `SPEECH` has its own name as its title and `UNKNOWN` as its licence.
    """
    seconds: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    for clip in clips:
        seconds[clip.corpus] += clip.seconds
        counts[clip.corpus] += 1
    entries = []
    for corpus, total in seconds.most_common():
        source = source_of(corpus)
        entry = {
            "name": source.title,
            "corpus": corpus,
            "hours": round(total / 3600, 2),
            "clips": counts[corpus],
            "licence": source.licence,
        }
        further = {"what": source.what, "credit": source.credit, "hub": source.hub}
        entries.append(entry | {key: value for key, value in further.items() if value})
    return entries


def source_of(corpus: str) -> Source:
    """Source of a corpus. Its parts, such as librispeech-dev-clean or kokoro_2, have the source of the whole."""
    family = re.split("[-_]", corpus)[0]
    return SPEECH.get(corpus) or SPEECH.get(family) or Source(corpus, UNKNOWN, "")
