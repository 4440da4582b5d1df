# For a fresh machine:
#
#   make demo             a server and a device login to approve in the browser; everything stays in DEMO_DIR
#   make demo APPROVE=1   the same, approved by the demo person over HTTP; ends with the token's claims
#   make test             every test
#   make fuzz             mutated inputs, 30 seconds for each kind of them (FUZZ_SECONDS)
#   make bench            how fast it is, beside what it could be; writes docs/performance.md (PARTS, BENCH_QUICK=1)
#   make bench-timing     whether the time of an answer tells what it doesn't say
#
# Each installs what is missing first (see scripts/install). From another directory: make -f path/to/Makefile demo

ROOT := $(patsubst %/,%,$(dir $(realpath $(lastword $(MAKEFILE_LIST)))))

# Where the demo keeps its data, its PostgreSQL included.
DEMO_DIR ?= .countersign
# Where the demo listens: a loopback address and a port.
DEMO_LISTEN ?= 127.0.0.1:8080
# Anything: the demo person approves.
APPROVE ?=

CARGO_TARGET_DIR ?= $(ROOT)/target
export CARGO_TARGET_DIR
# The queries are checked against the committed .sqlx: no database is needed to build.
export SQLX_OFFLINE = true

.PHONY: help demo test fuzz bench bench-timing install regenerate

help:
	@sed -n '3,8s/^#   //p' $(ROOT)/Makefile

demo:
	@$(ROOT)/scripts/install
	@cargo build --locked --manifest-path $(ROOT)/Cargo.toml
	@$(CARGO_TARGET_DIR)/debug/countersign dev --data-dir '$(DEMO_DIR)' --listen $(DEMO_LISTEN) --login $(if $(APPROVE),--approve)

test:
	@$(ROOT)/scripts/install --tests
	@$(ROOT)/scripts/test

# Every fuzz target of tests/fuzz for so many seconds, as many at a time as there are cores.
FUZZ_SECONDS ?= 30
fuzz:
	@$(ROOT)/scripts/install --tests
	@BOLERO_RANDOM_TEST_TIME_MS=$(FUZZ_SECONDS)000 cargo test --locked --manifest-path $(ROOT)/Cargo.toml --test fuzz -- --nocapture

# How fast it is, beside what it could be. For a machine that does nothing else. PARTS: some of polls, authorization, tokens,
# open, idle, held; then nothing is written.
PARTS ?=
bench:
	@$(ROOT)/scripts/install
	@cargo bench --locked --manifest-path $(ROOT)/Cargo.toml --bench load -- $(PARTS)

# Whether the time of an answer tells what it doesn't say. For a machine that does nothing else.
bench-timing:
	@$(ROOT)/scripts/install --tests
	@cargo bench --locked --manifest-path $(ROOT)/Cargo.toml --bench timing

install:
	@$(ROOT)/scripts/install --tests

regenerate:
	@$(ROOT)/scripts/regenerate
