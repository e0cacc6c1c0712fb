#!/usr/bin/env bash
# Makes a CA of one's own and certificates that it signs: one for each server of a
# cluster, say. Replaces them when they exist already, keeping owner and mode.
set -euo pipefail
umask 077
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR
{
  . "$here/lib/script.sh"
  . "$here/lib/certificates.sh"
}

if [ $# -lt 3 ] || [[ $1 == -* ]]; then
  say "certificates.sh FOLDER NAME HOST...

Writes NAME.pem and NAME-key.pem, a certificate for those hosts that is good for
two years, into FOLDER. It is signed by FOLDER/ca.pem, which is made with
ca-key.pem when it is not there; keep that key away from the servers."
  exit 2
fi
folder=$1 name=$2
shift 2
need_openssl
[[ $name =~ ^[A-Za-z0-9][A-Za-z0-9._-]*$ ]] || fail "NAME $name: letters, digits, dots, _ and -"
for host in "$@"; do
  [[ $host =~ ^[A-Za-z0-9.:*-]+$ ]] || fail "$host is no host name or address"
done
mkdir -p "$folder"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

if ! [ -e "$folder/ca.pem" ]; then
  make_ca "$work"
  cp "$work/ca.pem" "$work/ca-key.pem" "$folder"
  chmod 644 "$folder/ca.pem"
  say "made $folder/ca.pem and ca-key.pem, good until $(expiry "$folder/ca.pem")"
fi
[ -r "$folder/ca-key.pem" ] || fail "there is no $folder/ca-key.pem that can be read: it signs the certificates"
make_certificate "$folder" "$work" "$name" "$@"
for file in "$name.pem" "$name-key.pem"; do
  if [ -e "$folder/$file" ]; then
    chmod --reference "$folder/$file" "$work/$file"
    chown --reference "$folder/$file" "$work/$file"
  elif [ "$file" = "$name.pem" ]; then
    chmod 644 "$work/$file"
  fi
  mv "$work/$file" "$folder/$file"
done
say "made $folder/$name.pem and $name-key.pem for $*, good until $(expiry "$folder/$name.pem")"
