# git refuses to look into a checkout that is another user's.
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null)
# The time of the source, so that the same source makes the same pages and packages.
export SOURCE_DATE_EPOCH ?= $(or $(shell git log -1 --format=%ct 2>/dev/null),$(shell date +%s))
GOLANGCI_LINT_VERSION := v2.15.0
GOLANGCI_LINT := bin/golangci-lint-$(GOLANGCI_LINT_VERSION)
FUZZ_TIME := 10s

# What a developer has set for psql or for a noggin of their own must not reach
# the tests and the demo.
$(foreach v,$(filter PG% NOGGIN_CONFIG NOGGIN_DATABASE_URL NOGGIN_BEARER_TOKEN,$(.VARIABLES)),$(eval unexport $(v)))

PREFIX := /usr/local
DESTDIR :=
OUTPUT := noggin
SOURCES := $(shell find . -name '*.go' -o -name '*.gohtml') \
	$(wildcard commands/manual/* commands/completion/*) go.mod go.sum schema.sql config.example.toml

.PHONY: build man install uninstall deb reproducible test test-faults test-boot test-package bench bench-profile lint fuzz demo setup

# Static, so that it runs on any Linux host. Files that are made here appear
# whole, also beside another make.
build:
	@mkdir -p bin
	CGO_ENABLED=0 go build -trimpath -buildvcs=$(if $(VERSION),true,false) \
		-ldflags '-s -w -X main.version=$(VERSION)' -o bin/.noggin.$$PPID .
	@mv bin/.noggin.$$PPID $(OUTPUT)

# The program runs where it is built, also when the build is for another machine.
man:
	@rm -rf bin/man
	env -u GOOS -u GOARCH go run ./commands/manpages --output bin/man --version '$(VERSION)'

noggin: $(SOURCES)
	@$(MAKE) --no-print-directory build

bin/man: $(SOURCES)
	@$(MAKE) --no-print-directory man

# `make build && sudo make install`. An installation that is there is brought up to
# date: what an administrator edits, in /etc/noggin, stays, and what is enabled too.
install: noggin bin/man
	@PREFIX='$(PREFIX)' DESTDIR='$(DESTDIR)' systemd/installation install

uninstall:
	@PREFIX='$(PREFIX)' DESTDIR='$(DESTDIR)' systemd/installation uninstall

# dist/noggin_VERSION_ARCHITECTURE.deb, for this machine or GOARCH=arm64.
deb:
	@systemd/debian/build '$(VERSION)'

# Are two builds of the last commit the same, byte for byte? Some minutes.
reproducible:
	.ci/reproducible

# Installs noggin and its package for real, in an empty root and a clean Debian.
test-package:
	NOGGIN_SETUP=all .ci/setup
	.ci/test-package

test: setup
	CGO_ENABLED=1 go test -race -timeout 20m ./...

# The whole fault suite; `make test` has its short form.
test-faults: setup
	NOGGIN_FAULTS=full CGO_ENABLED=1 go test -race -timeout 30m -count 1 ./commands ./batch -run 'Killed|Restarted|Mixed|Several|Signal|Disk|GoesAway|FailsOver|Lost|Frozen|Clock' -v

# The whole installation in a container that boots systemd; as root.
test-boot: setup
	.ci/boot

# Ratios against curl, psql and plain SQL, with some 12 GB in $TMPDIR;
# BENCH="--short --only claims" for less.
bench: setup build
	go run ./commands/bench --noggin ./noggin $(BENCH)

# A CPU profile of one drain, to look into with `go tool pprof noggin cpu.prof`.
bench-profile: setup build
	go run ./commands/bench --noggin ./noggin --only process --rounds 1 --cpuprofile $(CURDIR)/cpu.prof --json /dev/null

lint: $(GOLANGCI_LINT)
	$(GOLANGCI_LINT) run --allow-parallel-runners ./...

fuzz:
	.ci/fuzz $(FUZZ_TIME)

demo: setup build
	go run ./commands/demo --noggin ./noggin

# What tests and demo need of the machine: PostgreSQL's server programs, zstd,
# systemd-analyze, a C compiler for the race detector.
setup:
	@.ci/setup

$(GOLANGCI_LINT):
	@mkdir -p bin
	scratch=$$(mktemp -d "$(CURDIR)/bin/.install.XXXXXX") && trap 'rm -rf "$$scratch"' EXIT && \
	GOBIN="$$scratch" go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_LINT_VERSION) && \
	mv "$$scratch/golangci-lint" $@
