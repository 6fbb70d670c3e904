#!/usr/bin/env bash
# Runs every fuzz target of the module for the given time each. A package that does not
# compile fails it.
set -euo pipefail
packages=$(go list ./...)
for pkg in $packages; do
	listed=$(go test -list '^Fuzz' "$pkg") || { echo "$listed" >&2; exit 1; }
	for target in $(sed -n '/^Fuzz/p' <<<"$listed"); do
		echo "fuzz $pkg $target"
		go test -run '^$' -fuzz "^$target\$" -fuzztime "${1:-20s}" "$pkg"
	done
done
