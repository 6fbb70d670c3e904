#!/usr/bin/env bash
# Records README's picture, deploy/lab/demo.svg, from a real fleet on this machine: above,
# the live view of a rollout as a terminal shows it; below, the log of a bad release.
set -euo pipefail
cd "$(dirname "$0")/../.."

columns=106 rows=24
app=edge-proxy
root=$PWD
dir=$(mktemp -d)
screen=(tmux -S "$dir/tmux" -f /dev/null)
fleet=

fail() {
	echo "picture: $*" >&2
	exit 1
}

finish() {
	local code=$?
	trap - EXIT
	"${screen[@]}" kill-server 2>/dev/null || true
	if [ -n "$fleet" ] && kill "$fleet" 2>/dev/null; then
		wait "$fleet" || true
	fi
	if [ "$code" != 0 ] && [ -s "$dir/dev.log" ]; then
		tail -n 5 "$dir/dev.log" >&2
	fi
	rm -rf "$dir"
	exit "$code"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# until_true WHAT SECONDS COMMAND...
until_true() {
	local what=$1 end=$((SECONDS + $2))
	shift 2
	until "$@"; do
		[ $SECONDS -lt $end ] || fail "gave up waiting for $what"
		kill -0 "$fleet" 2>/dev/null || fail "the fleet ended while waiting for $what"
		sleep 0.05
	done
}

command -v tmux >/dev/null || fail "tmux is not installed: the live view needs a terminal (apt-get install tmux)"
for program in ebbgate ebbgate-agent; do
	[ -x "bin/$program" ] || fail "bin/$program is missing: run make build"
done
go build -o "$dir/termsvg" ./deploy/lab/termsvg

PATH=$root/bin:$PATH
: >"$dir/dev.log"
ebbgate dev --dir "$dir/fleet" >"$dir/dev.log" 2>&1 &
fleet=$!
until_true "the fleet" 60 grep -q '^Interrupt to stop it' "$dir/dev.log"
# The line of variables to export is the fleet's own.
eval "$(sed -n 's/^ *\(export EBBGATE_.*\)/\1/p' "$dir/dev.log")"
cd "$dir/fleet"

for bundle in v1 v2 v4; do
	ebbgate publish "$bundle" --key controller/author.key -q >/dev/null
done
ebbgate rollout start "$app" 1.0.0 -f first.yaml -w --timeout 1m -q >/dev/null

# phase REGION prints the phase of a region of the rollout.
phase() {
	ebbgate rollout get "$app" -o json | awk -F'"' -v region="$1" '
		$2 == "region" { here = $4 == region }
		$2 == "phase" && here { print $4; exit }'
}
status() { ebbgate rollout get "$app" -o json | awk -F'"' '$2 == "status" { print $4; exit }'; }
between() { [ "$(phase eu-west)" = committed ] && [ "$(phase us-east)" = purging ]; }
ended() { [ "$(status)" != running ]; }
frame() {
	"${screen[@]}" capture-pane -e -p -t live >"$dir/frame"
	"${screen[@]}" capture-pane -p -t live >"$dir/frame.plain"
	grep -q 'eu-west  *committed' "$dir/frame.plain" && grep -q 'us-east  *purging' "$dir/frame.plain"
}

good="rollout start $app 1.1.0 -f plan.yaml -w"
bad="rollout start $app 1.3.0 -f plan.yaml -w"

# shellcheck disable=SC2086 # the command's words
env -u NO_COLOR "${screen[@]}" new-session -d -x $columns -y $rows -s live "ebbgate $good"
until_true "us-east to be purged" 60 between
until_true "the live view to show it" 5 frame
until_true "the end of 1.1.0" 60 ended
[ "$(status)" = done ] || fail "1.1.0 ended as $(status)"

set +e
# shellcheck disable=SC2086
timeout 60 ebbgate $bad 2>"$dir/err" | tail -n 12 >"$dir/log"
code=${PIPESTATUS[0]}
set -e
[ "$code" = 3 ] || fail "1.3.0 ended with exit code $code, want 3"

prompt() { printf '\033[1;32m$\033[0m %s\n' "$*"; }

{
	sed -e :a -e '/^[[:space:]]*$/{$d;N;ba' -e '}' "$dir/frame"
	printf '\f\n'
	prompt "ebbgate $bad | tail -n 12"
	LC_ALL=C.UTF-8 sed -E "s/^(.{$((columns - 1))}).{2,}$/\\1…/" "$dir/log"
	tail -n 1 "$dir/err" | fold -s -w $columns
	prompt 'echo ${PIPESTATUS[0]}'
	echo "$code"
} | "$dir/termsvg" -columns $columns -titles "ebbgate $good|1.3.0 answers 500: the canary stops it" >"$dir/demo.svg"
mv "$dir/demo.svg" "$root/deploy/lab/demo.svg"
echo "recorded deploy/lab/demo.svg"
