#!/usr/bin/env bash
# Sets up a nats-server for jetrpc on Debian or Ubuntu: see README.md, or --help.
#
# First everything is read, found and checked in a temporary folder; then the
# machine is changed, and changed back if that fails in the middle.
set -euo pipefail
umask 077
export LC_ALL=C
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR
{
  . "$here/lib/script.sh"
  . "$here/lib/options.sh"
  . "$here/lib/nats-release.sh"
  . "$here/lib/find-nats-server.sh"
  . "$here/lib/certificates.sh"
  . "$here/lib/render.sh"
  . "$here/lib/change.sh"
  . "$here/lib/service.sh"
}

main() {
  read_options "$@"
  if [ -n "${flag[help]}" ]; then
    printf '%s\n' "$usage"
    return
  fi
  check_options
  settle
  check_system
  if [ -n "${flag[uninstall]}" ]; then
    run_main uninstall
  elif [ -n "${flag[upgrade]}" ]; then
    run_main upgrade
  else
    run_main install_all
  fi
}

# Derives from the options what is used all over.
settle() {
  dry_run=${flag[dry-run]}
  only_local=$dry_run
  local prefix=${option[prefix]%/}
  is_system=yes
  service_user=jetrpc-nats
  if [ -n "${option[prefix]}" ]; then
    is_system=
    service_user=$(id -un)
  fi
  config=$prefix/etc/jetrpc-nats
  program=$prefix/usr/local/lib/jetrpc-nats/nats-server
  unit=/etc/systemd/system/jetrpc-nats.service
  data=${option[data]:-$prefix/var/lib/jetrpc-nats}
  server_name=${option[name]:-$(hostname)}
  local reached=${option[listen]}
  # Where all interfaces are listened to, or one by IPv6, clients know the machine by its name.
  if [[ $reached == 0.0.0.0 || $reached == \[* ]]; then
    reached=$(hostname -f 2>/dev/null || hostname)
  fi
  IFS=, read -ra hosts <<<"${option[host]:-$reached}"
  tls=${flag[tls]}${option[tls-cert]}
  sync=${option[sync]:-$([ -n "${option[cluster]}" ] && echo always || echo 2m)}
}

check_system() {
  check_debian
  [ -n "$(machine)" ] || fail "this is made for x86-64 and arm64, not for $(uname -m)"
}

install_all() {
  local staged=$work/etc
  mkdir "$staged" "$staged/tls" "$work/program"
  render "$staged"
  stage_certificates "$staged/tls"
  if [ -e "$config/nats-server.conf" ]; then
    compare_config "$staged"
  else
    check_ports
    check_data
  fi
  if check_server "$program" 2>/dev/null; then
    server=$program
  else
    find_server
    server=$work/program/nats-server
  fi
  check_config "$staged"
  commit "$staged"
  show_env "$staged"
}

# Puts the certificates there, those that are given or those made here.
stage_certificates() {
  if [ -z "$tls" ]; then
    return
  fi
  need_openssl
  if [ -n "${option[tls-cert]}" ]; then
    cp -- "${option[tls-cert]}" "$1/server.pem"
    cp -- "${option[tls-key]}" "$1/server-key.pem"
    [ -z "${option[tls-ca]}" ] || cp -- "${option[tls-ca]}" "$1/ca.pem"
    check_certificate "${option[tls-cert]}" "${option[tls-key]}" "${option[tls-ca]}" "${hosts[@]}"
  else
    if [ -e "$config/tls/server.pem" ] && [ -e "$config/tls/ca-key.pem" ]; then
      cp -- "$config/tls/"*.pem "$1"
    else
      make_ca "$1"
      make_certificate "$1" "$1" server "${hosts[@]}"
    fi
    check_certificate "$1/server.pem" "$1/server-key.pem" "$1/ca.pem" "${hosts[@]}"
  fi
  warn_of_expiry "$1/server.pem"
}

# A file that is there may have been written by hand: it is never replaced.
compare_config() {
  local file
  for file in "$config/nats-server.conf" ${is_system:+"$unit"}; do
    if [ -e "$file" ] && ! cmp -s -- "$file" "$1/${file##*/}"; then
      say "$file (-) is not what these options would make (+):"
      diff -u -- "$file" "$1/${file##*/}" | tail -n +3 >&2 || true
      fail "$file is left as it is, and so is everything else. If it is to be made anew, move it away and run this again; token and data stay"
    fi
  done
}

check_ports() {
  local name
  if [ -n "$(running)" ]; then
    # It is this one that listens.
    return
  fi
  for name in port monitor-port ${option[cluster]:+cluster-port} ${flag[websocket]:+websocket-port}; do
    ! is_heard "${option[$name]}" ||
      fail "port ${option[$name]} is in use: end what listens there, or give another one as --$name"
  done
}

check_data() {
  local folder=$data free wanted
  while ! [ -e "$folder" ]; do
    folder=$(dirname "$folder")
  done
  [ -d "$folder" ] && [ -w "$folder" ] || fail "--data $data: $folder cannot be written to"
  wanted=$(numfmt --from=iec "${option[max-disk]%B}")
  free=$(($(df -B1 --output=avail -- "$folder" | tail -n 1)))
  if ((free < wanted)); then
    fail "there are $(numfmt --to=iec "$free")B free for $data, less than --max-disk ${option[max-disk]}: give a smaller one, or another --data"
  fi
  # The service's user has to get there.
  while [ -n "$is_system" ] && [ "$folder" != / ]; do
    [[ $(stat -c %A -- "$folder") == *[xt] ]] || [ "$(stat -c %U -- "$folder")" = "$service_user" ] ||
      fail "--data $data: the service's user cannot get into $folder"
    folder=$(dirname "$folder")
  done
}

find_server() {
  say "looking for a nats-server $oldest_version or newer"
  if find_nats_server "$work/program"; then
    say "  found $found_version ($found_how)"
  elif [ -z "$dry_run" ]; then
    fail "no nats-server $oldest_version or newer was found. Download one from https://github.com/nats-io/nats-server/releases and set NATS_SERVER_BIN to its path"
  fi
}

# Lets the server itself read the configuration, before it is anywhere it matters.
check_config() {
  local says
  if ! [ -x "$server" ]; then
    # In a dry run that would download one.
    return
  fi
  mkdir "$work/check"
  cp -r "$1/." "$work/check"
  sed -i "s|$config|$work/check|g" "$work/check/nats-server.conf"
  says=$("$server" -t -c "$work/check/nats-server.conf" 2>&1) ||
    fail "the server refuses this configuration: ${says//$work\/check/}"
}

commit() {
  local file
  make_user
  make_folder "$config" 755 root
  make_folder "$data" 700 "$service_user"
  make_folder "$(dirname "$program")" 755 root
  if [ "$server" != "$program" ]; then
    if [ -x "$server" ]; then
      put_file "$server" "$program" 755 root
    else
      change "download nats-server $release_version, or Debian's, to $program" true
    fi
  fi
  local before=$changes
  if [ -n "$tls" ]; then
    make_folder "$config/tls" 755 root
    for file in "$1/tls/"*.pem; do
      case $file in
        */ca-key.pem) put_file "$file" "$config/tls/ca-key.pem" 600 root ;;
        */server-key.pem) put_file "$file" "$config/tls/server-key.pem" 600 "$service_user" ;;
        *) put_file "$file" "$config/tls/${file##*/}" 644 root ;;
      esac
    done
  fi
  [ -z "${option[users]}" ] || put_file "$1/users.conf" "$config/users.conf" 600 "$service_user"
  put_file "$1/secrets.conf" "$config/secrets.conf" 600 "$service_user"
  local reread=$changes
  put_file "$1/nats-server.conf" "$config/nats-server.conf" 644 root
  start_service "$1/jetrpc-nats.service" $((reread - before)) $((changes - reread))
}

upgrade() {
  check_server "$program" || fail "there is nothing to upgrade: $reason"
  local installed=$version
  mkdir "$work/program"
  say "looking for a nats-server newer than $installed"

  if ! find_nats_server "$work/program" "$installed"; then
    [ -n "$is_current$dry_run" ] || fail "$installed stays: no other nats-server was found"
    return
  fi
  server=$work/program/nats-server
  if [ -e "$config/nats-server.conf" ]; then
    mkdir "$work/etc"
    cp -r "$config/." "$work/etc"
    check_config "$work/etc"
  fi
  put_file "$server" "$program" 755 root
  restart_service "nats-server $found_version"
  [ -n "$dry_run" ] || rm -f -- "$program.old"
}

# To standard output: what a client's .env needs.
show_env() {
  local list=() host
  if [ -n "${option[cluster]}" ]; then
    IFS=, read -ra list <<<"${option[routes]}"
    for host in "${!list[@]}"; do
      [[ ! ${list[host]} =~ :[0-9]+$ ]] || list[host]=${list[host]%:*}
    done
  else
    list=("${hosts[0]}")
  fi
  list=("${list[@]/#/nats://}")
  list=("${list[@]/%/:${option[port]}}")
  if [ -n "$dry_run" ]; then
    return
  fi
  say "for a client's .env:"
  (
    IFS=,
    echo "NATS_URL=${list[*]}"
  )
  if [ -n "${option[users]}" ]; then
    echo "# and who connects: what belongs to a user of ${option[users]}"
  else
    sed -n 's/^TOKEN: "\(.*\)"$/NATS_TOKEN=\1/p' "$1/secrets.conf"
  fi
  if [ -e "$1/tls/ca.pem" ]; then
    echo "# On another machine: the path of a copy of this file."
    echo "NATS_TLS_CA=$config/tls/ca.pem"
  fi
  if [ -z "$tls" ] && [[ ${option[listen]} != 127.* ]]; then
    say "The token crosses the network in clear: use it in a private network, or give --tls."
  fi
}

main "$@"
