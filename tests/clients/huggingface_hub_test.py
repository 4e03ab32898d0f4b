"""huggingface_hub and `pare pull` over one cache: what either loads the other takes as its own. Their hub is ours on loopback."""
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "cli"))
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
import huggingface_hub  # noqa: E402
from fake_hub import Hub, sha256  # noqa: E402
from huggingface_hub.utils import WeakFileLock  # noqa: E402

PARE = os.environ.get("PARE", str(ROOT / "pare"))
BIG = random.Random(1).randbytes(1_000_000)
FILES = {"config.json": b"{}", "a/b c.json": b"[1]", "README.md": b"", "model.safetensors": BIG, "same.safetensors": BIG}


class HuggingfaceHub(unittest.TestCase):
    def setUp(self):
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="pare-hub-"))
        self.addCleanup(shutil.rmtree, self.root, ignore_errors=True)
        self.hub = Hub()
        self.addCleanup(self.hub.stop)
        self.repository = self.hub.add("org/small", FILES)
        self.cache = self.root / "cache"

    def pare(self, *words):
        environment = {**os.environ, "HF_ENDPOINT": self.hub.url, "HF_HUB_CACHE": str(self.cache)}
        done = subprocess.run([PARE, "pull", *words], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout.strip()

    def theirs(self, **options):
        return huggingface_hub.snapshot_download("org/small", cache_dir=self.cache, endpoint=self.hub.url, token=False, **options)

    def loaded(self):
        """What left the hub: contents, not questions."""
        with self.hub.lock:
            found = [path for name, method, path, _ in self.hub.requests if method == "GET" and (name == "cdn" or "/resolve/" in path)]
            self.hub.requests.clear()
        return found

    def tree(self, *without):
        """Names, kinds, targets and contents, as far as both write them."""
        found = {}
        for path in sorted(self.cache.rglob("*")):
            name = str(path.relative_to(self.cache))
            if path.is_dir() and not path.is_symlink() or name.endswith("CACHEDIR.TAG") or "/trees/" in name:
                continue
            found[name] = os.readlink(path) if path.is_symlink() else path.read_bytes()
        return found

    def test_both_write_the_same_cache(self):
        self.assertEqual(self.pare("org/small"), self.theirs_in(self.root / "other"))
        ours, self.cache = self.tree(), self.root / "other"
        self.assertEqual(ours, self.tree())

    def theirs_in(self, folder):
        path = huggingface_hub.snapshot_download("org/small", cache_dir=folder, endpoint=self.hub.url, token=False)
        return str(path).replace(str(folder), str(self.cache))

    def test_they_take_what_pare_loaded(self):
        path = self.pare("org/small")
        self.loaded()
        self.assertEqual(self.theirs(), path)
        self.assertEqual(self.theirs(local_files_only=True), path)
        self.assertEqual(self.loaded(), [])
        for name, data in FILES.items():
            found = huggingface_hub.try_to_load_from_cache("org/small", name, cache_dir=self.cache)
            self.assertEqual(pathlib.Path(found).read_bytes(), data)
        info = huggingface_hub.scan_cache_dir(self.cache)
        self.assertEqual([str(warning) for warning in info.warnings], [])
        (repository,) = info.repos
        self.assertEqual((repository.repo_id, repository.nb_files, list(repository.refs)), ("org/small", 4, ["main"]))
        info.delete_revisions(self.repository.commit).execute()
        self.assertEqual(self.pare("org/small"), path)
        self.assertEqual(self.theirs(), path)

    def test_pare_takes_what_they_loaded(self):
        path = self.theirs()
        self.loaded()
        self.assertEqual(self.pare("org/small"), path)
        self.assertEqual(self.pare("org/small:config.json"), path + "/config.json")
        self.assertEqual(self.loaded(), [])
        self.hub.stop()
        os.environ["HF_HUB_OFFLINE"] = "1"
        self.addCleanup(os.environ.pop, "HF_HUB_OFFLINE")
        self.assertEqual(self.pare("org/small"), path)

    def test_the_other_half_is_added(self):
        huggingface_hub.hf_hub_download("org/small", "model.safetensors", cache_dir=self.cache, endpoint=self.hub.url, token=False)
        self.loaded()
        self.pare("org/small")
        self.assertFalse([name for name in self.loaded() if sha256(BIG) in name])
        self.assertEqual({p: (pathlib.Path(self.theirs()) / p).read_bytes() for p in FILES}, FILES)

    def test_their_lock_is_waited_for(self):
        lock = self.cache / ".locks/models--org--small" / f"{sha256(BIG)}.lock"
        lock.parent.mkdir(parents=True)
        begin = time.monotonic()
        with WeakFileLock(lock):
            paths = []
            thread = threading.Thread(target=lambda: paths.append(self.pare("org/small")))
            thread.start()
            time.sleep(1)
            self.assertEqual(paths, [])
        thread.join()
        self.assertGreater(time.monotonic() - begin, 1)
        self.assertEqual(len(paths), 1)


if __name__ == "__main__":
    unittest.main()
