# The service of the server.
# shellcheck shell=bash

# start_service UNIT SECRETS CONFIG: starts it, or lets it take as many changes of
# secrets and certificates, and of the configuration: not all of that can be read again.
start_service() {
  if ! has_systemd; then
    [ "$changes" = 0 ] || say "There is no systemd here. Start the server with
  $(start_command)"
    return
  fi
  if ! [ -e "$unit" ]; then
    put_file "$1" "$unit" 644 root
    change "let systemd know" systemctl daemon-reload
  fi
  if ! systemctl --quiet is-enabled jetrpc-nats 2>/dev/null || ! systemctl --quiet is-active jetrpc-nats; then
    change "start the service jetrpc-nats, now and at boot" start_and_wait
  elif [ "$3" != 0 ]; then
    change "restart the service jetrpc-nats" restart_and_wait
  elif [ "$2" != 0 ]; then
    change "let the service read its configuration again" systemctl reload jetrpc-nats
  fi
}

start_and_wait() {
  undo+=("systemctl --quiet disable --now jetrpc-nats; systemctl daemon-reload")
  systemctl --quiet enable --now jetrpc-nats || service_fails jetrpc-nats "the service does not start"
  wait_for_server
}

# restart_service WHAT
restart_service() {
  if ! has_systemd; then
    say "To run $1, end the server and start it with
  $(start_command)"
    return
  fi
  change "restart the service jetrpc-nats" restart_and_wait
}

restart_and_wait() {
  # The last to be undone: first the program goes back.
  undo=("systemctl restart jetrpc-nats" "${undo[@]}")
  systemctl restart jetrpc-nats || service_fails jetrpc-nats "the service does not start"
  wait_for_server
}

# The first thing that a nats-server says is INFO.
wait_for_server() {
  local attempt line host port
  port=$(sed -n 's/^listen: ".*:\([0-9]*\)"$/\1/p' "$config/nats-server.conf")
  host=$(sed -n 's/^listen: "\(.*\):[0-9]*"$/\1/p' "$config/nats-server.conf" | tr -d '[]')
  case $host in 0.0.0.0 | ::) host=127.0.0.1 ;; esac
  for ((attempt = 0; attempt < 300; attempt++)); do
    # shellcheck disable=SC2016
    line=$(timeout 2 bash -c 'exec 3<>"/dev/tcp/$0/$1" && head -c 4 <&3' "$host" "$port" 2>/dev/null) || true
    if [ "$line" = INFO ]; then
      return
    fi
    sleep 0.1
  done
  service_fails jetrpc-nats "the service does not answer at $host:$port"
}

start_command() {
  if [ -n "$is_system" ]; then
    echo "runuser -u $service_user -- $program -c $config/nats-server.conf"
  else
    echo "$program -c $config/nats-server.conf"
  fi
}

# The ids of the processes that run the program; what was replaced is "(deleted)".
running() {
  local process
  for process in /proc/[0-9]*; do
    case $(readlink "$process/exe" 2>/dev/null || true) in
      "$program" | "$program (deleted)") echo "${process#/proc/}" ;;
    esac
  done
}

uninstall() {
  local pids stored other
  stored=$(sed -n 's/^ *store_dir: "\(.*\)"$/\1/p' "$config/nats-server.conf" 2>/dev/null || true)
  stored=${stored:-$data}
  if has_systemd && [ -e "$unit" ]; then
    change "stop the service jetrpc-nats" systemctl --quiet disable --now jetrpc-nats
  elif pids=$(running | paste -sd ' ') && [ -n "$pids" ]; then
    fail "the server runs as process $pids: end it first"
  fi
  if [ -n "$is_system" ] && [ -e "$unit" ]; then
    change "remove $unit" rm -f -- "$unit"
    ! has_systemd || change "let systemd know" systemctl daemon-reload
  fi
  if [ -d "$(dirname "$program")" ]; then
    change "remove $program" rm -rf -- "$(dirname "$program")"
  fi
  if [ -z "${flag[purge]}" ]; then
    [ ! -d "$config" ] || say "kept: $config"
    [ ! -d "$stored" ] || say "kept: $stored"
    return
  fi
  # Only what nats-server made: the folder may be one that has other things, too.
  if [ -d "$stored/jetstream" ]; then
    change "remove what is stored in $stored" rm -rf -- "$stored/jetstream" "$stored/ocsp"
  fi
  if [ -d "$stored" ]; then
    other=$(find "$stored" -mindepth 1 -maxdepth 1 ! -name jetstream ! -name ocsp | paste -sd ' ')
    if [ -n "$other" ]; then
      say "kept: $stored, for $other"
    else
      change "remove $stored" rmdir -- "$stored"
    fi
  fi
  if [ -d "$config" ]; then
    change "remove $config" rm -rf -- "$config"
  fi
  if [ -n "$is_system" ] && getent passwd "$service_user" >/dev/null; then
    change "remove the user $service_user" remove_user
  fi
}
