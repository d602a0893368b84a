"""What a visitor or a request sets of the decoder, over what the model recommends."""

from dataclasses import dataclass, replace

from asr_core.text.given import split_hot_words

MAX_BEAM_WIDTH = 384  # that of the embedded model


@dataclass(frozen=True)
class DecodingOverrides:
    """What a visitor set; what he did not, the model decides (None)."""

    decoder: str | None = None
    beam_width: int | None = None
    language_model_weight: float | None = None
    hot_words: tuple[str, ...] = ()

    @classmethod
    def of(cls, decoder=None, beam_width=None, language_model_weight=None, hot_words="") -> "DecodingOverrides":
        """From the values of controls or of a request; numbers out of range are moved into it.

        Raises:
            GivenTextError: too many hot-words, or too long ones.
        """
        return cls(
            decoder=decoder if decoder in ("greedy", "beam") else None,
            beam_width=None if beam_width is None else min(max(int(beam_width), 1), MAX_BEAM_WIDTH),
            language_model_weight=None if language_model_weight is None else float(language_model_weight),
            hot_words=split_hot_words(hot_words or ""),
        )

    def options(self, bundle):
        """DecoderOptions: those of the model with the choice laid over them."""
        chosen = {}
        for name in ("decoder", "beam_width", "language_model_weight"):
            if getattr(self, name) is not None:
                chosen[name] = getattr(self, name)
        return replace(bundle.decoder_options(), **chosen)

    def same(self, other: "DecodingOverrides", bundle) -> bool:
        """Whether two choices mean the same for a model, be it that one leaves to it what the other says."""
        return self.hot_words == other.hot_words and self.options(bundle) == other.options(bundle)
