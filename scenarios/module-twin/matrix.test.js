'use strict';

// The tutorial's second app on every transport with every credential a module can have.

const path = require('node:path');
const { before, test } = require('node:test');

const { App } = require('../app');
const { credentials } = require('./support/credentials');
const hub = require('./support/hub');
const { tellStory, transports } = require('./support/story');

let ca;
before(async () => {
  ca = await hub.registerCertificateAuthority('matrix');
});

for (const transport of transports) {
  for (const [row, credential] of credentials.entries()) {
    test(`a module with ${credential.name} tells its story over ${transport.name}`, async (t) => {
      const identity = { deviceId: `matrix-${transport.protocol}-${row}`, moduleId: 'module01' };
      const { connectionString, certificate, key } = await credential.register(identity, ca);

      const files = certificate ? [certificate, key] : [];
      const app = new App(t, process.execPath,
        [path.join(__dirname, 'module-twin.js'), connectionString, transport.name, ...files]);

      await tellStory({ app, identity, protocol: transport.protocol, credential: credential.kind });
    });
  }
}
