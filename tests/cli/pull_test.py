"""pare pull against a hub of our own: what it leaves in the cache, and what faults, hostile answers and a full disk do. Standard library only."""
import json
import os
import pathlib
import random
import resource
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

import fake_hub
from fake_hub import Hub, cut_after, endless, git_sha1, hangs, sends, sha256, status
from support import MAKE_MODEL, PARE, run

BIG = random.Random(1).randbytes(3_000_000)
OTHER = random.Random(2).randbytes(200_000)


def model_files():
    return {"config.json": b'{"model_type": "made-up"}', "tokenizer/a b.json": b"[1]", "README.md": b"", "model.safetensors": BIG,
            "pytorch_model.bin": OTHER, "onnx/model.onnx": OTHER}


NEEDED = ["README.md", "config.json", "model.safetensors", "tokenizer/a b.json"]


class PullTest(unittest.TestCase):
    def setUp(self):
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="pare-pull-"))
        self.addCleanup(shutil.rmtree, self.root, ignore_errors=True)
        self.hub = Hub()
        self.addCleanup(self.hub.stop)
        self.repository = self.hub.add("org/small", model_files())
        self.cache = self.root / "cache"
        self.folder = self.cache / "models--org--small"

    def environment(self, **variables):
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING", "http", "HTTP"))}
        return {**clean, "HOME": str(self.root), "HF_HUB_CACHE": str(self.cache), "HF_ENDPOINT": self.hub.url, **variables}

    def pull(self, *words, check=0, variables={}, **options):
        result = run("pull", *words, check=check, env=self.environment(**variables), **options)
        self.assertNotIn("Sanitizer", result.stderr)
        return result

    def refused(self, *words, code, says, **options):
        result = self.pull(*words, check=code, **options)
        self.assertEqual(result.stdout, "")
        for text in [says] if isinstance(says, str) else says:
            self.assertIn(text, result.stderr)
        return result.stderr

    def blobs(self):
        return sorted(path.name for path in (self.folder / "blobs").iterdir()) if self.folder.exists() else []

    def assert_whole(self, folder, names=NEEDED, files=None):
        files = files or model_files()
        found = sorted(str(path.relative_to(folder)) for path in pathlib.Path(folder).rglob("*") if not path.is_dir())
        self.assertEqual(found, sorted(names))
        for name in names:
            self.assertEqual((pathlib.Path(folder) / name).read_bytes(), files[name], name)


class Loading(PullTest):
    def test_the_cache_is_laid_out_as_huggingface_hub_does(self):
        result = self.pull("org/small")
        snapshot = self.folder / "snapshots" / self.repository.commit
        self.assertEqual(result.stdout, f"{snapshot}\n")
        self.assert_whole(snapshot)
        self.assertEqual(self.blobs(), sorted([git_sha1(b""), git_sha1(b"[1]"), git_sha1(model_files()["config.json"]), sha256(BIG)]))
        self.assertEqual(os.readlink(snapshot / "model.safetensors"), f"../../blobs/{sha256(BIG)}")
        self.assertEqual(os.readlink(snapshot / "tokenizer/a b.json"), f"../../../blobs/{git_sha1(b'[1]')}")
        self.assertEqual((self.folder / "refs/main").read_text(), self.repository.commit)
        self.assertIn("left out: 2 files of other frameworks", result.stderr)
        self.assertEqual({p.name for p in (self.cache / ".locks/models--org--small").iterdir()}, {f"{b}.lock" for b in self.blobs() if b != ""})

    def test_a_second_time_loads_nothing(self):
        self.pull("org/small")
        self.hub.requests.clear()
        self.assertIn("all in the cache", self.pull("org/small").stderr)
        self.assertEqual([p for p in self.hub.paths() if not p.startswith("/api/")], [])

    def test_a_new_commit_loads_what_changed(self):
        self.pull("org/small")
        old, changed = self.repository.commit, {**model_files(), "config.json": b"{}"}
        new = self.hub.add("org/small", changed)
        self.hub.requests.clear()
        result = self.pull("org/small")
        self.assert_whole(result.stdout.strip(), files=changed)
        self.assertEqual(self.hub.paths("cdn"), [])
        self.assertEqual((self.folder / "refs/main").read_text(), new.commit)
        self.assert_whole(self.folder / "snapshots" / old)
        self.hub.repositories["org/small"] = self.repository
        self.assertEqual(self.pull("org/small", "--revision", old).stdout.strip(), str(self.folder / "snapshots" / old))
        self.pull("org/small", "--revision", "refs/pr/1")
        self.assertEqual((self.folder / "refs/refs/pr/1").read_text(), old)

    def test_what_is_pulled_runs(self):
        subprocess.run([MAKE_MODEL, str(self.root / "made")], check=True)
        files = {p.name: p.read_bytes() for p in (self.root / "made").iterdir()}
        self.hub.add("org/real", files)
        path = self.pull("org/real").stdout.strip()
        self.assertEqual(run("run", path, "Hi", "-n", 5, "--temp", 0).stdout, run("run", self.root / "made", "Hi", "-n", 5, "--temp", 0).stdout)
        for command in (["run", "org/real", "Hi"], ["inspect", "org/real"], ["tokenize", "org/real"]):
            self.assertIn("org/real: not a folder or file here; `pare pull org/real` downloads it", run(*command, check=3).stderr)

    def test_the_token_goes_to_the_hub_alone(self):
        self.repository.gate = (401, "RepoNotFound", "Repository not found")
        home = self.root / "hf"
        home.mkdir()
        (home / "token").write_text("hf_good\n")
        for number, variables in enumerate(({"HF_TOKEN": "hf_good"}, {"HUGGING_FACE_HUB_TOKEN": "hf_good"}, {"HF_HOME": str(home)})):
            self.pull("org/small", "--cache", self.root / str(number), variables=variables)
        for name, _, path, headers in self.hub.requests:
            self.assertEqual(headers.get("Authorization"), "Bearer hf_good" if name == "hub" else None, path)
        self.assertEqual(len(self.hub.paths("cdn")), 3)

    def test_a_listing_of_several_pages(self):
        self.hub.page = 2
        self.assert_whole(self.pull("org/small").stdout.strip())

    def test_choices(self):
        self.hub.add("org/gguf", {f"m-{kind}.gguf": bytes([i]) * 20_000 for i, kind in enumerate(("Q4_0", "Q8_0"))})
        message = self.refused("org/gguf", code=2, says=["m-Q4_0.gguf  20.0 kB", "m-Q8_0.gguf", "org/gguf:Q4_K_M"])
        self.assertFalse(self.cache.exists(), message)
        for wish in ("q8_0", "m-Q8_0.gguf"):
            path = pathlib.Path(self.pull(f"org/gguf:{wish}").stdout.strip())
            self.assertEqual((path.name, path.read_bytes()), ("m-Q8_0.gguf", b"\1" * 20_000))
        self.refused("org/gguf:m-Q8_1.gguf", code=2, says="did you mean m-Q8_0.gguf?")
        self.assert_whole(self.pull("org/small", "--include", "*.json", "--exclude", "tok*").stdout.strip(), ["config.json"])
        self.assert_whole(self.pull("org/small", "--include", "*").stdout.strip(), list(model_files()))

    def test_json_and_dry_run(self):
        plan = json.loads(self.pull("org/small", "--dry-run", "--json", "--quiet").stdout)
        self.assertEqual((plan["written"], plan["missing_bytes"], plan["left_out"]), (False, plan["bytes"], ["onnx/model.onnx", "pytorch_model.bin"]))
        self.assertFalse(self.cache.exists())
        result = self.pull("org/small", "--json", "--quiet")
        self.assertEqual(result.stderr, "")
        done = json.loads(result.stdout)
        self.assertEqual(done["files"][2], {"name": "model.safetensors", "bytes": len(BIG), "sha256": sha256(BIG)})
        self.assert_whole(done["path"])

    def test_offline_takes_what_is_there(self):
        offline = {"HF_HUB_OFFLINE": "1"}
        self.refused("org/small", code=3, says="HF_HUB_OFFLINE", variables=offline)
        path = self.pull("org/small").stdout
        self.hub.requests.clear()
        self.assertEqual(self.pull("org/small", variables=offline).stdout, path)
        self.assertEqual(self.pull("org/small:config.json", variables=offline).stdout.strip(), path.strip() + "/config.json")
        self.assertEqual(self.hub.requests, [])

    def test_two_at_once_load_each_file_once(self):
        self.hub.bytes_per_second = 2_000_000
        both = [subprocess.Popen([PARE, "pull", "org/small"], env=self.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
        for process in both:
            output, errors = process.communicate(timeout=60)
            self.assertEqual(process.returncode, 0, errors)
            self.assert_whole(output.strip())
        self.assertEqual(self.hub.ranges(), [None])


class Faults(PullTest):
    def test_cut_connections_go_on_where_they_broke(self):
        self.hub.faults[sha256(BIG)] = [cut_after(1_000_000), cut_after(500_000)]
        result = self.pull("org/small")
        self.assert_whole(result.stdout.strip())
        first, *rest = self.hub.ranges()
        begins = [int(r.removeprefix("bytes=").rstrip("-")) for r in rest]
        self.assertIsNone(first)
        self.assertEqual(begins, [1_000_000, 1_500_000])
        self.assertEqual(result.stderr.count("model.safetensors: "), 2)

    def test_a_server_without_ranges_begins_again(self):
        self.hub.faults[sha256(BIG)] = [cut_after(1_000_000), sends(BIG)]
        self.assert_whole(self.pull("org/small").stdout.strip())

    def test_what_an_earlier_run_left_is_used_if_it_is_right(self):
        for left, ranges in ((BIG[:2_000_000], ["bytes=2000000-"]), (BIG, []), (b"x" * 2_000_000, ["bytes=2000000-", None]), (BIG + b"x", [None])):
            shutil.rmtree(self.cache, ignore_errors=True)
            (self.folder / "blobs").mkdir(parents=True)
            (self.folder / "blobs" / (sha256(BIG) + ".incomplete")).write_bytes(left)
            self.hub.requests.clear()
            self.assert_whole(self.pull("org/small").stdout.strip())
            self.assertEqual(self.hub.ranges(), ranges)
            self.assertNotIn("incomplete", "".join(self.blobs()))

    def test_ctrl_c_keeps_what_came(self):
        self.hub.bytes_per_second = 1_000_000
        for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)):
            process = subprocess.Popen([PARE, "pull", "org/small"], env=self.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            part = self.folder / "blobs" / (sha256(BIG) + ".incomplete")
            before = part.stat().st_size if part.exists() else 0
            while not part.exists() or part.stat().st_size < before + 200_000:
                self.assertIsNone(process.poll())
                time.sleep(0.02)
            begin = time.monotonic()
            process.send_signal(number)
            output, errors = process.communicate(timeout=30)
            self.assertLess(time.monotonic() - begin, 3)
            self.assertEqual((process.returncode, output), (code, ""), errors)
            if code > 0:
                self.assertIn("the same command goes on from there", errors)
            self.assertGreaterEqual(part.stat().st_size, before + 200_000)
            self.assertFalse((self.folder / "refs/main").exists())
        self.hub.bytes_per_second = 0
        self.assert_whole(self.pull("org/small").stdout.strip())
        self.assertGreaterEqual(int(self.hub.ranges()[-1].removeprefix("bytes=").rstrip("-")), 600_000)

    def test_busy_servers_are_asked_again_when_they_say(self):
        self.hub.faults["api"] = [status(503)]
        self.hub.faults["config.json"] = [status(429, Retry_After="1"), status(500, Retry_After="0")]
        self.hub.faults[sha256(BIG)] = [status(429, RateLimit='"resolvers";r=0;t=0'), status(403)]  # 403 there: the address is too old
        begin = time.monotonic()
        result = self.pull("org/small")
        self.assertGreater(time.monotonic() - begin, 1.4)
        self.assert_whole(result.stdout.strip())
        self.assertIn("config.json: the server answers 429; once more in 1.0 s", result.stderr)
        self.hub.faults["api"] = [status(429, Retry_After="7200")]
        self.refused("org/small", code=1, says="asks to wait 2 h 00 min")

    def test_it_gives_up_in_the_end_and_keeps_what_came(self):
        self.hub.faults[sha256(BIG)] = [cut_after(1_000_000)] + [status(503, Retry_After="0")] * 20
        self.refused("org/small", code=1, says=["model.safetensors: the server answers 503, 6 times in a row", "the same command goes on"])
        self.hub.faults.clear()
        self.assert_whole(self.pull("org/small").stdout.strip())
        self.assertEqual(self.hub.ranges()[-1], "bytes=1000000-")

    def test_nobody_there(self):
        self.refused("org/small", "--endpoint", "http://127.0.0.1:9", code=1, says=["127.0.0.1", "6 times in a row"])

    def test_a_server_that_says_nothing_counts_as_gone(self):
        self.hub.faults[sha256(BIG)] = [hangs(8)]
        self.assert_whole(self.pull("org/small", variables={"HF_HUB_DOWNLOAD_TIMEOUT": "1"}).stdout.strip())

    def test_a_wrong_content_is_loaded_once_more_and_never_kept(self):
        wrong = BIG[:-1] + bytes([BIG[-1] ^ 1])
        self.hub.faults[sha256(BIG)] = [sends(wrong)]
        self.assert_whole(self.pull("org/small").stdout.strip())
        shutil.rmtree(self.cache)
        self.hub.faults[sha256(BIG)] = [sends(wrong), sends(wrong)]
        self.refused("org/small", code=3, says=["its content has the hash " + sha256(wrong), sha256(BIG), "Nothing of it was kept"])
        self.assertFalse([name for name in self.blobs() if name.startswith(sha256(BIG))])
        self.assertFalse((self.folder / "refs/main").exists())
        shutil.rmtree(self.cache)
        self.hub.faults["config.json"] = [sends(b'{"model_type": "made-uq"}')] * 2  # a small file, by git's hash
        self.refused("org/small", code=3, says="config.json: its content has the hash")

    def test_lengths_that_lie(self):
        name = sha256(BIG)
        for faults, says in (([endless, endless], "sends more than the 3000000 bytes"), ([sends(BIG + b"x")] * 2, "sends more than"),
                             ([sends(BIG, 206, Content_Range="bytes 5-3000004/3000005")] * 2, "begins elsewhere"),
                             ([sends(BIG, 206)] * 2, "begins elsewhere")):
            self.hub.faults[name] = list(faults)
            self.refused("org/small", code=3, says=says)
            self.assertNotIn(name + ".incomplete", self.blobs())
        self.hub.faults["model.safetensors"] = [status(302, Location=f"{self.hub.cdn_url}/{name}", X_Linked_Size="5", X_Linked_Etag=f'"{name}"')] * 2
        self.refused("org/small", code=3, says="has 5 bytes")
        self.hub.faults["model.safetensors"] = [status(302, Location=f"{self.hub.cdn_url}/{name}", X_Linked_Etag='"' + "0" * 64 + '"')] * 2
        self.refused("org/small", code=3, says="has the hash 0000")
        self.hub.faults[name] = [sends(BIG[:1000], Retry_After="0")] * 2  # shorter, twice, and then whole
        self.assert_whole(self.pull("org/small").stdout.strip())

    def test_redirects(self):
        there = lambda url: status(302, Location=url)  # noqa: E731
        self.hub.faults["config.json"] = [there(f"{self.hub.cdn_url}/loop")]
        self.hub.faults["loop"] = [there("/loop")] * 50
        self.hub.repositories["x/y"] = fake_hub.Repository({})
        self.hub.contents = lambda: {sha256(BIG): BIG, "loop": b""}
        self.refused("org/small", code=1, says="config.json: redirected in a circle")
        for url in ("file:///etc/passwd", "gopher://127.0.0.1:9/x", "ftp://127.0.0.1/x", ""):
            self.hub.faults["config.json"] = [there(url)]
            self.refused("org/small", code=1, says="redirected to")
        self.assertEqual([headers.get("Authorization") for _, _, _, headers in self.hub.requests if "Authorization" in headers], [])

    def test_refusals_say_the_way_out(self):
        self.refused("org/smal", code=3, says=["no such repository", "HF_TOKEN", "Did you mean org/small?"])
        self.refused("org/smal", code=3, says=["no such repository", "no right to"], variables={"HF_TOKEN": "hf_good"})
        self.refused("org/small", "--revision", "mian", code=3, says="no branch, tag or commit mian. Did you mean main?")
        self.repository.gate = (403, "GatedRepo", "Access to model org/small is restricted")
        self.refused("org/small", code=3, says=[f"Accept them at {self.hub.url}/org/small", "set HF_TOKEN"])
        self.refused("org/small", code=3, says=["fine-grained"], variables={"HF_TOKEN": "hf_other"})
        self.repository.gate = (401, "", "Invalid credentials in Authorization header")
        self.refused("org/small", code=3, says="does not take the token", variables={"HF_TOKEN": "hf_old"})
        for words in (["small"], ["../x"], ["org/small:../x"], ["org/small", "--revision", "../../x"], ["org/small:a", "--include", "b"]):
            self.refused(*words, code=2, says="pull: ")
        self.assertFalse(self.cache.exists())

    def test_hostile_listings_touch_nothing(self):
        data = b"evil"
        entry = {"type": "file", "path": "a", "size": 4, "oid": git_sha1(data)}
        names = ["../evil", "/tmp/pare-evil", "a/../../evil", "evil\0.json", "x" * 300, "\x1b[2Jevil", "", "a//b"]
        listings = [[{**entry, "path": name}] for name in names] + [
            [{**entry, "oid": "../../../evil"}], [{**entry, "size": -1}], [{**entry, "size": 2**63}], [entry, entry], [entry, {**entry, "path": "a/b"}],
            [{**entry, "path": str(i)} for i in range(100_001)], b"<html>", b"[" * 100_000, b"{}", b"[" + b" " * (65 << 20)]
        self.hub.page = 10**9
        for listing in listings:
            self.repository.listing = listing
            message = self.refused("org/small", code=3, says="org/small" if listing is not listings[-1] else "longer than")
            self.assertLess(len(message), 2000)
            self.assertNotIn("\x1b", message)
        self.assertEqual([path.name for path in self.root.iterdir()], [])
        self.repository.listing = [{**entry, "size": 2**50}]
        self.refused("org/small", code=5, says=["needs 1.13 PB", "--cache"])
        self.repository.listing = None
        self.repository.commit = "../" * 14
        self.refused("org/small", code=3, says="no commit")

    def test_disks(self):
        (self.root / "file").write_text("")
        self.refused("org/small", "--cache", self.root / "file", code=5, says=["cannot make this folder", "--cache"])
        limit = lambda: (signal.signal(signal.SIGXFSZ, signal.SIG_IGN), resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000)))  # noqa: E731
        self.refused("org/small", code=5, says=["model.safetensors", "make room"], preexec_fn=limit)
        self.assertNotIn(sha256(BIG), self.blobs())
        self.assert_whole(self.pull("org/small").stdout.strip())


if __name__ == "__main__":
    unittest.main()
