#!/bin/sh
# Lays out the image's root file system: the program, nft, and the libraries that these two load. Nothing else: no shell, no
# package manager. The Dockerfile runs it where both are installed; tests/image runs what it makes.
#
# usage: docker/rootfs.sh DESTINATION PROGRAM
set -eu

if [ $# -ne 2 ]; then
  echo "usage: $0 DESTINATION PROGRAM" >&2
  exit 2
fi
destination=$1
program=$2
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
nft=$(command -v nft) || { echo "$0: nft is not installed (Debian: apt-get install nftables)" >&2; exit 1; }

install -D -m 0755 "$program" "$destination/usr/bin/portolan"
install -D -m 0755 "$nft" "$destination/usr/sbin/nft"

# Absolute paths in ldd's answer: the libraries, and the loader. Each keeps its path, by which the loader finds it.
libraries=$(ldd "$program" "$nft" | tr ' \t' '\n\n' | grep '^/.*\.so' | sort -u)
for library in $libraries; do
  install -D -m 0755 "$library" "$destination$library"
done

# The licences of what is copied from Debian, which its authors ask to go along.
for file in $libraries "$nft"; do
  package=$(dpkg-query --search "$file" "/usr$file" 2>/dev/null | cut -d : -f 1 | head -n 1)
  if [ -n "$package" ]; then
    install -D -m 0644 "/usr/share/doc/$package/copyright" "$destination/usr/share/doc/$package/copyright"
  fi
done

# "files" for the few names that nft looks up, "dns" for an API server that is given by name.
mkdir -p "$destination/etc"
printf 'hosts: files dns\nprotocols: files\nservices: files\n' > "$destination/etc/nsswitch.conf"
