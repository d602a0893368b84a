"""A Hub on loopback, as much of it as the real client needs to push, pull and fetch plain files.

It keeps repositories with their commits, asks for tokens, stores large files apart as the Hub does (Git LFS),
serves ranges, and has faults on order: a status to answer with, or a connection cut in the middle.
"""

import base64
import contextlib
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

LARGE_SUFFIXES = (".safetensors", ".png", ".opus")  # what a new repository's .gitattributes gives to LFS
WRITER, READER = "hf_writer", "hf_reader"  # tokens of the user "name"


@dataclass
class Repository:
    """Commits by their oid, each a dictionary of files or a folder, and branches by name."""

    private: bool = False
    sdk: str | None = None
    commits: dict[str, "dict[str, bytes] | Path"] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    messages: dict[str, str] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)  # of a Space
    proposals: list[dict] = field(default_factory=list)  # pull requests, as the Hub lists them

    def add(self, files: "dict[str, bytes] | Path", branch="main", message="", oid=None) -> str:
        oid = oid or hashlib.sha1(f"{len(self.commits)}".encode()).hexdigest()
        self.commits[oid], self.branches[branch], self.messages[oid] = files, oid, message
        return oid

    def propose(self, files: "dict[str, bytes] | Path", title: str, author: str, status="open") -> str:
        """Opens a pull request; returns the oid of its commit."""
        number = len(self.proposals) + 1
        about = {"num": number, "title": title, "author": {"name": author}, "status": status, "isPullRequest": True}
        self.proposals.append(about | {"createdAt": "2023-05-01T12:00:00.000Z"})
        return self.add(files, f"refs/pr/{number}")

    def oid(self, revision: str) -> str | None:
        oid = self.branches.get(revision, revision)
        return oid if oid in self.commits else None

    def file(self, oid: str, path: str) -> bytes | None:
        """One file of a commit, or None."""
        files = self.commits[oid]
        if isinstance(files, Path):
            return (files / path).read_bytes() if (files / path).is_file() else None
        return files.get(path)

    def files(self, revision: str = "main") -> dict[str, bytes]:
        files = self.commits[self.oid(revision)]
        if isinstance(files, Path):
            return {p.relative_to(files).as_posix(): p.read_bytes() for p in files.rglob("*") if p.is_file()}
        return files


@dataclass
class Fault:
    """What goes wrong with requests of a method whose path matches: a status, or a connection that is cut."""

    method: str
    path: str  # a regular expression, searched
    status: int | None = None
    cut: bool = False
    times: float = float("inf")
    headers: dict[str, str] = field(default_factory=dict)


class Hub(ThreadingHTTPServer):
    """The server. `serving()` starts one.

    Attributes:
        repositories: (kind, "owner/name") -> Repository; kind is "model" or "space".
        tokens: token -> rights, of "read" and "write".
        objects: large files by their SHA-256.
        plain: path -> bytes, for downloads that have nothing to do with a repository.
        faults: in order; the first that matches a request is applied to it.
        requests: (method, path) of all that came, and `ranges` the Range headers among them.
        served: paths of all files whose bodies were sent.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), HubRequest)
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.tokens = {WRITER: {"read", "write"}, READER: {"read"}}
        self.objects: dict[str, bytes] = {}
        self.plain: dict[str, bytes] = {}
        self.faults: list[Fault] = []
        self.requests: list[tuple[str, str]] = []
        self.ranges: list[str] = []
        self.served: list[str] = []
        self.lock = threading.Lock()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def fault(self, method: str, path: str) -> Fault | None:
        with self.lock:
            for fault in self.faults:
                if fault.times > 0 and fault.method in (method, "*") and re.search(fault.path, path):
                    fault.times -= 1
                    return fault
        return None

    def handle_error(self, request, client_address):
        pass  # a client that hangs up is part of the tests


@contextlib.contextmanager
def serving() -> Iterator[Hub]:
    """A Hub that runs in a thread while the context lasts."""
    hub = Hub()
    thread = threading.Thread(target=hub.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.shutdown()
        thread.join()
        hub.server_close()


KINDS = {"models": "model", "spaces": "space"}


class HubRequest(BaseHTTPRequestHandler):
    """One request. `server` is the Hub."""

    protocol_version = "HTTP/1.1"
    server: Hub

    def do_HEAD(self):  # noqa: N802
        self.route("HEAD")

    def do_GET(self):  # noqa: N802
        self.route("GET")

    def do_POST(self):  # noqa: N802
        self.route("POST")

    def do_PUT(self):  # noqa: N802
        self.route("PUT")

    def do_DELETE(self):  # noqa: N802
        self.route("DELETE")

    def log_message(self, *_):
        pass

    def route(self, method: str) -> None:
        url = urlsplit(self.path)
        self.query = parse_qs(url.query)
        path = unquote(url.path)
        self.server.requests.append((method, path))
        self.bad = self.server.fault(method, path)
        if self.bad and self.bad.cut and method in ("POST", "PUT"):
            self.rfile.read(int(self.headers["Content-Length"] or 0) // 2)
            return self.hang_up()
        self.body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        if self.bad and self.bad.status:
            return self.reply(self.bad.status, {"error": "out of order"}, **self.bad.headers)
        if self.token and self.token not in self.server.tokens:
            return self.reply(
                401, {"error": "Invalid"}, **{"X-Error-Message": "Invalid credentials in Authorization header"}
            )
        for wanted, pattern, answer in ROUTES:
            found = re.fullmatch(pattern, path)
            if found and method in wanted:
                return answer(self, **found.groupdict())
        self.reply(404, {"error": f"no route for {method} {path}"})

    # Who asks, and for what.

    @property
    def token(self) -> str | None:
        return (self.headers["Authorization"] or "").removeprefix("Bearer ") or None

    @property
    def rights(self) -> set[str]:
        return self.server.tokens.get(self.token, set())

    def repository(self, kind: str, name: str) -> Repository | None:
        """The repository, if there is one and the client may see it; answers for it otherwise."""
        found = self.server.repositories.get((kind, name))
        if found is None or (found.private and not self.rights):
            self.reply(404 if self.rights else 401, {"error": "Not found"}, **{"X-Error-Code": "RepoNotFound"})
            return None
        return found

    def may_write(self, owner: str) -> bool:
        if "write" in self.rights and owner == "name":
            return True
        self.reply(403 if self.rights else 401, {"error": f"You don't have the rights to write to {owner}"})
        return False

    # Answers.

    def whoami(self):
        if not self.rights:
            return self.reply(401, {"error": "Invalid username or password."})
        role = "write" if "write" in self.rights else "read"
        self.reply(200, {"type": "user", "name": "name", "orgs": [], "auth": {"accessToken": {"role": role}}})

    def create(self):
        asked = json.loads(self.body)
        owner, kind = asked.get("organization") or "name", asked.get("type") or "model"
        name = f"{owner}/{asked['name']}"
        if not self.may_write(owner):
            return
        prefix = "spaces/" if kind == "space" else ""
        answer = {"url": f"{self.server.address}/{prefix}{name}", "id": name}
        if (kind, name) in self.server.repositories:
            return self.reply(409, answer | {"error": "You already created this repo"})
        private = asked.get("visibility") == "private" or bool(asked.get("private"))
        repository = Repository(private, asked.get("sdk"))
        attributes = "".join(f"*{suffix} filter=lfs\n" for suffix in LARGE_SUFFIXES)
        repository.add({".gitattributes": attributes.encode()}, message="initial commit")
        self.server.repositories[kind, name] = repository
        self.reply(200, answer)

    def info(self, kind, name, revision="main"):
        if not (repository := self.repository(KINDS[kind], name)):
            return
        if not (oid := repository.oid(revision)):
            return self.reply(404, {"error": "no revision"}, **{"X-Error-Code": "RevisionNotFound"})
        siblings = [{"rfilename": path} for path in sorted(repository.files(oid))]
        self.reply(200, {"id": name, "sha": oid, "private": repository.private, "siblings": siblings, "tags": []})

    def tree(self, kind, name, revision, folder):
        if not (repository := self.repository(KINDS[kind], name)):
            return
        files = repository.files(revision)
        inside = [path for path in sorted(files) if path.rpartition("/")[0] == folder]
        if not inside:
            return self.reply(404, {"error": "no such folder"}, **{"X-Error-Code": "EntryNotFound"})
        entry = {"type": "file", "oid": "0" * 40}
        self.reply(200, [entry | {"path": path, "size": len(files[path])} for path in inside])

    def discussions(self, kind, name):
        if not (repository := self.repository(KINDS[kind], name)):
            return
        author = self.query.get("author", [None])[0]
        found = [about for about in repository.proposals if author in (None, about["author"]["name"])]
        found = [about | {"repo": {"name": name, "type": KINDS[kind]}} for about in found]
        self.reply(200, {"discussions": found, "count": len(found), "start": 0})

    def variables(self, name):
        if (repository := self.repository("space", name)) and self.may_write(name.split("/")[0]):
            asked = json.loads(self.body or "{}")
            if self.command == "POST":
                repository.variables[asked["key"]] = asked["value"]
            elif self.command == "DELETE":
                del repository.variables[asked["key"]]
            self.reply(200, {key: {"value": value} for key, value in repository.variables.items()})

    def preupload(self, kind, name, revision):
        if not (repository := self.repository(KINDS[kind], name)) or not self.may_write(name.split("/")[0]):
            return
        files, answers = repository.files(revision), []
        for file in json.loads(self.body)["files"]:
            large = file["path"].endswith(LARGE_SUFFIXES) or file["size"] > 10_000_000
            oid = None
            if (content := files.get(file["path"])) is not None:
                oid = hashlib.sha256(content).hexdigest() if large else _git_oid(content)
            mode = "lfs" if large else "regular"
            answers.append({"path": file["path"], "uploadMode": mode, "shouldIgnore": False, "oid": oid})
        self.reply(200, {"files": answers})

    def lfs_batch(self, name, prefix=None):
        if not self.may_write(name.split("/")[0]):
            return
        answers = []
        for asked in json.loads(self.body)["objects"]:
            answer = {"oid": asked["oid"], "size": asked["size"]}
            if asked["oid"] not in self.server.objects:
                answer["actions"] = {"upload": {"href": f"{self.server.address}/lfs/{asked['oid']}"}}
            answers.append(answer)
        self.reply(200, {"transfer": "basic", "objects": answers})

    def lfs_upload(self, oid):
        if hashlib.sha256(self.body).hexdigest() != oid:
            return self.reply(400, {"error": "not the object that was announced"})
        self.server.objects[oid] = self.body
        self.reply(200, {})

    def commit(self, kind, name, revision):
        if not (repository := self.repository(KINDS[kind], name)) or not self.may_write(name.split("/")[0]):
            return
        files, message = dict(repository.files(revision)), ""
        for line in self.body.decode().splitlines():
            item = json.loads(line)
            value = item["value"]
            if item["key"] == "header":
                message = value["summary"]
                if value.get("parentCommit", repository.oid(revision)) != repository.oid(revision):
                    return self.reply(412, {"error": "A commit has happened since."})
            elif item["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif item["key"] == "lfsFile":
                if value["oid"] not in self.server.objects:
                    return self.reply(400, {"error": f"{value['path']} was never uploaded"})
                files[value["path"]] = self.server.objects[value["oid"]]
            elif item["key"] == "deletedFile":
                files.pop(value["path"], None)
        proposed = self.query.get("create_pr") == ["1"]
        branch = f"refs/pr/{len(repository.branches)}" if proposed else revision
        oid = repository.add(files, branch, message)
        answer = {"success": True, "commitOid": oid, "commitUrl": f"{self.server.address}/{name}/commit/{oid}"}
        if proposed:
            answer["pullRequestUrl"] = f"{self.server.address}/{name}/discussions/{branch.rsplit('/', 1)[1]}"
        self.reply(200, answer)

    def validate_yaml(self):
        content = json.loads(self.body)["content"]
        errors = [] if content.startswith("---\n") else [{"message": "there is no metadata"}]
        self.reply(400 if errors else 200, {"errors": errors, "warnings": []})

    def resolve(self, name, revision, file, prefix=None):
        if not (repository := self.repository("space" if prefix else "model", name)):
            return
        if not (oid := repository.oid(revision)):
            return self.reply(404, {"error": "no revision"}, **{"X-Error-Code": "RevisionNotFound"})
        if (content := repository.file(oid, file)) is None:
            return self.reply(404, {"error": "no such file"}, **{"X-Error-Code": "EntryNotFound"})
        tag = f'"{hashlib.sha256(content).hexdigest()}"'
        self.send_body(file, content, **{"ETag": tag, "X-Repo-Commit": oid})

    def plain(self, path):
        if path not in self.server.plain:
            return self.reply(404, {"error": "no such file"})
        self.send_body(path, self.server.plain[path])

    # On the wire.

    def reply(self, status: int, content, **headers) -> None:
        self.send(status, json.dumps(content).encode(), **{"Content-Type": "application/json"} | headers)

    def send_body(self, name: str, content: bytes, **headers) -> None:
        """A file, or the part of it that a Range header asks for."""
        status = 200
        if asked := self.headers["Range"]:
            self.server.ranges.append(asked)
            start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1])
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            status, content = 206, content[start:]
        if self.command == "GET":
            self.server.served.append(name)
        self.send(status, content, **headers)

    def send(self, status: int, body: bytes, **headers) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if self.bad and self.bad.cut:
            self.wfile.write(body[: len(body) // 2])
            return self.hang_up()
        self.wfile.write(body)

    def hang_up(self) -> None:
        self.wfile.flush()
        self.close_connection = True


def _git_oid(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


_NAME = r"(?P<name>[\w.-]+/[\w.-]+)"
_REVISION = r"(?P<revision>refs/pr/\d+|[^/]+)"
_API = rf"/api/(?P<kind>models|spaces)/{_NAME}"
ROUTES = (
    (("GET",), "/api/whoami-v2", HubRequest.whoami),
    (("POST",), "/api/repos/create", HubRequest.create),
    (("POST",), "/api/validate-yaml", HubRequest.validate_yaml),
    (("GET",), _API, HubRequest.info),
    (("GET",), rf"{_API}/revision/(?P<revision>.+)", HubRequest.info),
    (("GET",), rf"{_API}/discussions", HubRequest.discussions),
    (("GET",), rf"{_API}/tree/{_REVISION}/(?P<folder>.+)", HubRequest.tree),
    (("GET", "POST", "DELETE"), rf"/api/spaces/{_NAME}/variables", HubRequest.variables),
    (("POST",), rf"{_API}/preupload/(?P<revision>.+)", HubRequest.preupload),
    (("POST",), rf"{_API}/commit/(?P<revision>.+)", HubRequest.commit),
    (("POST",), rf"/(?P<prefix>spaces/)?{_NAME}\.git/info/lfs/objects/batch", HubRequest.lfs_batch),
    (("PUT",), r"/lfs/(?P<oid>[0-9a-f]{64})", HubRequest.lfs_upload),
    (("GET", "HEAD"), rf"/(?P<prefix>spaces/)?{_NAME}/resolve/{_REVISION}/(?P<file>.+)", HubRequest.resolve),
    (("GET", "HEAD"), r"/plain/(?P<path>.+)", HubRequest.plain),
)
