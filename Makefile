# Empty where git refuses to read the checkout, because another user owns it.
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null)
# The time of the last commit: the same source makes the same pages and packages.
export SOURCE_DATE_EPOCH ?= $(or $(shell git log -1 --format=%ct 2>/dev/null),$(shell date +%s))
GOLANGCI_LINT_VERSION := v2.15.0
GOLANGCI_LINT := bin/golangci-lint-$(GOLANGCI_LINT_VERSION)
WITH_POSTGRES := go run ./storage/storagetest/pgtemp --tests --
FUZZ_TIME := 10s

# What is built without -race is built alike, also by tests, so that all share the build
# cache. The tag leaves out urfave/cli's own pages: noggin has manual pages.
FLAGS := -tags urfave_cli_no_docs -trimpath

# Tests and demo do not see the developer's own settings of psql and noggin.
$(foreach v,$(filter PG% NOGGIN_CONFIG NOGGIN_DATABASE_URL NOGGIN_BEARER_TOKEN,$(.VARIABLES)),$(eval unexport $(v)))

PREFIX := /usr/local
DESTDIR :=
OUTPUT := noggin
SOURCES := $(shell find . -name '*.go' -o -name '*.gohtml') \
	$(wildcard commands/manual/* commands/completion/*) go.mod go.sum schema.sql config.example.toml

.PHONY: build man install uninstall deb sign vulnerabilities reproducible test test-faults soak test-power test-boot test-package bench bench-profile lint fuzz demo setup

# Builds a static program, which runs on any Linux host. The move puts it in place whole,
# also when two makes run at the same time.
build:
	@mkdir -p bin
	CGO_ENABLED=0 go build $(FLAGS) -buildvcs=$(if $(VERSION),true,false) \
		-ldflags '-s -w -X main.version=$(VERSION)' -o bin/.noggin.$$PPID .
	@mv bin/.noggin.$$PPID $(OUTPUT)

# Runs the program to make its pages, so it builds for this machine, whatever GOARCH
# says.
man:
	@rm -rf bin/man
	env -u GOOS -u GOARCH go run ./commands/manpages --output bin/man --version '$(VERSION)'

noggin: $(SOURCES)
	@$(MAKE) --no-print-directory build

bin/man: $(SOURCES)
	@$(MAKE) --no-print-directory man

# `make build && sudo make install`. Upgrades an older installation: files in
# /etc/noggin that were edited stay, and enabled units stay enabled.
install: noggin bin/man
	@PREFIX='$(PREFIX)' DESTDIR='$(DESTDIR)' systemd/installation install

uninstall:
	@PREFIX='$(PREFIX)' DESTDIR='$(DESTDIR)' systemd/installation uninstall

# dist/noggin_VERSION_ARCHITECTURE.deb, for this machine or GOARCH=arm64.
deb:
	@systemd/debian/build '$(VERSION)'

# Checksums of the packages in dist, signed: make sign KEY=~/.ssh/noggin_release
sign:
	@.ci/sign '$(KEY)'

# Known vulnerabilities that noggin can reach.
vulnerabilities:
	@.ci/vulnerabilities

# Checks that two builds of the last commit are the same, byte for byte. Takes some
# minutes.
reproducible:
	.ci/reproducible

# Installs noggin in an empty root, and its package in a clean Debian.
test-package:
	NOGGIN_SETUP=all .ci/setup
	.ci/test-package

# All packages share one private PostgreSQL server. Those that take longest begin first,
# and no program waits a second at its end for races that come then.
test: setup
	CGO_ENABLED=1 GORACE=$${GORACE:-atexit_sleep_ms=0} $(WITH_POSTGRES) go test -race -timeout 40m ./commands ./batch/process ./storage ./...

# The whole fault suite; `make test` has its short form.
test-faults: setup
	NOGGIN_FAULTS=full CGO_ENABLED=1 $(WITH_POSTGRES) .ci/faults Killed Restarted Mixed Several Signal Disk GoesAway FailsOver Lost Frozen Clock

# Four hosts with every command for HOURS, while all fails, is killed and is edited;
# then the comparison against the truth. SEED repeats a plan. `make test` has a short form.
soak: setup
	NOGGIN_SOAK=$(or $(HOURS),1)h NOGGIN_SOAK_SEED=$(SEED) $(WITH_POSTGRES) go test -timeout 0 -count 1 -run 'TestSoak$$' -v ./commands

# Cuts the power of volumes 200 times; `make test` has a short form. FLUSHES=out leaves
# out each of noggin's flushes instead and expects the damage. Needs root.
test-power:
	NOGGIN_SETUP=all .ci/setup
	NOGGIN_POWER=$(if $(FLUSHES),flushes,full) $(WITH_POSTGRES) go test -timeout 30m -count 1 -v ./commands/powercut

# Boots a container with systemd and tests the whole installation there. Needs root.
test-boot: setup
	.ci/boot

# Compares noggin with curl, psql and plain SQL. Needs about 12 GB in $TMPDIR;
# BENCH="--short --only claims" takes less. See commands/bench/README.md.
bench: setup build
	go run ./commands/bench --noggin ./noggin $(BENCH)

# Writes a CPU profile of one drain of each kind: `go tool pprof noggin 300-KB-at-40-ms.prof` reads one.
bench-profile: setup build
	go run ./commands/bench --noggin ./noggin --only process --rounds 1 --cpuprofiles $(CURDIR) --json /dev/null

lint: $(GOLANGCI_LINT)
	$(GOLANGCI_LINT) run --allow-parallel-runners ./...

fuzz: setup
	$(WITH_POSTGRES) .ci/fuzz $(FUZZ_TIME)

demo: setup build
	CGO_ENABLED=0 go run $(FLAGS) ./commands/demo --noggin ./noggin

# Installs what tests and demo need: PostgreSQL's server programs, zstd,
# systemd-analyze, a C compiler for the race detector.
setup:
	@.ci/setup

$(GOLANGCI_LINT):
	@mkdir -p bin
	scratch=$$(mktemp -d "$(CURDIR)/bin/.install.XXXXXX") && trap 'rm -rf "$$scratch"' EXIT && \
	GOBIN="$$scratch" go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_LINT_VERSION) && \
	mv "$$scratch/golangci-lint" $@
