#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# Builds tc and ip of the distribution's iproute2 without libbpf, as they read
# objects before they had it, and keeps them outside the tree:
# ${XDPCTL_CACHE:-/var/cache/xdpctl}/iproute2/VERSION/. Prints the directory. They
# are what tests hold the compatibility path of the loader against.
set -eu
export LC_ALL=C

cache=${XDPCTL_CACHE:-/var/cache/xdpctl}

say() { echo "iproute2: $*" >&2; }

# mirror prints where apt has the packages of this release from.
mirror() {
	. /etc/os-release
	apt-get indextargets --format '$(SITE) $(RELEASE) $(COMPONENT)' |
		awk -v suite="$VERSION_CODENAME" '$2 == suite && $3 == "main" { print $1, suite; exit }'
}

# fetch DIR gets the source into DIR, from the same mirror as everything else, and
# with lists of its own.
fetch() {
	set -- "$1" $(mirror)
	[ $# = 3 ] || { say "apt has no mirror for this release"; exit 1; }
	signed=
	[ -e /usr/share/keyrings/debian-archive-keyring.gpg ] &&
		signed="[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] "
	mkdir -p "$1/lists/partial"
	echo "deb-src $signed$2 $3 main" >"$1/sources.list"
	apt="-qq -o Dir::Etc::SourceList=$1/sources.list -o Dir::Etc::SourceParts=/dev/null
		-o Dir::State::Lists=$1/lists -o APT::Sandbox::User=root"
	# shellcheck disable=SC2086 # the options are many
	(cd "$1" && apt-get $apt update && apt-get $apt source --download-only "iproute2=$version") >&2
	mkdir -p "$1/src"
	tar -xf "$1"/iproute2_*.orig.tar.* -C "$1/src" --strip-components=1
}

version=$(apt-cache policy iproute2 | sed -n 's/^ *Candidate: //p' | grep -v '^(none)$') || {
	say "apt knows no package iproute2"
	exit 1
}
dir=$cache/iproute2/$(printf %s "$version" | tr -c 'A-Za-z0-9.+~\n-' _)
if [ ! -x "$dir/tc" ] || [ ! -x "$dir/ip" ]; then
	work=$dir/build.$$
	trap 'rm -rf "$work"' EXIT
	say "fetching and building iproute2 $version without libbpf, about a minute"
	fetch "$work"
	(cd "$work/src" && LIBBPF_FORCE=off ./configure && make -j"${JOBS:-$(nproc)}" SUBDIRS="lib ip tc") \
		>"$dir/build.log" 2>&1 </dev/null || {
		tail -n 30 "$dir/build.log" >&2
		say "failed, see $dir/build.log"
		exit 1
	}
	grep -q '^libbpf support: no' "$dir/build.log" && grep -q '^ELF support: yes' "$dir/build.log" || {
		say "it is not built as it should be, see $dir/build.log"
		exit 1
	}
	cp "$work/src/ip/ip" "$dir/.ip" && mv "$dir/.ip" "$dir/ip"
	cp "$work/src/tc/tc" "$dir/.tc" && mv "$dir/.tc" "$dir/tc"
fi
echo "$dir"
