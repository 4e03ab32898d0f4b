# Two commands do everything on a fresh Debian 12: `make demo` and `make test`. Both install what is missing first.

FUZZ_SECONDS ?= 5
DEMO_OUT = build/demo
DEMO_MODEL = build/models/SmolLM2-135M-Instruct.Q4_1.gguf
DEMO_OPTIONS = --bits 4 --group 64 --samples 64 --length 256 --eval-tokens 4096 --eval-length 256

.PHONY: help setup build demo test test-long test-peers fuzz bench bench-memory format clean

help:
	@echo 'make demo   install what is missing, build, compress a real language model and show what it cost'
	@echo 'make test   install what is missing, build and run all tests'
	@echo 'also: build format fuzz test-long test-peers bench bench-memory clean; see CONTRIBUTING.md'

setup:
	@setup/apt.sh
	@setup/wheels.sh torch

build: setup
	@test -f build/release/build.ninja || cmake --preset release
	@cmake --build --preset release

demo: build
	@setup/wheels.sh model
	@rm -rf $(DEMO_OUT)/small
	@mkdir -p $(DEMO_OUT)
	PARE_CACHE=$(DEMO_OUT)/cache ./pare compress $(DEMO_MODEL) -o $(DEMO_OUT)/small $(DEMO_OPTIONS)

test: build
	@FUZZ_SECONDS=$(FUZZ_SECONDS) tests/run.sh

test-long: build
	@KILLS=200 ctest --test-dir build/release -R 'cli/kill' --output-on-failure

test-peers: build
	@setup/wheels.sh model
	@setup/peers.sh
	@build/venvs/peers/bin/python tests/peers/load_outputs.py --pare ./pare --model $(DEMO_MODEL) --work build/peers

fuzz: setup
	@FUZZ_SECONDS=600 tests/fuzz.sh

bench: build
	@build/release/bin/gptq_solve

bench-memory: build
	@bench/memory.sh

format:
	@find src bench tests -name '*.h' -o -name '*.cpp' | xargs clang-format-14 -i

clean:
	rm -rf build/release build/dev build/no-torch build/asan-ubsan build/tsan build/fuzz build/demo pare
