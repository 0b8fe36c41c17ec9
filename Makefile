# What people type; what is done stands in release/. 'go build ./cmd/entente' is all that a developer needs.

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' Makefile | expand -t 18

build: ## ./entente, for this machine
	CGO_ENABLED=0 go build -trimpath -o entente ./cmd/entente

test: ## go test ./...; .ci/run is the whole check
	go test ./...

release: ## dist/: binaries, packages, bills of material, checksums of the commit that is checked out
	release/build

twice: ## make the release twice, from clones in two places, and compare bytes (root not needed)
	release/twice

debian: ## install the package of dist/ in a fresh Debian and exchange a record with it (root)
	release/debian-test

container: ## an image of the binary of dist/ (buildah)
	release/container/build

sign: ## dist/SHA256SUMS.sig, with the SSH key of SIGNING_KEY
	release/sign

clean: ## remove dist/
	rm -rf dist

.PHONY: help build test release twice debian container sign clean
