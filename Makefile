# make run   build and start a server on this machine
# make test  set up what the tests need, then run all of them
# make stack the full topology on this machine: PostgreSQL, S3, Vault, three nodes, a load balancer
# make lint  what CI checks beyond the tests
# make fuzz  every fuzz target for FUZZTIME (30s)

GO        ?= go
FUZZTIME  ?= 30s
CACHE     ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/strata-build
STACK     ?= stack
PORT      ?= 8080
VERSION   ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)

STATICCHECK = v0.8.2
GOVULNCHECK = v1.1.4

export CGO_ENABLED ?= 0

.PHONY: build run stack stack-clean test setup codecs lint fuzz bench clean

build:
	./internal/pixel/sandbox/bring
	$(GO) build -trimpath -ldflags "-s -w -X main.version=$(VERSION)" -o bin/strata ./cmd/strata

run: build
	./bin/strata serve

# Needs what `make setup` brings. Ctrl-C ends it; what it keeps is in the folder STACK.
stack: build
	$(GO) build -o bin/strata-stack ./test/stack
	exec ./bin/strata-stack -program bin/strata -dir "$(STACK)" -port $(PORT)

stack-clean:
	@[ ! -e "$(STACK)" ] || [ -e "$(STACK)/secrets.json" ] || { echo "$(STACK) is not the folder of a stack"; exit 1; }
	@[ ! -e "$(STACK)/lock" ] || flock -n "$(STACK)/lock" true || { echo "a stack runs in $(STACK): stop it first"; exit 1; }
	rm -rf "$(STACK)"

# The codecs that decode images: npm brings them, the build embeds them.
codecs:
	./internal/pixel/sandbox/bring --required

# What only tests need: DICOM tools to compare with, real servers to run against.
# As root, or with sudo. Two servers are built once, which takes many minutes.
setup: codecs
	GO="$(GO)" ./test/setup

# Everything was set up, so a test that misses a server fails instead of skipping.
# Tests of whole servers watch the clock, so nothing runs beside them; they build the program
# themselves, which the cache of results does not know of. What vet says, `make lint` does.
test: export CI = 1
test: setup
	$(GO) test -vet=off -count=1 -timeout 30m ./test/...
	$(GO) test -vet=off -p 3 -timeout 30m $(PACKAGES)
	CGO_ENABLED=1 GORACE=atexit_sleep_ms=10 $(GO) test -vet=off -p 3 -race $(UNWATCHED) -short -timeout 30m $(PACKAGES)

# SQLite is C translated to Go, with memory of its own: to watch it for races takes half of the time
# of all tests, and finds nothing of ours.
UNWATCHED = $(foreach p,sqlite/lib libc,'-gcflags=modernc.org/$p=-race=false -d=checkptr=0')

PACKAGES = $$($(GO) list ./... | grep -v /test/)

lint: $(CACHE)/staticcheck-$(STATICCHECK) $(CACHE)/govulncheck-$(GOVULNCHECK)
	@test -z "$$(gofmt -l .)" || { gofmt -l .; echo "run gofmt -w on these"; exit 1; }
	$(GO) vet ./...
	$(CACHE)/staticcheck-$(STATICCHECK) ./...
	./test/vulncheck $(CACHE)/govulncheck-$(GOVULNCHECK)

$(CACHE)/staticcheck-$(STATICCHECK):
	@mkdir -p $(@D)
	GOBIN=$(CACHE)/bin $(GO) install honnef.co/go/tools/cmd/staticcheck@$(STATICCHECK)
	mv $(CACHE)/bin/staticcheck $@

$(CACHE)/govulncheck-$(GOVULNCHECK):
	@mkdir -p $(@D)
	GOBIN=$(CACHE)/bin $(GO) install golang.org/x/vuln/cmd/govulncheck@$(GOVULNCHECK)
	mv $(CACHE)/bin/govulncheck $@

fuzz:
	./test/fuzz $(FUZZTIME)

bench:
	$(GO) test -run '^$$' -bench . -benchmem ./...

clean:
	rm -rf bin dist
