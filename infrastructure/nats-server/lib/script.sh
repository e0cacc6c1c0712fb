# What the scripts share. Each setup.sh has its own options and steps besides: it defines
# usage, option, flag, service_user.
# shellcheck shell=bash disable=SC2154,SC2034

say() { printf '%s\n' "$*" >&2; }

fail() {
  say "${0##*/}: $*"
  exit 1
}

last_line() { tail -n 1 <<<"$1"; }

wrong_usage() {
  say "${0##*/}: $*
--help tells the options."
  exit 2
}

# read_options ARGUMENT...: --name VALUE, --name=VALUE, and flags.
read_options() {
  local name
  while [ $# -gt 0 ]; do
    name=${1#--}
    [ "$name" != "$1" ] || wrong_usage "\"$1\" is no option"
    if [[ $name == *=* ]]; then
      set -- "${1%%=*}" "${1#*=}" "${@:2}"
      name=${name%%=*}
      [ -n "${option[$name]+known}" ] || wrong_usage "--$name is no option that takes a value"
    fi
    if [ -n "${flag[$name]+known}" ]; then
      flag["$name"]=yes
      shift
    elif [ -n "${option[$name]+known}" ]; then
      [ $# -ge 2 ] && [ -n "$2" ] || wrong_usage "--$name needs a value"
      option["$name"]=$2
      shift 2
    else
      wrong_usage "--$name is no option"
    fi
  done
}

# run_main FUNCTION: with a temporary folder, and so that what fails is taken back.
run_main() {
  work=$(mktemp -d)
  trap 'finish $?' EXIT
  trap 'exit 130' INT TERM
  "$1"
  if [ "$changes" = 0 ]; then
    say "nothing to change"
  fi
  undo=()
}

# finish STATUS
finish() {
  if [ "$1" != 0 ]; then
    take_back
  fi
  rm -rf -- "$work"
}

# check_port_options NAME...: each has a port of its own.
check_port_options() {
  local name port seen=' '
  for name in "$@"; do
    port=${option[$name]}
    [[ $port =~ ^[1-9][0-9]{0,4}$ ]] && ((port <= 65535)) || wrong_usage "--$name $port is no port"
    [[ $seen != *" $port "* ]] || wrong_usage "--$name $port is used for something else already"
    seen="$seen$port "
  done
}

check_listen() {
  local byte='(25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])'
  [[ ${option[listen]} =~ ^$byte(\.$byte){3}$|^\[[0-9a-f:]+\]$ ]] ||
    wrong_usage "--listen ${option[listen]} is no address; IPv6 has brackets: [::]"
}

# is_heard PORT: true when something of this machine listens there.
is_heard() {
  grep -qsE "^ *[0-9]+: [0-9A-F]+:$(printf %04X "$1") [0-9A-F]+:0000 0A " /proc/net/tcp /proc/net/tcp6
}

# check_debian: by root, on Debian or Ubuntu.
check_debian() {
  local system
  if [ -n "$is_system" ] && [ "$(id -u)" != 0 ]; then
    fail "only root can do this: use sudo, or --prefix for a folder of yours"
  fi
  # shellcheck source=/dev/null
  system=$(. /etc/os-release 2>/dev/null && echo "${ID:-} ${ID_LIKE:-}" || uname -s)
  [[ " $system " == *" debian "* || " $system " == *" ubuntu "* ]] ||
    fail "this is made for Debian and Ubuntu, not for \"${system% }\": README.md says what to do by hand"
}

make_user() {
  if [ -n "$is_system" ] && ! getent passwd "$service_user" >/dev/null; then
    command -v useradd >/dev/null || fail "useradd is not installed: apt-get install passwd"
    change "make the user $service_user" useradd --system --user-group --no-create-home \
      --home-dir /nonexistent --shell /usr/sbin/nologin "$service_user"
    to_undo remove_user
  fi
}

remove_user() {
  userdel "$service_user" 2>/dev/null
}

has_systemd() {
  [ -n "$is_system" ] && [ -d /run/systemd/system ]
}

# service_fails SERVICE TEXT: with its last words, before what was done is taken back.
service_fails() {
  journalctl -u "$1" -n 10 -o cat --no-pager >&2 || true
  fail "$2; its last words are above"
}
