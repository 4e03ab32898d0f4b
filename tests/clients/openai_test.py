"""The `openai` package against `pare serve`."""
import json
import unittest

import openai

from serving_clients import KEY, ClientTest

QUESTION = [{"role": "system", "content": "You answer in one short sentence."}, {"role": "user", "content": "What is the capital of France?"}]
SCHEMA = {"type": "object", "properties": {"city": {"type": "string", "maxLength": 30}, "people": {"type": "integer"}, "coastal": {"type": "boolean"}},
          "required": ["city", "people", "coastal"], "additionalProperties": False}


class OpenAi(ClientTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.client = openai.OpenAI(base_url=cls.url + "/v1", api_key=KEY, max_retries=0)
        cls.model = cls.client.models.list().data[0].id

    def chat(self, **options):
        return self.client.chat.completions.create(**{"model": self.model, "messages": QUESTION, "temperature": 0, "max_tokens": 40, **options})

    def text(self, prompt, **options):
        return self.client.completions.create(**{"model": self.model, "prompt": prompt, "temperature": 0, "max_tokens": 20, **options})

    def test_models(self):
        self.assertEqual(self.client.models.retrieve(self.model).id, self.model)
        with self.assertRaises(openai.NotFoundError) as caught:
            self.client.models.retrieve("gpt-4")
        self.assertEqual(caught.exception.code, "model_not_found")

    def test_chat_whole_and_streamed_are_the_same(self):
        whole = self.chat()
        self.assertIn("Paris", whole.choices[0].message.content)
        self.assertEqual(whole.choices[0].finish_reason, "stop")
        self.assertEqual(whole.usage.total_tokens, whole.usage.prompt_tokens + whole.usage.completion_tokens)
        text, usage, pieces = "", None, 0
        for chunk in self.chat(stream=True, stream_options={"include_usage": True}):
            usage = chunk.usage or usage
            for choice in chunk.choices:
                text += choice.delta.content or ""
                pieces += 1
        self.assertEqual(text, whole.choices[0].message.content)
        self.assertGreater(pieces, 3)
        self.assertEqual((usage.prompt_tokens, usage.completion_tokens), (whole.usage.prompt_tokens, whole.usage.completion_tokens))

    def test_a_stream_that_is_closed_ends_its_work(self):
        with self.chat(stream=True, max_tokens=1500, extra_body={"ignore_eos": True}) as stream:
            next(iter(stream))
        for _ in range(100):
            if self.server.metric("sequences_running") == 0:
                return
            self.client.models.list()
        self.assertLess(self.server.metric("generated_tokens_total"), 1500)

    def test_the_streaming_helper_accumulates(self):
        with self.client.chat.completions.stream(model=self.model, messages=QUESTION, temperature=0, max_tokens=40) as stream:
            for _ in stream:
                pass
            self.assertIn("Paris", stream.get_final_completion().choices[0].message.content)

    def test_n_and_seed(self):
        options = {"temperature": 1.2, "seed": 11, "n": 3, "max_tokens": 24}
        first, second = self.chat(**options), self.chat(**options)
        texts = [choice.message.content for choice in first.choices]
        self.assertEqual(texts, [choice.message.content for choice in second.choices])
        self.assertEqual([choice.index for choice in first.choices], [0, 1, 2])
        self.assertGreater(len(set(texts)), 1)
        self.assertEqual(self.chat(**{**options, "n": 1}).choices[0].message.content, texts[0])

    def test_stop(self):
        choice = self.text("One, two, three, four,", stop=[" six", "never"]).choices[0]
        self.assertEqual(choice.finish_reason, "stop")
        self.assertNotIn("six", choice.text)

    def test_logprobs_and_echo(self):
        choice = self.text("The capital of France is", logprobs=3, echo=True, max_tokens=1).choices[0]
        scores = choice.logprobs
        self.assertTrue(choice.text.startswith("The capital of France is"))
        self.assertEqual("".join(scores.tokens), choice.text)
        self.assertIsNone(scores.token_logprobs[0])
        self.assertTrue(all(score <= 0 for score in scores.token_logprobs[1:]))
        self.assertEqual(len(scores.tokens), len(scores.text_offset))
        self.assertEqual(scores.tokens[-1], " Paris")
        chat = self.chat(logprobs=True, top_logprobs=2, max_tokens=5).choices[0].logprobs.content
        self.assertEqual(len(chat), 5)
        for token in chat:
            self.assertEqual(len(token.top_logprobs), 2)
            self.assertEqual(token.top_logprobs[0].logprob, token.logprob)  # greedy: the likeliest
            self.assertEqual(bytes(token.bytes).decode(), token.token)

    def test_json_by_schema(self):
        message = self.chat(messages=[{"role": "user", "content": "Describe Lisbon as JSON."}], max_tokens=200,
                            response_format={"type": "json_schema", "json_schema": {"name": "city", "schema": SCHEMA, "strict": True}})
        self.assertEqual(message.choices[0].finish_reason, "stop")
        value = json.loads(message.choices[0].message.content)
        self.assertEqual(set(value), {"city", "people", "coastal"})
        self.assertIsInstance(value["people"], int)

    def test_embeddings(self):
        answer = self.client.embeddings.create(model=self.model, input=["a cat", "a kitten", "tax law"])  # base64, as this package asks
        self.assertEqual([len(row.embedding) for row in answer.data], [576] * 3)
        plain = self.client.embeddings.create(model=self.model, input="a cat", encoding_format="float").data[0].embedding
        for a, b in zip(plain, answer.data[0].embedding):
            self.assertAlmostEqual(a, b, places=5)

    def test_errors_are_the_packages_own(self):
        with self.assertRaises(openai.AuthenticationError):
            self.client.with_options(api_key="wrong").models.list()
        for options in ({"temperature": -1}, {"messages": []}, {"n": 0}, {"max_tokens": 10**9}, {"top_p": 3},
                        {"response_format": {"type": "xml"}}, {"messages": [{"role": "nobody", "content": "x"}]}):
            with self.subTest(options), self.assertRaises(openai.BadRequestError) as caught:
                self.chat(**options)
            self.assertEqual(caught.exception.type, "invalid_request_error")
        with self.assertRaises(openai.BadRequestError) as caught:
            self.text("word " * 3000)
        self.assertEqual(caught.exception.code, "context_length_exceeded")
        with self.assertRaises(openai.NotFoundError):
            self.client.images.generate(prompt="a cat")

    def test_the_model_is_whatever_the_server_has(self):
        self.assertEqual(self.chat(model="gpt-4o", max_tokens=2).model, self.model)

    def test_asyncio_clients_go_together(self):
        import asyncio

        async def all_of_them():
            async with openai.AsyncOpenAI(base_url=self.url + "/v1", api_key=KEY, max_retries=0) as client:
                return await asyncio.gather(*[client.chat.completions.create(model=self.model, messages=QUESTION, temperature=0, max_tokens=40)
                                              for _ in range(12)])

        self.assertEqual(len({answer.choices[0].message.content for answer in asyncio.run(all_of_them())}), 1)


if __name__ == "__main__":
    unittest.main()
