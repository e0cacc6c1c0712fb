# Writes the configuration into a folder, for comparison and for a test run.
# shellcheck shell=bash

# render FOLDER
render() {
  local name parts='' keep=()
  if [ -n "${option[users]}" ]; then
    cp -- "${option[users]}" "$1/users.conf"
    parts=users
    # There can be one list of accounts only. Where the file has it, the system
    # account is the server's own, or one of them.
    if ! grep -qE '^[[:space:]]*"?accounts"?[[:space:]:={]' "$1/users.conf"; then
      parts="$parts system"
    fi
  else
    parts=token
  fi
  [ -z "$tls" ] || parts="$parts tls"
  [ -z "${option[cluster]}" ] || parts="$parts cluster${tls:+ cluster-tls}"
  [ -z "${flag[websocket]}" ] || parts="$parts websocket websocket-$([ -n "$tls" ] && echo tls || echo plain)"
  for name in $parts; do
    keep+=(-e "s/^#$name| \{0,1\}//")
  done
  sed "${keep[@]}" -e '/^#[a-z-]*|/d' "$here/nats-server.conf" | fill >"$1/nats-server.conf"
  fill <"$here/jetrpc-nats.service" >"$1/jetrpc-nats.service"
  render_secrets "$parts" >"$1/secrets.conf"
}

# Fills in what stands between @.
fill() {
  local name values=()
  for name in listen port monitor-port max-memory max-disk cluster cluster-port websocket-port; do
    values+=(-e "s|@$name@|${option[$name]}|g")
  done
  sed "${values[@]}" -e "s|@name@|$server_name|g" -e "s|@sync@|$sync|g" -e "s|@data@|$data|g" \
    -e "s|@config@|$config|g" -e "s|@program@|$program|g" \
    -e "s|@stop-signal@|$([ -n "${option[cluster]}" ] && echo SIGUSR2 || echo SIGTERM)|g"
}

# render_secrets PARTS: those that are needed; the server refuses others.
render_secrets() {
  local route routes password
  echo "# For the server's eyes only. Made by setup.sh."
  case $1 in
    *token*) echo "TOKEN: \"$(secret TOKEN 32)\"" ;;
    *system*) echo "SYS_PASSWORD: \"$(secret SYS_PASSWORD 32)\"" ;;
  esac
  if [ -n "${option[cluster]}" ]; then
    password=$(secret CLUSTER_PASSWORD 32)
    echo "CLUSTER_PASSWORD: \"$password\""
    echo "ROUTES: ["
    IFS=, read -ra routes <<<"${option[routes]}"
    for route in "${routes[@]}"; do
      [[ $route =~ :[0-9]+$ ]] || route=$route:${option[cluster-port]}
      echo "  \"nats://route:$password@$route\""
    done
    echo "]"
  fi
}

# secret NAME BYTES: from --secrets, else as it is, else a new one.
secret() {
  local value file
  for file in "${option[secrets]}" "$config/secrets.conf"; do
    if [ -n "$file" ] && [ -e "$file" ]; then
      value=$(sed -n "s/^$1: \"\([^\"]*\)\"\$/\1/p" "$file")
      if [ -n "$value" ]; then
        echo "$value"
        return
      fi
    fi
  done
  od -An -tx1 -N"$2" /dev/urandom | tr -d ' \n'
}
