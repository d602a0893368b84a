"""Which of the audio tracks of a file is transcribed: films and recordings of meetings hold several."""

from dataclasses import dataclass

from asr_core.errors import AudioError


@dataclass
class Tracks:
    """Which of a file's audio tracks is decoded; `decoded` fills in what it finds.

    Attributes:
        wanted: the one asked for, from 1; None for the file's own choice.
        chosen: the one decoded.
        count: how many there are.
    """

    wanted: int | None = None
    chosen: int = 1
    count: int = 1

    def choose(self, count: int, default: int, shown: str) -> None:
        """Takes the track wanted, or the default one, out of so many.

        Raises:
            AudioError: there is no such track.
        """
        self.count, self.chosen = count, default if self.wanted is None else self.wanted
        if not 1 <= self.chosen <= count:
            have = f"{count} audio tracks: choose one from 1 to {count}" if count > 1 else "one audio track: choose 1"
            raise AudioError(f"{shown} has no track {self.chosen}, but {have}.")

    def notes(self, shown: str) -> tuple[str, ...]:
        """That there are more."""
        if self.count == 1:
            return ()
        more = "another can be chosen by its number (on the command line, --track)"
        return (f"{shown} has {self.count} audio tracks; track {self.chosen} was transcribed: {more}.",)
