.PHONY: demo test bench lint

demo: ## pre-train, fine-tune, score and transcribe, on the corpus that comes with the project
	@scripts/setup native
	cargo build --release
	target/release/polymix demo

test: ## lint, every test, the kernel suite on each software adapter, the browser build
	@scripts/setup test
	@scripts/test

bench: ## kernels beside the adapter's peaks, and the CPU's part
	@scripts/setup native
	@scripts/bench

lint: ## rustfmt, clippy
	@scripts/setup native
	@scripts/lint
