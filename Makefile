# Two commands for a fresh machine:
#
#   make demo             a server and a device login to approve in the browser; everything stays in DEMO_DIR
#   make demo APPROVE=1   the same, approved by the demo person over HTTP; ends with the token's claims
#   make test             every test
#
# Both install what is missing first (see scripts/install). From another directory: make -f path/to/Makefile demo

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

.PHONY: help demo test install regenerate

help:
	@sed -n '3,5s/^#   //p' $(ROOT)/Makefile

demo:
	@$(ROOT)/scripts/install
	@cargo build --locked --manifest-path $(ROOT)/Cargo.toml
	@$(CARGO_TARGET_DIR)/debug/countersign dev --data-dir '$(DEMO_DIR)' --listen $(DEMO_LISTEN) --login $(if $(APPROVE),--approve)

test:
	@$(ROOT)/scripts/install --tests
	@$(ROOT)/scripts/test

install:
	@$(ROOT)/scripts/install --tests

regenerate:
	@$(ROOT)/scripts/regenerate
