"""Load on `pare serve`: many clients for a while, some of whose requests are bad on purpose. Standard library only.

    python3 bench/server_load.py ./pare MODEL [--clients 64] [--seconds 60] [--bad 0.1] [--json FILE] [-- more words for pare serve]

First its cache is filled. Then one client alone, then one for each slot (a quiet run), then all at once with the bad ones among
them. Prints how long good requests took (p50, p99), how bad ones were answered, and the memory of the server after the quiet run,
in the middle and at the end. Fails when the server ends or stops answering, when a good request fails, a bad one is answered with
anything but a 4xx and OpenAI's error object, the same request is answered differently, the slowest hundredth waits for more than
--p99 times what its place in the queue explains, or the memory grows by more than --leak in the second half.
"""
import argparse
import concurrent.futures
import json
import pathlib
import random
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tests" / "cli"))
from serving import Server  # noqa: E402

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"


def good_request(rng, tokens):
    """(path, body): one of a fixed number of requests, so that the same comes again and must be answered the same."""
    kind = rng.randrange(24)
    body = {"max_tokens": 4 + tokens * (kind % 4) // 3, "seed": kind, "temperature": (kind % 3) / 2}
    if kind % 2:
        return CHAT, {**body, "messages": [{"role": "system", "content": "You are a helpful clerk. " * (1 + kind % 5)},
                                           {"role": "user", "content": f"Question {kind}: what is next?"}]}
    return COMPLETIONS, {**body, "prompt": f"Text {kind}. " * (1 + kind), "logprobs": 1 if kind % 4 == 0 else None}


def bad_request(rng):
    return rng.choice([
        (CHAT, b""), (CHAT, b"{"), (CHAT, b"[" * 5000), (CHAT, b'{"messages": "\xff"}'), (COMPLETIONS, b'{"prompt": 1}'),
        (CHAT, {"messages": []}), (CHAT, {"messages": [{"role": "user", "content": {}}]}), (COMPLETIONS, {"prompt": [-1]}),
        (CHAT, {"messages": [{"role": "user", "content": "x"}], "temperature": -1}), (COMPLETIONS, {"prompt": "x", "max_tokens": 1 << 40}),
        (COMPLETIONS, {"prompt": "x " * 200_000}), ("/nothing", {}), (CHAT, {"messages": [{"role": "user", "content": "x"}], "tools": 1}),
        ("hang up", {"prompt": "x", "max_tokens": 200, "stream": True})])


class Load:
    def __init__(self, server, tokens):
        self.server, self.tokens = server, tokens
        self.lock = threading.Lock()
        self.times, self.first_times, self.faults = [], [], []
        self.bad = {}
        self.answers = {}
        self.generated = 0

    def fault(self, text):
        with self.lock:
            self.faults.append(text)

    def good(self, rng):
        path, body = good_request(rng, self.tokens)
        streamed = rng.random() < 0.5
        began = time.monotonic()
        if streamed:
            first, text, end, tokens = None, "", None, 0
            for event in self.server.stream(path, {**body, "stream_options": {"include_usage": True}}, timeout=300):
                if event == "[DONE]":
                    end = time.monotonic()
                    break
                if event.get("usage"):
                    tokens = event["usage"]["completion_tokens"]
                for choice in event.get("choices", ()):
                    piece = choice["text"] if path == COMPLETIONS else choice["delta"].get("content", "")
                    first = first or (time.monotonic() if piece else None)
                    text += piece
            if end is None:
                return self.fault(f"a stream without its end: {path} {body}")
        else:
            status, answer = self.server.post(path, body, timeout=300)
            end, first = time.monotonic(), None
            if status != 200:
                return self.fault(f"{status}: {answer}: {path} {body}")
            choice = answer["choices"][0]
            text = choice["text"] if path == COMPLETIONS else choice["message"]["content"]
            tokens = answer["usage"]["completion_tokens"]
        key = json.dumps([path, body], sort_keys=True)
        with self.lock:
            self.times.append(end - began)
            if first:
                self.first_times.append(first - began)
            self.generated += tokens
            if self.answers.setdefault(key, text) != text:
                self.faults.append(f"answered differently: {key}\n  {self.answers[key]!r}\n  {text!r}")

    def bad_one(self, rng):
        path, body = bad_request(rng)
        if path == "hang up":
            events = self.server.stream(COMPLETIONS, body, timeout=300)
            next(events)
            events.close()
            status = "hung up"
        else:
            status, _, data = self.server.request("POST", path, body, timeout=300)
            if not 400 <= status < 500 or set(json.loads(data)["error"]) != {"message", "type", "code", "param"}:
                self.fault(f"bad request answered with {status} {data[:100]}: {path} {str(body)[:100]}")
        with self.lock:
            self.bad[status] = self.bad.get(status, 0) + 1

    def fill_cache(self):
        """Short prompts, each its own, until what is kept of them fills the cache: from here on memory must not grow."""
        most = self.server.get("/props")[1]["cache_bytes"]
        before, number = -1, 0
        while self.server.metric("kept_bytes") > before and self.server.metric("kept_bytes") < 0.9 * most:
            before = self.server.metric("kept_bytes")
            for _ in range(20):
                number += 1
                self.server.post(COMPLETIONS, {"prompt": f"{number} is a number. " * (1 + number % 3), "max_tokens": 1})

    def client(self, number, until, bad):
        rng = random.Random(number)
        while time.monotonic() < until and self.server.alive():
            try:
                if rng.random() < bad:
                    self.bad_one(rng)
                else:
                    self.good(rng)
            except Exception as error:  # whatever goes wrong is counted, and the load goes on
                if time.monotonic() < until:
                    self.fault(f"{type(error).__name__}: {error}")

    def run(self, clients, seconds, bad=0.0):
        self.times, self.first_times, self.generated = [], [], 0
        until = time.monotonic() + seconds
        began = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(clients) as pool:
            list(pool.map(lambda number: self.client(number, until, bad), range(clients)))
        spent = time.monotonic() - began
        return {"clients": clients, "seconds": round(spent, 1), "good": len(self.times), "tokens_per_s": round(self.generated / spent, 1),
                "p50_s": percentile(self.times, 0.5), "p99_s": percentile(self.times, 0.99),
                "first_p50_s": percentile(self.first_times, 0.5), "first_p99_s": percentile(self.first_times, 0.99)}


def percentile(values, share):
    return round(sorted(values)[min(len(values) - 1, int(share * len(values)))], 3) if values else None


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("pare")
    parser.add_argument("model")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--slots", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--bad", type=float, default=0.1, help="share of requests that are bad on purpose")
    parser.add_argument("--tokens", type=int, default=48, help="of the longest answers")
    parser.add_argument("--leak", default=4, type=float, help="MB that the memory may grow by between the middle and the end")
    parser.add_argument("--p99", default=2, type=float, help="times the quiet run's, for each client that shares a slot")
    parser.add_argument("--cache-memory", default="256MB", help="as pare serve has it; small: full, so that growth shows, early")
    parser.add_argument("--json", help="the figures, as a file")
    parser.add_argument("words", nargs="*", help="more words for pare serve, after --")
    args = parser.parse_args()
    server = Server(args.pare, args.model, "--context", 2048, "--slots", args.slots, "--cache-memory", args.cache_memory, *args.words, timeout=600)
    load = Load(server, args.tokens)
    rows, memory = [], []
    try:
        load.fill_cache()
        rows.append({"run": "one client", **load.run(1, args.seconds / 10)})
        rows.append({"run": "quiet", **load.run(args.slots, args.seconds / 5)})
        memory.append(server.memory())
        rows.append({"run": "bad ones too, first half", **load.run(args.clients, args.seconds / 2, args.bad)})
        memory.append(server.memory())
        rows.append({"run": "second half", **load.run(args.clients, args.seconds / 2, args.bad)})
        memory.append(server.memory())
        alive = server.alive() and server.get("/health")[0] == 200
        end = time.monotonic() + 10  # those whose clients hung up last
        while (waiting := server.metric("sequences_waiting") + server.metric("sequences_running")) and time.monotonic() < end:
            time.sleep(0.1)
        if waiting:
            load.fault(f"{waiting:.0f} sequences go on though nobody waits for them")
    except OSError as error:
        alive = False
        load.fault(f"{type(error).__name__}: {error}")
    code = server.stop()
    if not alive:
        load.faults.append("the server ended: " + "".join(server.errors)[-500:])
    if code != 0:
        load.faults.append(f"exit code {code} after SIGTERM")
    if len(memory) == 3 and memory[2] - memory[1] > args.leak * 1e6:
        load.faults.append(f"memory grew from {memory[1]} to {memory[2]} bytes in the second half")
    for row in rows[2:]:
        bound = args.p99 * (rows[1]["p99_s"] or 0) * max(1, args.clients / args.slots)
        if row["p99_s"] is None or row["p99_s"] > bound:
            load.faults.append(f"p99 {row['p99_s']} s in the {row['run']}, more than {bound:.3f}")
    for row in rows:
        print("  ".join(f"{name} {value}" for name, value in row.items()))
    print("bad requests by answer:", dict(sorted(load.bad.items(), key=str)))
    print("memory, MB: before", *[round(bytes_ / 1e6, 1) for bytes_ in memory], "(quiet, half, end)")
    for text in load.faults[:20]:
        print("FAULT", text[:1000])
    print(f"{len(load.faults)} faults")
    if args.json:
        pathlib.Path(args.json).write_text(json.dumps({"rows": rows, "bad": {str(k): v for k, v in load.bad.items()}, "rss_bytes": memory,
                                                       "faults": len(load.faults)}, indent=1) + "\n")
    return 1 if load.faults else 0


if __name__ == "__main__":
    sys.exit(main())
