# The release of nats-server that is known to work, and the SHA-256 of its .tar.gz.
# The same as in packages/testing/src/nats-release.ts; a test compares them.
# shellcheck shell=bash disable=SC2034
oldest_version=2.12
release_version=2.15.0
declare -A release_sha256=(
  [amd64]=5d2c51caca950333aba84911df7d377f826f3a59ec36061c6539105084f65c92
  [arm64]=cdc208f5a3f42963a52b6ab06ef65626bb870315dc936e26ba571780c6351112
)
