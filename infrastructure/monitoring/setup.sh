#!/usr/bin/env bash
# Sets up Prometheus, Alertmanager and the exporter of jetrpc on Debian or Ubuntu: see
# README.md, or --help. It has the habits of ../nats-server/setup.sh.
set -euo pipefail
umask 077
export LC_ALL=C
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR
{
  . "$here/../nats-server/lib/script.sh"
  . "$here/../nats-server/lib/change.sh"
}

usage="setup.sh [options]: sets up Prometheus, Alertmanager and \`jetrpc metrics\`.

Running it again with the same options changes nothing.

  --env FILE               the .env of an observer: \`jetrpc permissions --keys\` writes it
  --descriptors FILE       the services to watch: \`buf build -o image.binpb\`
  --monitor URL,...        monitoring ports of the servers (http://127.0.0.1:8222)
  --targets HOST:PORT,...  workers and apps that have metrics of their own
  --jetrpc PATH            the command (default: the one on PATH)
  --node PATH              the Node that runs it (default: the one on PATH)
  --listen ADDRESS         where all three are heard (127.0.0.1)
  --metrics-port N         (9464)
  --prometheus-port N      (9090)
  --alertmanager-port N    (9093)
  --data FOLDER            what they store (/var/lib/jetrpc-monitoring)
  --retention TIME         how long it is kept (30d)
  --dry-run                says what it would do, and does nothing
  --prefix FOLDER          everything below FOLDER, without users, packages and services

  --uninstall [--purge]    removes the services; --purge what was stored and
                           configured, too
  --help"

declare -A option=(
  [env]='' [descriptors]='' [monitor]=http://127.0.0.1:8222 [targets]='' [jetrpc]='' [node]=''
  [listen]=127.0.0.1 [metrics-port]=9464 [prometheus-port]=9090 [alertmanager-port]=9093
  [data]='' [retention]=30d [prefix]=''
)
declare -A flag=([dry-run]='' [uninstall]='' [purge]='' [help]='')

packages=(prometheus prometheus-alertmanager)
services=(jetrpc-metrics jetrpc-alertmanager jetrpc-prometheus)
service_user="jetrpc-metrics"

main() {
  read_options "$@"
  if [ -n "${flag[help]}" ]; then
    printf '%s\n' "$usage"
    return
  fi
  settle
  check_options
  check_system
  if [ -n "${flag[uninstall]}" ]; then
    run_main uninstall
  else
    run_main install_all
  fi
}

settle() {
  dry_run=${flag[dry-run]}
  local prefix=${option[prefix]%/}
  is_system=yes
  if [ -n "${option[prefix]}" ]; then
    is_system=
  fi
  config=$prefix/etc/jetrpc-monitoring
  units=$prefix/etc/systemd/system
  stored=
  [ ! -r "$config/data" ] || stored=$(<"$config/data")
  data=${option[data]}
  if [ -z "$data" ] && [ -n "${flag[uninstall]}" ]; then
    data=$stored
  fi
  data=${data:-$prefix/var/lib/jetrpc-monitoring}
  node=${option[node]:-$(command -v node || true)}
  jetrpc=${option[jetrpc]:-$(command -v jetrpc || true)}
  # Where what listens there is reached from this machine.
  reach=${option[listen]}
  case $reach in 0.0.0.0 | "[::]") reach=127.0.0.1 ;; esac
}

check_options() {
  local name
  check_port_options metrics-port prometheus-port alertmanager-port
  check_listen
  [[ ${option[retention]} =~ ^[1-9][0-9]*(h|d|w|y)$ ]] ||
    wrong_usage "--retention ${option[retention]} is no time like 30d"
  [[ ${option[monitor]} =~ ^https?://[][A-Za-z0-9._:/-]+(,https?://[][A-Za-z0-9._:/-]+)*$ ]] ||
    wrong_usage "--monitor ${option[monitor]} is no list of URLs with commas between; IPv6 has brackets: http://[::1]:8222"
  [[ ${option[targets]} =~ ^([][A-Za-z0-9.:-]+:[0-9]+(,[][A-Za-z0-9.:-]+:[0-9]+)*)?$ ]] ||
    wrong_usage "--targets ${option[targets]} is no list of HOST:PORT with commas between"
  for name in data prefix jetrpc node; do
    [[ ${option[$name]} =~ ^(/[A-Za-z0-9._/@-]*)?$ ]] || wrong_usage "--$name ${option[$name]}: a whole path, of letters, digits, dots, _, @ and -"
  done
  for name in ${option[targets]//,/ }; do
    ((10#${name##*:} >= 1 && 10#${name##*:} <= 65535)) || wrong_usage "--targets $name has no port from 1 to 65535"
  done
  [ -z "${flag[purge]}" ] || [ -n "${flag[uninstall]}" ] || wrong_usage "--purge goes with --uninstall"
  check_data
  if [ -n "${flag[uninstall]}" ]; then
    return
  fi
  for name in env descriptors; do
    # What is there already is kept.
    [ -n "${option[$name]}" ] || [ -e "$config/$(file_of "$name")" ] || wrong_usage "--$name FILE is needed"
    [ -z "${option[$name]}" ] || { [ -f "${option[$name]}" ] && [ -r "${option[$name]}" ]; } ||
      fail "--$name ${option[$name]} is no file that can be read"
  done
  if [ -n "${option[env]}" ]; then
    grep -q '^NATS_URL=' "${option[env]}" ||
      fail "--env ${option[env]} has no NATS_URL: add the line, NATS_URL=nats://HOST:4222"
  fi
}

# A folder where others store something, as Debian's prometheus does in /var/lib, is left alone.
check_data() {
  [ "$data" != "$stored" ] || return 0
  local name
  for name in prometheus alertmanager; do
    [ -z "$(ls -A -- "$data/$name" 2>/dev/null)" ] ||
      fail "$data/$name is not of this script: give another folder as --data, or move it away"
  done
}

file_of() {
  case $1 in env) echo metrics.env ;; descriptors) echo schema.binpb ;; esac
}

check_system() {
  local name path
  check_debian
  if [ -n "${flag[uninstall]}" ]; then
    return
  fi
  for name in node jetrpc; do
    path=${!name}
    [ -n "$path" ] && [ -x "$path" ] ||
      fail "${path:-$name} is not there or no program: give its path as --$name (npm install --prefix /opt/jetrpc @jetrpc/cli)"
    path=$(readlink -f -- "$path")
    if [ -n "$is_system" ] && [[ $path == /home/* || $path == /root/* || $path == /tmp/* ]]; then
      fail "--$name $path: the service cannot read home folders and /tmp. Install it elsewhere, for example by npm install --prefix /opt/jetrpc @jetrpc/cli"
    fi
    printf -v "$name" %s "$path"
  done
}

install_all() {
  local staged=$work/etc
  mkdir "$staged" "$staged/targets"
  render "$staged"
  compare "$staged"
  if ! [ -e "$config/prometheus.yml" ]; then
    check_ports
  fi
  check_config "$staged"
  install_packages
  commit "$staged"
}

# render FOLDER: writes all files, for comparison and for a check.
render() {
  local file target targets monitors=''
  IFS=, read -ra targets <<<"${option[monitor]}"
  for target in "${targets[@]}"; do
    monitors="$monitors --monitor $target"
  done
  for file in prometheus.yml rules.yml alertmanager.yml "${services[@]/%/.service}"; do
    fill "$monitors" <"$here/$file" >"$1/$file"
  done
  if [ -n "${option[targets]}" ]; then
    target=${option[targets]//,/\", \"}
    printf -- '- targets: ["%s"]\n' "$target" >"$1/targets/setup.yml"
  fi
  printf '%s\n' "$data" >"$1/data"
  (cd "$1" && sha256sum rules.yml >made)
  [ -z "${option[env]}" ] || cp -- "${option[env]}" "$1/metrics.env"
  [ -z "${option[descriptors]}" ] || cp -- "${option[descriptors]}" "$1/schema.binpb"
}

# fill MONITORS: fills in what stands between @.
fill() {
  local name values=()
  for name in listen metrics-port prometheus-port alertmanager-port retention; do
    values+=(-e "s|@$name@|${option[$name]}|g")
  done
  for name in config data node jetrpc reach; do
    values+=(-e "s|@$name@|${!name}|g")
  done
  sed "${values[@]}" -e "s|@monitors@|$1|g"
}

# is_as_made FILE: true when it is as this script has written it, also an older version of it.
is_as_made() {
  [ -r "$config/made" ] && (cd "$config" && grep -E "  $1\$" made | sha256sum --quiet --check - >/dev/null 2>&1)
}

# What is there may have been edited: it is never replaced. No option is in the rules: those of
# an older version are replaced.
compare() {
  local file path
  for file in prometheus.yml rules.yml "${services[@]/%/.service}"; do
    path=$config/$file
    [[ $file != *.service ]] || path=$units/$file
    if [ "$file" = rules.yml ] && is_as_made rules.yml; then
      continue
    fi
    if [ -e "$path" ] && ! cmp -s -- "$path" "$1/$file"; then
      say "$path (-) is not what these options would make (+):"
      diff -u -- "$path" "$1/$file" | tail -n +3 >&2 || true
      fail "$path is left as it is, and so is everything else. If it is to be made anew, move it away and run this again"
    fi
  done
}

check_ports() {
  local name
  for name in metrics-port prometheus-port alertmanager-port; do
    ! is_heard "${option[$name]}" ||
      fail "port ${option[$name]} is in use: end what listens there (Debian's own prometheus, say), or give another one as --$name"
  done
}

# The programs' own checks, where they are there already.
check_config() {
  local says
  if command -v promtool >/dev/null; then
    says=$(promtool check rules "$1/rules.yml" 2>&1) || fail "promtool refuses rules.yml: $says"
    says=$(cd "$1" && promtool check config --syntax-only prometheus.yml 2>&1) || fail "promtool refuses prometheus.yml: $says"
  fi
}

install_packages() {
  local name missing=()
  if [ -z "$is_system" ]; then
    return
  fi
  for name in "${packages[@]}"; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null)" = installed ] || missing+=("$name")
  done
  if [ ${#missing[@]} -gt 0 ]; then
    change "install ${missing[*]} by apt-get, without their own services" apt_install "${missing[@]}"
  fi
}

apt_install() {
  local name says
  # The packages start services of their own, on the ports of these here.
  for name in "$@"; do
    systemctl --quiet mask "$name" 2>/dev/null || true
  done
  says=$(apt-get update -qq 2>&1 && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" 2>&1 </dev/null) || {
    for name in "$@"; do
      systemctl --quiet unmask "$name" 2>/dev/null || true
    done
    fail "apt-get failed: $(grep -m 1 -E '^E: ' <<<"$says" || last_line "$says")"
  }
  for name in "$@"; do
    systemctl --quiet unmask "$name" 2>/dev/null || true
    systemctl --quiet disable "$name" 2>/dev/null || true
  done
}

commit() {
  local file name before=$changes
  make_user
  make_folder "$config" 755 root
  make_folder "$config/targets" 755 root
  make_folder "$data" 755 root
  make_folder "$data/prometheus" 700 "$(owner prometheus)"
  make_folder "$data/alertmanager" 700 "$(owner prometheus)"
  for file in env descriptors; do
    name=$(file_of "$file")
    if [ -n "${option[$file]}" ]; then
      # Who connects is nobody else's business; the schema is no secret.
      put_file "$1/$name" "$config/$name" "$([ "$file" = env ] && echo 600 || echo 644)" root
    fi
  done
  local changed_input=$((changes - before))
  [ -z "${option[targets]}" ] || put_file "$1/targets/setup.yml" "$config/targets/setup.yml" 644 root
  before=$changes
  put_file "$1/rules.yml" "$config/rules.yml" 644 root
  local changed_rules=$((changes - before))
  put_file "$1/made" "$config/made" 644 root
  put_file "$1/prometheus.yml" "$config/prometheus.yml" 644 root
  # It says who is told: after the first time it belongs to the administrator.
  [ -e "$config/alertmanager.yml" ] || put_file "$1/alertmanager.yml" "$config/alertmanager.yml" 640 "$(owner prometheus)"
  # --uninstall --purge finds it there.
  put_file "$1/data" "$config/data" 644 root
  local before_units=$changes
  put_units "$1"
  if ! has_systemd; then
    [ "$changes" = 0 ] || say "No service is started here. Start the three programs as ExecStart in
  $units/jetrpc-*.service says"
    return
  fi
  [ "$changes" = "$before_units" ] || change "let systemd know" systemctl daemon-reload
  for name in "${services[@]}"; do
    if ! systemctl --quiet is-enabled "$name" 2>/dev/null || ! systemctl --quiet is-active "$name"; then
      change "start the service $name, now and at boot" start_and_wait "$name"
    elif [ "$name" = jetrpc-metrics ] && [ "$changed_input" != 0 ]; then
      change "restart the service $name" restart_and_wait "$name"
    elif [ "$name" = jetrpc-prometheus ] && [ "$changed_rules" != 0 ]; then
      change "reload the service $name" systemctl reload "$name"
    fi
  done
}

# owner NAME: of a user that the packages bring; a dry run may come before them.
owner() {
  if [ -z "$is_system" ] || [ -n "$dry_run" ] || getent passwd "$1" >/dev/null; then
    echo "$1"
  else
    fail "there is no user $1, which Debian's package makes: apt-get install --reinstall ${packages[0]}"
  fi
}

put_units() {
  local name
  make_folder "$units" 755 root
  for name in "${services[@]}"; do
    put_file "$1/$name.service" "$units/$name.service" 644 root
  done
}

start_and_wait() {
  undo+=("systemctl --quiet disable --now $1; systemctl daemon-reload")
  systemctl --quiet enable --now "$1" || service_fails "$1" "the service $1 does not start"
  wait_for "$1"
}

restart_and_wait() {
  systemctl restart "$1" || service_fails "$1" "the service $1 does not start"
  wait_for "$1"
}

# wait_for SERVICE: until it is heard.
wait_for() {
  local attempt port=${option[${1#jetrpc-}-port]} host=${reach#[}
  host=${host%]}
  for ((attempt = 0; attempt < 300; attempt++)); do
    # shellcheck disable=SC2016
    if timeout 2 bash -c '>"/dev/tcp/$0/$1"' "$host" "$port" 2>/dev/null; then
      return
    fi
    [ "$(systemctl show --value -p NRestarts "$1")" -lt 2 ] || service_fails "$1" "the service $1 does not stay up"
    sleep 0.1
  done
  service_fails "$1" "the service $1 does not answer at $host:$port"
}

uninstall() {
  local name
  for name in "${services[@]}"; do
    if has_systemd && [ -e "$units/$name.service" ]; then
      change "stop the service $name" systemctl --quiet disable --now "$name"
    fi
    if [ -e "$units/$name.service" ]; then
      change "remove $units/$name.service" rm -f -- "$units/$name.service"
    fi
  done
  [ "$changes" = 0 ] || ! has_systemd || change "let systemd know" systemctl daemon-reload
  if [ -z "${flag[purge]}" ]; then
    [ ! -d "$config" ] || say "kept: $config"
    [ ! -d "$data" ] || say "kept: $data"
  else
    for name in prometheus alertmanager; do
      [ ! -d "$data/$name" ] || change "remove what $name has stored in $data" rm -rf -- "$data/$name"
    done
    [ ! -d "$data" ] || change "remove $data, if it is empty" rmdir --ignore-fail-on-non-empty -- "$data"
    [ ! -d "$config" ] || change "remove $config" rm -rf -- "$config"
    if [ -n "$is_system" ] && getent passwd "$service_user" >/dev/null; then
      change "remove the user $service_user" userdel "$service_user"
    fi
  fi
  [ -z "$is_system" ] || say "kept: Debian's packages ${packages[*]} (apt-get purge removes them)"
}

main "$@"
