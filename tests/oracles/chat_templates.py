#!/usr/bin/env python3
"""Compares Pare's chat templates with PyPI `jinja2`, set up as transformers sets it up.

    pip install Jinja2==3.1.6
    chat_templates.py --render build/release/bin/render_template --random 4000 [--seed 1] TEMPLATE.jinja ...

Each template file meets each conversation; then come the fragments of chat_template_fragments.py and random templates:
tags and white space with every sign of white space control, and expressions over values of every kind.
The same text, or an error on both sides; raise_exception with the same words. Exit code 1 on any difference.
"""
import argparse
import collections
import copy
import datetime
import json
import pathlib
import random
import subprocess
import sys
import warnings

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

import chat_template_fragments as fragments


class Generation(Extension):
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return nodes.CallBlock(self.call_method("_written"), [], [], body).set_lineno(line)

    def _written(self, caller):
        return caller()


class Refused(jinja2.TemplateError):
    pass


def environment():
    def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    def raise_exception(message):
        raise Refused(message)

    warnings.simplefilter("ignore", SyntaxWarning)  # of what Jinja compiles to
    env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols])
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = lambda format: datetime.datetime.now().strftime(format)
    return env


class Reference:
    def __init__(self):
        self.env = environment()
        self.compiled = {}

    def answer(self, request):
        source = request["template"]
        if source not in self.compiled:
            if len(self.compiled) > 1000:
                self.compiled.clear()
            try:
                self.compiled[source] = self.env.from_string(source)
            except jinja2.TemplateError as error:
                self.compiled[source] = error
            except (SyntaxError, RecursionError, MemoryError) as error:
                self.compiled[source] = jinja2.TemplateSyntaxError(str(error), 0)
        template = self.compiled[source]
        if isinstance(template, Exception):
            return {"error": str(template), "kind": "syntax"}
        names = {"messages": request["messages"], "tools": request["tools"], "documents": None,
                 "add_generation_prompt": request["add_generation_prompt"]}
        for token in ("bos_token", "eos_token"):
            if request[token]:
                names[token] = request[token]
        try:
            # copied: the filter indent changes a list that it is given
            return {"output": template.render(copy.deepcopy({**names, **(request["extra"] or {})}))}
        except Refused as error:
            return {"error": str(error.message), "kind": "refused"}
        except Exception as error:  # whatever Python raises
            return {"error": f"{type(error).__name__}: {error}", "kind": "failed"}


def verdict(reference, ours):
    """same, different, beyond (ours does not know how), or lenient (ours renders what Jinja will not parse)."""
    if "output" in reference:
        if "output" in ours:
            return "same" if ours["output"] == reference["output"] else "different"
        return "beyond" if ours["kind"] == "unsupported" else "different"
    if "output" in ours:
        return "lenient" if reference["kind"] == "syntax" else "different"
    if reference["kind"] == "refused":
        return "same" if ours["kind"] == "input" and ours["error"].endswith(": " + reference["error"]) else "different"
    return "same"


# --- what is rendered

TOOLS = [
    {"type": "function", "function": {"name": "get_weather", "description": "The weather at \"a place\" <now> & later",
     "parameters": {"type": "object", "properties": {"city": {"type": "string", "enum": ["Köln", "東京"]}, "days": {"type": "integer",
                    "default": 3, "minimum": 0.5}}, "required": ["city"]}}},
    {"type": "function", "function": {"name": "noop", "description": "", "parameters": {}, "return": None, "strict": True}},
]


def message(role, content, **more):
    return {"role": role, "content": content, **more}


def call(name, arguments, **more):
    return {"id": "call12345", "type": "function", "function": {"name": name, "arguments": arguments}, **more}


TEXTS = ["Hi", "", " padded \n", "line\nline\r\nline", "Grüße, 世界 👩‍👩‍👧‍👦 e\u0301", "{{ not a tag }} {% nor this %}", "quotes ' \" \\ \\n", "<|im_end|>",
         "<think>\nlet me see\n</think>\n\nDone.", "<tool_response>\n1\n</tool_response>", "a\u2028b\u00a0c\x1cd\x7f", "/no_think be short", "x" * 3000]

CONVERSATIONS = [
    [message("user", "Hello")],
    [message("system", "You are terse."), message("user", "Hello")],
    [message("user", "Hello"), message("assistant", "Hi."), message("user", "Bye")],
    [message("system", " Spaces around. "), message("user", " a "), message("assistant", " b "), message("user", " c ")],
    [message("user", "a"), message("user", "b")],
    [message("assistant", "I begin"), message("user", "b")],
    [message("user", "a"), message("assistant", "unfinished")],
    [message("system", "only")],
    [],
    [message("narrator", "who?")],
    [{"content": "no role"}],
    [{"role": "user"}],
    [message("user", None)],
    [message("user", 5)],
    [message("user", ["text", {"type": "text", "text": "part"}])],
    [message("user", [{"type": "text", "text": "one "}, {"type": "image"}, {"type": "text", "text": " two"}])],
    [message("system", [{"type": "text", "text": "sys"}]), message("user", [{"type": "text", "text": "u"}])],
    [message("user", "weather?"), message("assistant", None, tool_calls=[call("get_weather", {"city": "Köln", "days": 2})]),
     message("tool", "{\"t\": 21.5}", name="get_weather", tool_call_id="call12345"), message("assistant", "Warm."), message("user", "thanks")],
    [message("user", "weather?"), message("assistant", "Let me look.", tool_calls=[call("get_weather", {"city": "東京"}), call("noop", {})]),
     message("tool", "1", tool_call_id="call12345"), message("tool", "2", tool_call_id="call12345")],
    [message("user", "w"), message("assistant", "", tool_calls=[{"function": {"name": "noop", "arguments": "{\"a\": 1}"}}]), message("tool", {"k": [1, None]})],
    [message("user", "q"), message("assistant", "a", reasoning_content="because\n"), message("user", "q2"), message("assistant", "b", reasoning_content="")],
    [message("user", "q"), message("assistant", "<think>\nr\n</think>\n\nanswer"), message("user", "q2")],
    [message("user", "q"), message("assistant", "a", thinking="hm", tool_calls=[])],
    [message("developer", "d"), message("user", "q")],
    [message("user", "q"), message("ipython", "out"), message("tool_results", "r")],
    [message("user", "Turn")] + [message(role, f"{role} {i}") for i in range(12) for role in ("assistant", "user")],
] + [[message("system", text), message("user", text), message("assistant", text), message("user", text)] for text in TEXTS]

EXTRAS = [None, {"enable_thinking": False}, {"enable_thinking": True, "custom_tools": TOOLS[:1], "date_string": "1 Jan 2025"},
          {"xml_tools": TOOLS, "tools_in_user_message": False, "documents": [{"title": "T", "text": "D"}], "reasoning_effort": "low"}]


def request(template, messages, tools=None, add_generation_prompt=True, bos="<s>", eos="</s>", extra=None):
    return {"template": template, "messages": messages, "tools": tools, "add_generation_prompt": add_generation_prompt, "bos_token": bos,
            "eos_token": eos, "extra": extra}


def of_conversations(source):
    for messages in CONVERSATIONS:
        for tools, prompt, extra in [(None, True, None), (None, False, None), (TOOLS, True, None), (TOOLS, False, EXTRAS[3]),
                                     (None, True, EXTRAS[1]), (None, True, EXTRAS[2])]:
            yield request(source, messages, tools, prompt, extra=extra)
    yield request(source, CONVERSATIONS[1], bos="", eos="")
    yield request(source, CONVERSATIONS[1], tools=[])


# --- random templates

class Maker:
    def __init__(self, seed):
        self.rng = random.Random(seed)

    def spaces(self):
        return "".join(self.rng.choice([" ", "\n", "\t", "x", "\n\n", "  ", "\r\n", "}", "{", "%", "#", "-", "\u00a0", "é"]) for _ in range(self.rng.randint(0, 5)))

    def tag(self, kind, inner):
        opener, closer = {"{": ("{{", "}}"), "%": ("{%", "%}"), "#": ("{#", "#}")}[kind]
        end_signs = ["", "", "-"] if kind == "{" else ["", "", "-", "+"]
        return opener + self.rng.choice(["", "", "-", "+"]) + self.rng.choice([" ", "", "\n "]) + inner + self.rng.choice([" ", ""]) + self.rng.choice(end_signs) + closer

    def layout(self, depth=0):
        """Tags and white space."""
        parts = [self.spaces()]
        for _ in range(self.rng.randint(1, 4)):
            kind = self.rng.randrange(7 if depth < 3 else 3)
            if kind == 0:
                parts.append(self.tag("{", "'v'"))
            elif kind == 1:
                parts.append(self.tag("#", "c"))
            elif kind == 2:
                parts.append(self.tag("%", "set a = 1"))
            elif kind == 3:
                parts += [self.tag("%", "if true"), self.layout(depth + 1), self.tag("%", "else"), self.layout(depth + 1), self.tag("%", "endif")]
            elif kind == 4:
                parts += [self.tag("%", "for i in [1, 2]"), self.layout(depth + 1), self.tag("%", "endfor")]
            elif kind == 5:
                parts += [self.tag("%", "raw"), self.spaces(), "{{ x }}", self.spaces(), self.tag("%", "endraw")]
            else:
                parts += [self.tag("%", self.rng.choice(["generation", "set b"]))]
                inner, ender = self.layout(depth + 1), "endgeneration" if "generation" in parts[-1] else "endset"
                parts += [inner, self.tag("%", ender)]
            parts.append(self.spaces())
        return "".join(parts)

    def expression(self, depth=0):
        r = self.rng
        if depth > 3 or r.random() < 0.25:
            return r.choice(fragments.VALUES)
        one = self.expression(depth + 1)
        kind = r.randrange(11)
        if kind == 0:
            return f"({one} {r.choice(['+', '-', '*', '/', '//', '%', '~', 'and', 'or', '==', '!=', '<', '>=', 'in', 'not in'])} {self.expression(depth + 1)})"
        if kind == 1:
            return f"({r.choice(['not ', '-', '+'])}{one})"
        if kind in (2, 3):
            return f"({one} | {r.choice(fragments.FILTERS)})"
        if kind == 4:
            return f"({one} is {r.choice(['', 'not '])}{r.choice(fragments.TESTS)})"
        if kind == 5:
            # not a constant: Jinja folds those, and takes a slice of none for undefined while folding
            return f"[{one}, nil][0]{r.choice(fragments.INDICES)}"
        if kind in (6, 7):
            return f"({one}).{r.choice(fragments.METHODS)}"
        if kind == 8:
            return f"({one} if {self.expression(depth + 1)} else {self.expression(depth + 1)})"
        if kind == 9:
            return r.choice(["[{0}, {1}]", "({0}, {1})", "{{'k': {0}, 'l': {1}}}", "[{0}]", "({0},)"]).format(one, self.expression(depth + 1))
        return f"({one} {r.choice(['<', '==', 'in'])} {self.expression(depth + 1)} {r.choice(['<=', '!=', 'in'])} {self.expression(depth + 1)})"

    def template(self):
        kind = self.rng.randrange(5)
        if kind <= 1:
            return self.layout()
        inner = self.expression()
        if kind == 2:
            return "{{ " + inner + " }}"
        if kind == 3:
            return "{% set v = " + inner + " %}{{ [v] }}|{{ v | tojson }}|{% if v %}y{% endif %}"
        return "{% for v in " + inner + " %}{{ loop.index }}{{ loop.last }}{{ v }},{% else %}none{% endfor %}"


def of_fragments():
    for source in fragments.FRAGMENTS:
        yield request(source, CONVERSATIONS[3], TOOLS, extra=fragments.NAMES)


def of_random(count, seed):
    maker = Maker(seed)
    for _ in range(count):
        yield request(maker.template(), CONVERSATIONS[2], TOOLS, extra=fragments.NAMES)


def described(group, one):
    if group in ("fragments", "random"):
        return one["template"]
    return shorter(json.dumps({**one, "template": "..."}, ensure_ascii=False), 1500)


def shorter(text, most=400):
    return text if len(text) <= most else text[:most] + f"... ({len(text)})"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--render", required=True)
    parser.add_argument("--random", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--show", type=int, default=5)
    parser.add_argument("--beyond", action="store_true", help="list what is beyond Pare")
    parser.add_argument("templates", nargs="*", type=pathlib.Path)
    args = parser.parse_args()

    requests, groups = [], []
    for path in args.templates:
        made = list(of_conversations(path.read_text(encoding="utf-8")))
        requests += made
        groups += [path.name] * len(made)
    for group, made in (("fragments", list(of_fragments())), ("random", list(of_random(args.random, args.seed)))):
        requests += made
        groups += [group] * len(made)
    lines = "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in requests)
    run = subprocess.run([args.render], input=lines.encode(), stdout=subprocess.PIPE, check=True)
    answers = [json.loads(line) for line in run.stdout.decode().split("\n") if line]
    assert len(answers) == len(requests), (len(answers), len(requests))

    reference, table = Reference(), collections.defaultdict(collections.Counter)
    reasons, shown, today = collections.Counter(), 0, datetime.date.today()
    for group, one, ours in zip(groups, requests, answers):
        theirs = reference.answer(one)
        result = verdict(theirs, ours)
        table[group][result] += 1
        if result == "beyond":
            reasons[f"{group}: {ours['error']}"] += 1
        # random expressions meet corners that are refused by name; nothing else may be
        if result == "different" or (result in ("beyond", "lenient") and group == "fragments"):
            shown += 1
            if shown <= args.show:
                print(f"--- {group}: {result}\n{described(group, one)}"
                      f"\n    jinja2: {shorter(str(theirs))}\n    pare:   {shorter(str(ours))}", file=sys.stderr)
    if args.beyond:
        for reason, count in reasons.most_common():
            print(f"{count:6} {reason}")
    total = collections.Counter()
    for group, counts in table.items():
        total.update(counts)
        if args.beyond or counts["different"] or group in ("fragments", "random"):
            print(f"{group}: " + ", ".join(f"{n} {what}" for what, n in counts.items()))
    files = len(args.templates)
    print(f"{sum(total.values())} cases, {files} templates: {total['same']} the same, {total['different']} different, "
          f"{total['beyond']} beyond Pare and refused by name, {total['lenient']} rendered that Jinja does not parse")
    if datetime.date.today() != today:
        print("midnight passed meanwhile: templates that write the date may differ", file=sys.stderr)
    sys.exit(1 if shown else 0)


if __name__ == "__main__":
    main()
