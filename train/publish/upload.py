"""A run or a bundle -> one commit on the Hub: the work behind `python -m train.publish`."""

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from asr_core.bundle.description import CONFIG, LANGUAGE_MODELS, OTHER_FILES, README, WEIGHTS
from asr_core.bundle.loading import load_bundle
from asr_core.errors import AsrError, reason
from train.publish.card import card

CURVES = "curves.svg"  # a run's learning curves
RECORDS = ("metrics.csv", "run.json")  # a run's measurements and its configuration
# Beside weights and config; a new model replaces them.
MODEL_FILES = {*OTHER_FILES, CURVES, *RECORDS}


class PublishError(AsrError, OSError):
    """Files that must not be published, or an upload that failed."""


@dataclass(frozen=True)
class Upload:
    """A commit to a repository on the Hub.

    Attributes:
        repository: "name/repo".
        kind: "model" or "space".
        files: path in the repository -> a file on this disk, or content.
        message: of the commit.
        keeps: paths in the repository that stay although they are not in `files`.
        variables: of a Space, name -> value; None deletes a variable.
    """

    repository: str
    kind: str
    files: dict[str, Path | bytes]
    message: str
    keeps: frozenset[str] = frozenset({".gitattributes"})
    variables: dict[str, str | None] = field(default_factory=dict)

    def __post_init__(self):
        if "/" not in self.repository:  # the client would take it for a repository of the token's owner
            raise PublishError(f"{self.repository} does not say whose it is: write name/{self.repository}.")

    def size(self, path: str) -> int:
        """Bytes of a file, by its path in the repository."""
        content = self.files[path]
        return len(content) if isinstance(content, bytes) else content.stat().st_size

    def __str__(self) -> str:
        lines = [f"{self.size(path):>12,}  {path}" for path in sorted(self.files)]
        total = sum(self.size(path) for path in self.files)
        return "\n".join([f"{self.kind} {self.repository}:", *lines, f"{total:>12,}  bytes in all"])


def push(source, repository: str, *, private=False, pull_request=False, dry_run=False) -> str:
    """Publishes a bundle on the Hub with its card and learning curves.

    Args:
        source: folder of a bundle, or of a run, whose best bundle is published.
        repository: "name/repo"; created if it does not exist.
        private: create a private repository. An existing public one is refused.
        pull_request: open a pull request to an existing repository instead.
        dry_run: only print what would be sent.

    Returns:
        The address of the commit or of the pull request; "" for a dry run.

    Raises:
        BundleError: the bundle is incomplete or damaged.
        PublishError: the bundle has not been evaluated, or the Hub refused the upload.
    """
    upload = model_upload(Path(source), repository)
    print(upload)
    if dry_run:
        print(f"\n{upload.files[README].decode()}\nNothing was sent.")
        return ""
    return send(upload, private=private, pull_request=pull_request)


def model_upload(source: Path, repository: str) -> Upload:
    """Collects the files of a bundle and of its run. Raises as `push` does."""
    folder = next((f for f in (source, source / "best", source / "last") if (f / CONFIG).is_file()), source)
    run = next((f for f in (source, source.resolve().parent) if (f / "run.json").is_file()), source)
    bundle = load_bundle(folder)
    if bundle.checkpoint:
        raise PublishError(f"{folder} is a checkpoint of another program: python -m train.convert makes it a bundle.")
    if not bundle.config.get("evaluation"):
        raise PublishError(
            f"{folder} has not been evaluated, and people should know what they get: run python -m train.evaluate "
            f"--manifest FILE --model {folder} --write first."
        )
    bundle.build()  # raises BundleError if the weights do not fit the network
    files: dict[str, Path | bytes] = {name: folder / name for name in (CONFIG, *bundle.config["files"])}
    picture = CURVES if (run / CURVES).is_file() else None
    for name in (picture, *RECORDS):
        if name and (run / name).is_file():
            files[name] = run / name
    record = json.loads((run / "run.json").read_text(encoding="utf-8")) if "run.json" in files else None
    files[README] = card(bundle.config, repository, record, picture).encode()
    if missing := [field for field in ("licence", "training_data") if not bundle.config.get(field)]:
        print(
            f"The card will not state: {', '.join(missing)}. "
            f"Note it with python -m train.publish.card {folder} (see --help)."
        )
    return Upload(repository, "model", files, f"Publish {source.resolve().name}")


def send(upload: Upload, *, private=False, pull_request=False) -> str:
    """Sends an upload to the Hub; returns the address of the commit or pull request.

    Raises:
        PublishError: there is no token, permission or network, or the Hub has an error.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

    check_token()
    api = HfApi()
    name = {"repo_id": upload.repository, "repo_type": upload.kind}
    with explain_hub_errors(upload.repository):
        if not pull_request:
            sdk = {"space_sdk": "gradio"} if upload.kind == "space" else {}
            api.create_repo(**name, private=private or None, exist_ok=True, **sdk)
        there = api.repo_info(**name)
        if private and not there.private:
            raise PublishError(
                f"{upload.repository} is there already and public: make it private on its page first, "
                "or leave out --private."
            )
        operations = [CommitOperationAdd(path, content) for path, content in upload.files.items()]
        operations += [
            CommitOperationDelete(path) for path in superseded(upload, [file.rfilename for file in there.siblings])
        ]
        done = api.create_commit(
            **name,
            operations=operations,
            commit_message=upload.message,
            create_pr=pull_request,
            parent_commit=there.sha,
        )
        if upload.variables:  # after the commit: changing them restarts the Space, which would run the old files
            _set_variables(api, upload)
    return done.pr_url or done.commit_url


def _set_variables(api, upload: Upload) -> None:
    there = api.get_space_variables(upload.repository)
    for key, value in upload.variables.items():
        if value is not None:
            api.add_space_variable(upload.repository, key, value)
        elif key in there:
            api.delete_space_variable(upload.repository, key)


def superseded(upload: Upload, there: Sequence[str]) -> list[str]:
    """Files to delete from the repository: those of an old model, and all that a Space no longer contains."""
    others = [path for path in there if path not in upload.files and path not in upload.keeps]
    if upload.kind == "space":
        return others
    numbered = (WEIGHTS, LANGUAGE_MODELS)
    return [path for path in others if path in MODEL_FILES or any(kind.fullmatch(path) for kind in numbered)]


def check_token() -> None:
    """Raises PublishError if there is no token. Whether the token may write is only known when it is used."""
    from huggingface_hub import get_token

    if not get_token():
        raise PublishError("There is no token: set HF_TOKEN to one that may write, or run hf auth login.")


@contextlib.contextmanager
def explain_hub_errors(repository: str) -> Iterator[None]:
    """Turns exceptions of the Hub's client into a PublishError whose message is one sentence to act on."""
    import httpx2  # the transport of huggingface_hub, whose errors it passes on
    from huggingface_hub import constants, errors

    try:
        yield
    except PublishError:
        raise
    except errors.HFValidationError as error:
        raise PublishError(
            f"{repository} is not the name of a repository: write name/repo ({reason(error)})."
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise PublishError(
            f"There is no repository {repository} on {constants.ENDPOINT}, or this token may not see it."
        ) from error
    except errors.HfHubHTTPError as error:
        raise PublishError(_refusal(error, repository, constants.ENDPOINT)) from error
    except (httpx2.HTTPError, ConnectionError) as error:
        raise PublishError(
            f"{constants.ENDPOINT} cannot be reached ({reason(error)}): check the network and try again; "
            f"what has arrived is not sent twice.{_hint(error)}"
        ) from error
    except RuntimeError as error:  # the client raises it if a file could not be transferred
        cause = error.__cause__ or error
        raise PublishError(
            f"The upload to {repository} broke off ({reason(cause)}): try again; what has arrived is not sent twice."
            f"{_hint(cause)}"
        ) from error
    except ValueError as error:
        raise PublishError(f"{constants.ENDPOINT} does not take this ({reason(error)}).") from error


def _refusal(error, repository: str, hub: str) -> str:
    status = error.response.status_code
    if status == 401:
        return f"{hub} does not know this token: make a new one at {hub}/settings/tokens and set HF_TOKEN."
    if status == 403:
        return (
            f"This token may not write to {repository}: give it write access at {hub}/settings/tokens, name a "
            "repository of your own, or propose the change with --pr."
        )
    if status == 412:
        return f"Somebody has changed {repository} in the meantime: look at it, and try again."
    if status == 429:
        return f"{hub} asks for patience (429): try again in a few minutes; what has arrived is not sent twice."
    if status >= 500:
        return f"{hub} is in trouble ({status}): try again later; what has arrived is not sent twice."
    return f"{hub} refused ({reason(error)})."


def _hint(error) -> str:
    """Large files are transferred by Xet, which some networks and Hubs do not support."""
    return " Where Xet does not get through, set HF_HUB_DISABLE_XET=1." if "xet" in str(error).lower() else ""
