#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# Installs what building and testing need and what is missing, on Debian 12 with
# Go. Says nothing if nothing is missing.
set -eu
export LC_ALL=C

here=$(cd "$(dirname "$0")" && pwd)

# Compilers and what building the module needs.
packages="gcc libc6-dev make bc bison flex perl xz-utils kmod git ca-certificates
	libelf-dev libssl-dev zlib1g-dev dwarves"
# What checks and generates.
packages="$packages sparse clang llvm libbpf-dev"
# The virtual machine and what is run in it.
packages="$packages qemu-system-x86 seabios bpftool iproute2 ethtool strace procps
	xdp-tools linux-perf
	libnl-utils python3 python3-pyroute2 python3-yaml python3-jsonschema"

say() { echo "deps: $*" >&2; }

# missing prints those of the packages named that are not installed. A virtual
# package counts as installed if its provider is.
missing() {
	dpkg-query -W -f '${Package} ${db:Status-Status}\n' "$@" 2>/dev/null |
		awk -v want="$*" '$2 == "installed" { have[$1] = 1 }
			END { n = split(want, w); for (i = 1; i <= n; i++) if (!have[w[i]]) print w[i] }'
}

# have_kernel SERIES says whether a kernel of the series is there that can be
# booted and that modules can be built for.
have_kernel() {
	for image in /boot/vmlinuz-"$1".*-amd64; do
		[ -e "$image" ] && [ -e "/lib/modules/${image#/boot/vmlinuz-}/build/Makefile" ] && return
	done
	return 1
}

# available PACKAGE says whether apt could install it.
available() {
	apt-cache policy "$1" | grep -q '^ *Candidate: [0-9]'
}

# need_backports adds the backports suite of the mirror that apt uses already.
need_backports() {
	list=/etc/apt/sources.list.d/xdpctl-backports.list
	[ -e "$list" ] && return
	. /etc/os-release
	mirror=$(apt-get indextargets --format '$(SITE) $(RELEASE) $(COMPONENT)' |
		awk -v suite="$VERSION_CODENAME" '$2 == suite && $3 == "main" { print $1; exit }')
	if [ -z "$mirror" ]; then
		say "apt has no mirror for $VERSION_CODENAME"
		exit 1
	fi
	say "adding the backports suite, for kernel 6.12"
	signed=
	[ -e /usr/share/keyrings/debian-archive-keyring.gpg ] &&
		signed="[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] "
	echo "deb $signed$mirror $VERSION_CODENAME-backports main" >"$list"
	apt-get update -qq >&2
}

# install PACKAGE... installs packages without asking anything.
install() {
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
		-o Dpkg::Use-Pty=0 -o Dpkg::Options::=--force-confold "$@" >"$log" 2>&1 </dev/null || {
		cat "$log" >&2
		say "cannot install $*"
		exit 1
	}
}

# install_kernel SERIES PACKAGE... installs a kernel unless one of the series is there.
install_kernel() {
	series=$1
	shift
	have_kernel "$series" && return
	say "installing kernel $series with its headers"
	install "$@"
	have_kernel "$series" && return
	say "installed $*, and yet there is no kernel $series with its headers"
	exit 1
}

# install_new_kernel installs 6.12, which may need the backports suite. There the
# newest kernel has no series in its name.
install_new_kernel() {
	have_kernel 6.12 && return
	if available linux-headers-6.12-amd64; then
		install_kernel 6.12 linux-image-6.12-amd64 linux-headers-6.12-amd64
		return
	fi
	need_backports
	if available linux-headers-6.12-amd64; then
		install_kernel 6.12 linux-image-6.12-amd64 linux-headers-6.12-amd64
	else
		. /etc/os-release
		install_kernel 6.12 -t "$VERSION_CODENAME-backports" linux-image-amd64 linux-headers-amd64
	fi
}

# shellcheck disable=SC2086 # the list is one
wanted=$(missing $packages)
if [ -n "$wanted" ] || ! have_kernel 6.1 || ! have_kernel 6.12; then
	if [ "$(id -u)" != 0 ]; then
		say "not root, but something is missing: kernel 6.1 or 6.12," $wanted
		exit 1
	fi
	log=$(mktemp)
	trap 'rm -f "$log"' EXIT
	apt-get update -qq >&2 || say "cannot update, trying with what apt knows"
	if [ -n "$wanted" ]; then
		say "installing" $wanted
		install $wanted
	fi
	install_kernel 6.1 linux-image-amd64 linux-headers-amd64
	install_new_kernel
fi
"$here/source.sh" tools
"$here/iproute2.sh" >/dev/null
