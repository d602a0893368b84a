"""Widely used CTC models of the Hub, from which visitors can choose one.

Sizes are those of the float32 weights. Error rates are the published ones, without a language model; none was measured
here.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class KnownModel:
    """A model of the Hub.

    Attributes:
        repository: its name on the Hub.
        language: code, or "multilingual".
        megabytes: to download.
        published: word error rates as published; empty where only the model card gives them.
        source: of `published`.
        remarks: what a visitor has to know before use, such as a licence that forbids some.
    """

    repository: str
    language: str
    megabytes: int
    published: str = ""
    source: str = ""
    remarks: str = ""


XLSR = "jonatasgrosman/wav2vec2-large-xlsr-53-"
XLSR_LANGUAGES = {
    "arabic": "ar", "chinese-zh-cn": "zh", "dutch": "nl", "english": "en", "finnish": "fi", "french": "fr",
    "german": "de", "greek": "el", "hungarian": "hu", "italian": "it", "japanese": "ja", "persian": "fa",
    "polish": "pl", "portuguese": "pt", "russian": "ru", "spanish": "es",
}  # fmt: skip
LIBRISPEECH = "LibriSpeech clean / other"

KNOWN_MODELS = (
    KnownModel(
        "facebook/wav2vec2-base-960h", "en", 378, f"3.4 / 8.6 % ({LIBRISPEECH})", "its model card; arXiv 2006.11477"
    ),
    KnownModel("facebook/wav2vec2-large-960h-lv60-self", "en", 1262, f"1.9 / 3.9 % ({LIBRISPEECH})", "its model card"),
    KnownModel("facebook/hubert-large-ls960-ft", "en", 1262, "1.9 % (LibriSpeech clean)", "its model card"),
    KnownModel("facebook/data2vec-audio-base-960h", "en", 373, f"2.8 / 7.1 % ({LIBRISPEECH})", "its model card"),
    KnownModel("patrickvonplaten/wavlm-libri-clean-100h-base-plus", "en", 378),
    KnownModel("nvidia/parakeet-ctc-0.6b", "en", 2436, "about 7.5 % (mean of 8 test sets)", "Open ASR Leaderboard"),
    KnownModel("nvidia/parakeet-ctc-1.1b", "en", 4250, "about 7.5 % (mean of 8 test sets)", "Open ASR Leaderboard"),
    *(KnownModel(XLSR + name, code, 1262) for name, code in XLSR_LANGUAGES.items()),
    KnownModel("kresnik/wav2vec2-large-xlsr-korean", "ko", 1262),
    KnownModel("KBLab/wav2vec2-large-voxrex-swedish", "sv", 1262),
    KnownModel("hf-audio/omniasr-ctc-300m-v2", "multilingual", 1300, remarks="1,600 languages"),
    KnownModel(
        "facebook/mms-1b-all", "multilingual", 3860, remarks="1,162 languages, one at a time; not for commercial use"
    ),
)
