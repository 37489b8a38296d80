'use strict';

// Certificates as people make them: with the openssl command line of the tutorial. Each function returns
// the paths of a certificate and its key in a folder of its own.

const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const workshop = fs.mkdtempSync(path.join(os.tmpdir(), 'module-twin-'));
process.once('exit', () => fs.rmSync(workshop, { recursive: true, force: true }));

const RSA = ['-newkey', 'rsa:2048'];
const EC = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1'];

// A root of one's own, to be uploaded to the hub.
function certificateAuthority(commonName) {
  const ca = files();
  openssl('req', '-x509', ...RSA, '-nodes', '-keyout', ca.key, '-out', ca.certificate, '-days', '30',
    '-subj', subject(commonName));
  return ca;
}

// `openssl req -x509`: self-signed, version 3, and by OpenSSL's default configuration CA:TRUE.
function selfSigned(commonName) {
  const leaf = files();
  openssl('req', '-x509', ...RSA, '-nodes', '-keyout', leaf.key, '-out', leaf.certificate, '-days', '30',
    '-subj', subject(commonName));
  return leaf;
}

// Version 3 with the extensions of a client certificate and an elliptic-curve key.
function signedBy(ca, commonName) {
  const leaf = request(EC, commonName);
  const extensions = path.join(leaf.folder, 'extensions');
  fs.writeFileSync(extensions, 'basicConstraints=CA:FALSE\nkeyUsage=digitalSignature\nextendedKeyUsage=clientAuth\n');
  openssl('x509', '-req', '-in', leaf.request, '-out', leaf.certificate, ...by(ca), '-days', '30',
    '-extfile', extensions);
  return leaf;
}

// What the tutorial's `openssl req` and `openssl x509 -req` make: version 1, no extensions.
function versionOneSignedBy(ca, commonName) {
  const leaf = request(RSA, commonName);
  if (canAskForVersionOne()) {
    openssl('req', '-x509', '-x509v1', '-in', leaf.request, '-out', leaf.certificate, ...by(ca, { serial: false }),
      '-days', '30');
  } else {
    openssl('x509', '-req', '-in', leaf.request, '-out', leaf.certificate, ...by(ca), '-days', '30');
  }
  const text = openssl('x509', '-in', leaf.certificate, '-noout', '-text');
  if (!/Version: 1 /.test(text)) {
    throw new Error('this openssl makes no version 1 certificate');
  }
  return leaf;
}

// Ended the day before it was made.
function expiredSignedBy(ca, commonName) {
  const leaf = request(RSA, commonName);
  openssl('x509', '-req', '-in', leaf.request, '-out', leaf.certificate, ...by(ca), '-days', '-1');
  return leaf;
}

// Hex digits without colons, as the registry takes them.
function thumbprint(leaf, digest = 'sha256') {
  const text = openssl('x509', '-in', leaf.certificate, '-noout', '-fingerprint', `-${digest}`);
  return text.trim().split('=')[1].replaceAll(':', '');
}

function request(key, commonName) {
  const leaf = files();
  leaf.request = path.join(leaf.folder, 'request.csr');
  openssl('req', '-new', ...key, '-nodes', '-keyout', leaf.key, '-out', leaf.request, '-subj', subject(commonName));
  return leaf;
}

function by(ca, { serial = true } = {}) {
  return ['-CA', ca.certificate, '-CAkey', ca.key, ...(serial ? ['-CAcreateserial'] : [])];
}

// The slash in a module's name is escaped, or openssl takes what follows for the next attribute.
function subject(commonName) {
  return `/CN=${commonName.replace('/', '\\/')}`;
}

// OpenSSL 3.2 moved `x509 -req` to version 3 and gave `req` an option for version 1.
function canAskForVersionOne() {
  return openssl('req', '-help').includes('-x509v1');
}

function files() {
  const folder = fs.mkdtempSync(path.join(workshop, 'certificate-'));
  return { folder, certificate: path.join(folder, 'certificate.pem'), key: path.join(folder, 'key.pem') };
}

function openssl(...args) {
  // `-help` goes to standard error, everything else of interest to standard output.
  const { stdout, stderr, status } = spawnSync('openssl', args, { encoding: 'utf8' });
  if (status !== 0) {
    throw new Error(`openssl ${args.join(' ')}: ${stderr}`);
  }
  return args.includes('-help') ? stdout + stderr : stdout;
}

module.exports = { certificateAuthority, expiredSignedBy, selfSigned, signedBy, thumbprint, versionOneSignedBy };
