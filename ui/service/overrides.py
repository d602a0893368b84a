"""The decoder options that a visitor or a request sets, instead of those that the model recommends."""

from dataclasses import dataclass, replace

from asr_core.text.given import split_hot_words

MAX_BEAM_WIDTH = 384  # twice that of the embedded model
MAX_LANGUAGE_MODEL_WEIGHT = 2.0


@dataclass(frozen=True)
class DecodingOverrides:
    """The options that were set; None leaves one to the model."""

    decoder: str | None = None
    beam_width: int | None = None
    language_model_weight: float | None = None
    hot_words: tuple[str, ...] = ()

    @classmethod
    def of(cls, decoder=None, beam_width=None, language_model_weight=None, hot_words="") -> "DecodingOverrides":
        """From the values of controls or of a request, whose numbers have been checked. Other decoders become None.

        Raises:
            GivenTextError: too many hotwords, or too long ones.
        """
        return cls(
            decoder=decoder if decoder in ("greedy", "beam") else None,
            beam_width=None if beam_width is None else int(beam_width),
            language_model_weight=None if language_model_weight is None else float(language_model_weight),
            hot_words=split_hot_words(hot_words or ""),
        )

    def options(self, bundle):
        """The DecoderOptions of the model, with those replaced that were set."""
        names = ("decoder", "beam_width", "language_model_weight")
        given = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        return replace(bundle.decoder_options(), **given)

    def same(self, other: "DecodingOverrides", bundle) -> bool:
        """Whether two overrides give the same options for a model, even if one of them leaves some to the model."""
        return self.hot_words == other.hot_words and self.options(bundle) == other.options(bundle)
