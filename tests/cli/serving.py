"""A running `pare serve`, and ways to speak to it: for tests and the load test. Standard library only."""
import http.client
import json
import os
import signal
import socket
import subprocess
import threading


class Server:
    """`pare serve MODEL ...` on a free port; stop() or `with` ends it."""

    def __init__(self, pare, model, *words, key=None, timeout=120):
        environment = {name: value for name, value in os.environ.items() if name != "PARE_API_KEY"}
        if key:
            environment["PARE_API_KEY"] = key
        self.key = key
        self.process = subprocess.Popen([pare, "serve", str(model), "--port", "0", "--json", *map(str, words)], env=environment,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.errors = []
        self.reader = threading.Thread(target=lambda: self.errors.extend(self.process.stderr), daemon=True)
        self.reader.start()
        watch = threading.Timer(timeout, self.process.kill)
        watch.start()
        line = self.process.stdout.readline()
        watch.cancel()
        if not line:
            self.process.wait()
            self.reader.join()
            raise AssertionError("pare serve did not start: " + "".join(self.errors))
        self.ready = json.loads(line)
        self.port = int(self.ready["url"].rsplit(":", 1)[1])

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        code = self.stop()
        if kind is None and code != 0:
            raise AssertionError(f"exit code {code} after SIGTERM: " + "".join(self.errors))

    def stop(self, timeout=60, again=True):
        """SIGTERM, unless it was sent before; the exit code."""
        if again and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            code = "no end within %s s" % timeout
        self.reader.join(5)
        self.process.stdout.close()
        self.process.stderr.close()
        return code

    def memory(self, field="VmRSS"):
        """Bytes: VmRSS now, VmHWM at most so far."""
        with open(f"/proc/{self.process.pid}/status") as file:
            for line in file:
                if line.startswith(field + ":"):
                    return int(line.split()[1]) * 1024
        raise AssertionError(field)

    def alive(self):
        return self.process.poll() is None

    def headers(self, more=()):
        headers = {"Content-Type": "application/json"}
        if self.key:
            headers["Authorization"] = "Bearer " + self.key
        headers.update(more)
        return {name: value for name, value in headers.items() if value is not None}

    def request(self, method, path, body=None, headers=(), timeout=60):
        """(status, headers, bytes). `body`: bytes as they are, anything else as JSON."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            data = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
            connection.request(method, path, data, self.headers(headers))
            response = connection.getresponse()
            return response.status, dict(response.getheaders()), response.read()
        finally:
            connection.close()

    def get(self, path, **options):
        status, _, data = self.request("GET", path, **options)
        return status, json.loads(data)

    def post(self, path, body, **options):
        status, _, data = self.request("POST", path, body, **options)
        return status, json.loads(data)

    def stream(self, path, body, timeout=60):
        """The events of a streamed answer, as they come; the last one is "[DONE]"."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request("POST", path, json.dumps({**body, "stream": True}).encode(), self.headers())
            response = connection.getresponse()
            if response.status != 200:
                raise AssertionError(f"{response.status}: {response.read()!r}")
            for line in response:
                line = line.decode().rstrip("\n")
                if line.startswith("data: "):
                    yield line[6:] if line == "data: [DONE]" else json.loads(line[6:])
        finally:
            connection.close()

    def raw(self, timeout=20):
        return socket.create_connection(("127.0.0.1", self.port), timeout=timeout)

    def metric(self, name):
        _, _, data = self.request("GET", "/metrics")
        for line in data.decode().splitlines():
            if line.startswith("pare_" + name + " "):
                return float(line.split()[1])
        raise AssertionError("no metric " + name)
