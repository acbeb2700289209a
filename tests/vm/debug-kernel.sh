#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# Builds the debug kernel that vmrun -debug boots, and keeps it outside the tree:
# ${XDPCTL_CACHE:-/var/cache/xdpctl}/debug/VERSION-CONFIG/. Does nothing if one
# with this configuration is there.
#
#   debug-kernel.sh          build it if it is missing, print its directory
#   debug-kernel.sh -f       build it from the newest source, even so
set -eu
export LC_ALL=C

here=$(cd "$(dirname "$0")" && pwd)
cache=${XDPCTL_CACHE:-/var/cache/xdpctl}
config=$here/debug.config
config_id=$(sha256sum <"$config" | cut -c1-12)

say() { echo "debug-kernel: $*" >&2; }

# done_dir prints the newest finished build of this configuration.
done_dir() {
	for image in $(ls -t "$cache"/debug/*-"$config_id"/vmlinuz-* 2>/dev/null); do
		dirname "$image"
		return
	done
}

# progress prints every so often how far a build is, from its log.
progress() {
	while sleep 60; do
		say "$(wc -l <"$1") files, $(tail -n 1 "$1")"
	done
}

# build DIR builds the kernel in DIR/build and installs it in DIR.
build() {
	dir=$1
	log=$dir/build.log
	(
		cd "$dir/build"
		make -s KCONFIG_ALLCONFIG="$config" allnoconfig
		for symbol in $(sed -n 's/^\(CONFIG_[A-Z0-9_]*\)=[ym]$/\1/p' "$config"); do
			grep -q "^$symbol=" .config || say "the kernel knows no $symbol"
		done
	) >"$log"
	progress "$log" &
	ticker=$!
	trap 'kill $ticker 2>/dev/null' EXIT
	(
		cd "$dir/build"
		make -j"${JOBS:-$(nproc)}" bzImage modules
		rm -rf "$dir/lib"
		make -s INSTALL_MOD_PATH="$dir" INSTALL_MOD_STRIP=1 modules_install
	) >>"$log" 2>&1 </dev/null || {
		tail -n 30 "$log" >&2
		say "failed, see $log"
		exit 1
	}
	kill $ticker 2>/dev/null || true
	trap - EXIT
	release=$(make -s -C "$dir/build" kernelrelease)
	# The image comes last: where there is one, there is all of it.
	cp "$dir/build/arch/x86/boot/bzImage" "$dir/.vmlinuz"
	mv "$dir/.vmlinuz" "$dir/vmlinuz-$release"
}

found=$(done_dir)
if [ -n "$found" ] && [ "${1:-}" != -f ]; then
	echo "$found"
	exit
fi

mkdir -p "$cache/debug"
exec 9>"$cache/debug/.lock"
flock 9
found=$(done_dir)
if [ -n "$found" ] && [ "${1:-}" != -f ]; then
	echo "$found"
	exit
fi

tarball=$("$here/source.sh" tarball)
version=$(basename "$(dirname "$tarball")")
dir=$cache/debug/$version-$config_id
if [ ! -e "$dir/build/Makefile" ]; then
	say "unpacking the source of $version"
	rm -rf "$dir/unpack"
	mkdir -p "$dir/unpack"
	tar -xf "$tarball" -C "$dir/unpack" --strip-components=1
	mv "$dir/unpack" "$dir/build"
fi
say "building $version in $dir, about 8 minutes on two processors"
start=$(date +%s)
build "$dir"
say "built in $(($(date +%s) - start)) s"
echo "$dir"
