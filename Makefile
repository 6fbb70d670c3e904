# Ebbgate. `make` lists what there is; `make demo` and `make test` do all set-up themselves.
SHELL := bash
GO ?= go
BIN := bin
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X main.version=$(VERSION)
export CGO_ENABLED ?= 0

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## build ebbgate and ebbgate-agent into bin/
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN)/ ./cmd/...

.PHONY: demo
demo: build $(if $(PLANE),servers) ## a fleet of 3 regions x 3 agents, four acts; PLANE=nginx for real nginx
	$(BIN)/ebbgate dev --demo $(if $(PLANE),--plane $(PLANE))

.PHONY: servers
servers: ## install the servers the tests run against (Debian, as root)
	@deploy/lab/servers.sh

.PHONY: test
test: servers build ## every test, on real servers where they can be had
	$(GO) test -timeout 15m ./...

RACE ?= ./...
.PHONY: race
race: servers ## the tests under the race detector, without whole fleets; RACE=./pkg for less
	CGO_ENABLED=1 $(GO) test -race -short -timeout 20m $(RACE)

.PHONY: scenarios
scenarios: ## the rollout engine's scenario files
	$(GO) test -v -run 'Scenario' ./controller/rollout

SEED ?= 1
N ?= 2000
ARGS ?=
.PHONY: sim
sim: ## both cores against each other in a world of faults; SEED=1 N=20000 ARGS=-lines=200
	$(GO) test -count=1 -timeout 6h -v -run 'Seeds' ./cmd/ebbgate/sim -seed $(SEED) -seeds $(N) $(ARGS)

BUGS ?= 1000
.PHONY: planted
planted: ## break the cores on purpose, one bug at a time, and find each; BUGS=10 for fewer
	$(GO) test -count=1 -timeout 2h -v -run TestPlanted ./cmd/ebbgate/sim -planted -bugs $(BUGS)

.PHONY: stale
stale: N = 100000
stale: servers ## count stale answers on real caches; N=1000000 requests, PICTURE=1 draws one run
	EBBGATE_REQUIRE_SERVERS=1 $(GO) test -count=1 -timeout 60m -v -run Stale ./cmd/ebbgate/stale -requests $(N) \
	  $(if $(PICTURE),-picture $(CURDIR)/deploy/lab/stale.svg)

FUZZTIME ?= 20s
.PHONY: fuzz
fuzz: ## every fuzz target for FUZZTIME (20s)
	@deploy/lab/fuzz.sh $(FUZZTIME)

.PHONY: golden
golden: ## rewrite the golden files, to be read before they are committed
	$(GO) test ./wire/... ./controller/rollout ./controller/api -update

.PHONY: lint
lint: ## gofmt, vet, staticcheck
	@out=$$(gofmt -l $$(git ls-files '*.go')); [ -z "$$out" ] || { echo "not gofmt'd:"; echo "$$out"; exit 1; }
	$(GO) vet ./...
	$(GO) tool -modfile=tools.mod staticcheck ./...

.PHONY: cross
cross: ## compile for every platform we ship
	@for t in linux/amd64 linux/arm64; do echo "build $$t"; \
	  GOOS=$${t%/*} GOARCH=$${t#*/} $(GO) build ./cmd/ebbgate ./cmd/ebbgate-agent || exit 1; done
	@echo "build darwin/arm64 (the command line alone)"; GOOS=darwin GOARCH=arm64 $(GO) build -o /dev/null ./cmd/ebbgate

.PHONY: check
check: lint ## offline and quick: what to run before a commit
	$(GO) test -short ./...

.PHONY: picture
picture: build ## record README's picture from a real run of the demo
	deploy/lab/picture.sh

.PHONY: clean
clean: ## remove what was built
	rm -rf $(BIN)
