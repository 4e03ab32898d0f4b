"""kill -9 at random moments, then the same command: the same bytes as an undisturbed run. KILLS says how many."""
import os
import random
import subprocess
import time
import unittest

from support import PARE, PareTest, run, weight_hashes


class Kill(PareTest):
    def test_killed_at_random_moments_it_goes_on_to_the_same_bytes(self):
        kills = int(os.environ.get("KILLS", "20"))
        self.kill(kills - kills // 3, "out", "--bits", 3, "--group", 32)
        self.kill(kills // 3, "out.gguf", "--type", "Q4_0", "--no-guided", "--split", "40kB")

    def place(self, name):
        folder = self.fresh("place")
        folder.mkdir()
        return folder / name

    def hashes(self, out):
        """Of what there is of an output: a folder, or files beside each other."""
        return weight_hashes(out if out.is_dir() else out.parent)

    def kill(self, kills, name, *options):
        options = [*map(str, options), *map(str, self.calibration())]
        calm = self.place(name)
        started = time.time()
        run("compress", self.model, "-o", calm, *options)
        whole = time.time() - started
        expected = self.hashes(calm)
        self.assertGreater(len(expected), 3)
        seed = random.randrange(1 << 30)
        rng = random.Random(seed)
        done, finished_early = 0, 0
        while done < kills:
            out = self.place(name)
            journal = out.parent / (out.name + ".journal")
            words = [PARE, "compress", str(self.model), "-o", str(out), *options]
            # several kills of one run, as a bad night has them
            for _ in range(min(rng.randint(1, 4), kills - done)):
                if list(out.parent.glob("out*")) and not journal.exists():
                    break  # killed when there was nothing left to do
                started = time.time()
                process = subprocess.Popen(words, stderr=subprocess.DEVNULL)
                try:
                    code = process.wait(rng.uniform(0.0, whole * 1.1))
                    whole = min(whole, time.time() - started)  # other work had made the first one slow
                except subprocess.TimeoutExpired:
                    process.kill()
                    code = process.wait()
                self.assertIn(code, (0, -9), f"neither finished nor killed (seed {seed})")
                if code == 0:
                    finished_early += 1
                    break
                done += 1
            if journal.exists() or not list(out.parent.glob("out*")):
                run(*words[1:])
            self.assertEqual(self.hashes(out), expected, f"seed {seed}")
            self.assertFalse(journal.exists())
            leftovers = [p.name for p in out.parent.iterdir() if p.name.startswith(out.name + ".partial")]
            self.assertEqual(leftovers, [], "partial folders of killed runs are cleared")
        print(f"{name}: {done} kills, {finished_early} runs finished before theirs, all with the same bytes (seed {seed})")


if __name__ == "__main__":
    unittest.main()
