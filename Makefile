# Every target does its own set-up: a virtual environment in .venv, a release build, an install; again only when something changed.
# It knows which commands make up a check; what is installed stands in pyproject.toml.
# Invariant: standard output belongs to the command asked for; set-up talks on standard error.

VENV  := .venv
PY    := $(VENV)/bin/python
STUB  := python/throttle/_core.pyi
ARGS  ?=
BENCH ?= full
# of the Rust benchmarks: `test` builds them sooner, for those who only want to see that they run
PROFILE ?= bench
FUZZ  ?= $(patsubst rust/fuzz/fuzz_targets/%.rs,%,$(wildcard rust/fuzz/fuzz_targets/*.rs))
FOR   ?= $(if $(filter soak,$(MAKECMDGOALS)),600,60)
UNDER ?= 12 13 14
# the last line has the libraries of Exim, which conflicts with Postfix and is only unpacked
SERVERS := postfix systemd libmilter-dev python3-dev sasl2-bin libsasl2-modules prometheus prometheus-alertmanager \
	libgnutls-dane0 libidn12 libnsl2 swaks
# what a soak needs: with mail servers, where they can be installed
SOAKED = $(shell [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && echo servers || echo test)
PEERS := postfix policyd-rate-limit postfwd
DOCS  ?=
OUTCOMES := out/attacks.jsonl
MATURIN := $(shell sed -n 's/^requires = \["\([^"]*\)"\].*/\1/p' pyproject.toml)
SETUPTOOLS := $(shell sed -n 's/^ *"\(setuptools[^"]*\)".*/\1/p' pyproject.toml)
MSRV  := $(shell sed -n 's/^rust-version *= *"\([0-9.]*\)".*/\1/p' Cargo.toml)

# the bindings' crate is linked by maturin only: a test binary of it would need libpython
CORE  := --locked --workspace --exclude throttle-python

# directories too: a file that is gone changes its directory
BUILT_FROM := pyproject.toml Cargo.toml Cargo.lock $(STUB) $(shell find rust python/throttle/policies \
	\( -name target -o -name tests -o -name benches -o -name fuzz \) -prune -o \
	\( -type d -o -name '*.rs' -o -name '*.toml' \) -print 2>/dev/null)

# Property tests of the core take their seed from here, those in Python from tests/conftest.py; THROTTLE_SEED sets both.
export PROPTEST_RNG_SEED ?= $(or $(THROTTLE_SEED),$(shell sed -n 's/^PROPTEST_RNG_SEED = "\(.*\)"/\1/p' .cargo/config.toml))

export PYO3_PYTHON := $(abspath $(PY))
export BENCH
.NOTPARALLEL:
.DELETE_ON_ERROR:
.PHONY: help demo test soak attacks bench servers peers against wheel instructions fuzz corpus lint docs pictures flood clean

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "%-19s %s\n", $$1, $$2 }'

demo: $(VENV)/.ready-demo ## replay the outage on real SMTP servers; ARGS=--json prints the table as JSON only
	@$(PY) -m throttle demo $(ARGS)
	@echo "make: to guard a Postfix of your own: $(VENV)/bin/throttle serve --postfix inet:127.0.0.1:10040" >&2

test: $(VENV)/.ready-test ## Rust tests, documentation tests, Python tests, under fixed seeds; ARGS go to pytest
	@$(need_rust)
	@echo "seed: PROPTEST_RNG_SEED=$(PROPTEST_RNG_SEED)"
	@if cargo nextest --version >/dev/null 2>&1; then cargo nextest run $(CORE); else cargo test $(CORE) --all-targets; fi
	@cargo test $(CORE) --doc
	@$(PY) -m pytest -n 2 --dist worksteal $(ARGS)

soak: ## the same tests and those of minutes under new seeds, FOR=600 seconds; prints how to repeat a failure; ARGS go to pytest
	@$(need_rust)
	@$(if $(filter servers,$(SOAKED)),$(call install,$(SERVERS)))
	@$(MAKE) --no-print-directory $(VENV)/.ready-$(SOAKED)
	@if cargo nextest --version >/dev/null 2>&1; then cargo nextest run $(CORE) --no-run; else cargo test $(CORE) --all-targets --no-run; fi
	@$(PY) tests/soak.py --for $(FOR) $(ARGS)

attacks: $(VENV)/.ready-test ## every attack under the seeds UNDER, one table of all; DOCS=write puts it into the docs
	@mkdir -p out && rm -f $(OUTCOMES)
	@failed=; for seed in $(UNDER); do \
		THROTTLE_SEED=$$seed THROTTLE_ATTACKS=$(OUTCOMES) $(PY) -m pytest tests/adversarial -n 2 --dist worksteal -q $(ARGS) \
			|| failed="$$failed $$seed"; \
	done; \
	$(PY) tests/attack_table.py $(OUTCOMES) $(if $(DOCS),--write) && \
	{ test -z "$$failed" || { echo "failed under seed:$$failed" >&2; exit 1; }; }

bench: $(VENV)/.ready-test ## Rust and Python benchmarks, peers side by side; BENCH=short takes a minute
	@$(need_rust)
	@cargo bench $(CORE) --profile $(PROFILE) --bench '*' -- $(if $(filter short,$(BENCH)),--warm-up-time 0.2 --measurement-time 0.5 --sample-size 10)
	@$(PY) -m pytest benches --benchmark-only $(if $(filter short,$(BENCH)),--benchmark-min-rounds=3 --benchmark-max-time=0.2) $(ARGS)
	@$(PY) benches/fresh_senders.py $(if $(filter short,$(BENCH)),--count 1000000)
	@$(PY) benches/reload.py $(if $(filter short,$(BENCH)),--reloads 1)
	@$(PY) benches/exported_series.py $(if $(filter short,$(BENCH)),--count 100000)
	@$(PY) benches/guarded_metrics.py $(if $(filter short,$(BENCH)),--invented 20000 --rounds 20)

servers: ## tests with real mail servers, as root: installs Debian's packages; ARGS go to pytest
	@$(call install,$(SERVERS))
	@$(MAKE) --no-print-directory $(VENV)/.ready-servers
	@THROTTLE_SERVERS=1 $(PY) -m pytest -m 'servers and not soak' --durations=10 tests/integrations $(ARGS)
	@$(PY) tests/integrations/aiosmtpd/own_suite.py

peers: ## measure `throttle serve --postfix` against its peers and behind Postfix (root, apt); BENCH=short
	@$(call install,$(PEERS))
	@$(MAKE) --no-print-directory $(VENV)/.ready-test
	@missed=; \
	$(PY) benches/policy_service.py $(if $(filter short,$(BENCH)),--rounds 2) $(ARGS) || missed=1; \
	$(PY) benches/behind_postfix.py $(if $(filter short,$(BENCH)),--messages 300 --rounds 2) $(ARGS) && test -z "$$missed"

against: $(VENV)/.ready-test ## time this tree, or WHEEL=path, against another commit, COMMIT=…; ARGS='--json --rounds=30 peek'
	@test -n "$(COMMIT)" || $(call missing,say which commit: make against COMMIT=615e29b)
	@$(PY) benches/against --commit $(COMMIT) $(if $(WHEEL),--wheel $(WHEEL)) $(ARGS)

wheel: $(VENV)/.ready-python ## wheels, in dist: one for this Python, built with a profile, and an abi3 one for all others
	@$(need_rust)
	@$(PY) benches/wheel.py $(ARGS)

instructions: $(VENV)/.ready-python ## instructions of the hot path against records (valgrind); ARGS=--record adds lines
	@$(need_rust)
	@$(PY) benches/instructions.py $(ARGS)

fuzz: target/tools/bin/cargo-fuzz ## look for inputs that break a promise: FOR=60 seconds each of FUZZ='addresses domains …'; ARGS go to libFuzzer
	@$(need_rust)
	@for target in $(FUZZ); do \
		mkdir -p rust/fuzz/target/found/$$target && \
		$(CARGO_FUZZ) run $(FUZZED) $$target rust/fuzz/target/found/$$target rust/fuzz/corpus/$$target -- \
			-max_total_time=$(FOR) -timeout=10 -verbosity=0 -print_final_stats=1 -dict=rust/fuzz/dictionaries/$$target.dict $(ARGS) || exit 1; \
	done

corpus: target/tools/bin/cargo-fuzz ## keep the 100 found inputs of each target that reach most of the code; named ones stay
	@$(need_rust)
	@for target in $(FUZZ); do \
		kept=rust/fuzz/corpus/$$target merged=rust/fuzz/target/merged/$$target; \
		rm -rf $$merged && mkdir -p $$merged rust/fuzz/target/found/$$target && cp $$kept/*-* $$merged && \
		$(CARGO_FUZZ) run $(FUZZED) $$target $$merged $$kept rust/fuzz/target/found/$$target -- \
			-set_cover_merge=1 -use_counters=0 -max_len=1024 -verbosity=0 && \
		ls -tr $$merged | grep -v -- - | tail -n +$$(( $(SEEDS) + 1 )) | (cd $$merged && xargs -r rm) && \
		rm -rf $$kept && mv $$merged $$kept || exit 1; \
	done

lint: $(VENV)/.ready-lint ## rustfmt, clippy, dead links in the documentation, ruff, long lines, cycles between files, mypy, stubs against the compiled module
	@$(need_rust)
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc $(CORE) --no-deps --document-private-items
	$(PY) -m ruff check
	$(PY) -m ruff format --check
	$(PY) tests/long_lines.py
	$(PY) tests/core_structure.py --cycles
	$(PY) -m mypy
	@test -f $(STUB) || $(call missing,$(STUB) is missing$(comma) and stubtest passes a module without a stub.)
	$(PY) -m mypy.stubtest throttle._core throttle._replay --mypy-config-file pyproject.toml

docs: $(VENV)/.ready-docs ## the documentation site, in out/site; warnings and dead links within it are errors (its code blocks are run by make test)
	@rm -rf out/site
	$(PY) -m sphinx -q -W --keep-going -b html docs out/site

pictures: $(VENV)/.ready-test ## draw docs/pictures again; ARGS are names of some
	@$(PY) docs/pictures $(ARGS)

flood: $(VENV)/.ready-test ## designs under a flood of unique keys, at equal memory: the table and its picture; ten minutes, BENCH=short one
	@$(need_rust)
	@cargo run --release --locked --package throttle-core --example flood -- --json docs/pictures/flood.json
	@$(PY) docs/pictures flood

clean: ## remove what was built here
	rm -rf $(VENV) target python/throttle/_core.*so

# --- mail servers -----------------------------------------------------------------------------------------------------

# Debian starts a service at once when it installs one, unless this file forbids it.
NO_START := /usr/sbin/policy-rc.d

# Installs Debian's packages that are missing. Nothing of the machine is removed, upgraded or started.
define install
test "$$(id -u)" = 0 || $(call missing,mail servers are installed and started as root.); \
command -v apt-get >/dev/null || $(call missing,mail servers are packages of Debian: apt-get is missing.); \
if dpkg-query --show --showformat '$${db:Status-Status}\n' $(1) 2>&1 | grep -qv '^installed$$'; then \
	export DEBIAN_FRONTEND=noninteractive; \
	test -e $(NO_START) || { trap 'rm -f $(NO_START)' EXIT; trap 'exit 1' INT TERM; \
		printf '#!/bin/sh\nexit 101\n' > $(NO_START); chmod +x $(NO_START); }; \
	apt-get update -qq && \
	{ test -e /etc/postfix/main.cf || \
		echo postfix postfix/main_mailer_type select No configuration | debconf-set-selections; } && \
	apt-get install -y -qq --no-install-recommends --no-remove --no-upgrade $(1) >&2; fi
endef

# --- fuzzing ----------------------------------------------------------------------------------------------------------

# libFuzzer writes the inputs in the order in which they add most to what is reached, so the oldest files are kept.
# rust/core/tests/corpus.rs has the same number.
SEEDS := 100

# no sanitizer: those need an unstable toolchain, and this is safe Rust
FUZZED := --fuzz-dir rust/fuzz --sanitizer none
CARGO_FUZZ := PATH="$(abspath target/tools/bin):$$PATH" cargo fuzz

target/tools/bin/cargo-fuzz:
	@$(need_rust); \
	echo "make: installing cargo-fuzz into target/tools; it takes a minute" >&2; \
	cargo install --quiet --locked --root target/tools cargo-fuzz@0.13.2 >&2

# --- set-up -----------------------------------------------------------------------------------------------------------

missing = { echo "make: $(1)" >&2; exit 1; }

define need_rust
have=$$(cargo --version 2>/dev/null | sed -n 's/^cargo \([0-9.]*\).*/\1/p'); \
if [ -z "$$have" ]; then $(call missing,no Rust toolchain found: install Rust $(MSRV) or newer$(comma) so that cargo is on the PATH.); fi; \
if [ "$$(printf '%s\n' $(MSRV) "$$have" | sort -t. -k1$(comma)1n -k2$(comma)2n | head -n 1)" != $(MSRV) ]; then \
	$(call missing,this cargo is $$have and Rust $(MSRV) or newer is needed.); fi; \
if ! command -v cc >/dev/null && ! command -v gcc >/dev/null && ! command -v clang >/dev/null; then \
	$(call missing,no C compiler found$(comma) which Rust needs for linking: install gcc or clang.); fi
endef
comma := ,

# Each candidate is run, not looked up: a version manager's shim may exist for a Python that does not.
# setuptools builds pymilter, which has no wheel; an older one, as comes with Python 3.11, cannot.
$(VENV)/.ready-python:
	@old=; bare=; python=; \
	for candidate in $(or $(PYTHON),python3 python3.14 python3.13 python3.12 python3.11 python); do \
		version=$$($$candidate -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || continue; \
		if ! $$candidate -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then old=$$version; \
		elif ! $$candidate -c 'import ensurepip, venv' 2>/dev/null; then bare="$$candidate ($$version)"; \
		else python=$$candidate; break; fi; \
	done; \
	if [ -n "$$python" ]; then :; \
	elif [ -n "$$bare" ]; then $(call missing,$$bare lacks the venv module: install it (Debian and Ubuntu: python3-venv).); \
	elif [ -n "$$old" ]; then $(call missing,the Python found is $$old and 3.11 or newer is needed: install it or say make PYTHON=/path/to/python.); \
	else $(call missing,no Python found: install Python 3.11 or newer or say make PYTHON=/path/to/python.); fi; \
	$(need_rust); \
	echo "make: setting up $(VENV) with $$python ($$version)" >&2; \
	$$python -m venv $(VENV) >&2 && $(PY) -m pip install --quiet '$(MATURIN)' '$(SETUPTOOLS)' >&2
	@touch $@

# maturin stands in the environment already, so that no second one is fetched for an isolated build
$(VENV)/.ready-%: $(VENV)/.ready-python $(BUILT_FROM)
	@$(need_rust); \
	echo "make: building throttle and installing what $* needs; the first time takes a few minutes" >&2; \
	PATH="$(abspath $(VENV))/bin:$$PATH" $(PY) -m pip install --quiet --no-build-isolation --editable '.[$*]' >&2
	@touch $@
