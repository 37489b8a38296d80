'use strict';

// The same two apps in Rust, from client/: the same story, another implementation of every wire.

const assert = require('node:assert/strict');
const path = require('node:path');
const { before, test } = require('node:test');

const { App } = require('../app');
const { credentials } = require('./support/credentials');
const hub = require('./support/hub');
const { tellStory, transports } = require('./support/story');

// Cargo puts the workspace's binaries side by side.
const binary = (name) => path.join(path.dirname(process.env.IOTHUB_EMULATOR), name);
const environment = { IOTHUB_CA_FILE: process.env.IOTHUB_EMULATOR_CA };

let ca;
before(async () => {
  ca = await hub.registerCertificateAuthority('rust');
});

test('app 1 in Rust creates the identities and finds them when it runs again', async (t) => {
  const identity = { deviceId: 'rust-first-device', moduleId: 'rust-first-module' };
  const run = () => new App(t, binary('create-identities'), Object.values(identity), environment).ended();

  const first = await run();
  assert.equal(first.code, 0, first.output);
  assert.match(first.output, /^Created device rust-first-device$/m);
  const { authentication } = await hub.module(identity);
  const module = hub.moduleConnectionString(identity, authentication.symmetricKey.primaryKey);
  assert.ok(first.output.includes(`Module connection string = ${module}\n`), first.output);

  const second = await run();
  assert.equal(second.code, 0, second.output);
  assert.match(second.output, /^Module rust-first-device\/rust-first-module exists already$/m);
  assert.ok(second.output.includes(`Module connection string = ${module}\n`), second.output);
});

for (const transport of transports) {
  for (const [row, credential] of credentials.entries()) {
    test(`a module with ${credential.name} tells its story in Rust over ${transport.name}`, async (t) => {
      const identity = { deviceId: `rust-${transport.protocol}-${row}`, moduleId: 'module01' };
      const { connectionString, certificate, key } = await credential.register(identity, ca);

      const files = certificate ? ['--cert', certificate, '--key', key] : [];
      const app = new App(t, binary('module-twin'),
        [connectionString, '--transport', transport.protocol, ...files], environment);

      await tellStory({ app, identity, protocol: transport.protocol, credential: credential.kind });
    });
  }

  test(`a module with a wrong key is refused in Rust over ${transport.name}`, async (t) => {
    const identity = { deviceId: `rust-refused-${transport.protocol}`, moduleId: 'module01' };
    await hub.createModule(identity);
    const wrongKey = Buffer.from('a key nobody gave to this module').toString('base64');
    const connectionString = hub.moduleConnectionString(identity, wrongKey);

    const app = new App(t, binary('module-twin'), [connectionString, '--transport', transport.protocol], environment);
    const { code, output } = await app.ended();

    assert.equal(code, 1, output);
    assert.match(output, /^error: /m);
    assert.doesNotMatch(output, /twin contents:/);
  });
}
