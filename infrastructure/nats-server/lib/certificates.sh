# Makes and checks certificates.
# shellcheck shell=bash

need_openssl() {
  command -v openssl >/dev/null || fail "openssl is not installed: apt-get install openssl"
}

# make_ca FOLDER: ca.pem and ca-key.pem, good for ten years.
make_ca() {
  openssl_quietly req -x509 -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes \
    -keyout "$1/ca-key.pem" -out "$1/ca.pem" -days 3650 -config <(
      printf '%s\n' '[req]' 'distinguished_name=name' 'prompt=no' 'x509_extensions=ca' \
        '[name]' "CN=jetrpc $(od -An -tx1 -N4 /dev/urandom | tr -d ' ')" \
        '[ca]' 'basicConstraints=critical,CA:TRUE' 'keyUsage=critical,keyCertSign,cRLSign' \
        'subjectKeyIdentifier=hash'
    )
}

# make_certificate CA_FOLDER FOLDER NAME HOST...: NAME.pem and NAME-key.pem, good
# for two years, for clients to check and for the routes of a cluster.
make_certificate() {
  # Where a client is given an address, Node asks for the name localhost.
  local ca=$1 folder=$2 name=$3 host names=DNS:localhost
  shift 3
  for host in "$@"; do
    names=$names,$(is_address "$host" && echo IP || echo DNS):$host
  done
  openssl_quietly req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes \
    -keyout "$folder/$name-key.pem" -out "$folder/$name.csr" -config <(
      printf '%s\n' '[req]' 'distinguished_name=name' 'prompt=no' '[name]' "CN=${1:0:64}"
    )
  openssl_quietly x509 -req -in "$folder/$name.csr" -out "$folder/$name.pem" -days 730 \
    -CA "$ca/ca.pem" -CAkey "$ca/ca-key.pem" -set_serial "0x$(od -An -tx1 -N16 /dev/urandom | tr -d ' \n' | sed 's/^./1/')" \
    -extfile <(
      printf '%s\n' 'basicConstraints=critical,CA:FALSE' 'keyUsage=critical,digitalSignature' \
        'extendedKeyUsage=serverAuth,clientAuth' "subjectAltName=$names"
    )
  rm "$folder/$name.csr"
}

# check_certificate CERTIFICATE KEY CA HOST...: an empty CA means the system's.
check_certificate() {
  local certificate=$1 key=$2 ca=$3 host says
  shift 3
  says=$(openssl x509 -noout -in "$certificate" 2>&1) || fail "$certificate is no certificate in PEM: $(last_line "$says")"
  says=$(openssl pkey -noout -in "$key" -passin pass: 2>&1) || fail "$key is no private key in PEM without a password: $(last_line "$says")"
  if [ "$(openssl x509 -noout -pubkey -in "$certificate")" != "$(openssl pkey -pubout -in "$key" -passin pass:)" ]; then
    fail "$key is not the key of $certificate"
  fi
  if ! openssl x509 -noout -checkend 0 -in "$certificate" >/dev/null; then
    fail "$certificate has expired ($(expiry "$certificate"))"
  fi
  says=$(openssl verify ${ca:+-CAfile "$ca"} -untrusted "$certificate" "$certificate" 2>&1) ||
    fail "$certificate is not signed by ${ca:-a CA of this system; give its CA as --tls-ca}: $(grep -m 1 '^error' <<<"$says" || last_line "$says")"
  for host in "$@"; do
    if is_address "$host"; then
      says=$(openssl x509 -noout -checkip "$host" -in "$certificate")
    else
      says=$(openssl x509 -noout -checkhost "$host" -in "$certificate")
    fi
    [[ $says != *NOT* ]] || fail "$certificate is not for $host, so clients would refuse it: give the names it is for as --host"
  done
}

# warn_of_expiry CERTIFICATE
warn_of_expiry() {
  if ! openssl x509 -noout -checkend $((30 * 86400)) -in "$1" >/dev/null; then
    say "The certificate expires soon, on $(expiry "$1"): see \"Renew certificates\" in README.md."
  fi
}

expiry() {
  local date
  date=$(openssl x509 -noout -enddate -in "$1")
  echo "${date#notAfter=}"
}

is_address() {
  [[ $1 =~ ^[0-9.]+$ || $1 == *:* ]]
}

openssl_quietly() {
  local says
  says=$(openssl "$@" 2>&1) || fail "openssl $1 failed: $says"
}
