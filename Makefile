# Longhaul: `make run` to use it, `make test` to prove it, `make dev` to work on it.
#
# Each brings what it needs and is missing, says what it does, and can be run again. What it installs goes
# to a cache of its own, shared by all checkouts, never into yours: cargo-leptos and wasm-bindgen must have
# the very versions this project is locked to.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help

LEPTOS := 0.3.10
BINDGEN := $(shell sed -n 's/^wasm-bindgen = "=\([0-9.]*\)"/\1/p' Cargo.toml)
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/longhaul
TOOLS := $(CACHE)/tools-$(LEPTOS)-$(BINDGEN)
python = $(CACHE)/python-$(shell sha256sum end2end/clients/$(1) | head -c 12)/.installed
PYTHON_CLIENTS := $(call python,requirements.txt)
PYTHON_SOAK := $(call python,requirements-soak.txt)
NPM := $(CURDIR)/end2end/node_modules/.bin

# Tools of ours first, then those that are there anyway.
export PATH := $(TOOLS)/bin:$(NPM):$(PATH)
export LEPTOS_WASM_BINDGEN_VERSION := $(BINDGEN)
export PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD := 1

# make run LISTEN=127.0.0.1:4000 DATABASE_URL=sqlite://elsewhere.db
LISTEN ?= 127.0.0.1:3000
DATABASE_URL ?= sqlite://longhaul.db

# The weight of a first visit, in bytes, brotli.
WEIGHT_LIMIT := 165000

say = @printf '\033[1m==> %s\033[0m\n' "$(1)"

.PHONY: help run test bench soak dev build tools npm chromium lint rust weight clients e2e clean-tools

help:
	@echo 'make run    build the release and serve it on http://$(LISTEN)'
	@echo 'make test   formatting, lints, every Rust test, clients made by stock tools, the browser tests'
	@echo 'make soak   the crash tests at full length: 10 000 kills, a million power cuts; an hour and more'
	@echo 'make bench  the figures of the README, measured on this machine; about ten minutes after a build'
	@echo 'make dev    serve, and build and reload on every change'
	@echo 'make build  build the release: target/release/longhaul, complete in one file'

run: build
	$(call say,Serving on http://$(LISTEN) with $(DATABASE_URL); stop with Ctrl-C)
	@exec target/release/longhaul serve --listen $(LISTEN) --database '$(DATABASE_URL)'

dev: tools
	$(call say,Watching: http://$(LISTEN) reloads on every change)
	@exec env LEPTOS_SITE_ADDR=$(LISTEN) cargo leptos watch -- serve --listen $(LISTEN) --database '$(DATABASE_URL)'

test: lint rust build weight clients e2e
	$(call say,All tests passed)

# Another run every day; what a failure prints as its seed brings it back: make soak SEED=20261124
SEED ?= $(shell date +%Y%m%d)
REQUESTS ?= 20000
soak: postgres build $(PYTHON_SOAK)
	$(call say,Crash tests at full length with seed $(SEED))
	@LONGHAUL_CRASH_SEED=$(SEED) LONGHAUL_CRASH_CYCLES=10000 LONGHAUL_POWER_CUTS=1000000 \
	  LONGHAUL_UPGRADE_CUTS=100000 LONGHAUL_RACE_ROUNDS=100000 LONGHAUL_NODE_ROUNDS=200 LONGHAUL_NODE_PAUSE=60 \
	  cargo test --features ssr --test integration crash:: -- --nocapture --test-threads=1
	$(call say,Requests made from the API's description: $(REQUESTS) and more)
	@SEED=$(SEED) $(dir $(PYTHON_SOAK))bin/python end2end/clients/check.py target/release/longhaul --soak $(REQUESTS)

# make bench ONLY=race,single SCALE=10000000; see benches/main.rs
ONLY ?= race,single,lists,history,search,size,start,live,dashboards,crowd,searches,large,postgres
SCALE ?= 1000000
bench: build postgres redis chromium
	$(call say,Building the load and the histories)
	@cargo build --release --features ssr --example bench --example generate
	@npm ci --prefix benches/bullmq --no-audit --no-fund --loglevel=error
	$(call say,Measuring $(ONLY): about ten minutes; leave the machine alone meanwhile)
	@CHROMIUM=$$($(MAKE) -s which-chromium) target/release/examples/bench --only $(ONLY) --scale $(SCALE)

# The browser's part first: the program carries it inside.
build: tools
	$(call say,Building the browser's part)
	@cargo leptos build --release --precompress --frontend-only
	$(call say,Building the program)
	@cargo leptos build --release --server-only

lint: tools
	$(call say,Checking formatting and lints)
	@cargo fmt --check
	@cargo clippy --features ssr --all-targets -- -D warnings
	@cargo clippy --lib --features hydrate --target wasm32-unknown-unknown --target-dir target/front -- -D warnings

rust: postgres
	$(call say,Running the Rust tests)
	@cargo test --features ssr

weight:
	$(call say,Weighing a first visit)
	@total=0; for file in js wasm css; do \
	  size=$$(stat -c %s target/site/pkg/longhaul.$$file.br); total=$$((total + size)); \
	  printf '    %-5s %7d bytes brotli\n' $$file $$size; \
	done; \
	printf '    %-5s %7d of at most $(WEIGHT_LIMIT)\n' all $$total; \
	test $$total -le $(WEIGHT_LIMIT) || { echo 'A first visit weighs too much.'; exit 1; }

# What other people's tools make of the API's description. PROGRAM=target/debug/longhaul tries a debug build.
PROGRAM ?= target/release/longhaul
clients: npm $(PYTHON_CLIENTS)
	$(call say,Making clients from the API's description and using them)
	@$(dir $(PYTHON_CLIENTS))bin/python end2end/clients/check.py $(PROGRAM)

# Tools in Python, each set in an environment named after what is pinned.
$(PYTHON_CLIENTS): WANTED := end2end/clients/requirements.txt
$(PYTHON_SOAK): WANTED := end2end/clients/requirements-soak.txt
$(PYTHON_CLIENTS) $(PYTHON_SOAK):
	$(call say,Installing the packages of $(WANTED))
	@python3 -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; } \
	    || { echo 'Python 3.11 or newer with venv is missing. Install it (Debian: apt-get install python3-venv).'; exit 1; }; \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-venv >/dev/null; }
	@python3 -m venv --clear $(dir $@)
	@$(dir $@)bin/pip install --quiet --disable-pip-version-check --require-hashes -r $(WANTED)
	@touch $@

e2e: npm chromium
	$(call say,Running the browser tests)
	@cd end2end && CHROMIUM=$$($(MAKE) -s -C .. which-chromium) npx playwright test $(E2E)

tools: npm
	@command -v cargo >/dev/null || { echo 'Rust is missing. Install it from https://rustup.rs and run this again.'; exit 1; }
	@rustc --print target-libdir --target wasm32-unknown-unknown 2>/dev/null | xargs -r test -d \
	  || { printf '\033[1m==> Adding the wasm32 target\033[0m\n'; \
	       command -v rustup >/dev/null || { echo 'The wasm32-unknown-unknown target is missing, and rustup is not there to add it.'; exit 1; }; \
	       rustup target add wasm32-unknown-unknown; }
	@[ "$$(cargo leptos --version 2>/dev/null | awk '{print $$2}')" = '$(LEPTOS)' ] || $(MAKE) install-leptos
	@[ "$$(wasm-bindgen --version 2>/dev/null | awk '{print $$2}')" = '$(BINDGEN)' ] || $(MAKE) install-bindgen
	@command -v wasm-opt >/dev/null || { echo 'wasm-opt is missing; it comes with: npm ci --prefix end2end'; exit 1; }

# Prebuilt where one can be had; from source otherwise, without the link-time optimisation that would
# double the time for a tool that waits for rustc anyway.
.PHONY: install-leptos install-bindgen which-chromium
install-leptos:
	$(call say,Installing cargo-leptos $(LEPTOS): about a minute prebuilt or 11 minutes from source)
	@{ command -v cargo-binstall >/dev/null && cargo binstall --no-confirm --root '$(TOOLS)' 'cargo-leptos@$(LEPTOS)'; } \
	  || CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_PROFILE_RELEASE_OPT_LEVEL=1 \
	     cargo install --quiet --locked --root '$(TOOLS)' --features no_downloads 'cargo-leptos@$(LEPTOS)'

install-bindgen:
	$(call say,Installing wasm-bindgen-cli $(BINDGEN): 2 minutes from source)
	@{ command -v cargo-binstall >/dev/null && cargo binstall --no-confirm --root '$(TOOLS)' 'wasm-bindgen-cli@$(BINDGEN)'; } \
	  || CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_PROFILE_RELEASE_OPT_LEVEL=1 \
	     cargo install --quiet --root '$(TOOLS)' 'wasm-bindgen-cli@$(BINDGEN)'

npm: end2end/node_modules/.installed
end2end/node_modules/.installed: end2end/package-lock.json
	$(call say,Installing npm packages)
	@command -v npm >/dev/null || { echo 'npm is missing. Install Node.js 20 or newer and run this again.'; exit 1; }
	@npm ci --prefix end2end --no-audit --no-fund --loglevel=error
	@touch $@

chromium:
	@$(MAKE) -s which-chromium >/dev/null || { \
	  printf '\033[1m==> Installing Chromium\033[0m\n'; \
	  { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; } \
	    || { echo 'Chromium is missing. Install it (Debian: apt-get install chromium), or set CHROMIUM=/path/to/it.'; exit 1; }; \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium >/dev/null; }

which-chromium:
	@{ [ -n "$${CHROMIUM:-}" ] && command -v "$$CHROMIUM"; } || command -v chromium || command -v chromium-browser || command -v google-chrome

# Its programs, for clusters that the tests start and end themselves; no service is needed.
.PHONY: postgres which-postgres
postgres:
	@$(MAKE) -s which-postgres >/dev/null || { \
	  printf '\033[1m==> Installing PostgreSQL\033[0m\n'; \
	  { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; } \
	    || { echo 'PostgreSQL is missing. Install it (Debian: apt-get install postgresql), or put its initdb, postgres and psql on the PATH.'; exit 1; }; \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq postgresql >/dev/null; }

.PHONY: redis
redis:
	@command -v redis-server >/dev/null || { \
	  printf '\033[1m==> Installing Redis, for the peer\033[0m\n'; \
	  { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; } \
	    || { echo 'redis-server is missing. Install it (Debian: apt-get install redis-server), or leave the race out with ONLY=.'; exit 1; }; \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends redis-server >/dev/null; }

which-postgres:
	@(ls -d $$(echo "$$PATH" | tr ':' ' ') /usr/lib/postgresql/*/bin /usr/local/pgsql/bin 2>/dev/null || true) \
	  | while read -r bin; do [ -x "$$bin/initdb" ] && [ -x "$$bin/postgres" ] && [ -x "$$bin/psql" ] && echo "$$bin" && break; done \
	  | grep .

clean-tools:
	rm -rf '$(TOOLS)' end2end/node_modules
