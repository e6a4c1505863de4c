# What deploy/quickstart and tests/run share: find missing packages, install them, build a release.
#
# Sourced by bash with `set -euo pipefail`; `root` is the top of the tree. Nothing is printed when there is nothing to do.
# shellcheck shell=bash

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# Debian's own tools first: another Python or compiler in the caller's PATH must not hide a missing package.
PATH=/usr/bin:/usr/sbin:/bin:/sbin:$PATH
export PATH LC_ALL=C.UTF-8

policy=/usr/sbin/policy-rc.d
policy_saved=$policy.before-mqpaas

say() { printf '%s\n' "$*"; }

die() {
	printf '%s: %s\n' "$(basename "$0")" "$*" >&2
	exit 1
}

# packages_missing SECTION...: the packages of these sections that are not installed, one a line
packages_missing() {
	local section package wanted=" $* "
	while read -r section package _; do
		[[ $section != \#* && $wanted == *" $section "* ]] || continue
		[[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || say "$package"
	done <"$root/deploy/packages"
}

# While packages are installed no service may start: invoke-rc.d asks policy-rc.d, and 101 forbids. A saved file that is
# already there was left by a run that was killed: it is the true one.
services_forbid() {
	[[ ! -e $policy || -e $policy_saved ]] || mv "$policy" "$policy_saved"
	printf '#!/bin/sh\nexit 101\n' >"$policy"
	chmod 755 "$policy"
}

services_restore() {
	rm -f "$policy"
	[[ ! -e $policy_saved ]] || mv "$policy_saved" "$policy"
}

apt_quietly() {
	DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 "$@" </dev/null
}

# packages_install SECTION...: installs what is missing, as root; says one line when it has to, nothing else
packages_install() {
	command -v dpkg-query >/dev/null || die "this is not a Debian system; deploy/packages lists what is needed"
	local missing log
	mapfile -t missing < <(packages_missing "$@")
	((${#missing[@]})) || return 0
	if ((EUID != 0)); then
		die "these packages are missing; run it as root once, or install them:
  sudo apt-get install --no-install-recommends ${missing[*]}"
	fi
	say "installing ${#missing[@]} packages: ${missing[*]}"
	log=$(mktemp)
	if ! (
		trap services_restore EXIT
		trap 'exit 130' INT TERM HUP
		services_forbid
		# A list that cannot be refreshed (a third party's archive is away) matters only if a package is then not found.
		apt_quietly update || true
		apt_quietly install --no-install-recommends "${missing[@]}"
	) >"$log" 2>&1; then
		tail -n 30 "$log" >&2
		rm -f "$log"
		die "apt-get could not install: ${missing[*]}"
	fi
	rm -f "$log"
}

# quietly COMMAND...: its output only if it fails
quietly() {
	local log
	log=$(mktemp)
	if ! "$@" >"$log" 2>&1 </dev/null; then
		tail -n 60 "$log" >&2
		rm -f "$log"
		return 1
	fi
	rm -f "$log"
}

# build_release: compiles a release into build/, only what changed since the last time
build_release() {
	[[ -f $root/build/build.ninja ]] || quietly meson setup "$root/build" "$root" --buildtype release || die "meson could not set up build/"
	quietly ninja -C "$root/build" || die "the build failed"
}
