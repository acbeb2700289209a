#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# Gets the source of the 6.12 kernel as the distribution ships it, and keeps it in
# ${XDPCTL_CACHE:-/var/cache/xdpctl}.
#
#   source.sh tools      the few tools of it that the checks and tests need:
#                        checkpatch, the YNL command line and the specs
#   source.sh selftests  the BPF programs of its selftests, and the headers that
#                        they need; prints where
#   source.sh tarball    all of it, packed; prints where
set -eu
export LC_ALL=C

cache=${XDPCTL_CACHE:-/var/cache/xdpctl}
package=linux-source-6.12
tree=$cache/src/$package

say() { echo "source: $*" >&2; }

# version prints the version of the package that would be installed.
version() {
	apt-cache policy $package | sed -n 's/^ *Candidate: //p' | grep -v '^(none)$'
}

# tarball prints the packed source, fetched if need be. Nothing is installed.
tarball() {
	version=$(version) || {
		apt-get update -qq >&2
		version=$(version) || {
			say "apt knows no package $package"
			exit 1
		}
	}
	dir=$cache/source/$(printf %s "$version" | tr -c 'A-Za-z0-9.+~\n-' _)
	if [ ! -e "$dir/$package.tar.xz" ]; then
		say "fetching $package $version"
		rm -rf "$dir"
		mkdir -p "$dir/deb"
		chmod 755 "$dir" "$dir/deb"
		(cd "$dir/deb" && apt-get download -qq -o APT::Sandbox::User=root "$package=$version" >&2)
		dpkg-deb --fsys-tarfile "$dir"/deb/*.deb |
			tar -xf - -C "$dir/deb" --wildcards "./usr/src/$package.tar.xz"
		mv "$dir/deb/usr/src/$package.tar.xz" "$dir/"
		rm -rf "$dir/deb"
	fi
	echo "$dir/$package.tar.xz"
}

# tools unpacks what is needed of the source without building it.
tools() {
	[ -e "$tree/scripts/checkpatch.pl" ] && [ -e "$tree/tools/net/ynl" ] &&
		[ -e "$tree/Documentation/netlink" ] && return
	file=$(tarball)
	say "unpacking checkpatch and YNL"
	mkdir -p "$tree"
	tar -xf "$file" -C "$tree" --strip-components=1 --wildcards \
		'*/scripts/checkpatch.pl' '*/scripts/spelling.txt' '*/scripts/const_structs.checkpatch' \
		'*/tools/net/ynl' '*/Documentation/netlink' '*/include/uapi/linux'
}

# selftests unpacks the BPF programs of the selftests, and prints where.
selftests() {
	[ -e "$tree/.selftests" ] || {
		file=$(tarball)
		say "unpacking the BPF selftests"
		mkdir -p "$tree"
		tar -xf "$file" -C "$tree" --strip-components=1 --wildcards \
			'*/tools/testing/selftests/bpf' '*/tools/lib/bpf' '*/tools/include/uapi'
		touch "$tree/.selftests"
	}
	echo "$tree"
}

case ${1:-} in
tools) tools ;;
selftests) selftests ;;
tarball) tarball ;;
*)
	sed -n '/^#  /s/^# *//p' "$0" >&2
	exit 2
	;;
esac
