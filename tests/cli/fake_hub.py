"""A hub of our own on loopback: API, redirects of LFS files to another address, ranges, and every fault that tests ask for. Standard library only."""
import hashlib
import http.server
import json
import sys
import threading
import time
import urllib.parse


def git_sha1(data):
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def sha256(data):
    return hashlib.sha256(data).hexdigest()


class Repository:
    """`files`: path -> bytes; those of more than 10 kB are LFS."""

    def __init__(self, files, branch="main"):
        self.files, self.branch = dict(files), branch
        self.commit = hashlib.sha1(repr(sorted((p, sha256(d)) for p, d in files.items())).encode()).hexdigest()
        self.listing = None        # instead of the true one
        self.gate = None           # (status, X-Error-Code, X-Error-Message) for who has no token

    def is_lfs(self, path):
        return len(self.files[path]) > 10_000

    def entries(self):
        if self.listing is not None:
            return self.listing
        folders = sorted({path.rsplit("/", 1)[0] for path in self.files if "/" in path})
        entries = [{"type": "directory", "path": folder, "size": 0, "oid": git_sha1(folder.encode())} for folder in folders]
        for path, data in sorted(self.files.items()):
            entry = {"type": "file", "path": path, "size": len(data), "oid": git_sha1(data)}
            if self.is_lfs(path):
                entry.update(oid=git_sha1(b"pointer of " + path.encode()), lfs={"oid": sha256(data), "size": len(data), "pointerSize": 134})
            entries.append(entry)
        return entries


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        hub = self.server.hub
        path = urllib.parse.unquote(self.path)
        with hub.lock:
            hub.requests.append((self.server.name, self.command, path, dict(self.headers)))
        try:
            (self.hub if self.server.name == "hub" else self.cdn)(hub, path)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def answer(self, status, body=b"", **headers):
        if isinstance(body, (list, dict)):
            body = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content_Length": len(body), **headers}.items():
            if value is not None:
                self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def fault(self, key):
        """One of the faults that wait for this file (or "api") is played; true when that was the answer."""
        with self.server.hub.lock:
            waiting = self.server.hub.faults.get(key, [])
            fault = waiting.pop(0) if waiting and self.command == "GET" else None
        return fault is not None and fault(self)

    def hub(self, hub, path):
        path, _, query = path.partition("?")
        if path.startswith("/api/"):
            return self.api(hub, path, query)
        repo, _, rest = path[1:].partition("/resolve/")
        revision, _, name = rest.partition("/")
        repository = hub.repositories.get(repo)
        if repository is None or not self.may_read(repository):
            return None if repository else self.refuse(401, "RepoNotFound", "Repository not found")
        if revision not in (repository.branch, repository.commit) or name not in repository.files:
            return self.refuse(404, "EntryNotFound", "Entry not found", X_Repo_Commit=repository.commit)
        if self.fault(name):
            return None
        data = repository.files[name]
        if not repository.is_lfs(name):
            return self.content(data, ETag=f'"{git_sha1(data)}"', X_Repo_Commit=repository.commit)
        return self.answer(302, Location=f"{hub.cdn_url}/{sha256(data)}?signed=1", X_Linked_Etag=f'"{sha256(data)}"',
                           X_Linked_Size=len(data), X_Repo_Commit=repository.commit)

    def refuse(self, status, code, message, **headers):
        self.answer(status, {"error": message}, X_Error_Code=code, X_Error_Message=message, **headers)

    def may_read(self, repository):
        if repository.gate is None or self.headers.get("Authorization") == "Bearer hf_good":
            return True
        self.refuse(*repository.gate)
        return False

    def api(self, hub, path, query):
        if self.fault("api"):
            return None
        if path == "/api/models":
            return self.answer(200, [{"id": name} for name in hub.repositories])
        for name, repository in hub.repositories.items():
            rest = path.removeprefix(f"/api/models/{name}/")
            if rest == path:
                continue
            if not self.may_read(repository):
                return None
            if rest == "refs":
                return self.answer(200, {"branches": [{"name": repository.branch, "ref": "refs/heads/x"}], "tags": [{"name": "v1.0"}]})
            kind, _, revision = rest.partition("/")
            if revision not in (repository.branch, repository.commit, "refs/pr/1"):
                return self.refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
            if kind == "revision":
                return self.answer(200, {"id": name, "modelId": name, "sha": repository.commit, "private": False, "tags": [], "downloads": 1,
                                         "likes": 0, "siblings": [{"rfilename": file} for file in repository.files]})
            entries = repository.entries()
            if isinstance(entries, bytes):
                return self.answer(200, entries)
            begin = int(dict(urllib.parse.parse_qsl(query)).get("cursor", 0))
            link = f'<{hub.url}{path}?recursive=true&cursor={begin + hub.page}>; rel="next"' if begin + hub.page < len(entries) else None
            return self.answer(200, entries[begin:begin + hub.page], Link=link)
        return self.refuse(401 if "Authorization" not in self.headers else 404, "RepoNotFound", "Repository not found")

    def cdn(self, hub, path):
        name = path[1:].partition("?")[0]
        data = hub.contents().get(name)
        if data is None:
            return self.answer(404)
        if not self.fault(name):
            self.content(data, ETag=f'"{name}"')
        return None

    def content(self, data, **headers):
        begin = 0
        if self.headers.get("Range"):
            begin = int(self.headers["Range"].removeprefix("bytes=").rstrip("-"))
            if begin >= len(data):
                return self.answer(416, Content_Range=f"bytes */{len(data)}")
            headers["Content_Range"] = f"bytes {begin}-{len(data) - 1}/{len(data)}"
        hub, body = self.server.hub, data[begin:]
        if not hub.bytes_per_second or self.command == "HEAD":
            return self.answer(206 if begin else 200, body, Accept_Ranges="bytes", **headers)
        self.answer(206 if begin else 200, b"", Content_Length=len(body), **headers)
        wait = 20_000 / hub.bytes_per_second
        for at in range(0, len(body), 20_000):
            self.wfile.write(body[at:at + 20_000])
            time.sleep(wait)
        return None


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], ConnectionError):  # clients that hang up are what is tested
            super().handle_error(request, client_address)


class Hub:
    def __init__(self):
        self.repositories, self.faults, self.requests, self.lock = {}, {}, [], threading.Lock()
        self.page, self.bytes_per_second = 1000, 0
        self.servers = []
        for name in ("hub", "cdn"):
            server = Server(("127.0.0.1", 0), Handler)
            server.hub, server.name = self, name
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
            self.servers.append(server)
        self.url, self.cdn_url = (f"http://{host}:{server.server_port}" for host, server in zip(("127.0.0.1", "localhost"), self.servers))

    def stop(self):
        for server in self.servers:
            server.shutdown()
            server.server_close()

    def add(self, name, files, **options):
        self.repositories[name] = Repository(files, **options)
        return self.repositories[name]

    def contents(self):
        return {sha256(data): data for repository in self.repositories.values() for data in repository.files.values()}

    def paths(self, server=None):
        with self.lock:
            return [path for name, _, path, _ in self.requests if server in (None, name)]

    def ranges(self):
        with self.lock:
            return [headers.get("Range") for name, _, _, headers in self.requests if name == "cdn"]


# --- faults: each answers a request in place of the hub, or returns None to let it answer

def status(code, **headers):
    def play(request):
        request.answer(code, b"no", **headers)
        return True
    return play


def cut_after(bytes_sent, ranges=True):
    """The connection breaks in the middle of the file."""
    def play(request):
        name = request.path[1:].partition("?")[0]
        data = request.server.hub.contents()[name]
        begin = int((request.headers.get("Range") or "bytes=0-").removeprefix("bytes=").rstrip("-")) if ranges else 0
        headers = {"Content_Range": f"bytes {begin}-{len(data) - 1}/{len(data)}"} if begin else {}
        request.answer(206 if begin else 200, b"", Content_Length=len(data) - begin, **headers)
        request.wfile.write(data[begin:begin + bytes_sent])
        request.close_connection = True
        request.connection.shutdown(2)
        return True
    return play


def sends(data, code=200, **headers):
    def play(request):
        request.answer(code, data, **headers)
        return True
    return play


def endless(request):
    request.answer(200, b"", Content_Length=None, Connection="close")
    request.close_connection = True
    for _ in range(20_000):
        request.wfile.write(b"x" * 65536)
    return True


def hangs(seconds):
    def play(request):
        time.sleep(seconds)
        request.close_connection = True
        request.connection.shutdown(2)
        return True
    return play
