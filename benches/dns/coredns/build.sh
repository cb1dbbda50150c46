#!/usr/bin/env bash
# Builds CoreDNS, as go.mod beside this file pins it, and prints the path of the program.
#
# With --built it prints the path if the program is there, and builds nothing. Exit codes: 0 it is there; 1 the build
# failed; 77 there is no Go to build with.
set -euo pipefail
cd "$(dirname "$0")"

cache=${PORTOLAN_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/portolan}
# A new version is a new file, and a built one is used again.
program=$cache/coredns-$(cat go.mod go.sum main.go | sha256sum | cut -c1-16)

if [ -x "$program" ]; then
  echo "$program"
  exit 0
elif [ "${1:-}" = --built ]; then
  exit 0
fi

PATH=$PATH:/usr/local/go/bin
if ! command -v go >/dev/null; then
  echo "SKIPPED: CoreDNS is built with Go, and there is no command \`go\` (https://go.dev/dl)" >&2
  exit 77
fi

mkdir -p "$cache"
# Built beside its place and renamed, so that an interrupted build is never taken for a complete one.
temporary=$(mktemp "$cache/building-XXXXXX")
trap 'rm -f "$temporary"' EXIT
echo "Building CoreDNS with $(go version) into $program; the first time this takes a minute or two." >&2
CGO_ENABLED=0 go build -mod=readonly -trimpath -ldflags='-s -w' -o "$temporary" .
chmod 755 "$temporary"
mv "$temporary" "$program"
echo "$program"
