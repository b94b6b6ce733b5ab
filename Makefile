# Everything is a target of this file; `make help` lists them. Binaries go to bin/.

PACKAGES := gcc libc6-dev protobuf-compiler iproute2
TOOLS    := protoc-gen-go staticcheck errcheck govulncheck
COMMANDS := $(notdir $(patsubst %/,%,$(dir $(wildcard cmd/*/main.go))))
VERSION  := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
PB       := cellstate/cellpb/cell.pb.go
TESTFLAGS ?= -race -timeout 20m

export PATH := $(CURDIR)/bin/tools:$(PATH)

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## build every binary into bin/
	go build -ldflags "-X github.com/omegacell/omegacell/cmd/internal/daemon.version=$(VERSION)" -o bin/ $(addprefix ./cmd/,$(COMMANDS))

.PHONY: dev
dev: build ## run a whole cell in this terminal; Ctrl-C ends it and leaves nothing behind
	./bin/celld dev

.PHONY: test
test: deps check ## everything that CI runs
	go test $(TESTFLAGS) ./...

.PHONY: check
check: tools ## formatting, static analysis, and that generated code is current
	@test -z "$$(gofmt -l $$(git ls-files '*.go') | tee /dev/stderr)" || { echo "gofmt would change the files above"; exit 1; }
	go vet ./...
	staticcheck ./...
	errcheck -ignoretests -exclude .tools/errcheck.txt ./...
	@$(MAKE) --no-print-directory check-generated vulnerabilities

.PHONY: check-generated
check-generated:
	@dir=$$(mktemp -d) && trap 'rm -rf "$$dir"' EXIT && $(call protoc,$$dir) && \
	 diff <(grep -v '^// 	protoc ' $(PB)) <(grep -v '^// 	protoc ' $$dir/$(PB)) || { echo "$(PB) is not what cell.proto gives: run make generate"; exit 1; }

.PHONY: vulnerabilities
vulnerabilities:
	@out=$$(govulncheck ./... 2>&1); code=$$?; \
	 if echo "$$out" | grep -qE 'dial tcp|no such host|connection refused'; then echo "govulncheck: its data cannot be reached here: not run"; \
	 else echo "$$out"; exit $$code; fi

protoc = protoc --plugin=bin/tools/protoc-gen-go --go_out=$(1) --go_opt=paths=source_relative cellstate/cellpb/cell.proto

.PHONY: generate
generate: tools ## write the protobuf code anew
	$(call protoc,.)

.PHONY: tools
tools:
	@GOBIN=$(CURDIR)/bin/tools go install -C .tools tool

.PHONY: deps
deps: ## as root on Debian, install the packages that the tests need
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	   dpkg -s $(PACKAGES) >/dev/null 2>&1 || { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends $(PACKAGES); }; \
	 else for c in gcc protoc; do command -v $$c >/dev/null || echo "not root on Debian: install $$c yourself"; done; fi

.PHONY: bench
bench: ## measure everything and write it into integration/README.md; BENCH=regexp: only these steps
	go run ./integration/record -run '$(BENCH)' $(BENCHFLAGS)

.PHONY: clean
clean: ## remove what was built
	rm -rf bin

SHELL := /bin/bash
