#!/bin/sh
# Makes the certificates the tests of this crate read, the way people make them with OpenSSL 3. Run it once; the
# results are checked in, valid from 2020 or the day they were made for a hundred years, and private keys are
# thrown away. Nothing here protects anything.
set -eu
cd "$(dirname "$0")"
keys=$(mktemp -d)
trap 'rm -rf "$keys"' EXIT
days=36500

ec() { openssl ecparam -name "$1" -genkey -noout -out "$keys/$2.key"; }
rsa() { openssl genrsa -out "$keys/$1.key" 2048 2>/dev/null; }
extensions() { printf '%s\n' "$@" > "$keys/ext"; }
request() { openssl req -new -key "$keys/$1.key" -subj "$2" -out "$keys/$1.csr"; }
sign() { # leaf issuer [x509 options]
    leaf=$1; issuer=$2; shift 2
    openssl x509 -req -in "$keys/$leaf.csr" -CA "$issuer.pem" -CAkey "$keys/$issuer.key" -CAcreateserial \
        -days $days -sha256 -out "$leaf.pem" "$@" 2>/dev/null
}
authority() { # name subject
    openssl req -x509 -new -key "$keys/$1.key" -subj "$2" -days $days -sha256 -out "$1.pem"
}

# Roots: the default of `openssl req -x509` is v3 with CA:TRUE.
ec prime256v1 root-p256;  authority root-p256 "/CN=Test root P-256"
ec secp384r1 root-p384;   authority root-p384 "/CN=Test root P-384"
rsa root-rsa;             authority root-rsa "/CN=Test root RSA"
# Another key under the first root's name.
ec prime256v1 impostor;   authority impostor "/CN=Test root P-256"

# v1 leaves: what `openssl x509 -req` makes when no extension is asked for.
ec prime256v1 v1-device;  request v1-device "/CN=d1";       sign v1-device root-p256
rsa v1-module-rsa;        request v1-module-rsa "/CN=device01\/module01"; sign v1-module-rsa root-rsa
ec secp384r1 v1-device-p384; request v1-device-p384 "/CN=d1"; sign v1-device-p384 root-p384
ec prime256v1 by-impostor; request by-impostor "/CN=d1";    sign by-impostor impostor

# v3 leaf.
ec prime256v1 v3-module;  request v3-module "/O=Test/CN=d1\/m1"
extensions "basicConstraints=CA:FALSE" "extendedKeyUsage=clientAuth"
sign v3-module root-p256 -extfile "$keys/ext"

# Self-signed device certificates: CA:TRUE as `openssl req -x509` makes them, EC and RSA; v1 by `x509 -signkey`.
ec prime256v1 self-signed; authority self-signed "/CN=d1"
rsa self-signed-rsa;       authority self-signed-rsa "/CN=d1"
ec prime256v1 self-signed-v1; request self-signed-v1 "/CN=d1"
openssl x509 -req -in "$keys/self-signed-v1.csr" -signkey "$keys/self-signed-v1.key" -days $days \
    -out self-signed-v1.pem 2>/dev/null

# Chains: a good intermediate, one that may not sign further authorities, and issuers that are none.
ec prime256v1 intermediate; request intermediate "/CN=Test intermediate"
extensions "basicConstraints=critical,CA:TRUE,pathlen:0" "keyUsage=critical,keyCertSign"
sign intermediate root-p256 -extfile "$keys/ext"
ec prime256v1 under-intermediate; request under-intermediate "/CN=d1"; sign under-intermediate intermediate
ec prime256v1 second-intermediate; request second-intermediate "/CN=Test second intermediate"
extensions "basicConstraints=critical,CA:TRUE"
sign second-intermediate intermediate -extfile "$keys/ext"
ec prime256v1 too-deep; request too-deep "/CN=d1"; sign too-deep second-intermediate
ec prime256v1 under-v1; request under-v1 "/CN=d2"; sign under-v1 v1-device
ec prime256v1 under-leaf; request under-leaf "/CN=d2"; sign under-leaf v3-module
ec prime256v1 no-cert-sign; request no-cert-sign "/CN=Test without keyCertSign"
extensions "basicConstraints=critical,CA:TRUE" "keyUsage=critical,digitalSignature"
sign no-cert-sign root-p256 -extfile "$keys/ext"
ec prime256v1 under-no-cert-sign; request under-no-cert-sign "/CN=d1"; sign under-no-cert-sign no-cert-sign

# Signatures that ring cannot verify, P-521 and RSA-PSS with an odd salt, beside those it can.
ec secp521r1 root-p521; authority root-p521 "/CN=Test root P-521"
ec prime256v1 under-p521; request under-p521 "/CN=d1"; sign under-p521 root-p521
rsa root-rsa-pss; authority root-rsa-pss "/CN=Test root RSA-PSS"
rsa other-rsa-pss; authority other-rsa-pss "/CN=Test root RSA-PSS"
for leaf in under-pss under-pss-salt-20 by-other-pss; do ec prime256v1 $leaf; request $leaf "/CN=d1"; done
sign under-pss root-rsa-pss -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:32
sign under-pss-salt-20 root-rsa-pss -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:20
sign by-other-pss other-rsa-pss -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:32

# Dates: an expired leaf and one under an expired intermediate.
ec prime256v1 expired; request expired "/CN=d1"
dated() { # leaf issuer from to
    : > "$keys/index.txt"
    printf '[ca]\ndefault_ca=c\n[c]\ndatabase=%s/index.txt\nnew_certs_dir=%s\npolicy=p\nrand_serial=yes\nunique_subject=no\ndefault_md=sha256\n[p]\ncommonName=supplied\n' \
        "$keys" "$keys" > "$keys/ca.cnf"
    openssl ca -batch -notext -config "$keys/ca.cnf" -cert "$2.pem" -keyfile "$keys/$2.key" \
        -in "$keys/$1.csr" -startdate "$3" -enddate "$4" -out "$1.pem" ${5:+-extfile "$5"} 2>/dev/null
}
dated expired root-p256 20200101000000Z 20210101000000Z
ec prime256v1 expired-intermediate; request expired-intermediate "/CN=Test expired intermediate"
extensions "basicConstraints=critical,CA:TRUE"
dated expired-intermediate root-p256 20200101000000Z 20210101000000Z "$keys/ext"
ec prime256v1 under-expired; request under-expired "/CN=d1"; sign under-expired expired-intermediate

# Names: no CN, two CNs.
ec prime256v1 no-cn; request no-cn "/O=Test"; sign no-cn root-p256
ec prime256v1 two-cn; request two-cn "/CN=d1/CN=d2"; sign two-cn root-p256

rm -f ./*.srl other-rsa-pss.pem
for digest in sha1 sha256; do
    openssl x509 -in self-signed.pem -noout -fingerprint -$digest | sed 's/.*=//; s/://g' > self-signed.$digest
done
