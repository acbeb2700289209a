# SPDX-License-Identifier: BSD-3-Clause
#
# make help says what there is.

GO        ?= go
CLANG     ?= clang
VERSION   := $(shell sed -n 's/^PACKAGE_VERSION="\(.*\)"/\1/p' dkms.conf)
PREFIX    ?= /usr/local
DESTDIR   ?=
CACHE     := $(or $(XDPCTL_CACHE),/var/cache/xdpctl)
CHECKPATCH = $(CACHE)/src/linux-source-6.12/scripts/checkpatch.pl

# Kernels to build for and to test on: a release, the beginning of one, or debug.
KERNELS ?= 6.1 6.12
KERNEL  ?= $(KERNELS)

# The VM suite: what is tested, how long a package may take, rounds of the stress
# cases, tests to run (all if empty), and more options for vmrun.
# TOOLS is what below tests/ does not test the kernel.
TOOLS    := ./tests/vmrun ./tests/brief ./tests/bench ./tests/demo ./tests/shim
# NATIVE are those that need no virtual machine, but are run on the first kernel too.
NATIVE   := ./tests/servers
PACKAGES ?= $(shell $(GO) list ./tests/... | grep -Ev '/tests/(vmrun|brief|bench|demo|shim|testbed)$$')
# Counted, not timed: when the time is over, go test takes some tests for failed.
FUZZTIME ?= 5000x
TIMEOUT  ?= 20m
ROUNDS   ?=
RUN      ?=
VMFLAGS  ?= -nics 2

BENCH_KERNELS ?= $(KERNELS)
DEMO_KERNEL   ?= 6.12
# What make compare measures by, the virtual machine of the wall set (-kvm where that
# works), and more options for compare.
COMPARE_KERNELS ?= $(KERNELS)
COMPARE_SETS    ?= icount wall
COMPARE_VM      ?=
COMPARE_OPTIONS ?=

export CGO_ENABLED := 0

.DEFAULT_GOAL := all
.PHONY: all
all: build/xdpctl-nl build/vmrun kmod  ## everything, under build/

.PHONY: help
help:  ## this
	@sed -nE 's/^([a-z-]+):.*  ## (.*)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

# -- programs ---------------------------------------------------------------

# Go knows best what is out of date.
.PHONY: build/xdpctl-nl build/vmrun build/brief build/demo build/bench
build/xdpctl-nl:
	@$(GO) build -trimpath -ldflags '-X github.com/xdpctl/xdpctl-nl/cmd/xdpctl-nl/cli.Version=$(VERSION)' -o $@ ./cmd/xdpctl-nl
build/vmrun build/brief build/demo build/bench: build/%:
	@$(GO) build -o $@ ./tests/$*
build/bench-c: tests/bench/bench.c tests/bench/raw.h tests/bench/replay.h kmod/uapi/xdpctl.h
	@mkdir -p build
	@$(CC) -O2 -Wall -Wextra -static -Ikmod/uapi -o $@ $<

# -- the module -------------------------------------------------------------

# resolve NAME sets release and kdir. Headers are enough to build.
resolve = if [ -d /lib/modules/$(1)/build ]; then \
		release=$(1) kdir=/lib/modules/$(1)/build; \
	else \
		found=$$(build/vmrun -kernel $(1) -which) || exit 1; \
		release=$${found% *} kdir=$${found\#* }; \
	fi

.PHONY: kmod
kmod: build/vmrun  ## build/RELEASE/xdpctl.ko for KERNEL=RELEASE (default: all of KERNELS)
	@for kernel in $(KERNEL); do \
		$(call resolve,$$kernel); \
		$(MAKE) --no-print-directory -C kmod KERNEL=$$release KDIR=$$kdir || exit 1; \
		echo "build/$$release/xdpctl.ko"; \
	done

.PHONY: debug-kernel
debug-kernel:  ## build the debug kernel, outside the tree, unless it is there
	@tests/vm/debug-kernel.sh

# -- checks -----------------------------------------------------------------

.PHONY: deps
deps:  ## install what is missing to build and test, on Debian 12 with Go
	@tests/vm/deps.sh

.PHONY: generate
generate:  ## write again what is generated
	@$(GO) generate ./...

# state prints what differs from the commit, contents and all.
state = git status --porcelain --untracked-files=all; git diff HEAD; \
	git ls-files -z --others --exclude-standard | xargs -r0 sha256sum

.PHONY: generate-check
generate-check:  ## fail if generating again changes anything
	@mkdir -p build/log; \
	{ $(state); } >build/log/before 2>&1; \
	$(MAKE) --no-print-directory generate || exit 1; \
	{ $(state); } >build/log/after 2>&1; \
	diff -u build/log/before build/log/after || \
		{ echo "make generate changes files"; exit 1; }

.PHONY: check check-go check-kmod check-style check-bpf
check: check-go check-bpf check-style check-kmod  ## format, vet, W=1, sparse, checkpatch: all silent

check-go:
	@out=$$(gofmt -l $$(git ls-files '*.go')); [ -z "$$out" ] || { echo "gofmt: $$out"; exit 1; }
	@$(GO) vet ./...
	@$(GO) mod tidy -diff

check-bpf:
	@$(MAKE) -s -C bpf check
	@$(MAKE) -s -C loader/testdata check
	@$(MAKE) -s -C internal/skeltest check

check-style: sources = $(wildcard kmod/*.[ch] kmod/*/*.h kmod/*/*/*.h bpf/*.c)
check-style:
	@tests/vm/source.sh tools
	@cd kmod && out=$$($(CHECKPATCH) --no-tree --strict --quiet --file $(sources:%=../%) 2>&1); \
		[ -z "$$out" ] || { echo "$$out"; exit 1; }

check-kmod: build/vmrun
	@for kernel in $(KERNEL); do \
		$(call resolve,$$kernel); \
		$(MAKE) --no-print-directory -C kmod check KERNEL=$$release KDIR=$$kdir || exit 1; \
	done

# -- tests ------------------------------------------------------------------

.PHONY: test
test:  ## everything there is to check, but for the debug kernel
	@tests/steps deps generate-check check unit fuzz all vm

.PHONY: test-debug
test-debug:  ## the VM suite on the debug kernel, as far as the module is tested
	@tests/steps deps debug-kernel vm-debug

# go-test NAME,ARGUMENTS runs go test with its output in brief, and all of it in
# build/log/NAME-full.log.
go-test = $(GO) test -json $(2) 2>&1 | build/brief -log build/log/$(1)-full.log

.PHONY: unit
unit: build/brief  ## tests that need no other kernel
	@mkdir -p build/log; rm -f build/log/$@-full.log
	@$(call go-test,$@,$$($(GO) list ./... | grep -Ev '/tests/' ; $(GO) list $(TOOLS) $(NATIVE)))

.PHONY: fuzz
fuzz:  ## every fuzz test, FUZZTIME inputs each
	@mkdir -p build/log; passed=0; failed=0; \
	for file in $$(git ls-files '*_test.go' | xargs grep -l '^func Fuzz'); do \
		for name in $$(sed -n 's/^func \(Fuzz[A-Za-z]*\)(.*/\1/p' $$file); do \
			log=build/log/$$name.log; \
			if $(GO) test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) ./$${file%/*} >$$log 2>&1; then \
				passed=$$((passed + 1)); echo "$$name:$$(grep execs: $$log | tail -1 | cut -d: -f3-)"; \
			else \
				failed=$$((failed + 1)); echo "FAIL $$name"; cat $$log; \
			fi; \
		done; \
	done; \
	echo "$$passed passed, $$failed failed"; [ $$failed = 0 ]

.PHONY: vm
vm: build/vmrun build/brief build/xdpctl-nl kmod  ## the VM suite on KERNELS; RUN=, ROUNDS=, PACKAGES=
	@mkdir -p build/log; failed=0; for kernel in $(KERNELS); do \
		exec="$(CURDIR)/build/vmrun -kernel $$kernel $(VMFLAGS)"; \
		[ -z "$(ROUNDS)" ] || exec="$$exec -env XDPCTL_ROUNDS=$(ROUNDS)"; \
		rm -f build/log/vm-$$kernel-full.log; \
		packages="$(PACKAGES)"; [ $$kernel = $(firstword $(KERNELS)) ] || \
			packages="$(filter-out $(NATIVE:.%=\%%),$(PACKAGES))"; \
		[ -n "$$packages" ] || continue; \
		echo "kernel $$kernel"; \
		$(call go-test,vm-$$kernel,-count=1 -timeout $(TIMEOUT) $(if $(RUN),-run '$(RUN)') \
			-exec "$$exec" $$packages) || failed=1; \
	done; exit $$failed

.PHONY: vm-debug
vm-debug: VMFLAGS += -env XDPCTL_BACKENDS=module -env XDPCTL_REQUESTS=2000
vm-debug: PACKAGES := $(filter-out %/tests/native %/tests/servers %/tests/skel %/tests/objects %/tests/compare %/tests/qualities,$(PACKAGES))
vm-debug: debug-kernel
	@$(MAKE) --no-print-directory vm KERNELS=debug TIMEOUT=60m PACKAGES="$(PACKAGES)" VMFLAGS="$(VMFLAGS)"

.PHONY: soak
soak:  ## the VM suite with the stress cases in full, ROUNDS=1000
	@$(MAKE) --no-print-directory vm ROUNDS=$(or $(ROUNDS),1000) TIMEOUT=6h

.PHONY: demo
demo: deps  ## both doors and bpftool on real traffic, compared
	@$(MAKE) --no-print-directory all build/demo KERNELS=$(DEMO_KERNEL)
	@build/vmrun -kernel $(DEMO_KERNEL) -- build/demo

.PHONY: demo-native
demo-native: build/xdpctl-nl build/demo  ## the servers without the module, on this machine and real traffic
	@build/demo -native

.PHONY: profile
profile: build/vmrun build/bench build/bench-c kmod  ## where the instructions go, by function, to build/profile/RELEASE.json
	@for kernel in $(KERNELS); do \
		build/vmrun -kernel $$kernel -icount -timeout 60m -- build/bench -profile || exit 1; \
	done

.PHONY: bench
bench: build/vmrun build/xdpctl-nl build/bench build/bench-c kmod  ## cost of both doors in guest instructions
	@for kernel in $(BENCH_KERNELS); do \
		build/vmrun -kernel $$kernel -icount -timeout 60m -- build/bench || exit 1; \
	done

# Results go to build/compare/RELEASE-SET.json. Counts of instructions are held
# against those of the run before, if there was one.
.PHONY: compare
compare: deps  ## all ways against each other, to build/compare/
	@$(MAKE) --no-print-directory build/vmrun build/xdpctl-nl build/bench-c kmod KERNELS="$(COMPARE_KERNELS)"
	@mkdir -p build/compare; ynl=$(CACHE)/src/linux-source-6.12; [ -d $$ynl ] && ynl="--ynl $$ynl" || ynl=; \
	results=; for kernel in $(COMPARE_KERNELS); do \
		$(call resolve,$$kernel); \
		for set in $(COMPARE_SETS); do \
			case $$set in icount) vm=-icount options=--instructions ;; *) vm="$(COMPARE_VM)" options= ;; esac; \
			out=build/compare/$$release-$$set; \
			build/vmrun -kernel $$kernel $$vm -timeout 120m -- sh -c "modprobe -a veth dummy && \
				insmod build/$$release/xdpctl.ko && build/xdpctl-nl -j -v compare $$options \
				--bench-c build/bench-c $$ynl $(COMPARE_OPTIONS) >$$out.new" >$$out.log 2>&1 || \
				{ tail -20 $$out.log; cat $$out.new; rm -f $$out.new; exit 1; }; \
			[ ! -f $$out.json ] || mv $$out.json $$out.before; \
			mv $$out.new $$out.json; \
			build/xdpctl-nl compare --from $$out.json --csv >$$out.csv || exit 1; \
			results=$$results,$$out.json; \
		done; \
	done; \
	build/xdpctl-nl compare --from $${results#,} --report build/compare || exit 1; \
	failed=0; for before in build/compare/*-icount.before; do \
		[ ! -f $$before ] || build/xdpctl-nl compare --from $${before%before}json --against $$before >/dev/null || failed=1; \
	done; exit $$failed

# -- installation -----------------------------------------------------------

.PHONY: install
install: build/xdpctl-nl  ## the tool with its systemd units, and what dkms needs to build the module
	install -D -m 755 build/xdpctl-nl $(DESTDIR)$(PREFIX)/sbin/xdpctl-nl
	install -d $(DESTDIR)$(PREFIX)/share/man/man8
	install -m 644 docs/man/*.8 $(DESTDIR)$(PREFIX)/share/man/man8
	install -d $(DESTDIR)$(PREFIX)/share/bash-completion/completions
	build/xdpctl-nl completion bash \
		>$(DESTDIR)$(PREFIX)/share/bash-completion/completions/xdpctl-nl
	install -d $(DESTDIR)$(PREFIX)/lib/systemd/system
	for unit in xdpctl.service xdpctl.socket; do \
		sed 's,/usr/local/,$(PREFIX)/,' cmd/xdpctl-nl/systemd/$$unit \
			>$(DESTDIR)$(PREFIX)/lib/systemd/system/$$unit || exit 1; \
		chmod 644 $(DESTDIR)$(PREFIX)/lib/systemd/system/$$unit; \
	done
	install -D -m 644 kmod/uapi/xdpctl.h $(DESTDIR)$(PREFIX)/include/linux/xdpctl.h
	install -D -m 644 bpf/xdpctl_rx_metadata.h $(DESTDIR)$(PREFIX)/include/xdpctl_rx_metadata.h
	install -D -m 644 family/xdpctl.yaml $(DESTDIR)$(PREFIX)/share/xdpctl/xdpctl.yaml
	cd kmod && find . -name '*.[ch]' -o -name Kbuild | while read -r file; do \
		install -D -m 644 $$file $(DESTDIR)/usr/src/xdpctl-$(VERSION)/$$file; done
	install -m 644 dkms.conf $(DESTDIR)/usr/src/xdpctl-$(VERSION)/dkms.conf

.PHONY: install-module
install-module:  ## the module for KERNEL=RELEASE (default: the running one), without dkms
	@$(MAKE) --no-print-directory kmod KERNEL=$(INSTALL_KERNEL)
	install -D -m 644 build/$(INSTALL_KERNEL)/xdpctl.ko \
		$(DESTDIR)/lib/modules/$(INSTALL_KERNEL)/updates/xdpctl.ko
	[ -n "$(DESTDIR)" ] || depmod $(INSTALL_KERNEL)
install-module: INSTALL_KERNEL = $(if $(filter command line,$(origin KERNEL)),$(KERNEL),$(shell uname -r))

.PHONY: clean
clean:  ## remove build/
	rm -rf build
