# Everything there is to do with this tree. `make` alone lists it.
#
# The steps live here, their tools in packaging/. Each runs through .ci/step, which times it and
# names it when it fails.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
# The lab and the benchmarks measure: nothing runs beside them. cargo uses the cores by itself.
.NOTPARALLEL:

STEP := .ci/step
# bpf-linker and cargo-deny, as packaging/install-build-tools leaves them; and where the first cargo
# of PATH is older than Cargo.toml's rust-version, Debian's before it.
OLD_RUST := $(shell cargo --version 2>/dev/null | awk '{ split($$2, v, "."); if (v[1] == 1 && v[2] < 95) print "old" }')
export PATH := $(CURDIR)/.tools/bin:$(if $(OLD_RUST),/usr/bin:)$(PATH)
# One target directory, whatever the caller's habits: packaging and figures.json live in it too.
export CARGO_TARGET_DIR := $(CURDIR)/target
export CARGO_TERM_PROGRESS_WHEN := never

# Expanded when used, not when read: the compiler may be installed by the step before.
HOST = $(shell rustc -vV 2>/dev/null | sed -n 's/^host: //p')
BINARY = $(CARGO_TARGET_DIR)/$(HOST)/release/landfall
NEIGHBOUR = $(CARGO_TARGET_DIR)/debug/landfall-neighbour
STATIC = RUSTFLAGS='-C target-feature=+crt-static' cargo build --release --locked --target $(HOST)
# The kernel programs compile for another target, from ebpf/build.rs.
CRATES := --workspace --exclude landfall-ebpf-programs
# The kernel programs' own toolchain: Debian's, which has the library sources for build-std.
KERNEL_CARGO := env PATH=/usr/bin:$(PATH) RUSTC_BOOTSTRAP=1 \
	CARGO_ENCODED_RUSTFLAGS='--cfg=bpf_target_arch="$(shell uname -m)"' /usr/bin/cargo

.PHONY: help
help: ## list what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: tools-build binary ## the static binary, target/<host>/release/landfall
.PHONY: check
check: tools fmt clippy unit ## the quick half of test: format, lints, unit tests
.PHONY: test
test: begin tools fmt clippy clippy-kernel doc deny unit kernel binary neighbour lab packaging ## everything, as CI runs it
	@.ci/summary

.PHONY: demo
demo: tools-build binary ## play the story: three nodes, three services, one dies
	@$(STEP) build-lab bash -c "$(STATIC) -p landfall-tests --bin landfall-lab"
	@LANDFALL_BIN=$(BINARY) $(dir $(BINARY))landfall-lab demo

.PHONY: cluster
cluster: tools-cluster cluster-programs binary ## a real Kubernetes cluster with Landfall, left running to play with
	@LANDFALL_BIN=$(BINARY) target/debug/landfall-lab cluster up
.PHONY: cluster-down
cluster-down: ## take down what make cluster left running
	@target/debug/landfall-lab cluster down
.PHONY: cluster-test
cluster-test: tools-cluster cluster-programs ## the tests that want a real cluster
	@$(STEP) build-landfall cargo build --locked -p landfall
	@LANDFALL_BIN=$(CARGO_TARGET_DIR)/debug/landfall $(STEP) cluster cargo test --locked -p landfall-tests --test cluster -- --test-threads=1

.PHONY: bench
bench: tools binary neighbour ## the benchmarks, over an hour of them; figures go to target/figures.json
	@$(STEP) build-lab bash -c "$(STATIC) -p landfall-tests --bin landfall-lab"
	@LANDFALL_BIN=$(BINARY) LANDFALL_BIN_NEIGHBOUR=$(NEIGHBOUR) $(dir $(BINARY))landfall-lab bench
	@$(STEP) bench-kernel cargo bench --locked -p landfall-ebpf --bench xdp

.PHONY: bench-cluster
bench-cluster: tools-cluster cluster-programs binary ## what agents cost on a real cluster
	@LANDFALL_BIN=$(BINARY) target/debug/landfall-lab bench cluster

.PHONY: picture
picture: tools binary ## one failover, ours and keepalived's, to docs/failover.svg
	@$(STEP) build-lab bash -c "$(STATIC) -p landfall-tests --bin landfall-lab"
	@LANDFALL_BIN=$(BINARY) $(dir $(BINARY))landfall-lab picture docs/failover.svg

.PHONY: deb
deb: tools binary ## a Debian package, target/packages/*.deb
	@$(STEP) deb packaging/build-deb $(BINARY) target/packages
.PHONY: rpm
rpm: tools binary ## an RPM package, target/packages/*.rpm
	@$(STEP) rpm packaging/build-rpm $(BINARY) target/packages
.PHONY: image
image: tools binary ## a container image, target/packages/landfall-image.tar
	@$(STEP) image packaging/build-image $(BINARY) target/packages/landfall-image.tar
.PHONY: crds
crds: ## write the definitions of our kinds to packaging/, after a change of daemon/src/objects
	@$(STEP) crds bash -c "cargo build --locked -p landfall && packaging/write-crds target/debug/landfall"

.PHONY: clean
clean: ## remove everything that was built, but not the tools in .tools/
	rm -rf target

# The steps of `make test`, in its order; each can be made by itself.

.PHONY: begin tools tools-build tools-cluster lab-program cluster-programs fmt clippy clippy-kernel doc deny unit kernel binary neighbour lab packaging
begin:
	@.ci/summary begin
tools:
	@$(STEP) tools packaging/install-build-tools test
tools-build:
	@$(STEP) tools packaging/install-build-tools build
tools-cluster:
	@$(STEP) tools packaging/install-build-tools cluster
lab-program:
	@$(STEP) lab-program cargo build --locked -p landfall-tests
# Kubernetes itself, from tests/kubernetes/go.mod: minutes, once.
cluster-programs: lab-program
	@$(STEP) cluster-programs target/debug/landfall-lab cluster build
fmt:
	@$(STEP) fmt cargo fmt --all --check
clippy:
	@$(STEP) clippy cargo clippy --locked $(CRATES) --all-targets -- -D warnings
	@$(STEP) clippy-extra cargo clippy --locked -p landfall-tests --test cluster --test open -- -D warnings
clippy-kernel:
	@$(STEP) clippy-kernel $(KERNEL_CARGO) clippy --locked -p landfall-ebpf-programs --release \
		--target bpfel-unknown-none -Z build-std=core --target-dir target/kernel -- -D warnings
doc:
	@RUSTDOCFLAGS='-D warnings' $(STEP) doc cargo doc --locked --no-deps $(CRATES)
deny:
	@$(STEP) deny cargo deny --locked --workspace --log-level error check bans licenses sources
unit:
	@$(STEP) unit cargo test --locked $(CRATES) --exclude landfall-ebpf --exclude landfall-tests
# The kernel's own verifier and BPF_PROG_TEST_RUN, as root.
kernel:
	@$(STEP) kernel cargo test --locked -p landfall-ebpf -- --test-threads=1
binary:
	@$(STEP) binary bash -c "$(STATIC) -p landfall && packaging/check-binary $(BINARY)"
# The daemon with another layout of its flow tables, which the tests of upgrades take over from and to.
neighbour:
	@$(STEP) neighbour bash -c "cargo build --locked -p landfall --features neighbour-layout && \
		mv target/debug/landfall $(NEIGHBOUR)"
# Network namespaces and real packets, one scenario at a time.
lab:
	@LANDFALL_BIN=$(BINARY) LANDFALL_BIN_NEIGHBOUR=$(NEIGHBOUR) \
		$(STEP) lab cargo test --locked --no-fail-fast -p landfall-tests -- --test-threads=1
packaging:
	@$(STEP) packaging packaging/test $(BINARY)
