"""English names of languages, for the codes that models give (ISO 639-1 and 639-3)."""

NAMES = {
    "ar": "Arabic", "bg": "Bulgarian", "ca": "Catalan", "cs": "Czech", "da": "Danish", "de": "German", "el": "Greek",
    "en": "English", "es": "Spanish", "et": "Estonian", "eu": "Basque", "fa": "Persian", "fi": "Finnish",
    "fr": "French", "ga": "Irish", "gl": "Galician", "he": "Hebrew", "hi": "Hindi", "hr": "Croatian",
    "hu": "Hungarian", "id": "Indonesian", "is": "Icelandic", "it": "Italian", "ja": "Japanese", "ka": "Georgian",
    "ko": "Korean", "lt": "Lithuanian", "lv": "Latvian", "mn": "Mongolian", "nb": "Norwegian", "nl": "Dutch",
    "nn": "Norwegian Nynorsk", "no": "Norwegian", "pl": "Polish", "pt": "Portuguese", "ro": "Romanian",
    "ru": "Russian", "sk": "Slovak", "sl": "Slovenian", "sr": "Serbian", "sv": "Swedish", "sw": "Swahili",
    "ta": "Tamil", "te": "Telugu", "th": "Thai", "tr": "Turkish", "uk": "Ukrainian", "ur": "Urdu", "uz": "Uzbek",
    "vi": "Vietnamese", "zh": "Chinese",
    "cmn": "Chinese", "deu": "German", "eng": "English", "fra": "French", "ita": "Italian", "jpn": "Japanese",
    "kor": "Korean", "nld": "Dutch", "por": "Portuguese", "rus": "Russian", "spa": "Spanish",
    "multilingual": "several languages",
}  # fmt: skip


def language_name(code: str | None) -> str:
    """The name of a language; its code where no name is known, and "" for None.

    Regions and scripts are ignored: "zh-CN" is Chinese.
    """
    if not code:
        return ""
    return NAMES.get(code.lower()) or NAMES.get(code.lower().replace("_", "-").split("-")[0]) or code
