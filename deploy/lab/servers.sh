#!/usr/bin/env bash
# Installs the servers that the tests run against, where that is possible, and says
# plainly what is missing: tests that need a missing one are skipped, or fail when
# EBBGATE_REQUIRE_SERVERS=1.
set -u
need=(nginx haproxy caddy varnish varnish-modules modsecurity-crs libnginx-mod-http-modsecurity prometheus)
missing=()
for p in "${need[@]}"; do
	dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q '^install ok installed' || missing+=("$p")
done
if [ ${#missing[@]} -eq 0 ]; then
	echo "servers: all installed: ${need[*]}"
	exit 0
fi
if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
	echo "servers: installing ${missing[*]}"
	# The packages would start their servers on fixed ports; the tests start their own.
	policy=/usr/sbin/policy-rc.d
	if [ ! -e $policy ]; then
		printf '#!/bin/sh\nexit 101\n' >$policy && chmod +x $policy
		trap 'rm -f $policy' EXIT
	fi
	apt-get update -qq &&
		DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi
left=()
for p in "${missing[@]}"; do
	dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q '^install ok installed' || left+=("$p")
done
if [ ${#left[@]} -gt 0 ]; then
	echo "servers: NOT installed: ${left[*]} (needs Debian's apt-get as root); tests that need them will be skipped"
	[ "${EBBGATE_REQUIRE_SERVERS:-}" != 1 ] || exit 1
fi
exit 0
