# Everything that is done with this project by hand or by machine. `make` alone says what there is.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help deps build test fuzz chart cluster-binaries coredns e2e demo bench compare compare-page compare-dns \
  compare-dns-page lint rules-json

# nft, conntrack and others live in sbin, Go where its archive puts it: neither is in every user's PATH.
export PATH := $(PATH):/usr/local/sbin:/usr/sbin:/sbin:/usr/local/go/bin

# command:Debian package
NEEDED := cc:build-essential nft:nftables ip:iproute2 sysctl:procps conntrack:conntrack ping:iputils-ping \
  iptables-nft:iptables openssl:openssl dig:bind9-dnsutils musl-gcc:musl-tools \
  chromium-headless-shell:chromium-headless-shell

# The manifest that `make demo` shows.
DEMO ?= examples/01-clusterip.yaml
# For the test programs, such as --show-output or a part of a test's name.
TEST_FLAGS ?=

TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
IS_ROOT := $(filter 0,$(shell id -u))
HAS_SUDO := $(if $(IS_ROOT),,$(shell sudo -n true 2>/dev/null && echo yes))
SUDO := $(if $(IS_ROOT),,sudo)

# Tests make network namespaces, which takes root. cargo itself stays with the user; only what it built is run by sudo.
TEST_ENV = PORTOLAN_REQUIRE_KERNEL=1 $(if $(UPDATE_EXPECT),UPDATE_EXPECT=1)
toml_list = [$(foreach word,$(1),'$(word)',)]
ifneq ($(IS_ROOT),)
  CARGO_RUN = env $(TEST_ENV) cargo
else ifneq ($(HAS_SUDO),)
  CARGO_RUN = cargo --config "target.'cfg(unix)'.runner=$(call toml_list,sudo -n env $(TEST_ENV))"
endif

help: ## Say what there is
	@echo "make <target>, where target is one of"
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

deps: ## Install the commands that tests and demo need (Debian)
	@missing=
	for pair in $(NEEDED); do
	  command -v "$${pair%%:*}" >/dev/null || missing="$$missing $${pair#*:}"
	done
	if [ -z "$$missing" ]; then exit 0; fi
	if ! command -v apt-get >/dev/null; then
	  echo "Missing, by the names of their Debian packages:$$missing. Install them with this system's package manager." >&2
	  exit 1
	fi
	if [ -z "$(IS_ROOT)" ] && ! command -v sudo >/dev/null; then
	  echo "Missing:$$missing. Run \`make deps\` as root." >&2
	  exit 1
	fi
	echo "Installing$$missing"
	# Debian starts the services that come with a package; here only the programs are wanted.
	if [ ! -e /usr/sbin/policy-rc.d ]; then
	  trap '$(SUDO) rm -f /usr/sbin/policy-rc.d' EXIT
	  printf '#!/bin/sh\nexit 101\n' | $(SUDO) install -m 755 /dev/stdin /usr/sbin/policy-rc.d
	fi
	$(SUDO) apt-get update -qq
	$(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing
	for package in $$missing; do $(SUDO) systemctl disable --quiet "$$package.service" >/dev/null 2>&1 || true; done

build: ## Build the release binary
	cargo build --release --locked

test: deps ## Run all tests; as root or with sudo also those against the kernel
ifdef CARGO_RUN
	$(CARGO_RUN) test --locked -- $(TEST_FLAGS)
else
	log=$$(mktemp)
	trap 'rm -f "$$log"' EXIT
	cargo test --locked -- --show-output $(TEST_FLAGS) | tee "$$log"
	echo "There is neither root nor sudo without a password. Of the tests that need it these were SKIPPED:"
	grep SKIPPED "$$log" || echo "none"
endif

# Everything of the fuzzers is in here, what they found in the folder `crashes` of a target.
FUZZ_DIR := $(abspath $(TARGET_DIR))/fuzz
FUZZ_TARGETS ?= query upstream corefile rulesets targets
FUZZ_SECONDS ?= 30

fuzz: ## Feed the parsers of DNS, nft's listings and targets what nobody would write (FUZZ_SECONDS=30 each, FUZZ_TARGETS=query and others)
	@FUZZ_SEEDS=$(FUZZ_DIR)/seeds cargo test --quiet --locked --test fuzz_seeds
	(cd fuzz && CARGO_TARGET_DIR=$(FUZZ_DIR) cargo build --release --locked)
	for target in $(FUZZ_TARGETS); do
	  own=$(FUZZ_DIR)/$$target
	  mkdir -p "$$own/corpus" "$$own/crashes"
	  echo "Fuzzing $$target for $(FUZZ_SECONDS) seconds"
	  if ! $(FUZZ_DIR)/*/release/$$target "$$own/corpus" $(FUZZ_DIR)/seeds/$$target -max_total_time=$(FUZZ_SECONDS) \
	    -timeout=10 -rss_limit_mb=1024 -max_len=4096 -artifact_prefix="$$own/crashes/" -print_final_stats=1 >"$$own/log" 2>&1; then
	    tail -n 60 "$$own/log" >&2
	    echo "make fuzz: $$target failed. Its input is in $$own/crashes; $$own/log has the whole story. Once more:" >&2
	    echo "  $$(echo $(FUZZ_DIR)/*/release/$$target) $$own/crashes/..." >&2
	    exit 1
	  fi
	  grep -E 'number_of_executed_units|peak_rss_mb' "$$own/log"
	done

chart: ## Check the Helm chart: lint, every combination of its switches, its table of values (needs Go)
	@if ! command -v go >/dev/null; then
	  echo "SKIPPED make chart: Go is not installed, and Helm's engine is a Go library. The toolchain: https://go.dev/dl"
	  exit 0
	fi
	cargo build --locked
	cd tests/chart
	unformatted=$$(gofmt -l .)
	if [ -n "$$unformatted" ]; then echo "Not as gofmt writes it: $$unformatted" >&2; exit 1; fi
	go vet ./...
	PORTOLAN=$(abspath $(TARGET_DIR))/debug/portolan UPDATE_EXPECT=$(UPDATE_EXPECT) go test -count=1 -v ./... | grep -v '^=== RUN'

cluster-binaries: ## Build etcd, kube-apiserver and kube-proxy with Go, once; takes minutes
	@tests/cluster/build.sh >/dev/null || [ $$? = 77 ]

# What is built; nothing where there is no Go. Asked when a recipe runs, which is after the building.
CLUSTER_BINARIES = $(shell tests/cluster/build.sh --built)
# Their own variables (COMPARE_SIZES, E2E_AWAY_SECONDS, DNS_BENCH_SECONDS, ...) reach tests and benchmarks through sudo, too.
CLUSTER_ENV = PORTOLAN_REQUIRE_E2E=1 PORTOLAN_CLUSTER_BINARIES=$(CLUSTER_BINARIES) \
  $(foreach name,$(filter COMPARE_% E2E_% DNS_BENCH_%,$(.VARIABLES)),$(name)=$($(name)))

e2e compare compare-page compare-dns compare-dns-page: TEST_ENV += $(CLUSTER_ENV)
# Nodes and pods of the end-to-end tests run what the chart would run there.
RENDERED_CHARTS := $(abspath $(TARGET_DIR))/e2e
e2e: TEST_ENV += PORTOLAN_E2E_CHARTS=$(RENDERED_CHARTS)

e2e: deps cluster-binaries ## Run Portolan against a real API server; takes a quarter of an hour
ifdef CARGO_RUN
	@if [ -z "$(CLUSTER_BINARIES)" ]; then exit 0; fi
	@if ! command -v go >/dev/null; then
	  echo "SKIPPED make e2e: Go is not installed, and Helm's engine, which renders the chart, is a Go program" >&2
	  exit $(if $(filter 1,$(PORTOLAN_REQUIRE_E2E)),1,0)
	fi
	mkdir -p $(RENDERED_CHARTS)
	for values in plain names verified; do
	  (cd tests/chart && go tool helm template portolan ../../charts/portolan --namespace kube-system \
	    -f ../e2e/values/plain.yaml -f ../e2e/values/$$values.yaml) >$(RENDERED_CHARTS)/$$values.yaml
	done
	$(CARGO_RUN) test --locked --test e2e -- --ignored --test-threads=1 $(TEST_FLAGS)
else
	@echo "SKIPPED: these tests make network namespaces, which takes root or sudo without a password" >&2
	exit $(if $(filter 1,$(PORTOLAN_REQUIRE_E2E)),1,0)
endif

demo: deps build ## Show a Service at work in a cluster of network namespaces (DEMO=manifest)
	$(SUDO) $(TARGET_DIR)/release/portolan lab -f $(DEMO)

bench: deps ## Measure programming time, memory and first packets; takes minutes
	$(or $(CARGO_RUN),cargo) bench --locked

compare: TEST_ENV += PORTOLAN_COMPARE=1
compare: deps cluster-binaries ## Measure beside the real kube-proxy; takes more than an hour (COMPARE_SIZES=100 and others)
	@if [ -z "$(CLUSTER_BINARIES)" ]; then exit 0; fi
	$(or $(CARGO_RUN),env $(TEST_ENV) cargo) bench --locked --bench compare

compare-page: TEST_ENV += PORTOLAN_COMPARE=report
compare-page: ## Write docs/comparison.md and its plots anew, of the results that are there
	$(or $(CARGO_RUN),env $(TEST_ENV) cargo) bench --locked --bench compare

coredns: ## Build CoreDNS with Go, once; takes a minute or two
	@benches/dns/coredns/build.sh >/dev/null || [ $$? = 77 ]

compare-dns: NEEDED += nsd:nsd knotd:knot dnsperf:dnsperf
compare-dns: TEST_ENV += PORTOLAN_COMPARE=1 DNS_BENCH_COREDNS=$(shell benches/dns/coredns/build.sh --built)
compare-dns: deps cluster-binaries coredns ## Measure DNS beside NSD, Knot DNS and CoreDNS; takes half an hour (DNS_BENCH_SECONDS=2 and others)
	@if [ -z "$(CLUSTER_BINARIES)" ]; then exit 0; fi
	$(or $(CARGO_RUN),env $(TEST_ENV) cargo) bench --locked --bench dns

compare-dns-page: TEST_ENV += PORTOLAN_COMPARE=report
compare-dns-page: ## Write docs/dns-comparison.md and its plots anew, of the results that are there
	$(or $(CARGO_RUN),env $(TEST_ENV) cargo) bench --locked --bench dns

lint: ## Check format and lints
	cargo fmt --check
	(cd fuzz && cargo fmt --check)
	cargo clippy --locked --all-targets -- -D warnings

rules-json: UPDATE_EXPECT := 1
rules-json: deps ## Write rules/*.json anew after a change of rules/*.nft
	$(or $(CARGO_RUN),cargo) test --locked --test kernel -- rules_json_is_what_nft_makes_of_the_program

.ONESHELL:
