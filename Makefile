# Everything here installs what it needs: Go, gcc and Python 3.11+ are all that a machine must bring.
GO       ?= go
BIN      := bin
UV       := $(shell command -v uv 2>/dev/null || echo $(BIN)/uv/bin/uv)
LINT     := $(BIN)/golangci-lint
LINT_VERSION := v2.15.0
PY_SMALL := stages/sdk stages/download stages/text stages/contest_entry
PY_TORCH := stages/corpus stages/import_gguf stages/convert_pickle stages/synthetic stages/calibrate stages/gptq stages/awq stages/rtn stages/perplexity stages/compare stages/lib stages/benchmark stages/onnx stages/onnx_check stages/bnb stages/tensorrt stages/onnx_decoder stages/contest stages/int8

.PHONY: build test test-go servers test-python fuzz soak accept accept-full bench bench-full bench-growth lint docs clean

build: ## the one binary
	$(GO) build -trimpath -o $(BIN)/tinfra ./cmd/tinfra

test: test-go test-python ## all tests

test-go: servers ## packages and stories, under the race detector
	$(GO) test -race -timeout 20m ./...

servers: ## the S3-compatible servers that tests start: built once for all checkouts of a machine, in some minutes
	$(GO) test -count=1 -timeout 30m -run '^TestInstall$$' ./artifacts/s3/s3test

test-python: .venv/fetch.done .venv/torch.done ## workers at toy size, each in its locked environment
	.venv/fetch/bin/python -m pytest -q $(PY_SMALL)
	.venv/torch/bin/python -m pytest -q -n 2 --dist loadfile $(PY_TORCH) # two at a time: most of each is the import of torch, on one core

# The environment of a test is the locked one and the test tools, nothing resolved anew.
.venv/%.done: stages/env/%/requirements.lock stages/env/%/test.lock $(UV)
	$(UV) venv --quiet --clear --python python3 .venv/$*
	$(UV) pip sync --quiet --compile-bytecode --python .venv/$*/bin/python --require-hashes stages/env/$*/requirements.lock
	$(UV) pip install --quiet --python .venv/$*/bin/python --no-deps --require-hashes -r stages/env/$*/test.lock
	touch $@

$(BIN)/uv/bin/uv: stages/env/uv.lock
	python3 -m venv $(BIN)/uv
	$(BIN)/uv/bin/pip install --quiet --require-hashes -r stages/env/uv.lock

FUZZTIME ?= 10s
fuzz: ## each parser for FUZZTIME
	.ci/fuzz $(FUZZTIME)

soak: .venv/torch.done ## the long forms of tests that have one, and ten minutes of fuzzing each: hours
	TINFRA_SOAK=1 $(GO) test -race -run Soak -timeout 6h -v ./...
	TINFRA_SOAK=1 .venv/torch/bin/python -m pytest -q stages/gptq/test_pieces.py
	$(MAKE) fuzz FUZZTIME=10m

accept: ## the README's chain on a real model, cold and warm, with fewer samples, tokens and timings
	$(GO) test -tags acceptance -timeout 40m -run Acceptance -v ./cmd/tinfra

accept-full: ## the same as the recipe stands, with what each scheme must gain
	TINFRA_ACCEPTANCE=full $(GO) test -tags acceptance -timeout 80m -run Acceptance -v ./cmd/tinfra

ROWS  ?= .
PEERS ?= .
FLAGS ?=
BENCH  = $(GO) run ./bench -uv $(UV) -rows '$(ROWS)' -peers '$(PEERS)' $(FLAGS)
bench: build $(UV) ## the packages' benchmarks, and a tenth of bench-full: a quarter of an hour
	$(GO) test -run '^$$' -bench . -benchmem ./...
	$(BENCH) -scale 0.1 -patience 2s

bench-full: build $(UV) ## tinfra beside other build tools, into docs/performance.md: hours, less with ROWS and PEERS (regular expressions)
	$(BENCH) -keep docs/measurements/performance.json -o docs/performance.md

bench-growth: build $(UV) ## how the program grows with stages and builds, for docs/scale.md
	$(BENCH) -growth docs/scale.md

lint: $(LINT) .venv/fetch.done
	$(LINT) run ./...
	.venv/fetch/bin/python -m ruff check stages
	.venv/fetch/bin/python -m ruff format --check stages

$(LINT): Makefile
	GOBIN=$(CURDIR)/$(BIN) $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINT_VERSION)

docs: ## docs/reference from the kinds and the commands
	$(GO) run ./cmd/tinfra docs docs/reference

clean:
	rm -rf $(BIN) .venv
