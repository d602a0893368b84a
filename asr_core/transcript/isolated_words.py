"""Leaves out words that were recognised in noise: uncertain ones, far from all others."""

from collections.abc import Sequence

from asr_core.transcript.words import Word

MIN_CONFIDENCE = 0.1  # of isolated words; words below it are noise more often than speech
ISOLATION_SECONDS = 1.0  # a word this far from all others is isolated; pauses within a sentence are shorter


def without_isolated_words(
    words: Sequence[Word], neighbours: tuple[float | None, float | None] = (None, None)
) -> tuple[Word, ...]:
    """The words without isolated groups of them whose confidence is below MIN_CONFIDENCE throughout.

    A group is isolated if ISOLATION_SECONDS or more separate it from any other word. Decoders now and then find a word
    or two in noise. Equally uncertain words next to certain ones are kept, because speech is likely there.

    Args:
        words: in order.
        neighbours: end of the word before them, and start of the word after them, in seconds; None if there is none.
    """
    before, after = neighbours
    groups: list[list[Word]] = []
    for word in words:
        if groups and word.start - groups[-1][-1].end < ISOLATION_SECONDS:
            groups[-1].append(word)
        else:
            groups.append([word])

    def is_kept(group: list[Word]) -> bool:
        return (
            max(word.confidence for word in group) >= MIN_CONFIDENCE
            or (before is not None and group[0].start - before < ISOLATION_SECONDS)
            or (after is not None and after - group[-1].end < ISOLATION_SECONDS)
        )

    return tuple(word for group in groups if is_kept(group) for word in group)
