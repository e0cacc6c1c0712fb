# Finds a nats-server, in the same ways and with the same checks as the project's
# findNatsServer(): packages/testing/src/find-nats-server.ts.
# shellcheck shell=bash

# The releases of Debian that have a nats-server that is new enough, newest first.
debian_suites=(sid forky)
newer_than=
is_current=
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

# find_nats_server FOLDER [NEWER_THAN]: puts one into an empty folder, as
# FOLDER/nats-server. Sets found_version and found_how, or fails with reasons.
find_nats_server() {
  local folder=$1 way
  newer_than=${2:-}
  reasons=()
  for way in NATS_SERVER_BIN PATH release Debian; do
    reason=
    if [ -n "$only_local" ] && { [ $way = release ] || [ $way = Debian ]; }; then
      continue
    fi
    if "from_$way" "$folder"; then
      found_how=$way
      return 0
    fi
    reasons+=("$way: $reason")
    say "  $way: $reason"
  done
  return 1
}

# check_server PATH: sets version, or reason when it is none that serves.
check_server() {
  local says
  says=$(timeout 10 "$1" --version 2>&1) || true
  if ! [[ $says =~ ^nats-server:\ v(([0-9]+\.[0-9]+)\.[^[:space:]]+) ]]; then
    reason="$1 is no nats-server: it says \"${says:0:80}\""
    return 1
  fi
  version=${BASH_REMATCH[1]}
  if ! at_least "${BASH_REMATCH[2]}" "$oldest_version"; then
    reason="$1 is nats-server $version, older than $oldest_version"
    return 1
  fi
  is_newer "$version" "$1"
}

# is_newer VERSION WHAT: unless anything new enough is wanted.
is_newer() {
  if [ -n "$newer_than" ] && at_least "$newer_than" "$1"; then
    reason="$2 is $1, not newer than $newer_than"
    is_current=yes
    return 1
  fi
}

# at_least VERSION OLDER
at_least() {
  [ "$(printf '%s\n' "$1" "$2" | sort -V | head -n 1)" = "$2" ]
}

# take PATH FOLDER
take() {
  check_server "$1" || return 1
  found_version=$version
  if [ "$1" != "$2/nats-server" ]; then
    reason=$(cp -- "$1" "$2/nats-server" 2>&1) || return 1
  fi
  chmod 755 "$2/nats-server"
}

from_NATS_SERVER_BIN() {
  if [ -z "${NATS_SERVER_BIN:-}" ]; then
    reason="not set"
    return 1
  fi
  if ! [ -f "$NATS_SERVER_BIN" ] || ! [ -x "$NATS_SERVER_BIN" ]; then
    reason="$NATS_SERVER_BIN is no executable file"
    return 1
  fi
  take "$NATS_SERVER_BIN" "$1"
}

from_PATH() {
  local directory directories all=''
  IFS=: read -ra directories <<<"$PATH"
  for directory in "${directories[@]}"; do
    if [ -n "$directory" ] && [ -f "$directory/nats-server" ] && [ -x "$directory/nats-server" ]; then
      take "$directory/nats-server" "$1" && return 0
      all="$all${all:+; }$reason"
    fi
  done
  reason=${all:-no nats-server there}
  return 1
}

from_release() {
  local arch name url sum
  arch=$(machine)
  name=nats-server-v$release_version-linux-$arch
  url=${option[releases-url]%/}/v$release_version/$name.tar.gz
  is_newer "$release_version" "the release known here" || return 1
  say "  downloading $url"
  download "$url" "$1/release.tar.gz" || return 1
  sum=$(sha256sum "$1/release.tar.gz")
  if [ "${sum%% *}" != "${release_sha256[$arch]}" ]; then
    reason="$url has the SHA-256 ${sum%% *}, not ${release_sha256[$arch]}"
    return 1
  fi
  reason="$(tar -xzf "$1/release.tar.gz" -C "$1" --strip-components=1 "$name/nats-server" 2>&1)" || return 1
  take "$1/nats-server" "$1"
}

# download URL FILE: gives up on a server that is silent for 5 s.
download() {
  local says
  if command -v curl >/dev/null; then
    says=$(curl -fsSL --connect-timeout 5 --speed-limit 1 --speed-time 5 -o "$2" "$1" 2>&1) && return 0
  elif command -v wget >/dev/null; then
    says=$(wget -nv -T 5 -t 1 -O "$2" "$1" 2>&1) && return 0
  else
    says="neither curl nor wget is installed"
  fi
  reason="$1 cannot be downloaded: $(last_line "$says")"
  return 1
}

from_Debian() {
  local suite all='' folder=$1/debian
  if ! command -v apt-get >/dev/null || ! command -v dpkg-deb >/dev/null; then
    reason="apt-get is not installed"
    return 1
  fi
  if ! [ -f "$keyring" ]; then
    reason="there is no $keyring: install debian-archive-keyring"
    return 1
  fi
  for suite in "${debian_suites[@]}"; do
    rm -rf "$folder"
    if fetch_package "$suite" "$folder" && take "$folder/package/usr/sbin/nats-server" "$1"; then
      return 0
    fi
    # Both most often fail for one reason.
    [ "$reason" = "$all" ] || all="$all${all:+; }$reason"
  done
  reason=$all
  return 1
}

# fetch_package SUITE FOLDER: apt-get checks the archive's signature with Debian's
# keyring. It keeps lists, cache and state in the folder and reads no sources but
# its own: the system's packages stay as they are.
fetch_package() {
  local suite=$1 folder=$2
  mkdir -p "$folder/lists/partial" "$folder/cache/archives/partial"
  : >"$folder/status"
  echo "deb [signed-by=$keyring] ${option[debian-mirror]} $suite main" >"$folder/sources.list"
  apt_config "$folder" >"$folder/apt.conf"
  say "  reading the package list of Debian $suite"
  run_apt_get "$folder" update || return 1
  say "  downloading nats-server of Debian $suite"
  run_apt_get "$folder" download nats-server || return 1
  reason=$(dpkg-deb -x "$folder"/*.deb "$folder/package" 2>&1)
}

# run_apt_get FOLDER ARGUMENT...
run_apt_get() {
  local folder=$1 says
  shift
  says=$(cd "$folder" && APT_CONFIG=$folder/apt.conf timeout 180 apt-get -q "$@" 2>&1 </dev/null) && return 0
  # Where apt-get complains, its first complaint says most.
  reason="apt-get failed: $(grep -m 1 -E '^[EW]: ' <<<"$says" || last_line "$says")"
  return 1
}

# The system's configuration is left out, for its hooks and its pins, but for how
# it reaches the archive (a proxy, say). Its word on signatures does not count.
apt_config() {
  apt-config dump | grep '^Acquire::' || true
  cat <<END
Dir::Etc::main "/dev/null";
Dir::Etc::parts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::Etc::sourcelist "$1/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::State "$1";
Dir::State::lists "$1/lists";
Dir::State::status "$1/status";
Dir::Cache "$1/cache";
Dir::Log "$1";
// Root would download as another user, who cannot write into the folder.
APT::Sandbox::User "";
APT::Get::AllowUnauthenticated "false";
APT::Update::Error-Mode "any";
Acquire::AllowInsecureRepositories "false";
Acquire::AllowWeakRepositories "false";
Acquire::AllowDowngradeToInsecureRepositories "false";
Acquire::GzipIndexes "true";
Acquire::Languages "none";
Acquire::Retries "0";
Acquire::http::Timeout "5";
Acquire::https::Timeout "5";
END
}

# The kind of this machine as releases name it; empty for others.
machine() {
  case $(uname -m) in
    x86_64) echo amd64 ;;
    aarch64) echo arm64 ;;
  esac
}
