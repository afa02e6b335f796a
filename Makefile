# The doors to the project; each is one script or one cargo command. `make` alone lists them.

# Most of the tests that take long wait for something: twice as many at once as there are cores keep few cores busy.
export RUST_TEST_THREADS ?= $(shell n=$$(nproc); echo $$((n < 8 ? 2 * n : n)))

.PHONY: help demo build test test-all sim chaos bench fuzz fmt lint clean

help: ## this list
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

demo: ## a cluster on this machine runs the sample task; Ctrl-C ends it
	@scripts/demo

build: ## the programs, optimised, in target/release
	cargo build --release --workspace --exclude cloudai-sim --bins

test: ## every test; sets up the Docker Engine, the test images, old nodes' peers, a mongod, a Prometheus, schemathesis and a browser first
	@scripts/engine-up
	@scripts/build-images
	@scripts/old-nodes-up
	@scripts/mongod-up
	@scripts/prometheus-up
	@scripts/schemathesis-up
	@scripts/browser-up
	@scripts/faults-up
	cargo build -p cloudai-master -p cloudai-worker
	cargo test --workspace

test-all: test ## the same, then what takes long: property tests with many more cases, full time spans
	PROPTEST_CASES=20000 cargo test --workspace --lib --exclude cloudai-tests
	PROPTEST_CASES=20000 cargo test -p cloudai-core -p cloudai-worker-core -p cloudai-files --tests
	CLOUDAI_FUZZ_ROUNDS=20 cargo test -p cloudai-fuzzing --test short
	CLOUDAI_TESTS_FULL_SPANS=1 cargo test -p cloudai-tests --test recovery silence

sim: ## seeds of the fault simulation, on all cores; SIM="--for 10m" or SIM="--seeds 20000" says how many
	cargo run -p cloudai-sim -- run $(SIM)

chaos: ## breaks a real cluster on purpose: CHAOS_FOR=30m CHAOS_STORE=sqlite|mongodb CHAOS_SEED=n
	@scripts/chaos

bench: ## figures of this machine beside what they are compared with
	@scripts/bench

fuzz: ## libFuzzer over every reader of foreign bytes, FUZZ_SECONDS each (60); needs nightly and a C++ compiler
	@scripts/fuzz

fmt: ## formats the code
	cargo fmt --all
	cargo fmt --manifest-path sample_task/Cargo.toml
	cargo fmt --manifest-path fuzz/Cargo.toml

lint: ## what .ci/run checks before the tests
	cargo fmt --all --check
	cargo fmt --manifest-path sample_task/Cargo.toml --check
	cargo fmt --manifest-path fuzz/Cargo.toml --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo clippy --manifest-path sample_task/Cargo.toml --target-dir target/sample_task --all-targets -- -D warnings
	cargo clippy --manifest-path fuzz/Cargo.toml --target-dir target --locked --no-default-features --bins -- -D warnings

clean: ## removes what was built and what a demo left
	cargo clean
	rm -rf .demo sample_task/target fuzz/target
