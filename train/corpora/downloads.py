"""Public archives -> folders on this disk: resumable downloads, checked by SHA-256, unpacked atomically."""

import contextlib
import hashlib
import shutil
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from tqdm import tqdm

from asr_core.errors import AsrError, reason


class DownloadError(AsrError, OSError):
    """An archive that could not be downloaded or unpacked, or that differs from the published file."""


@dataclass(frozen=True)
class Archive:
    """A tar archive at a public address.

    Attributes:
        url: its address.
        sha256: SHA-256 of the whole file, in hexadecimal.
        size: in bytes.
        holds: a folder in the archive; if it exists on the disk, the archive counts as unpacked.
    """

    url: str
    sha256: str
    size: int
    holds: str

    @property
    def name(self) -> str:
        """File name of the archive."""
        return self.url.rsplit("/", 1)[1]


def fetch(archive: Archive, folder: Path) -> Path:
    """Downloads an archive and unpacks it in `folder`, unless its contents are there already.

    Returns:
        The unpacked folder that `archive.holds` names.

    Raises:
        DownloadError: there is no network or too little room, or the file differs from the published one.
    """
    unpacked = folder / archive.holds
    if unpacked.is_dir():
        return unpacked
    folder.mkdir(parents=True, exist_ok=True)
    archive_file = folder / archive.name
    if not archive_file.exists():
        partial = archive_file.with_name(archive_file.name + ".part")
        _check_room(archive, folder, partial.stat().st_size if partial.exists() else 0)
        _download(archive, partial)
        partial.replace(archive_file)
    elif _sha256(archive_file) != archive.sha256:
        raise DownloadError(f"{archive_file} is not what was published at {archive.url}: delete it and try again.")
    _unpack(archive, archive_file, folder)
    archive_file.unlink()
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
        raise DownloadError(
            f"{archive.url} could not be fetched ({reason(error)}): check the network and run this again, it "
            f"continues where it stopped; or bring the file yourself and put it at {partial.with_suffix('')}."
        ) from error
    if (found := _sha256(partial)) != archive.sha256:
        partial.unlink()
        raise DownloadError(
            f"{archive.url} is not the file that was published (SHA-256 {found[:12]}..., "
            f"{archive.sha256[:12]}... was expected) and has been deleted: try again."
        )


def _check_room(archive: Archive, folder: Path, present: int) -> None:
    """Raises DownloadError if the disk has too little room; `present` bytes of the archive are there already."""
    free = shutil.disk_usage(folder).free
    needed = 2.2 * archive.size - present  # the archive and its unpacked contents
    if free < needed:
        raise DownloadError(
            f"{archive.name} needs {needed / 1e9:.1f} GB while it is unpacked, and {folder} has "
            f"{free / 1e9:.1f} GB: make room, or name another folder with --to."
        )


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with _open_with_progress(path, "checking") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _unpack(archive: Archive, archive_file: Path, folder: Path) -> None:
    """Unpacks into a temporary folder and moves the contents to their place when all of them are written."""
    temporary = folder / f".unpacking-{archive.name}"
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        # Read as a stream: seeking in a compressed archive would start at its beginning again.
        with _open_with_progress(archive_file, "unpacking") as file, tarfile.open(fileobj=file, mode="r|*") as tar:
            tar.extractall(temporary, filter="data")
        target = folder / archive.holds
        target.parent.mkdir(parents=True, exist_ok=True)
        for content in (temporary / archive.holds).parent.iterdir():
            if not (target.parent / content.name).exists():
                content.rename(target.parent / content.name)
    except tarfile.TarError as error:
        raise DownloadError(f"{archive_file} could not be unpacked ({error}): delete it and fetch it again.") from error
    except OSError as error:
        raise DownloadError(f"{archive_file} could not be unpacked ({error}): mend that and run this again.") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextlib.contextmanager
def _open_with_progress(path: Path, action: str) -> Iterator[BinaryIO]:
    """Opens a file for reading; on a terminal, a progress bar shows how much has been read."""
    bar = {"desc": f"{action} {path.name}", "total": path.stat().st_size, "disable": None}
    with open(path, "rb") as file, tqdm.wrapattr(file, "read", **bar) as reader:
        yield reader
