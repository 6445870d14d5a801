# The short list of verbs that a person types; Meson does the building. Every verb has its line in `make help`.
SHELL = /bin/sh
.DEFAULT_GOAL = build
.PHONY: db run run-matrix proxy prepare-citus run-citus clean help build test test-full check bench bench-proxy bench-scatter bench-writes install setup ready

SHARDS ?=
WORKERS ?=
SHARD_COUNT ?=
PROVIDER ?=
PREFIX ?= /usr/local
DESTDIR ?=
USERS ?=
LISTEN ?=
export DEPS DESTDIR SHARDS WORKERS SHARD_COUNT PROVIDER

# USERS as the environment may have it is nobody's CSV file: only what was typed behind `make` counts.
ifeq ($(origin USERS),environment)
USERS :=
endif

quote = '$(subst ','\'',$(1))'

ready:
	@scripts/setup build
	@scripts/build build

db: ready ## create and start the demo's shards: 4, or SHARDS=n; in containers: PROVIDER=docker
	@build/pgmosaic lab up demo $(if $(SHARDS),--shards $(call quote,$(SHARDS))) \
		$(if $(PROVIDER),--with $(call quote,$(PROVIDER)))

run: ready ## the main example: users spread by id over real servers; your own: USERS=file.csv
	@scripts/example basic $(if $(USERS),$(call quote,$(USERS)))

run-matrix: ready ## the same for string keys: Matrix ids, by a hash; your own: USERS=file.csv
	@scripts/example matrix $(if $(USERS),$(call quote,$(USERS)))

proxy: ready ## one address for the servers of make db, for any client; another: LISTEN=host:port
	@scripts/proxy $(if $(LISTEN),$(call quote,$(LISTEN)))

prepare-citus: ready ## start a Citus coordinator and 2 workers (WORKERS=n, SHARD_COUNT=n); in containers: PROVIDER=docker
	@build/pgmosaic lab up citus --engine citus $(if $(WORKERS),--workers $(call quote,$(WORKERS))) \
		$(if $(SHARD_COUNT),--shard-count $(call quote,$(SHARD_COUNT))) \
		$(if $(PROVIDER),--with $(call quote,$(PROVIDER)))

run-citus: ready ## the example on Citus: the same users, a worker more, and the same questions asked of all three ways
	@scripts/example citus

clean: ## stop and remove every server, container and file that these made, and the build
	@scripts/clean

help: ## this list
	@echo "make VERB [NAME=value …]"; echo
	@sed -n 's/^\([a-z][a-z-]*\):[^#]*## \(.*\)/\1|\2/p' Makefile | while IFS='|' read -r verb what; do \
		printf '  %-14s %s\n' "$$verb" "$$what"; done
	@echo; echo "DEPS=no with any verb: install nothing, only name what is missing."

build: ready ## build; the command is left at build/pgmosaic (also plain `make`)

test: ## all tests, in at most 15 minutes; installs what they need
	@scripts/setup test
	@tests/run

test-full: ## all tests with every sanitizer, long fuzzing (FUZZ_SECONDS=n) and big files
	@scripts/setup test
	@tests/run --full

check: ## unit tests and lint of what changed, in under a minute
	@scripts/setup test
	@tests/run --check

bench: ready ## measure, and compare with the bars
	@bench/run

bench-proxy: ready ## what the proxy costs, beside PgBouncer (a newer one: PGBOUNCER=program) and direct connections
	@bench/proxy_bench.py

bench-scatter: ready ## what it costs that several shards answer one statement, beside asking all of them directly
	@bench/scatter_bench.py

bench-writes: ready ## what it costs that several shards write, and commit by two phases, beside one PostgreSQL
	@bench/writes_bench.py

install: ready ## install command, library, header and man pages (PREFIX=/usr/local, DESTDIR=)
	@scripts/install $(call quote,$(PREFIX))

setup: ## install what the build and the servers need, and nothing else
	@scripts/setup build
