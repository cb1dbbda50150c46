#!/usr/bin/env bash
# Builds etcd, kube-apiserver and kube-proxy, as go.mod beside this file pins them, and prints the folder they are in.
#
# With --built it prints the folder if it is there, and builds nothing.
#
# The folder is named after the pins, so a new version is a new folder and a built one is used again. Exit codes: 0 the
# folder is complete; 1 the build failed; 77 there is no Go to build with (a failure where PORTOLAN_REQUIRE_E2E=1).
set -euo pipefail
cd "$(dirname "$0")"

cache=${PORTOLAN_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/portolan}
pins=$(cat go.mod go.sum | sha256sum | cut -c1-16)
folder=$cache/cluster-$pins

if [ -d "$folder" ]; then
  echo "$folder"
  exit 0
elif [ "${1:-}" = --built ]; then
  exit 0
fi

PATH=$PATH:/usr/local/go/bin
if ! command -v go >/dev/null; then
  echo "SKIPPED: etcd, kube-apiserver and kube-proxy are built with Go, and there is no command \`go\` (https://go.dev/dl)" >&2
  if [ "${PORTOLAN_REQUIRE_E2E:-}" = 1 ]; then exit 1; fi
  exit 77
fi

mkdir -p "$cache"
# Built beside its place and renamed, so that an interrupted build is never taken for a complete one.
temporary=$(mktemp -d "$cache/building-XXXXXX")
trap 'rm -rf "$temporary"' EXIT

started=$SECONDS
echo "Building etcd, kube-apiserver and kube-proxy with $(go version) into $folder." >&2
echo "The first time this takes minutes: five on two cores. Packages, as they are done:" >&2
for tool in $(go list -mod=readonly tool); do
  echo "  $tool" >&2
  # etcd's main package is called \`server\`.
  name=${tool##*/}
  case $tool in go.etcd.io/etcd/*) name=etcd ;; esac
  CGO_ENABLED=0 go build -mod=readonly -trimpath -ldflags='-s -w' -o "$temporary/$name" "$tool"
  echo "    $(du -h "$temporary/$name" | cut -f1), after $((SECONDS - started)) s" >&2
done
chmod 755 "$temporary"
if ! mv -T "$temporary" "$folder" 2>/dev/null && [ ! -d "$folder" ]; then
  echo "cannot rename $temporary to $folder" >&2
  exit 1
fi
echo "$folder"
