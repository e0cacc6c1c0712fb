# The options of setup.sh, and whether they make sense.
# shellcheck shell=bash disable=SC2034

usage="setup.sh [options]: sets up a nats-server for jetrpc on Debian or Ubuntu.

Messages go to standard error. Standard output gets only the lines for a client's
.env. Running it again with the same options changes nothing.

  --host HOST,...          what clients call this machine (default: its name)
  --listen ADDRESS         where clients are heard (default: 0.0.0.0, all interfaces)
  --port N                 for clients (4222)
  --monitor-port N         for monitoring, on 127.0.0.1 only (8222)
  --name NAME              of the server (default: the machine's)
  --data FOLDER            what is stored (/var/lib/jetrpc-nats)
  --max-disk SIZE          what all streams may take (10GB)
  --max-memory SIZE        what all streams in memory may take (256MB)
  --sync INTERVAL          how often the disk is synced (2m; always in a cluster)
  --users FILE             users and permissions, in place of one token for all
  --secrets FILE           secrets.conf of another server, for the same token
  --tls                    TLS, with a CA and a certificate made here
  --tls-cert, --tls-key, --tls-ca FILE     TLS, with these
  --cluster NAME --routes HOST[:PORT],...  one of a cluster; the routes name all
  --cluster-port N         for the other servers (6222)
  --websocket              for browsers; without TLS on 127.0.0.1 only
  --websocket-port N       (8080)
  --dry-run                says what it would do, and does nothing
  --prefix FOLDER          everything below FOLDER, without a user and a service
  --releases-url, --debian-mirror URL      where nats-server is downloaded from

  --upgrade                takes a newer nats-server, and changes nothing else
  --uninstall [--purge]    removes the service and the program; --purge what was
                           stored and configured, too
  --help"

declare -A option=(
  [host]='' [listen]=0.0.0.0 [port]=4222 [monitor-port]=8222 [name]='' [data]=''
  [max-disk]=10GB [max-memory]=256MB [sync]='' [users]='' [secrets]=''
  [tls-cert]='' [tls-key]='' [tls-ca]='' [cluster]='' [routes]='' [cluster-port]=6222
  [websocket-port]=8080 [prefix]=''
  [releases-url]=https://github.com/nats-io/nats-server/releases/download
  [debian-mirror]=http://deb.debian.org/debian
)
declare -A flag=([tls]='' [websocket]='' [dry-run]='' [upgrade]='' [uninstall]='' [purge]='' [help]='')

check_options() {
  local name
  check_port_options port monitor-port cluster-port websocket-port
  for name in max-disk max-memory; do
    [[ ${option[$name]} =~ ^[1-9][0-9]*[KMGT]B$ ]] ||
      wrong_usage "--$name ${option[$name]} is no size: 500MB, say, or 10GB"
  done
  [[ ${option[sync]} =~ ^(always|[1-9][0-9]*(ms|s|m|h))?$ ]] ||
    wrong_usage "--sync ${option[sync]} is neither \"always\" nor a time like 10s"
  check_listen
  for name in name cluster; do
    [[ ${option[$name]} =~ ^[A-Za-z0-9._-]*$ ]] || wrong_usage "--$name ${option[$name]}: letters, digits, dots, _ and -"
  done
  for name in host routes; do
    [[ ${option[$name]} =~ ^([][A-Za-z0-9.:-]+(,[][A-Za-z0-9.:-]+)*)?$ ]] ||
      wrong_usage "--$name ${option[$name]} is no list of hosts with commas between"
  done
  for name in data prefix; do
    [[ ${option[$name]} =~ ^(/[A-Za-z0-9._/-]*)?$ ]] || wrong_usage "--$name ${option[$name]}: a whole path, of letters, digits, dots, _ and -"
  done
  for name in users secrets tls-cert tls-key tls-ca; do
    [ -z "${option[$name]}" ] || { [ -f "${option[$name]}" ] && [ -r "${option[$name]}" ]; } ||
      fail "--$name ${option[$name]} is no file that can be read"
  done
  check_together
}

check_together() {
  if [ -n "${option[tls-cert]}${option[tls-key]}${option[tls-ca]}" ]; then
    [ -n "${option[tls-cert]}" ] && [ -n "${option[tls-key]}" ] || wrong_usage "--tls-cert and --tls-key go together"
    [ -z "${flag[tls]}" ] || wrong_usage "--tls makes a certificate: leave it out, or --tls-cert"
  fi
  if [ -n "${option[cluster]}${option[routes]}" ]; then
    [ -n "${option[cluster]}" ] && [ -n "${option[routes]}" ] || wrong_usage "--cluster and --routes go together"
    [ -z "${flag[tls]}" ] || wrong_usage "--tls would give each server of the cluster a CA of its own: make certificates with certificates.sh, and give them as --tls-cert, --tls-key and --tls-ca"
    [ -z "${option[tls-cert]}" ] || [ -n "${option[tls-ca]}" ] || wrong_usage "a cluster needs --tls-ca: servers check each other's certificates"
  fi
  [ -z "${flag[purge]}" ] || [ -n "${flag[uninstall]}" ] || wrong_usage "--purge goes with --uninstall"
  [ -z "${flag[uninstall]}" ] || [ -z "${flag[upgrade]}" ] || wrong_usage "--upgrade or --uninstall, not both"
}
