"""The app -> a Space: selects the files that the app needs, and checks them before they become public."""

import ast
import re
import subprocess
from pathlib import Path

from asr_core.bundle.description import CONFIG
from asr_core.bundle.loading import DEFAULT_FOLDER, load_bundle
from train.publish.upload import PublishError, Upload, explain_hub_errors, send

ROOT = Path(__file__).parents[2]
FILES = ("app.py", "requirements.txt", "packages.txt", "README.md", "LICENSE")
FOLDERS = ("asr_core", "ui", "assets")
REQUIRED_FIELDS = ("title", "sdk", "sdk_version", "python_version", "app_file")  # of the front matter of README.md
MAX_BYTES = 10_000_000  # of a file; the Hub requires Git LFS for larger ones
PRIVATE_NAMES = re.compile(r"(^|/)(\..*|.*\.(pem|key|p12|pfx|kdbx)|id_(rsa|dsa|ecdsa|ed25519))$", re.IGNORECASE)
SECRETS = re.compile(
    rb"hf_[A-Za-z0-9]{30,}|AKIA[0-9A-Z]{16}|gh[pousr]_[A-Za-z0-9]{36}|-----BEGIN [A-Z ]*PRIVATE KEY-----"
)


def push_space(space: str, model: str | None = None, *, private=False, dry_run=False) -> str:
    """Publishes the app as a Space.

    Args:
        space: "name/space"; created if it does not exist.
        model: "name/repo[@revision]" that the Space runs, downloaded when it is built; None for the embedded model.
        private: create a private Space. An existing public one is refused.
        dry_run: only print what would be sent.

    Returns:
        The address of the commit, or "" for a dry run.

    Raises:
        PublishError: a file must not be published, or the Hub refused the upload.
    """
    upload = space_upload(space, model)
    print(upload)
    if model and _is_private(model):
        print(f"{model} is private: give the Space a secret HF_TOKEN that may read it, on its page under Settings.")
    if dry_run:
        print("Nothing was sent.")
        return ""
    return send(upload, private=private)


def space_upload(space: str, model: str | None = None, root: Path = ROOT) -> Upload:
    """Collects and checks the files of a Space. Raises PublishError for the first that must not be published."""
    names = app_files(root)
    check_tree(root, names)
    files: dict[str, Path | bytes] = {name: root / name for name in names}
    if model is None and not _embeds_a_model(names):
        raise PublishError("No model comes with this copy: name one on the Hub with --model name/repo.")
    files["README.md"] = front_page((root / "README.md").read_text(encoding="utf-8"), root, model).encode()
    return Upload(space, "space", files, "Publish the app", variables={"ASR_MODEL": model})


def app_files(root: Path = ROOT) -> list[str]:
    """The tracked files that the app needs.

    Raises:
        PublishError: the folder is not a checkout of git.
    """
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, text=True)
    if listing.returncode:
        raise PublishError(f"{root} is not a checkout of git, and only tracked files go to a Space: clone the project.")
    tracked = [name for name in listing.stdout.split("\0") if name and (root / name).is_file()]
    return [name for name in tracked if name in FILES or name.partition("/")[0] in FOLDERS and "/" in name]


def check_tree(root: Path, names: list[str]) -> None:
    """Raises PublishError if a file is missing, too large or private, or imports a module that a Space does not get."""
    if missing := {"app.py", "requirements.txt", "README.md"} - set(names):
        raise PublishError(f"A Space needs {', '.join(sorted(missing))}, which git does not track here.")
    for name in names:
        path = root / name
        if path.is_symlink():
            raise PublishError(f"{name} is a link: a Space gets files, put the file itself there.")
        if (size := path.stat().st_size) > MAX_BYTES:
            raise PublishError(f"{name} has {size:,} bytes; files of a Space have at most {MAX_BYTES:,}.")
        if PRIVATE_NAMES.search(name):
            raise PublishError(f"{name} looks private: take it out of git before you publish.")
        content = path.read_bytes()
        if found := SECRETS.search(content):
            raise PublishError(
                f"{name} holds what looks like a key ({found[0][:6].decode()}...): take it out, renew it."
            )
        if name.endswith(".py") and (absent := _imports(content) & {"train", "tests"}):
            raise PublishError(f"{name} imports {', '.join(absent)}, which a Space does not get.")


def _imports(source: bytes) -> set[str]:
    """The top-level names of the modules that a file imports."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {name.name.partition(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found


def _embeds_a_model(names: list[str]) -> bool:
    return f"{DEFAULT_FOLDER.relative_to(ROOT).as_posix()}/{CONFIG}" in names


def _is_private(model: str) -> bool:
    from huggingface_hub import HfApi

    with explain_hub_errors(model):
        return bool(HfApi().model_info(model.partition("@")[0]).private)


def front_page(text: str, root: Path, model: str | None) -> str:
    """Checks the front matter of README.md, which configures a Space, and adds the model that the Space runs.

    Args:
        text: of README.md.
        root: folder of the project.
        model: "name/repo[@revision]", or None for the embedded model.

    Returns:
        The text with the new front matter.

    Raises:
        PublishError: the front matter lacks a field, or does not fit the app or requirements.txt.
        BundleError: there is no such model.
    """
    from huggingface_hub import RepoCard

    page = RepoCard(text)
    data = page.data
    if missing := [field for field in REQUIRED_FIELDS if not data.get(field)]:
        raise PublishError(f"README.md does not say {', '.join(missing)} in its front matter, as a Space needs.")
    if data.sdk != "gradio" or not (root / data.app_file).is_file():
        raise PublishError(f"README.md asks for {data.sdk} and {data.app_file}; this app is gradio and app.py.")
    _check_version(str(data.sdk_version), (root / "requirements.txt").read_text(encoding="utf-8"))
    if model is not None:
        repository, _, revision = model.partition("@")
        data["models"] = [repository]
        files = ",".join(load_bundle(model).file_names)
        data["preload_from_hub"] = [" ".join(filter(None, [repository, files, revision]))]
    return str(page)


def _check_version(sdk_version: str, requirements: str) -> None:
    from packaging.requirements import Requirement

    for line in requirements.splitlines():
        if re.match(r"gradio\b", line):
            if not Requirement(line).specifier.contains(sdk_version):
                raise PublishError(
                    f"README.md has sdk_version {sdk_version} and requirements.txt {line}: make them agree."
                )
            return
    raise PublishError("requirements.txt does not name gradio.")
