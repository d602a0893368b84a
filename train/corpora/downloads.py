"""Public archives onto this disk: resumed where they broke off, checked by SHA-256, unpacked in one step."""

import contextlib
import hashlib
import shutil
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from tqdm import tqdm

from asr_core.errors import AsrError


class DownloadError(AsrError, OSError):
    """An archive that could not be fetched, or is not what was published."""


@dataclass(frozen=True)
class Archive:
    """A tar archive at a public address.

    Attributes:
        url: where it lies.
        sha256: of the whole file, in hexadecimal.
        size: in bytes.
        holds: the folder in it that shows that it is unpacked.
    """

    url: str
    sha256: str
    size: int
    holds: str

    @property
    def name(self) -> str:
        return self.url.rsplit("/", 1)[1]


def fetch(archive: Archive, folder: Path) -> Path:
    """The unpacked contents of an archive below `folder`; what is there already is not fetched again.

    Returns:
        The folder that the archive holds.

    Raises:
        DownloadError: no network, no room, or not the file that was published.
    """
    unpacked = folder / archive.holds
    if unpacked.is_dir():
        return unpacked
    folder.mkdir(parents=True, exist_ok=True)
    whole = folder / archive.name
    if not whole.exists():
        partial = whole.with_name(whole.name + ".part")
        _check_room(archive, folder)
        _download(archive, partial)
        partial.replace(whole)
    elif _sha256(whole) != archive.sha256:
        raise DownloadError(f"{whole} is not what was published at {archive.url}: delete it and try again.")
    _unpack(archive, whole, folder)
    whole.unlink()
    return unpacked


def _download(archive: Archive, partial: Path) -> None:
    import httpx2  # the transport of huggingface_hub, whose errors it passes on
    from huggingface_hub.file_download import http_get

    try:
        with open(partial, "ab") as file:
            if file.tell() > archive.size:
                file.truncate(0)
            http_get(
                archive.url,
                file,
                resume_size=file.tell(),
                expected_size=archive.size,
                displayed_filename=archive.name,
            )
    except (httpx2.HTTPError, OSError) as error:
        reason = " ".join(str(error).split())[:160].rstrip(".")
        raise DownloadError(
            f"{archive.url} could not be fetched ({reason}): check the network and run this again, it goes "
            f"on where it stopped; or bring the file yourself and put it at {partial.with_suffix('')}."
        ) from error
    if (found := _sha256(partial)) != archive.sha256:
        partial.unlink()
        raise DownloadError(
            f"{archive.url} is not the file that was published (SHA-256 {found[:12]}..., "
            f"{archive.sha256[:12]}... was expected) and has been deleted: try again."
        )


def _check_room(archive: Archive, folder: Path) -> None:
    free, needed = shutil.disk_usage(folder).free, 2.2 * archive.size  # with its unpacked contents beside it
    if free < needed:
        raise DownloadError(
            f"{archive.name} needs {needed / 1e9:.1f} GB while it is unpacked, and {folder} has "
            f"{free / 1e9:.1f} GB: make room, or name another folder with --to."
        )


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with _watched(path, "checking") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _unpack(archive: Archive, whole: Path, folder: Path) -> None:
    """Unpacks beside the goal, and moves what the archive holds there when all of it is written."""
    aside = folder / f".unpacking-{archive.name}"
    shutil.rmtree(aside, ignore_errors=True)
    try:
        # As a stream: seeking in a compressed archive starts from its beginning again.
        with _watched(whole, "unpacking") as file, tarfile.open(fileobj=file, mode="r|*") as tar:
            tar.extractall(aside, filter="data")
        goal = folder / archive.holds
        goal.parent.mkdir(parents=True, exist_ok=True)
        for beside in (aside / archive.holds).parent.iterdir():
            if not (goal.parent / beside.name).exists():
                beside.rename(goal.parent / beside.name)
    except (tarfile.TarError, OSError) as error:
        raise DownloadError(f"{whole} could not be unpacked ({error}): delete it and fetch it again.") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


@contextlib.contextmanager
def _watched(path: Path, doing: str) -> Iterator[BinaryIO]:
    """A file to read, with a progress bar on a terminal."""
    bar = {"desc": f"{doing} {path.name}", "total": path.stat().st_size, "disable": None}
    with open(path, "rb") as file, tqdm.wrapattr(file, "read", **bar) as watched:
        yield watched
