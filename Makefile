# SPDX-License-Identifier: BSD-3-Clause

GO ?= go

.PHONY: build/vmrun
build/vmrun:
	CGO_ENABLED=0 $(GO) build -o $@ ./tests/vmrun
