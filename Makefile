.PHONY: demo test bench web lint

demo: ## pre-train, fine-tune, score and transcribe, on the corpus that comes with the project
	@scripts/setup native
	cargo build --release
	target/release/polymix demo

test: ## lint, every test, the kernel suite on each software adapter, the browser package in Chromium
	@scripts/setup test
	@scripts/test

bench: ## the benchmarks of benches/, the same work in burn and meganeura, then times in Chromium
	@scripts/setup test
	cargo bench
	cargo run --release --manifest-path benches/peers/Cargo.toml
	@scripts/web
	@scripts/web-test bench

web: ## the browser package and its page, to web/dist
	@scripts/setup web
	@scripts/web

lint: ## rustfmt, clippy
	@scripts/setup native
	@scripts/lint
