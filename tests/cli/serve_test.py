"""pare serve from the outside: every route, every fault a 4xx, what attackers do, and a clean end. Standard library only."""
import base64
import concurrent.futures
import json
import math
import os
import socket
import struct
import subprocess
import time
import unittest

from serving import Server
from support import PARE, PareTest, run

CHAT, COMPLETIONS, EMBEDDINGS = "/v1/chat/completions", "/v1/completions", "/v1/embeddings"
HELLO = [{"role": "user", "content": "Hello"}]


class ServeTest(PareTest):
    OPTIONS = ("--context", 512, "--slots", 4, "--queue", 40)

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.server = Server(PARE, cls.model, *cls.OPTIONS)

    @classmethod
    def tearDownClass(cls):
        code = cls.server.stop()
        super().tearDownClass()
        assert code == 0, (code, "".join(cls.server.errors))  # a sanitizer's complaint shows here

    def setUp(self):
        self.assertTrue(self.server.alive(), "".join(self.server.errors))

    def ok(self, path, body):
        status, answer = self.server.post(path, body)
        self.assertEqual(status, 200, answer)
        return answer

    def fault(self, path, body, status=400, param=None, words=""):
        code, answer = self.server.post(path, body)
        error = answer["error"]
        self.assertEqual(code, status, error)
        self.assertEqual(set(error), {"message", "type", "code", "param"})
        if param:
            self.assertEqual(error["param"], param, error)
        self.assertIn(words, error["message"])
        return error


class Routes(ServeTest):
    def test_health_models_and_props(self):
        self.assertEqual(self.server.get("/health"), (200, {"status": "ok"}))
        status, models = self.server.get("/v1/models")
        self.assertEqual((status, models["object"], len(models["data"])), (200, "list", 1))
        name = models["data"][0]["id"]
        self.assertEqual(name, "model")
        self.assertEqual(self.server.get("/v1/models/" + name), (200, models["data"][0]))
        status, error = self.server.get("/v1/models/gpt-4")
        self.assertEqual((status, error["error"]["code"]), (404, "model_not_found"))
        status, props = self.server.get("/props")
        self.assertEqual((status, props["context"], props["slots"], props["vocab_size"]), (200, 512, 4, 256))

    def test_the_page_and_the_description_are_whole(self):
        status, headers, page = self.server.request("GET", "/")
        self.assertEqual(status, 200)
        self.assertTrue(headers["Content-Type"].startswith("text/html"))
        self.assertIn("default-src 'none'", headers["Content-Security-Policy"])
        self.assertTrue(page.decode().rstrip().endswith("</html>"))
        self.assertNotIn(b"http://", page)
        self.assertNotIn(b"https://", page)
        status, description = self.server.get("/openapi.json")
        self.assertEqual(status, 200)
        self.assertTrue(description["openapi"].startswith("3."))
        for path, methods in description["paths"].items():
            for method in methods:
                code, _, _ = self.server.request(method.upper(), path.replace("{model}", "model"), b"{}" if method == "post" else None)
                self.assertIn(code, (200, 400), f"{method} {path} is described and answers {code}")

    def test_metrics_count(self):
        before = self.server.metric("generated_tokens_total")
        self.ok(COMPLETIONS, {"prompt": "one", "max_tokens": 7})
        self.assertEqual(self.server.metric("generated_tokens_total"), before + 7)
        _, headers, text = self.server.request("GET", "/metrics")
        self.assertTrue(headers["Content-Type"].startswith("text/plain"))
        for line in text.decode().splitlines():
            self.assertRegex(line, r'^(# (HELP|TYPE) pare_\w+ .+|pare_\w+(\{\w+="\w+"\})? [-+.0-9e]+)$')

    def test_tokenize_and_back(self):
        text = "Grüße, 世界"
        answer = self.ok("/tokenize", {"content": text, "with_pieces": True})
        self.assertEqual(answer["tokens"], list(text.encode()))
        self.assertEqual(answer["count"], len(answer["tokens"]))
        self.assertEqual(answer["pieces"][2:4], ["bytes:\\xc3", "bytes:\\xbc"])
        self.assertEqual(self.ok("/detokenize", {"tokens": answer["tokens"]}), {"content": text, "prompt": text})
        self.assertEqual(self.ok("/detokenize", {"tokens": []}), {"content": "", "prompt": ""})

    def test_a_chat_answer_has_openais_shape(self):
        answer = self.ok(CHAT, {"model": "any", "messages": HELLO, "max_tokens": 5, "user": None})
        self.assertEqual(answer["object"], "chat.completion")
        self.assertEqual(answer["model"], "model")
        choice = answer["choices"][0]
        self.assertEqual((choice["index"], choice["finish_reason"], choice["message"]["role"]), (0, "length", "assistant"))
        self.assertIsNone(choice["logprobs"])
        usage = answer["usage"]
        self.assertEqual(usage["completion_tokens"], 5)
        self.assertEqual(usage["total_tokens"], usage["prompt_tokens"] + 5)
        newer = self.ok(CHAT, {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo"}]}],
                               "max_completion_tokens": 3, "temperature": 0})
        self.assertEqual(newer["usage"]["completion_tokens"], 3)
        self.assertEqual(newer["usage"]["prompt_tokens"], usage["prompt_tokens"])

    def test_a_stream_says_what_the_whole_answer_says(self):
        for path, body in ((CHAT, {"messages": HELLO}), (COMPLETIONS, {"prompt": "Once", "echo": True})):
            for options in ({"temperature": 0}, {"seed": 7, "n": 3}, {"seed": 1, "temperature": 1.5, "stop": ["a", "\n"]}):
                body = {**body, "max_tokens": 40, **options}
                whole = self.ok(path, body)
                events = list(self.server.stream(path, {**body, "stream_options": {"include_usage": True}}))
                self.assertEqual(events.pop(), "[DONE]")
                usage = events.pop()
                self.assertEqual(usage["choices"], [])
                self.assertEqual(usage["usage"]["completion_tokens"], whole["usage"]["completion_tokens"])
                texts, ends = {}, {}
                for event in events:
                    self.assertIsNone(event["usage"])
                    choice = event["choices"][0]
                    piece = choice["text"] if path == COMPLETIONS else choice["delta"].get("content", "")
                    texts[choice["index"]] = texts.get(choice["index"], "") + piece
                    self.assertNotIn(choice["index"], ends)
                    if choice["finish_reason"]:
                        ends[choice["index"]] = choice["finish_reason"]
                for choice in whole["choices"]:
                    text = choice["text"] if path == COMPLETIONS else choice["message"]["content"]
                    self.assertEqual(texts[choice["index"]], text)
                    self.assertEqual(ends[choice["index"]], choice["finish_reason"])

    def test_seeds_give_their_text_again_and_the_first_of_n_is_that_of_one(self):
        body = {"prompt": "Some words", "max_tokens": 30, "seed": 5}
        one = self.ok(COMPLETIONS, body)["choices"][0]["text"]
        several = [choice["text"] for choice in self.ok(COMPLETIONS, {**body, "n": 4})["choices"]]
        self.assertEqual(several[0], one)
        self.assertEqual(len(set(several)), 4)
        self.assertNotEqual(self.ok(COMPLETIONS, {**body, "seed": 6})["choices"][0]["text"], one)

    def test_stop_strings_end_the_text_before_them(self):
        body = {"prompt": "Some words", "max_tokens": 60, "temperature": 0}
        whole = self.ok(COMPLETIONS, body)["choices"][0]["text"]
        stop = whole[10:13]
        choice = self.ok(COMPLETIONS, {**body, "stop": stop})["choices"][0]
        self.assertEqual((choice["text"], choice["finish_reason"]), (whole[:whole.index(stop)], "stop"))
        streamed = "".join(event["choices"][0]["text"] for event in self.server.stream(COMPLETIONS, {**body, "stop": [stop, "never"]})
                           if event != "[DONE]")
        self.assertEqual(streamed, choice["text"])

    def test_prompts_of_every_kind(self):
        texts = self.ok(COMPLETIONS, {"prompt": ["ab", "cd"], "max_tokens": 4, "temperature": 0, "n": 2})
        self.assertEqual([choice["index"] for choice in texts["choices"]], [0, 1, 2, 3])
        self.assertEqual(texts["usage"]["prompt_tokens"], 4)
        ids = self.ok(COMPLETIONS, {"prompt": [[97, 98], [99, 100]], "max_tokens": 4, "temperature": 0})
        self.assertEqual([choice["text"] for choice in ids["choices"]], [texts["choices"][i]["text"] for i in (0, 2)])
        one = self.ok(COMPLETIONS, {"prompt": [97, 98], "max_tokens": 4, "temperature": 0})
        self.assertEqual(one["choices"][0]["text"], ids["choices"][0]["text"])
        self.assertEqual(self.ok(COMPLETIONS, {"prompt": "ab"})["usage"]["completion_tokens"], 16)

    def test_logprobs_with_echo_score_the_prompt(self):
        text = "Grüße an alle"
        whole = self.ok(COMPLETIONS, {"prompt": text, "max_tokens": 0, "logprobs": 3, "echo": True})["choices"][0]
        self.assertEqual((whole["text"], whole["finish_reason"]), (text, "length"))
        scores = whole["logprobs"]
        count = len(text.encode())
        self.assertTrue(all(len(scores[name]) == count for name in ("tokens", "token_logprobs", "top_logprobs", "text_offset")))
        self.assertIsNone(scores["token_logprobs"][0])
        # Both bytes of a character begin where it begins.
        self.assertEqual(scores["text_offset"], [len(text.encode()[:i + 1].decode(errors="replace")) - 1 for i in range(count)])
        for token, score, top in list(zip(scores["tokens"], scores["token_logprobs"], scores["top_logprobs"]))[1:]:
            self.assertLess(score, 0)
            self.assertEqual(top[token], score)
            self.assertLessEqual(len(top), 4)
        # As lm_eval asks: one token more, and the prompt's scores are the same.
        more = self.ok(COMPLETIONS, {"prompt": list(text.encode()), "max_tokens": 1, "logprobs": 1, "echo": True, "temperature": 0})
        more = more["choices"][0]["logprobs"]
        self.assertEqual(more["token_logprobs"][:count], scores["token_logprobs"])
        self.assertEqual(max(more["top_logprobs"][-1].values()), more["token_logprobs"][-1])

    def test_logprobs_sum_to_what_eval_says(self):
        text = self.text.read_text()[:400]
        scores = self.ok(COMPLETIONS, {"prompt": text, "max_tokens": 0, "logprobs": 0, "echo": True})["choices"][0]["logprobs"]
        perplexity = math.exp(-sum(scores["token_logprobs"][1:]) / (len(text) - 1))
        path = self.fresh("text")
        path.write_text(text)
        if not os.path.exists(PARE + "-torch"):
            self.skipTest("a build without torch")
        measured = json.loads(run("eval", self.model, "--text", path, "--length", len(text), "--json").stdout)
        self.assertAlmostEqual(perplexity / measured["perplexity"], 1, delta=0.01)  # activations in int8 here

    def test_logprobs_of_a_chat(self):
        answer = self.ok(CHAT, {"messages": HELLO, "max_tokens": 6, "temperature": 0, "logprobs": True, "top_logprobs": 2})
        content = answer["choices"][0]["logprobs"]["content"]
        self.assertEqual(len(content), 6)
        for token in content:
            self.assertEqual(len(token["top_logprobs"]), 2)
            self.assertEqual(token["logprob"], token["top_logprobs"][0]["logprob"])
            self.assertEqual(len(token["bytes"]), 1)

    def test_logit_bias_forces_and_forbids(self):
        body = {"prompt": "ab", "max_tokens": 10, "temperature": 0}
        self.assertEqual(self.ok(COMPLETIONS, {**body, "logit_bias": {"120": 100}})["choices"][0]["text"], "x" * 10)
        text = self.ok(COMPLETIONS, {**body, "seed": 1, "temperature": 1, "logit_bias": {str(i): -100 for i in range(256) if not 97 <= i < 107}})
        self.assertLessEqual(set(text["choices"][0]["text"]), set("abcdefghij"))

    def test_answers_in_json_when_asked(self):
        schema = {"type": "object", "properties": {"name": {"enum": ["x", "yy"]}, "ok": {"type": "boolean"}},
                  "required": ["name", "ok"], "additionalProperties": False}
        for seed in range(3):
            answer = self.ok(CHAT, {"messages": HELLO, "seed": seed, "max_tokens": 200, "response_format": {
                "type": "json_schema", "json_schema": {"name": "any", "schema": schema, "strict": True}}})
            value = json.loads(answer["choices"][0]["message"]["content"])
            self.assertIn(value["name"], ("x", "yy"))
            self.assertIsInstance(value["ok"], bool)
            self.assertEqual(answer["choices"][0]["finish_reason"], "stop")

    def test_embeddings(self):
        answer = self.ok(EMBEDDINGS, {"input": ["one text", "another one"], "model": "x"})
        self.assertEqual([entry["index"] for entry in answer["data"]], [0, 1])
        first = answer["data"][0]["embedding"]
        self.assertEqual(len(first), 64)
        self.assertAlmostEqual(sum(x * x for x in first), 1, places=5)
        coded = self.ok(EMBEDDINGS, {"input": "one text", "encoding_format": "base64"})["data"][0]["embedding"]
        self.assertEqual(list(struct.unpack("<64f", base64.b64decode(coded))), [struct.unpack("f", struct.pack("f", x))[0] for x in first])
        self.assertNotEqual(self.ok(EMBEDDINGS, {"input": list(b"one text"), "pooling": "last"})["data"][0]["embedding"], first)
        self.assertEqual(answer["usage"], {"prompt_tokens": 19, "total_tokens": 19})

    def test_a_prompt_seen_before_is_not_computed_again(self):
        prompt = "A long beginning that is shared by both. " * 5
        self.ok(COMPLETIONS, {"prompt": prompt + "one", "max_tokens": 2})
        answer = self.ok(COMPLETIONS, {"prompt": prompt + "two", "max_tokens": 2})
        self.assertEqual(answer["usage"]["prompt_tokens_details"]["cached_tokens"], len(prompt))

    def test_many_at_once_get_what_each_gets_alone(self):
        bodies = [{"prompt": "Text %d " % (i % 5) * (1 + i), "max_tokens": 20 + i, "seed": i, "temperature": 0.2 * i, "logprobs": 1}
                  for i in range(12)]
        alone = [self.ok(COMPLETIONS, body)["choices"] for body in bodies]
        with Server(PARE, self.model, *self.OPTIONS) as fresh, concurrent.futures.ThreadPoolExecutor(12) as pool:
            together = list(pool.map(lambda body: fresh.post(COMPLETIONS, body), bodies * 3))
            for body, expected, (status, answer) in zip(bodies * 3, alone * 3, together):
                self.assertEqual((status, answer.get("choices")), (200, expected), body)


class Faults(ServeTest):
    def test_json_that_is_none(self):
        for body in (b"", b"{", b"[1,2]", b"null", b'"text"', b'{"a":1,"a":2}', b'{"messages": "\xff\xfe"}', b'{"temperature": NaN}',
                     b'{"temperature": 1e999}', b"\x00" * 100, b"[" * 1000):
            for path in (CHAT, COMPLETIONS, EMBEDDINGS, "/tokenize", "/detokenize"):
                self.fault(path, body, 400)

    def test_fields_of_the_wrong_type_or_range(self):
        chat = {"messages": HELLO}
        for field, values in {
                "temperature": ("hot", -1, 101, [], True), "top_p": (-0.1, 1.1, "1"), "top_k": (-2, 1.5), "min_p": (2,),
                "max_tokens": (0, -1, 1.5, "9", 1 << 70, 10**9, 513), "n": (0, -1, 65, 1.5), "seed": ("x", 1 << 64), "stop": (1, [1], "", [""], ["a"] * 17),
                "stream": ("yes", 1), "presence_penalty": (3, "x"), "frequency_penalty": (-3,), "logprobs": (1,),
                "messages": ("text", [], {}, [1], None, [{}], [{"role": "user"}], [{"role": "king", "content": "x"}],
                             [{"role": "user", "content": 1}], [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]),
                "response_format": ("json", {"type": "xml"}, {}, {"type": "json_schema"},
                                    {"type": "json_schema", "json_schema": {"schema": {"type": "nothing"}}}),
                "tools": ("x", [1], [{}], [{"function": {}}]), "functions": ([{}],), "stream_options": ({}, {"include_usage": True}),
                "top_logprobs": (2,), "logit_bias": ([], {"x": 1}, {"256": 1}, {"-1": 1}, {"1": "x"}, {"1": 101}),
                "model": (1,), "chat_template_kwargs": ([],), "repeat_penalty": (0, -1)}.items():
            for value in values:
                with self.subTest(field=field, value=value):
                    error = self.fault(CHAT, {**chat, field: value})
                    self.assertIn(field, error["message"])
        for body in ({}, {"prompt": []}, {"prompt": {}}, {"prompt": [1.5]}, {"prompt": [256]}, {"prompt": [-1]}, {"prompt": [[1], "x"]},
                     {"prompt": [[]]}, {"prompt": ""}, {"prompt": "x", "suffix": "y"}, {"prompt": "x", "best_of": 2}, {"prompt": "x", "logprobs": 21},
                     {"prompt": ["x"] * 100}, {"prompt": ["x"] * 20, "n": 3}, {"prompt": "x", "echo": 1}):
            with self.subTest(body=body):
                self.fault(COMPLETIONS, body)
        for body in ({}, {"input": 1}, {"input": []}, {"input": "x", "encoding_format": "hex"}, {"input": "x", "dimensions": 7},
                     {"input": "x", "pooling": "max"}):
            with self.subTest(body=body):
                self.fault(EMBEDDINGS, body)
        for path, body in (("/tokenize", {}), ("/tokenize", {"content": 1}), ("/detokenize", {}), ("/detokenize", {"tokens": "x"}),
                           ("/detokenize", {"tokens": [999]}), ("/detokenize", {"tokens": [[1]]})):
            with self.subTest(path=path, body=body):
                self.fault(path, body)

    def test_what_does_not_fit_is_refused_with_its_numbers(self):
        error = self.fault(COMPLETIONS, {"prompt": "x" * 500, "max_tokens": 20}, words="500 tokens and max_tokens is 20: together 520")
        self.assertEqual(error["code"], "context_length_exceeded")
        status, _, body = self.server.request("POST", COMPLETIONS, {"prompt": [1] * 300000, "n": 8})
        self.assertEqual((status, json.loads(body)["error"]["code"]), (400, "context_length_exceeded"))
        self.fault(COMPLETIONS, {"prompt": "x" * 513, "max_tokens": 0}, words="513 tokens, more than this model's context of 512")
        self.fault(COMPLETIONS, {"prompt": "x " * 2_000_000}, words="cannot fit")
        self.fault(CHAT, {"messages": [{"role": "user", "content": "x" * 600}]}, words="context")
        answer = self.ok(CHAT, {"messages": HELLO})
        self.assertEqual(answer["usage"]["total_tokens"], 512, "without max_tokens: what remains")

    def test_routes_and_methods_that_are_none(self):
        for method, path, status in (("GET", "/nothing", 404), ("POST", "/", 405), ("GET", CHAT, 405), ("DELETE", "/v1/models", 405),
                                     ("GET", "/v1/models/", 404), ("OPTIONS", CHAT, 405), ("POST", "/v1/chat/completions/", 404)):
            code, _, data = self.server.request(method, path)
            self.assertEqual(code, status, (method, path))
            self.assertIn("error", json.loads(data))

    def test_other_sites_pages_may_not_call(self):
        for headers in ({"Origin": "https://evil.example"}, {"Origin": "null"}, {"Host": "evil.example:80", "Origin": "http://evil.example:80"},
                        {"Host": "127.evil.example:80"}, {"Host": "[127.0.0.1"}):
            status, _, _ = self.server.request("POST", "/tokenize", {"content": "x"}, headers=headers)
            self.assertEqual(status, 403, headers)
        own = f"127.0.0.1:{self.server.port}"
        status, headers, _ = self.server.request("POST", "/tokenize", {"content": "x"}, headers={"Origin": "http://" + own, "Host": own})
        self.assertEqual(status, 200)
        self.assertNotIn("Access-Control-Allow-Origin", headers)

    def test_a_full_queue_says_try_later(self):
        with Server(PARE, self.model, "--context", 512, "--slots", 1, "--queue", 2) as small, concurrent.futures.ThreadPoolExecutor(12) as pool:
            answers = list(pool.map(lambda _: small.request("POST", COMPLETIONS, {"prompt": "x", "max_tokens": 400}), range(12)))
            self.assertEqual({status for status, _, _ in answers}, {200, 503})
            refused = next(answer for answer in answers if answer[0] == 503)
            self.assertIn("Retry-After", refused[1])
            self.assertEqual(json.loads(refused[2])["error"]["code"], "overloaded")


class Attacks(ServeTest):
    """The table of users.md. Each leaves the server alive, in its memory and answering others."""
    OPTIONS = ("--context", 512, "--slots", 4, "--queue", 40, "--body", "1MB", "--read-seconds", 2)

    def setUp(self):
        super().setUp()
        self.ok(COMPLETIONS, {"prompt": "warm", "max_tokens": 2})
        self.before = self.server.memory()

    def tearDown(self):
        self.assertTrue(self.server.alive())
        self.assertEqual(self.ok(COMPLETIONS, {"prompt": "still there", "max_tokens": 3})["usage"]["completion_tokens"], 3)
        self.assertLess(self.server.memory() - self.before, 64 << 20)
        self.assertLess(self.server.memory("VmHWM"), 300 << 20)

    def push(self, head, chunk, most=64 << 20, seconds=10):
        """Sends head, then chunk again and again. Bytes that went out before the server cut it."""
        sent = 0
        with self.server.raw(timeout=seconds) as connection:
            try:
                connection.sendall(head)
                end = time.time() + seconds
                while sent < most and time.time() < end:
                    connection.sendall(chunk)
                    sent += len(chunk)
            except OSError:
                pass
        return sent

    def test_bodies_without_end(self):
        post = f"POST {COMPLETIONS} HTTP/1.1\r\nHost: localhost\r\n".encode()
        piece = b"x" * 65536
        for head, chunk in ((post + b"Transfer-Encoding: chunked\r\n\r\n", b"10000\r\n" + piece + b"\r\n"),
                            (post + b"Transfer-Encoding: chunked\r\n\r\n", b"-2\r\n" + piece),
                            (post + b"Transfer-Encoding: chunked\r\n\r\n", b"ffffffffffffffff\r\n" + piece),
                            (post + b"Content-Length: 99999999999\r\n\r\n", piece),
                            (post + b"Content-Length: -5\r\n\r\n", piece),
                            (post + b"Content-Length: 99999999999999999999999999\r\n\r\n", piece),
                            (post + b"\r\n", piece)):
            with self.subTest(head=head, chunk=chunk[:8]):
                self.assertLess(self.push(head, chunk), 16 << 20)

    def test_headers_without_end(self):
        for head, chunk in ((b"GET / HTTP/1.1\r\nX: ", b"y" * 65536), (b"GET /", b"z" * 65536), (b"GET / HTTP/1.1\r\n", b"A: b\r\n" * 10000),
                            (b"", b"\r\n" * 30000), (b"\x16\x03\x01\x02\x00", b"\x00\xff" * 30000)):
            with self.subTest(head=head, chunk=chunk[:8]):
                self.assertLess(self.push(head, chunk), 16 << 20)

    def test_a_body_that_is_too_large_is_413_before_it_is_sent(self):
        with self.server.raw() as connection:
            connection.sendall(f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2000000\r\n\r\n".encode())
            answer = connection.recv(65536)
        self.assertIn(b" 413 ", answer.split(b"\r\n")[0])
        self.assertIn(b"at most 1000000", answer)

    def test_nesting_and_numbers_of_values(self):
        for body in (b"[" * 999_999, b'{"a":' * 150_000, b'{"messages":' + b"[" * 500_000, b"[" + b"1," * 499_000 + b"1]",
                     b'{"prompt":[' + b"[1]," * 240_000 + b"[1]]}", b"{" + b",".join(b'"%d":1' % i for i in range(80_000)) + b"}"):
            began = time.time()
            self.fault(COMPLETIONS, body, 400)
            self.assertLess(time.time() - began, 5, body[:20])

    def test_slow_senders_are_cut(self):
        heads = (b"GET / HTTP/1.1\r\nX: ", f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n".encode(), b"")
        slow = [self.server.raw() for _ in heads * 20]
        began = time.time()
        for connection, head in zip(slow, heads * 20):
            connection.sendall(head)
        self.assertEqual(self.server.get("/health")[0], 200)
        left = set(slow)
        while left and time.time() - began < 15:
            time.sleep(0.2)
            for connection in list(left):
                try:
                    connection.sendall(b"a")
                except OSError:
                    left.discard(connection)
        self.assertFalse(left, "alive after 15 s; a whole request must arrive within 2")
        for connection in slow:
            connection.close()

    def test_clients_that_hang_up_free_their_place(self):
        for stream in (True, False):
            body = json.dumps({"prompt": "x", "max_tokens": 500, "stream": stream, "ignore_eos": True}).encode()
            head = f"POST {COMPLETIONS} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            for _ in range(20):
                with self.server.raw() as connection:
                    connection.sendall(head + body)
                    if stream:
                        connection.recv(200)
        end = time.time() + 20
        while self.server.metric("sequences_running") + self.server.metric("sequences_waiting") > 0 and time.time() < end:
            time.sleep(0.1)
        self.assertEqual(self.server.metric("sequences_running"), 0)

    def test_a_thousand_connections(self):
        connections = []
        try:
            for _ in range(1000):
                connection = socket.socket()
                connection.setblocking(False)
                connections.append(connection)
                connection.connect_ex(("127.0.0.1", self.server.port))
            time.sleep(0.5)
        finally:
            for connection in connections:
                connection.close()
        end = time.time() + 10
        while self.server.metric("http_connections") > 2 and time.time() < end:
            time.sleep(0.1)

    def test_requests_after_one_another_on_one_connection(self):
        with self.server.raw() as connection:
            one = f"POST /tokenize HTTP/1.1\r\nHost: localhost\r\nContent-Length: 15\r\n\r\n".encode() + b'{"content":"x"}'
            connection.sendall(one * 20)  # pipelined
            data = b""
            while data.count(b'"tokens":[120]') < 20:
                piece = connection.recv(65536)
                self.assertTrue(piece, data)
                data += piece


class Report(PareTest):
    """What `pare compress` said of the model beside it."""
    REPORT = {"model": {"path": "/models/Base-1B/", "bytes": 4000000, "parameters": 1000},
              "result": {"bytes": None, "bits_per_weight": 4.25, "sparsity": 0.5},
              "evaluation": {"text": "kept apart from: /a/b.txt", "before": {"perplexity": 10.0}, "after": {"perplexity": 10.5}, "kl": None}}

    def props(self, report, model=None):
        path = self.model / "report.json"
        try:
            if report is not None:
                path.write_text(report if isinstance(report, str) else json.dumps(report))
            with Server(PARE, model or self.model) as server:
                report = server.get("/props")[1]["report"]
            return report, "".join(server.errors)
        finally:
            path.unlink(missing_ok=True)

    def test_it_is_shown_when_it_is_about_these_weights(self):
        size = (self.model / "model.safetensors").stat().st_size
        report = {**self.REPORT, "result": {**self.REPORT["result"], "bytes": size}}
        self.assertEqual(self.props(report)[0],
                         {"base": "Base-1B", "base_bytes": 4000000, "bytes": size, "bits_per_weight": 4.25, "sparsity": 0.5,
                          "text": "text kept apart from b.txt", "base_perplexity": 10, "perplexity": 10.5})
        self.assertEqual(self.props({"result": {"bytes": size}, "model": 7, "evaluation": []})[0], {"bytes": size})

    def test_of_a_gguf_file_it_lies_beside_it_under_its_name(self):
        out = self.fresh("out")
        out.mkdir()
        run("convert", self.model, "-o", out / "m.gguf", "--split", "100kB")
        first, *others = sorted(out.glob("*.gguf"))
        size = first.stat().st_size + sum(path.stat().st_size for path in others)
        (out / "m.report.json").write_text(json.dumps({"result": {"bytes": size}}))
        with Server(PARE, first) as server:
            self.assertEqual(server.get("/props")[1]["report"], {"bytes": size})
            self.assertEqual(server.get("/v1/models")[1]["data"][0]["id"], "m")

    def test_otherwise_nothing_is(self):
        self.assertIsNone(self.props(None)[0])
        for report, why in (({**self.REPORT, "result": {"bytes": 5}}, "other weights"), ({}, "no size said"), ("[1]", "not a report"),
                            ("{", "report.json"), ("[" * 100000, "report.json")):
            with self.subTest(why):
                shown, said = self.props(report)
                self.assertIsNone(shown)
                self.assertIn(why, said)


class Keys(PareTest):
    def test_with_a_key_only_health_and_the_page_are_open(self):
        with Server(PARE, self.model, key="secret-key") as server:
            for path, status in (("/health", 200), ("/", 200), ("/v1/models", 401), ("/metrics", 401), ("/props", 401), ("/nothing", 401)):
                for wrong in (None, "Bearer secret-ke", "Bearer secret-keyy", "Bearer ", "secret-key", "Basic secret-key"):
                    code, headers, _ = server.request("GET", path, headers={"Authorization": wrong})
                    self.assertEqual(code, status, (path, wrong))
                    self.assertEqual("WWW-Authenticate" in headers, status == 401)
            self.assertEqual(server.get("/v1/models")[0], 200)
            self.assertEqual(server.post(COMPLETIONS, {"prompt": "x", "max_tokens": 1})[0], 200)
            self.assertEqual(server.request("POST", COMPLETIONS, {"prompt": "x"}, headers={"Authorization": None})[0], 401)

    def test_keys_out_of_a_file(self):
        keys = self.fresh("keys")
        keys.write_text("one\r\n\ntwo\n")
        with Server(PARE, self.model, "--api-key-file", keys) as server:
            for key, status in (("one", 200), ("two", 200), ("", 401), ("three", 401)):
                self.assertEqual(server.request("GET", "/v1/models", headers={"Authorization": "Bearer " + key})[0], status)
        keys.write_text("\n")
        self.assertIn("is empty", run("serve", self.model, "--api-key-file", keys, check=3).stderr)
        self.assertIn("cannot be opened", run("serve", self.model, "--api-key-file", self.fresh("none"), check=3).stderr)

    def test_the_network_is_not_served_without_a_key_unless_asked_twice(self):
        environment = {name: value for name, value in os.environ.items() if name != "PARE_API_KEY"}
        self.assertIn("there is no key", run("serve", self.model, "--host", "0.0.0.0", "--port", 0, check=2, env=environment).stderr)
        with Server(PARE, self.model, "--host", "0.0.0.0", "--allow-open") as server:
            self.assertEqual(server.get("/v1/models")[0], 200)

    def test_a_page_that_was_asked_for_may_call(self):
        with Server(PARE, self.model, "--cors", "https://good.example") as server:
            status, headers, _ = server.request("OPTIONS", CHAT, headers={"Origin": "https://good.example"})
            self.assertEqual((status, headers["Access-Control-Allow-Origin"]), (204, "https://good.example"))
            status, headers, _ = server.request("POST", "/tokenize", {"content": "x"}, headers={"Origin": "https://good.example"})
            self.assertEqual((status, headers["Access-Control-Allow-Origin"]), (200, "https://good.example"))
            self.assertEqual(server.request("POST", "/tokenize", {"content": "x"}, headers={"Origin": "https://bad.example"})[0], 403)


class Ends(PareTest):
    def test_sigterm_finishes_what_runs_and_exits_with_0(self):
        server = Server(PARE, self.model, "--context", 4096, "--slots", 2)
        events = server.stream(COMPLETIONS, {"prompt": "x", "max_tokens": 3000})
        next(events)
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            whole = pool.submit(lambda: server.post(COMPLETIONS, {"prompt": "y", "max_tokens": 2500}))
            while server.metric("sequences_running") < 2:
                time.sleep(0.02)
            server.process.terminate()
            rest = list(events)
            self.assertEqual(rest[-1], "[DONE]")
            self.assertGreater(len(rest), 100)
            self.assertEqual(rest[-2]["choices"][0]["finish_reason"], "length")
            status, answer = whole.result()
            self.assertEqual((status, answer["usage"]["completion_tokens"]), (200, 2500))
        self.assertEqual(server.stop(again=False), 0)

    def test_what_takes_longer_than_the_bound_is_cut_off(self):
        server = Server(PARE, self.model, "--context", 4096, "--slots", 1, "--drain-seconds", 0)
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            asked = [pool.submit(lambda: server.post(COMPLETIONS, {"prompt": "x", "max_tokens": 4000})) for _ in range(2)]
            while server.metric("sequences_running") + server.metric("sequences_waiting") < 2:
                time.sleep(0.02)
            self.assertEqual(server.stop(), 0)
            for one in asked:
                status, answer = one.result()
                self.assertEqual((status, answer["error"]["code"]), (503, "overloaded"))

    def test_a_port_in_use_is_said_before_the_model_is_read(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            began = time.time()
            done = run("serve", self.model, "--port", taken.getsockname()[1], check=2)
            self.assertIn("another program does", done.stderr)
            self.assertLess(time.time() - began, 5)
        self.assertIn("expected an address", run("serve", self.model, "--host", "no.such.host.invalid", check=2).stderr)
        self.assertIn("no such file", run("serve", self.root / "none", "--port", 0, check=3).stderr)


if __name__ == "__main__":
    unittest.main()
