"""The audio tracks of a file and which of them is transcribed: films and recordings of meetings have several."""

from dataclasses import dataclass

from asr_core.errors import AudioError


@dataclass
class Tracks:
    """Which of a file's audio tracks is decoded. `asr_core.audio.files.decoded` sets `chosen` and `count`.

    Attributes:
        wanted: number of the requested track, from 1; None for the file's own choice.
        chosen: number of the track that is decoded, from 1.
        count: number of audio tracks in the file.
    """

    wanted: int | None = None
    chosen: int = 1
    count: int = 1

    def choose(self, count: int, default: int, shown: str) -> None:
        """Chooses the track wanted, or else `default`, out of `count` tracks.

        Raises:
            AudioError: there is no such track.
        """
        self.count, self.chosen = count, default if self.wanted is None else self.wanted
        if not 1 <= self.chosen <= count:
            have = f"{count} audio tracks: choose one from 1 to {count}" if count > 1 else "one audio track: choose 1"
            raise AudioError(f"{shown} has no track {self.chosen}, but {have}.")

    def notes(self, shown: str) -> tuple[str, ...]:
        """A note for the user that the file has further tracks, if it has."""
        if self.count == 1:
            return ()
        more = "another can be chosen by its number (on the command line, --track)"
        return (f"{shown} has {self.count} audio tracks; track {self.chosen} was transcribed: {more}.",)
