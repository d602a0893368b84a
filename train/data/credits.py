"""Sources and licences of training speech and texts, for the credits of a model card."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # not at run time: reading a card should not load the training code
    from train.data.manifest import ManifestClip


UNKNOWN = "not said"


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


# Copyright notice of the CMU Pronouncing Dictionary, which must accompany any part of it.
DICTIONARY_NOTICE = """\
Copyright (C) 1993-2015 Carnegie Mellon University. All rights reserved.

Redistribution and use in source and binary forms, with or without
modification, are permitted provided that the following conditions
are met:

1. Redistributions of source code must retain the above copyright
   notice, this list of conditions and the following disclaimer.
   The contents of this file are deemed to be source code.

2. Redistributions in binary form must reproduce the above copyright
   notice, this list of conditions and the following disclaimer in
   the documentation and/or other materials provided with the
   distribution.

This work was supported in part by funding from the Defense Advanced
Research Projects Agency, the Office of Naval Research and the National
Science Foundation of the United States of America, and by member
companies of the Carnegie Mellon Sphinx Speech Consortium. We acknowledge
the contributions of many volunteers to the expansion and improvement of
this dictionary.

THIS SOFTWARE IS PROVIDED BY CARNEGIE MELLON UNIVERSITY ``AS IS'' AND
ANY EXPRESSED OR IMPLIED WARRANTIES, INCLUDING, BUT NOT LIMITED TO,
THE IMPLIED WARRANTIES OF MERCHANTABILITY AND FITNESS FOR A PARTICULAR
PURPOSE ARE DISCLAIMED.  IN NO EVENT SHALL CARNEGIE MELLON UNIVERSITY
NOR ITS EMPLOYEES BE LIABLE FOR ANY DIRECT, INDIRECT, INCIDENTAL,
SPECIAL, EXEMPLARY, OR CONSEQUENTIAL DAMAGES (INCLUDING, BUT NOT
LIMITED TO, PROCUREMENT OF SUBSTITUTE GOODS OR SERVICES; LOSS OF USE,
DATA, OR PROFITS; OR BUSINESS INTERRUPTION) HOWEVER CAUSED AND ON ANY
THEORY OF LIABILITY, WHETHER IN CONTRACT, STRICT LIABILITY, OR TORT
(INCLUDING NEGLIGENCE OR OTHERWISE) ARISING IN ANY WAY OUT OF THE USE
OF THIS SOFTWARE, EVEN IF ADVISED OF THE POSSIBILITY OF SUCH DAMAGE."""

MOZILLA = "the volunteers of Mozilla Common Voice, who must not be identified"
# Name of a corpus in manifests -> its source.
SPEECH = {
    "asterisk_allison": Source(
        "Asterisk prompts", "CC BY-SA 3.0", "telephone prompts by one American woman", "Allison Smith, for Asterisk"
    ),
    "cathy_arctic": Source(
        "CMU Arctic prompts, read by Cathy", "CC0", "prompts read by one American woman", "the reader, Cathy"
    ),
    "commonvoice_en_delta": Source(
        "Common Voice 13 delta, English", "CC0", "volunteers with many accents and their own microphones, validated",
        MOZILLA, "mozilla-foundation/common_voice_13_0",
    ),
    "commonvoice_en_machine": Source(
        "Common Voice 13 delta, English, machine-labelled", "CC0 (sound)",
        "clips without a published text, labelled by two unrelated recognisers where they agree to within a tenth "
        "of the words; about one word in twenty is wrong", MOZILLA, "mozilla-foundation/common_voice_13_0",
    ),
    "commonvoice_v1_dev": Source(
        "Common Voice 1, English, valid-dev", "CC0", "volunteers with all accents; many sentences are read by several "
        "people", MOZILLA,
    ),
    "games": Source(
        "Game dialogue", "freeware licences: distribution and modification allowed, notices kept",
        "Beneath a Steel Sky, Flight of the Amazon Queen, Drascula: acted, British and American, recorded at 11 kHz",
        "Revolution Software; Interactive Binary Illusions; Alcachofa Soft",
    ),
    "lj_prompts_matthes": Source(
        "LJSpeech sentences, read by Matthes", "Apache-2.0", "a man with a German accent, at home",
        "the reader, Matthes",
    ),
    "speechocean762": Source(
        "speechocean762", "CC BY 4.0", "sentences read by Mandarin speakers, half of them children, in pronunciation "
        "of every quality", "Speechocean; Junbo Zhang et al., 2021", "mispeech/speechocean762",
    ),
    "ljspeech": Source(
        "LJSpeech 1.1", "public domain", "public-domain books read by one American woman, Linda Johnson",
        "Keith Ito and Linda Johnson", "keithito/lj_speech",
    ),
    "librispeech": Source(
        "LibriSpeech", "CC BY 4.0", "public-domain books read by volunteers of LibriVox",
        "Vassil Panayotov et al., 2015", "openslr/librispeech_asr",
    ),
    "commonvoice_en_18_20": Source(
        "Common Voice 18 to 20 deltas, English", "CC0", "volunteers with many accents and their own microphones, "
        "validated", MOZILLA,
    ),
    "commonvoice_en_4_machine": Source(
        "Common Voice 4, English, machine-labelled", "CC0 (sound)", "clips labelled by two recognisers that agree",
        MOZILLA,
    ),
    "commonvoice_en_first": Source("Common Voice, English, early clips", "CC0", "volunteers", MOZILLA),
    "freeswitch_callie": Source(
        "FreeSWITCH prompts", "CC BY-SA 3.0", "telephone prompts by one American woman, 8 kHz", "Callie, for FreeSWITCH"
    ),
    "picovoice_barista": Source(
        "Coffee orders", "Apache-2.0", "orders of some fifty people; phrases partly machine-chosen, kept where a "
        "recogniser agrees to a third of the words", "Picovoice",
    ),
    "robotutor_prompts": Source(
        "RoboTutor prompts", "CC BY 4.0", "a tutor's prompts, read slowly and clearly", "RoboTutor"
    ),
    "robotutor_stories": Source(
        "RoboTutor stories", "CC BY 4.0", "children's stories, read slowly and clearly", "RoboTutor"
    ),
    "vctk_p239": Source("VCTK, speaker p239", "CC BY 4.0", "one English woman, in a studio", "CSTR VCTK Corpus"),
    "kokoro": Source(
        "Synthetic speech", "Apache-2.0 (the synthesiser)", "sentences of the texts below, in the 54 voices of "
        "Kokoro-82M and blends of them", "hexgrad, Kokoro-82M", "",
    ),
}  # fmt: skip

_TEXTS = (
    ("225 novels, essays and memoirs as produced by Standard Ebooks", "public domain in the US; productions CC0"),
    ("Common Voice sentence collections (Mozilla)", "CC0"),
    ("Snips voice commands", "CC0"),
    ("Speeches of US presidents, 1945-2020", "US public domain"),
    ("MASC, spoken and written parts (American National Corpus)", "free for research and commercial development"),
    ("Tatoeba, English sentences", "CC BY 2.0 FR"),
    ("Wikinews, English", "CC BY 2.5"),
    ("CLINC out-of-scope queries", "CC BY 3.0"),
    ("AMI and ICSI meeting transcripts", "CC BY 4.0"),
    ("NLU evaluation data of a home assistant (Xingkun Liu et al.)", "CC BY 4.0"),
    ("PolyAI task-specific requests", "CC BY 4.0, one part CC BY-SA 4.0"),
    ("Schema-Guided Dialogue", "CC BY-SA 4.0"),
    ("Wikipedia sentences (WikiSplit and CLINC)", "CC BY-SA 4.0"),
    ("Topical-Chat", "CDLA-Sharing-1.0"),
    ("What is said in the speech above", "as there"),
)
# Training texts of the embedded language model, as entries of `training_data` in a bundle's config.
TEXTS = [{"name": name, "licence": licence, "kind": "text"} for name, licence in _TEXTS]


def training_data(clips: "Iterable[ManifestClip]") -> list[dict]:
    """The field `training_data` of a bundle's config: an entry for each corpus, the largest first.

    A corpus that is not in `SPEECH` has its own name as its title and `UNKNOWN` as its licence.
    """
    seconds: dict[str, float] = {}
    counts: dict[str, int] = {}
    for clip in clips:
        seconds[clip.corpus] = seconds.get(clip.corpus, 0.0) + clip.seconds
        counts[clip.corpus] = counts.get(clip.corpus, 0) + 1
    entries = []
    for corpus in sorted(seconds, key=seconds.__getitem__, reverse=True):
        source = source_of(corpus)
        entry = {
            "name": source.title,
            "corpus": corpus,
            "hours": round(seconds[corpus] / 3600, 2),
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
