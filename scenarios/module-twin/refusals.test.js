'use strict';

// Who does not get in: the same apps with credentials the hub has to refuse. Each refusal reaches the app,
// and the journal tells that the identity never connected.

const assert = require('node:assert/strict');
const path = require('node:path');
const { before, test } = require('node:test');

const { Registry } = require('azure-iothub');

const { App } = require('../app');
const certificates = require('./support/certificates');
const hub = require('./support/hub');
const { transports } = require('./support/story');

const WRONG_KEY = Buffer.from('a key nobody gave to this module').toString('base64');

let ca;
before(async () => {
  ca = await hub.registerCertificateAuthority('refusals');
});

// Each row registers the module and returns the credential to try. The app is told no more than that it is not
// authorized; the journal's reason is IotHubUnauthorizedAccess unless the row says otherwise.
const refusals = [
  {
    name: 'a wrong key',
    prepare: async (identity) => {
      await hub.createModule(identity);
      return { connectionString: hub.moduleConnectionString(identity, WRONG_KEY) };
    },
  },
  {
    name: 'the right key of a disabled device',
    prepare: async (identity) => {
      const { authentication } = await hub.createModule(identity);
      await hub.registry.update({ deviceId: identity.deviceId, status: 'disabled' });
      return { connectionString: hub.moduleConnectionString(identity, authentication.symmetricKey.primaryKey) };
    },
  },
  {
    name: 'a key but no registration',
    reason: 'ModuleNotFound',
    prepare: async (identity) => {
      await hub.registry.create({ deviceId: identity.deviceId });
      return { connectionString: hub.moduleConnectionString(identity, WRONG_KEY) };
    },
  },
  {
    name: 'a key although it is registered with a certificate',
    prepare: async (identity) => {
      await hub.createModule(identity, { type: 'certificateAuthority' });
      return { connectionString: hub.moduleConnectionString(identity, WRONG_KEY) };
    },
  },
  {
    name: 'an expired certificate',
    prepare: (identity) => signed(identity, certificates.expiredSignedBy(ca, hub.commonName(identity))),
  },
  {
    name: 'a certificate made for another module',
    prepare: (identity) => signed(identity, certificates.signedBy(ca, `${identity.deviceId}/another`)),
  },
  {
    name: 'a certificate made for its device',
    prepare: (identity) => signed(identity, certificates.signedBy(ca, identity.deviceId)),
  },
  {
    name: 'a certificate of a CA the hub does not know',
    prepare: (identity) => signed(
      identity,
      certificates.signedBy(certificates.certificateAuthority('unknown root'), hub.commonName(identity)),
    ),
  },
  {
    name: 'a self-signed certificate of another thumbprint',
    prepare: async (identity) => {
      const [registered, presented] = [1, 2].map(() => certificates.selfSigned(hub.commonName(identity)));
      await hub.createModule(identity, {
        type: 'selfSigned',
        x509Thumbprint: { primaryThumbprint: certificates.thumbprint(registered) },
      });
      return { connectionString: hub.moduleConnectionString(identity), ...presented };
    },
  },
  {
    name: 'a certificate although it is registered with a key',
    prepare: async (identity) => {
      await hub.createModule(identity);
      const leaf = certificates.signedBy(ca, hub.commonName(identity));
      return { connectionString: hub.moduleConnectionString(identity), ...leaf };
    },
  },
];

for (const transport of transports) {
  for (const [row, refusal] of refusals.entries()) {
    test(`a module with ${refusal.name} is refused over ${transport.name}`, async (t) => {
      const identity = { deviceId: `refused-${transport.protocol}-${row}`, moduleId: 'module01' };
      const { connectionString, certificate, key } = await refusal.prepare(identity);

      const files = certificate ? [certificate, key] : [];
      const app = new App(t, process.execPath,
        [path.join(__dirname, 'module-twin.js'), connectionString, transport.name, ...files]);
      const { code, output } = await app.ended();

      assert.equal(code, 1, output);
      assert.match(output, /^error (connecting to hub|getting twin): .*(Unauthorized|Not authorized)/m);
      assert.doesNotMatch(output, /twin contents:/);
      assert.deepEqual(await hub.journal(identity, 'Connect'), []);
      const [{ protocol, outcome, error }, ...more] = await hub.journal(identity, 'Authenticate');
      assert.deepEqual({ protocol, outcome, error },
        { protocol: transport.protocol, outcome: 'refused', error: refusal.reason ?? 'IotHubUnauthorizedAccess' });
      assert.equal(more.length, 0, 'the SDK takes the refusal as final');
      assert.deepEqual(await hub.connections(identity), []);
    });
  }
}

test('the policy registryRead reads the registry and is refused to write it', async () => {
  const identity = { deviceId: 'read-only', moduleId: 'module01' };
  await hub.createModule(identity);
  const reader = Registry.fromConnectionString(await hub.policyConnectionString('registryRead'));

  assert.equal((await reader.get(identity.deviceId)).responseBody.deviceId, identity.deviceId);
  await assert.rejects(reader.create({ deviceId: 'written-by-a-reader' }), { name: 'UnauthorizedError' });
  await assert.rejects(reader.addModule({ ...identity, moduleId: 'another' }), { name: 'UnauthorizedError' });
  await assert.rejects(reader.delete(identity.deviceId), { name: 'UnauthorizedError' });
  // Twins belong to ServiceConnect, which this policy lacks as well.
  await assert.rejects(reader.getModuleTwin(identity.deviceId, identity.moduleId), { name: 'UnauthorizedError' });

  await assert.rejects(hub.registry.get('written-by-a-reader'), { name: 'DeviceNotFoundError' });
  assert.equal((await hub.registry.getModulesOnDevice(identity.deviceId)).responseBody.length, 1);
});

async function signed(identity, leaf) {
  await hub.createModule(identity, { type: 'certificateAuthority' });
  return { connectionString: hub.moduleConnectionString(identity), ...leaf };
}
