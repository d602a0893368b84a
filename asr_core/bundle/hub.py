"""Downloads models from the Hugging Face Hub: only the files that are needed, with their sizes checked."""

import io
import os
import re
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from asr_core.bundle.bundle import Bundle, open_folder
from asr_core.bundle.checkpoints.kinds import is_checkpoint
from asr_core.bundle.checkpoints.opening import INDEX, PICKLE, WEIGHTS, open_checkpoint
from asr_core.bundle.description import CONFIG, CONTENTS, MAX_CONFIG_BYTES, README, check_description, read_config
from asr_core.bundle.memory import refuse_too_large
from asr_core.errors import BundleError, reason

ANSWER_SECONDS = 5  # timeout of the Hub's first answer, unless HF_HUB_ETAG_TIMEOUT sets another
TRY_LATER = (408, 429, 500, 502, 503, 504)  # HTTP statuses that mean that the Hub cannot serve at present
CONVERTER, CONVERSION = "SFconvertbot", "Adding `safetensors` variant of this model"  # an account, a title
MAX_PROPOSALS = 100  # that are looked at
SWITCHED_OFF = (403, 404, 410)  # HTTP statuses of the discussions of a repository that has none
REPOSITORY = re.compile(r"(?P<id>\w[\w.-]*/\w[\w.-]*)(@(?P<revision>\w[\w./-]*))?")


@dataclass(frozen=True)
class Wanted:
    """The arguments of `asr_core.bundle.loading.load_bundle` beside the source."""

    language: str | None = None
    progress: Callable[[int, int], None] | None = None


def download_bundle(repository: str, revision: str | None, wanted: Wanted) -> Bundle:
    """Downloads the files of a model, all at one commit and none before its size has been checked.

    Raises:
        BundleError: there is no such bundle, or it cannot be downloaded; the message says why.
    """
    with _hub_errors_as_bundle_errors(repository, revision), _quiet_hub_client():
        return _download(repository, revision, _name(repository, revision), wanted)


def _name(repository: str, revision: str | None) -> str:
    return f"{repository}@{revision}" if revision else repository


@contextmanager
def _hub_errors_as_bundle_errors(repository: str, revision: str | None):
    """Turns the errors of the client into a BundleError, one sentence for each kind."""
    import httpx2  # the HTTP client of huggingface_hub, whose errors reach us
    from huggingface_hub import errors, is_offline_mode

    name = _name(repository, revision)
    try:
        yield
    except errors.HFValidationError as error:
        raise BundleError(
            f"There is no folder {name} here, and the Hub has no such names ({reason(error)})."
        ) from error
    except errors.GatedRepoError as error:
        raise BundleError(f"{name} is gated: ask for access on its page and set HF_TOKEN.") from error
    except errors.RepositoryNotFoundError as error:
        raise BundleError(
            f"There is no folder {name} here and no such model on the Hub; if it is private, set HF_TOKEN."
        ) from error
    except errors.RevisionNotFoundError as error:
        raise BundleError(f"{repository} has no revision {revision}.") from error
    except errors.LocalEntryNotFoundError as error:
        if is_offline_mode():
            raise BundleError(
                f"{name} is not complete in the cache, and HF_HUB_OFFLINE forbids downloading it: unset that variable."
            ) from error
        if refused := _refusal(error.__cause__, name):
            raise BundleError(refused) from error
        cause = reason(error.__cause__ or OSError("there is no network"))
        raise BundleError(
            f"{name} is not complete in the cache and the Hub does not answer ({cause}); try again later."
        ) from error
    except errors.EntryNotFoundError as error:
        raise BundleError(f"{name} on the Hub is not a bundle, or not a whole one; {CONTENTS}.") from error
    except (httpx2.HTTPError, OSError) as error:  # the server's refusals, broken connections, a full disk
        raise BundleError(_refusal(error, name) or _failure(error, name)) from error


def _failure(error: BaseException, name: str) -> str:
    return f"{name} could not be downloaded ({reason(error)}); try again later."


def _refusal(error: BaseException | None, name: str) -> str | None:
    """The message for an answer of the Hub that refuses the token; None for any other error."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status == 401:
        return f"The Hub does not accept the access token, so {name} cannot be downloaded: renew or unset HF_TOKEN."
    if status == 403:
        return f"The access token may not read {name}: change its permissions on the Hub, or unset HF_TOKEN."
    return None


def download_more(repository: str, commit: str, name: str, choose: Callable[[Sequence[str]], list[str]]) -> None:
    """Downloads further files of a repository into the folder of one commit in the cache.

    Where the Hub cannot be reached, nothing is downloaded, and what is in the cache serves.

    Args:
        name: of what is downloaded, for messages.
        choose: takes the names of all files and returns those to download.

    Raises:
        BundleError: a file would not fit into memory, or the download failed.
    """
    import httpx2
    from huggingface_hub import HfApi

    if _unreachable(repository, commit) is not None:
        return
    files = HubFiles(repository, commit, name, None, {})
    try:
        with _quiet_hub_client():
            listed = HfApi().model_info(repository, revision=commit).siblings or []
            chosen = choose([file.rfilename for file in listed])
            for file in chosen:
                refuse_too_large(name, files.size(file) or 0)
            for file in chosen:
                files.fetch(file)
    except (httpx2.HTTPError, OSError) as error:
        raise BundleError(_refusal(error, name) or _failure(error, name)) from error


def _download(repository: str, revision: str | None, name: str, wanted: Wanted) -> Bundle:
    from huggingface_hub.errors import LocalEntryNotFoundError

    unreachable = _unreachable(repository, revision)
    if unreachable is None:
        return _fetch(repository, revision, name, wanted)
    try:
        return _fetch(repository, revision, name, wanted, local_files_only=True)
    except LocalEntryNotFoundError as error:
        raise error from unreachable


def _unreachable(repository: str, revision: str | None) -> Exception | None:
    """The error if the Hub cannot be reached; None if it answers, even with a refusal.

    Without this one request, the client would retry every file for minutes before it takes files from the cache.
    """
    import httpx2
    from huggingface_hub import constants, errors, get_hf_file_metadata, hf_hub_url

    seconds = constants.HF_HUB_ETAG_TIMEOUT if "HF_HUB_ETAG_TIMEOUT" in os.environ else ANSWER_SECONDS
    try:
        get_hf_file_metadata(hf_hub_url(repository, CONFIG, revision=revision), timeout=seconds)
    except (httpx2.TransportError, errors.OfflineModeIsEnabled) as error:
        return error
    except errors.HfHubHTTPError as error:
        return error if error.response.status_code in TRY_LATER else None
    return None


@contextmanager
def _quiet_hub_client():
    """Silences the client's own warnings: the caller reports failures in one sentence."""
    from huggingface_hub.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


def _fetch(repository: str, revision: str | None, name: str, wanted: Wanted, **options) -> Bundle:
    """Takes the files of a model from the cache, or else downloads them; `options` are those of `hf_hub_download`."""
    path = _fetch_config(repository, revision, name, **options)
    config, commit = read_config(path, name), path.parent.name
    files = HubFiles(repository, commit, f"{repository}@{commit[:12]}", wanted.progress, options)
    if is_checkpoint(config):
        return open_checkpoint(files, config, wanted.language)
    check_description(config, name)
    for file, expected in config["files"].items():
        if (size := files.size(file)) is None:
            raise BundleError(f"{name} on the Hub is not a bundle, or not a whole one; {CONTENTS}.")
        _check_size(name, file, size, exactly=expected["bytes"])
    files.fetch_weights(list(config["files"]))
    if (size := files.size(README)) is not None:  # the model card is optional
        _check_size(name, README, size, most=MAX_CONFIG_BYTES)
        files.fetch(README)
    return open_folder(path.parent, files.name, wanted.language)


def _fetch_config(repository: str, revision: str | None, name: str, **options) -> Path:
    """The path of `config.json`. Its folder has the name of the commit that the revision is at."""
    from huggingface_hub import hf_hub_download

    facts = hf_hub_download(repository, CONFIG, revision=revision, dry_run=True, **options)
    _check_size(name, CONFIG, facts.file_size, most=MAX_CONFIG_BYTES)
    return Path(hf_hub_download(repository, CONFIG, revision=revision, **options))


@dataclass
class HubFiles:
    """The files of a repository at one commit (see `asr_core.bundle.checkpoints.opening.Files`).

    Attributes:
        repository: "name/repo".
        commit: its hash.
        name: of the model, for messages.
        progress: as `asr_core.bundle.loading.load_bundle` takes it.
        options: of `hf_hub_download`.
    """

    repository: str
    commit: str
    name: str
    progress: Callable[[int, int], None] | None
    options: dict
    _known: dict = field(default_factory=dict)  # results of `_facts`

    @property
    def _offline(self) -> bool:
        return self.options.get("local_files_only", False)

    def _facts(self, file: str):
        """The client's DryRunFileInfo of a file; None if there is no such file, or offline none in the cache."""
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

        if file not in self._known:
            try:
                self._known[file] = hf_hub_download(
                    self.repository, file, revision=self.commit, dry_run=True, **self.options
                )
            except EntryNotFoundError as error:
                if isinstance(error, LocalEntryNotFoundError) and not self._offline:
                    raise  # the connection broke: the file may exist
                self._known[file] = None
        return self._known[file]

    def size(self, file: str) -> int | None:
        facts = self._facts(file)
        if facts is None:
            return None
        if facts.file_size is None:
            raise BundleError(f"{self.name} was not downloaded: the Hub does not tell the size of {file}.")
        return facts.file_size

    def fetch(self, file: str, **further) -> Path:
        from huggingface_hub import hf_hub_download

        return Path(hf_hub_download(self.repository, file, revision=self.commit, **self.options, **further))

    def fetch_weights(self, files: list[str]) -> list[Path]:
        if self.progress is None:
            return [self.fetch(file) for file in files]
        paths, done, total = [], 0, sum(map(self.size, files))
        for file in files:
            bars = progress_bars(self.size(file), lambda bytes_, done=done: self.progress(done + bytes_, total))
            paths.append(self.fetch(file, tqdm_class=bars))
            done += self.size(file)
            self.progress(done, total)
        return paths

    def converted(self) -> "HubFiles | None":
        from huggingface_hub import constants, file_download
        from huggingface_hub.errors import LocalEntryNotFoundError

        if not self._offline:
            return self._proposed()
        folder = file_download.repo_folder_name(repo_id=self.repository, repo_type="model")
        for reference in sorted(Path(constants.HF_HUB_CACHE, folder, "refs", "refs", "pr").glob("*")):
            files = self._at(f"refs/pr/{reference.name}", reference.read_text().strip())
            if files.size(WEIGHTS) is not None or files.size(INDEX) is not None:
                return files
        raise LocalEntryNotFoundError(f"no weights of {self.name} are in the cache")

    def _at(self, reference: str, commit: str) -> "HubFiles":
        """The files of another commit of the repository."""
        name = f"{self.repository}@{reference}, {commit[:12]}"
        return HubFiles(self.repository, commit, name, self.progress, self.options)

    def _proposed(self) -> "HubFiles | None":
        """The files of the open pull request in which the Hub's bot has converted this commit's PICKLE."""
        from huggingface_hub import HfApi
        from huggingface_hub.errors import HfHubHTTPError

        if self.size(PICKLE) is None:
            return None
        try:
            listed = HfApi().get_repo_discussions(
                self.repository, author=CONVERTER, discussion_type="pull_request", discussion_status="open"
            )
            proposals = [one for one in islice(listed, MAX_PROPOSALS) if one.is_pull_request and one.status == "open"]
        except HfHubHTTPError as error:
            if error.response.status_code in SWITCHED_OFF:
                return None
            raise
        for proposal in proposals:
            if proposal.author == CONVERTER and proposal.title == CONVERSION:
                path = _fetch_config(self.repository, proposal.git_reference, self.name, **self.options)
                files = self._at(proposal.git_reference, path.parent.name)
                if files.size(PICKLE) is not None and files._checksum(PICKLE) == self._checksum(PICKLE):
                    return files  # the bot had the same weights before it
        return None

    def _checksum(self, file: str) -> str:
        """The Hub's checksum of a file, which is not downloaded."""
        from huggingface_hub import get_hf_file_metadata, hf_hub_url

        return get_hf_file_metadata(hf_hub_url(self.repository, file, revision=self.commit)).etag


def progress_bars(size: int, report: Callable[[int], None]) -> type:
    """A class of progress bars that draw nothing and call `report` with the bytes of one file that are there.

    The client opens one bar for a file, or two that count the same bytes on different ways to the disk.

    Args:
        size: of the file.
    """
    from tqdm import tqdm

    bars = []

    class Bars(tqdm):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options | {"file": io.StringIO(), "disable": False})
            bars.append(self)

        def update(self, n=1):
            super().update(n)
            report(min(int(max(bar.n for bar in bars)), size))

    return Bars


def _check_size(name: str, file: str, size: int, most=None, exactly=None) -> None:
    if (most is not None and size > most) or (exactly is not None and size != exactly):
        limit = f"at most {most:,}" if exactly is None else f"{exactly:,} by its config.json"
        raise BundleError(f"{name} was not downloaded: {file} has {size:,} bytes, {limit} were expected.")
