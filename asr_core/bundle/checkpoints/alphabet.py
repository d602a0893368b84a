"""The vocabulary files of a checkpoint -> the tokens of a bundle, and the row of the CTC head that each has.

Rows of special tokens are left out, the blank becomes token 0, and the word delimiter becomes a space.
"""

import difflib
import re
import unicodedata
from dataclasses import dataclass, field

from asr_core.errors import BundleError
from asr_core.text.vocabulary import WORD_MARK

VOCABULARY, TOKENIZER = "vocab.json", "tokenizer.json"
ADDED, ROLES, SETTINGS = "added_tokens.json", "special_tokens_map.json", "tokenizer_config.json"
FILES = (VOCABULARY, TOKENIZER, ADDED, ROLES, SETTINGS)
SPECIAL = re.compile(r"<.+>|\[[A-Z]+\]", re.S)  # <unk>, [PAD], <0x0A>
ROLE_NAMES = ("bos_token", "eos_token", "unk_token", "pad_token", "mask_token", "sep_token", "cls_token")
UNNAMED = 4  # rows of a head at most that no file names: <s>, </s>, <unk> and <pad>, which tokenizers add of themselves
DEFAULT_LANGUAGE = "eng"
MAX_CHARACTERS = 100  # of a token


@dataclass(frozen=True)
class Pieces:
    """The contents of a tokenizer's files.

    Attributes:
        ids: row of the head by the text of a token.
        special: texts that are never words.
        language: the one among several whose vocabulary this is; None if there is only one.
        default: whether that is the language of the checkpoint's own weights, without an adapter.
        blank: the text of the blank, None if it is not named.
    """

    ids: dict[str, int]
    special: set[str] = field(default_factory=set)
    language: str | None = None
    default: bool = True
    blank: str | None = None


def read_pieces(files: dict[str, dict], language: str | None, name: str) -> Pieces:
    """The tokens that the files of a tokenizer list.

    Args:
        files: the contents of those of FILES that there are.
        language: which one is asked for, None for the checkpoint's own choice.
        name: of the checkpoint, for messages.

    Raises:
        BundleError: there is no such language, or no vocabulary that can be read.
    """
    settings, roles = files.get(SETTINGS, {}), files.get(ROLES, {})
    tokenizer, ids = files.get(TOKENIZER, {}), files.get(VOCABULARY)
    if ids is None and not tokenizer:
        raise BundleError(f"{name} has neither {VOCABULARY} nor {TOKENIZER}: there is no telling what it writes.")
    ids, language, default = _of_language(ids, language, settings.get("target_lang"), name)
    if ids is None:
        ids = _pieces_of_tokenizer(tokenizer, name)
    added = {**files.get(ADDED, {}), **_added(tokenizer, settings)}
    special = {_text(roles.get(role, settings.get(role))) for role in ROLE_NAMES} - {None}
    special |= {text for text in (*ids, *added) if SPECIAL.fullmatch(text) or text != " " and not text.strip()}
    special |= added.keys() - ids.keys()
    if VOCABULARY in files:
        delimiter = settings.get("word_delimiter_token", "|")
        if isinstance(delimiter, str) and delimiter in ids:
            if _writes_without_spaces(ids):
                special |= {delimiter}  # every tokenizer has one
            else:
                special -= {delimiter}
                ids = {" ": ids[delimiter]} | {text: row for text, row in ids.items() if text not in (delimiter, " ")}
        rows = set(ids.values())  # transformers lists its delimiter among the added tokens, too
        added = {text: row for text, row in added.items() if row not in rows}
    blank = _text(roles.get("pad_token", settings.get("pad_token")))
    return Pieces({**ids, **added}, special, language, default, blank)


def _writes_without_spaces(ids: dict[str, int]) -> bool:
    """Whether most letters are Chinese or Japanese."""
    letters = [text for text in ids if len(text) == 1 and text.isalpha()]
    names = (unicodedata.name(letter, "") for letter in letters)
    return 2 * sum(name.startswith(("CJK", "HIRAGANA", "KATAKANA")) for name in names) > len(letters)


def _of_language(ids, asked: str | None, target, name: str) -> tuple[dict | None, str | None, bool]:
    """The vocabulary of a language, where there are several (`{"deu": {...}, "eng": {...}}`).

    Args:
        ids: the contents of `vocab.json`, or None.
        asked: the language that a user has asked for, or None.
        target: the language that the tokenizer's settings name, or None.
        name: of the checkpoint, for messages.

    Returns:
        Vocabulary, language, and whether the language is the checkpoint's own choice; no language if there is only one.
    """
    several = isinstance(ids, dict) and ids and all(isinstance(value, dict) for value in ids.values())
    if not several:
        if asked:
            raise BundleError(f"{name} has no choice of languages: leave out the language {asked[:20]!r}.")
        return ids, None, True
    own = next((code for code in (target, DEFAULT_LANGUAGE) if isinstance(code, str) and code in ids), next(iter(ids)))
    language = asked or own
    if language not in ids:
        near = difflib.get_close_matches(language, ids, n=5, cutoff=0.5) or sorted(ids)[:5]
        raise BundleError(
            f"{name} has {len(ids)} languages and {language[:20]!r} is none of them; near it: {', '.join(near)[:120]}."
        )
    return ids[language], language, language == own


def _pieces_of_tokenizer(tokenizer: dict, name: str) -> dict[str, int]:
    """The pieces of a `tokenizer.json` with a word-level, BPE or unigram model."""
    model, decoder = tokenizer.get("model", {}), tokenizer.get("decoder") or {}
    if "ByteLevel" in str(decoder):
        raise BundleError(f"{name} writes bytes in place of characters (a ByteLevel {TOKENIZER}), which does not run.")
    listed = model.get("vocab", {})
    if isinstance(listed, list):  # unigram: [[piece, score], ...]
        listed = {piece: number for number, (piece, _) in enumerate(listed)}
    mark = decoder.get("replacement", WORD_MARK)
    return {text.replace(mark, WORD_MARK): row for text, row in listed.items()}


def _added(tokenizer: dict, settings: dict) -> dict[str, int]:
    """Tokens that were added to a vocabulary, from `tokenizer.json` and `tokenizer_config.json`."""
    listed = {entry["content"]: entry["id"] for entry in tokenizer.get("added_tokens", [])}
    decoder = settings.get("added_tokens_decoder", {})
    return listed | {entry["content"]: int(row) for row, entry in decoder.items()}


def _text(token) -> str | None:
    """The text of a special token, which is written as a string or as a table."""
    token = token.get("content") if isinstance(token, dict) else token
    return token if isinstance(token, str) else None


def arrange(pieces: Pieces, blank, rows: int, name: str) -> tuple[list[str], tuple[int, ...]]:
    """The tokens of a bundle, and the row of the head that each has.

    Args:
        blank: `pad_token_id` of `config.json`.
        rows: of the head.
        name: of the checkpoint, for messages.

    Raises:
        BundleError: vocabulary and head do not belong together.
    """
    if type(blank) is not int or not 0 <= blank < rows:
        blank = pieces.ids.get(pieces.blank)
        if type(blank) is not int or not 0 <= blank < rows:
            raise BundleError(f"{name} does not say which of its {rows} outputs is the blank (pad_token_id).")
    texts: dict[int, str] = {}
    for text, row in pieces.ids.items():
        if type(row) is not int or row < 0 or len(text) > MAX_CHARACTERS or row in texts and texts[row] != text:
            raise BundleError(f"{name}: the entry {text[:40]!r} of its vocabulary is not understood.")
        texts[row] = text
    words = {row: text for row, text in sorted(texts.items()) if row != blank and text not in pieces.special}
    unnamed = rows - len({row for row in texts if row < rows} | {blank})
    if max(words, default=rows) >= rows or unnamed > UNNAMED:
        raise BundleError(f"{name}: its vocabulary has {len(texts)} tokens and its head {rows} outputs.")
    kept: dict[str, int] = {}
    for row, text in words.items():
        kept.setdefault(text, row)
    return ["", *_lower_case(list(kept))], (blank, *kept.values())


def _lower_case(texts: list[str]) -> list[str]:
    """The texts in lower case if all their letters are upper case and stay as many distinct characters."""
    lowered = [text.lower() for text in texts]
    upper = lowered != texts and not any(character.islower() for text in texts for character in text)
    same_lengths = list(map(len, lowered)) == list(map(len, texts))
    return lowered if upper and same_lengths and len(set(lowered)) == len(texts) else texts
