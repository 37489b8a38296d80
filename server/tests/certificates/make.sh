#!/bin/sh
# Makes the client certificates of the TLS tests, with their keys: X.509 version 1, which no Rust library makes. Run
# once with OpenSSL 3; the results are checked in. They are known to everybody and protect nothing.
set -eu
cd "$(dirname "$0")"
make() { # name
    openssl req -new -key "$1.key" -subj "/CN=d1" -out "$1.csr"
    openssl x509 -req -in "$1.csr" -signkey "$1.key" -days 36500 -out "$1.pem" 2>/dev/null
    rm "$1.csr"
}
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out v1-p256.key
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384 -out v1-p384.key
openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out v1-rsa.key 2>/dev/null
for name in v1-p256 v1-p384 v1-rsa; do make "$name"; done
