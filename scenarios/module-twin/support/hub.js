'use strict';

// The emulator as the tests see it from outside: the service SDK with the owner's connection string, and
// the admin API. `scenarios/with-emulator` tells where it is.

const fs = require('node:fs');

const { ConnectionString, Registry } = require('azure-iothub');

const { certificateAuthority, signedBy } = require('./certificates');

const admin = process.env.IOTHUB_EMULATOR_ADMIN_URL;
const ownerConnectionString = process.env.IOTHUB_CONNECTION_STRING;
const registry = Registry.fromConnectionString(ownerConnectionString);
const { HostName: hostName } = ConnectionString.parse(ownerConnectionString);

// The string a module connects with: by its key, or by a certificate when there is none.
function moduleConnectionString({ deviceId, moduleId }, key) {
  const credential = key ? `SharedAccessKey=${key}` : 'x509=true';
  return `HostName=${hostName};DeviceId=${deviceId};ModuleId=${moduleId};${credential}`;
}

// The name of a module in one word: what its certificate has to carry, and the journal calls it.
function commonName({ deviceId, moduleId }) {
  return `${deviceId}/${moduleId}`;
}

// Connection string of one of the hub's shared access policies.
async function policyConnectionString(policy) {
  const all = await get('/connection-strings');
  return all.policies[policy];
}

// Creates a device with one module, which authenticates as given (a generated key when not).
async function createModule({ deviceId, moduleId }, authentication) {
  await registry.create({ deviceId });
  const { responseBody } = await registry.addModule({ deviceId, moduleId, ...(authentication && { authentication }) });
  return responseBody;
}

async function module_({ deviceId, moduleId }) {
  return (await registry.getModule(deviceId, moduleId)).responseBody;
}

async function moduleTwin({ deviceId, moduleId }) {
  return (await registry.getModuleTwin(deviceId, moduleId)).responseBody;
}

async function changeDesired(identity, desired) {
  const twin = await moduleTwin(identity);
  await registry.updateModuleTwin(identity.deviceId, identity.moduleId, { properties: { desired } }, twin.etag);
}

// What the journal holds of one kind of operation on an identity, newest first. `Connect` is there when an
// identity has come in, `Authenticate` when its credential was refused.
async function journal({ deviceId, moduleId }, kind) {
  const query = new URLSearchParams({ device: deviceId, module: moduleId });
  const entries = await get(`/admin/journal?${query}`);
  return entries.filter(({ operation }) => operation === kind);
}

// The connections a module has now.
async function connections({ deviceId, moduleId }) {
  const all = await get('/admin/connections');
  return all.filter((connection) => connection.deviceId === deviceId && connection.moduleId === moduleId);
}

// Uploads the certificate of a CA and proves that we hold its key: the hub gives a code, and a leaf with
// that code as its common name comes back signed by the CA.
async function registerCertificateAuthority(name) {
  const ca = certificateAuthority(`${name} root`);
  await post('/admin/certificates', { name, certificate: read(ca.certificate) });
  const { verificationCode } = await post(`/admin/certificates/${name}/verification-code`);
  const proof = signedBy(ca, verificationCode);
  await post(`/admin/certificates/${name}/verify`, { certificate: read(proof.certificate) });
  return ca;
}

function read(file) {
  return fs.readFileSync(file, 'utf8');
}

async function get(path) {
  return answer(await fetch(`${admin}${path}`));
}

async function post(path, body = {}) {
  const headers = { 'content-type': 'application/json' };
  return answer(await fetch(`${admin}${path}`, { method: 'POST', headers, body: JSON.stringify(body) }));
}

async function answer(response) {
  const text = await response.text();
  if (!response.ok) {
    throw new Error(`${response.url}: ${response.status} ${text}`);
  }
  return text ? JSON.parse(text) : undefined;
}

module.exports = {
  changeDesired, commonName, connections, createModule, journal, module: module_, moduleConnectionString, moduleTwin,
  policyConnectionString, registerCertificateAuthority, registry,
};
