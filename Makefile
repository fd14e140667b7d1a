# SynthoHive. `make help` lists the targets; `make demo` and `make test` are the two to know.

SHELL := /bin/bash
.DEFAULT_GOAL := help

CARGO ?= cargo
PYTHON ?= python3
# cpu or cuda: whether `make libtorch` also fetches the CUDA libraries.
TORCH ?= cpu
TARGET_DIR := $(or $(CARGO_TARGET_DIR),$(CURDIR)/target)
EXAMPLES := $(patsubst examples/%.rs,%,$(wildcard examples/*.rs))

.PHONY: help libtorch build demo test test-rust examples fmt fmt-check clippy doc sql-reference bench clean

help: ## List the targets
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  \033[1mmake %-14s\033[0m %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

libtorch: ## Fetch libtorch and write .cargo/config.toml (TORCH=cuda adds the CUDA libraries)
	@$(PYTHON) scripts/libtorch.py --torch $(TORCH)

build: libtorch ## Build target/release/synthohive
	$(CARGO) build --locked --release --bin synthohive
	@if [ ! target/release/synthohive -ef "$(TARGET_DIR)/release/synthohive" ]; then \
		mkdir -p target/release && ln -sf "$(TARGET_DIR)/release/synthohive" target/release/synthohive; fi

demo: build ## Learn the sample database and generate a million rows from it
	@rm -rf demo_output && mkdir -p demo_output/shop
	target/release/synthohive --quiet --file sql/shop/create.sql --file sql/shop/parquet.sql
	target/release/synthohive --echo --file sql/demo.sql

test: fmt-check clippy test-rust doc examples ## Everything that must pass: format, lints, tests, documentation, examples
	@echo "all checks passed"

test-rust: libtorch ## Run the Rust and SQL tests
	$(CARGO) test --locked --workspace

# `cargo test` has built the examples; they run in a folder of their own and leave nothing behind.
examples: test-rust ## Run the examples
	@set -e; for example in $(EXAMPLES); do \
		echo "example $$example"; \
		folder=$$(mktemp -d); \
		(cd "$$folder" && "$(TARGET_DIR)/debug/examples/$$example" > output.txt 2>&1) \
			|| { cat "$$folder/output.txt"; rm -rf "$$folder"; echo "example $$example failed"; exit 1; }; \
		rm -rf "$$folder"; \
	done

fmt: ## Format the code
	$(CARGO) fmt --all

fmt-check:
	$(CARGO) fmt --all --check

clippy: libtorch ## Lint, warnings denied
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings

doc: libtorch ## Build the API documentation, warnings denied
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --workspace --no-deps

sql-reference: libtorch ## Write docs/sql-reference.md again from the functions' documentation
	UPDATE=1 $(CARGO) test --locked --test sql_reference

bench: libtorch ## Run the benchmarks
	$(CARGO) bench --locked

clean: ## Remove what was built and generated here (the libtorch cache stays)
	$(CARGO) clean
	rm -rf demo_output synth_models
