"""Downloads bundles from the Hugging Face Hub: only the files that `config.json` lists, with their sizes checked."""

import os
import re
from contextlib import contextmanager, suppress
from pathlib import Path

from asr_core.bundle.bundle import Bundle, open_folder
from asr_core.bundle.description import CONFIG, CONTENTS, MAX_CONFIG_BYTES, README, read_description
from asr_core.errors import BundleError, reason

ANSWER_SECONDS = 5  # timeout of the Hub's first answer, unless HF_HUB_ETAG_TIMEOUT sets another
TRY_LATER = (408, 429, 500, 502, 503, 504)  # HTTP statuses that mean that the Hub cannot serve at present
REPOSITORY = re.compile(r"(?P<id>\w[\w.-]*/\w[\w.-]*)(@(?P<revision>\w[\w./-]*))?")


def download_bundle(repository: str, revision: str | None) -> Bundle:
    """Downloads the files of a bundle, all at one commit and none before its size has been checked.

    Raises:
        BundleError: there is no such bundle, or it cannot be downloaded; the message says why.
    """
    import httpx2  # the HTTP client of huggingface_hub, whose errors reach us
    from huggingface_hub import errors

    name = f"{repository}@{revision}" if revision else repository
    try:
        with _quiet_hub_client():
            return _download(repository, revision, name)
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
        cause = reason(error.__cause__ or OSError("there is no network, or HF_HUB_OFFLINE forbids it"))
        raise BundleError(
            f"{name} is not complete in the cache and the Hub does not answer ({cause}); try again later."
        ) from error
    except errors.EntryNotFoundError as error:
        raise BundleError(f"{name} on the Hub is no bundle, or not a whole one; {CONTENTS}.") from error
    except (httpx2.HTTPError, OSError) as error:  # the server's refusals, broken connections, a full disk
        raise BundleError(f"{name} could not be downloaded ({reason(error)}); try again later.") from error


def _download(repository: str, revision: str | None, name: str) -> Bundle:
    from huggingface_hub.errors import LocalEntryNotFoundError

    unreachable = _unreachable(repository, revision)
    if unreachable is None:
        return _fetch(repository, revision, name)
    try:
        return _fetch(repository, revision, name, local_files_only=True)
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


def _fetch(repository: str, revision: str | None, name: str, **options) -> Bundle:
    """Takes the files of a bundle from the cache, or else downloads them; `options` are those of `hf_hub_download`."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    facts = hf_hub_download(repository, CONFIG, revision=revision, dry_run=True, **options)
    _check_size(name, CONFIG, facts.file_size, most=MAX_CONFIG_BYTES)
    commit = facts.commit_hash
    path = Path(hf_hub_download(repository, CONFIG, revision=revision, **options))
    config = read_description(path, name)
    for file, expected in config["files"].items():
        facts = hf_hub_download(repository, file, revision=commit, dry_run=True, **options)
        _check_size(name, file, facts.file_size, exactly=expected["bytes"])
        hf_hub_download(repository, file, revision=commit, **options)
    with suppress(EntryNotFoundError):  # the model card is optional
        facts = hf_hub_download(repository, README, revision=commit, dry_run=True, **options)
        _check_size(name, README, facts.file_size, most=MAX_CONFIG_BYTES)
        hf_hub_download(repository, README, revision=commit, **options)
    return open_folder(path.parent, f"{repository}@{commit[:12]}")


def _check_size(name: str, file: str, size: int, most=None, exactly=None) -> None:
    if (most is not None and size > most) or (exactly is not None and size != exactly):
        limit = f"at most {most:,}" if exactly is None else f"{exactly:,} by its config.json"
        raise BundleError(f"{name} was not downloaded: {file} has {size:,} bytes, {limit} were expected.")
