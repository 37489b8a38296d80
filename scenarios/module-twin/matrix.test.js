'use strict';

// The tutorial's second app on every transport with every credential a module can have.

const path = require('node:path');
const { before, test } = require('node:test');

const { App } = require('./support/app');
const certificates = require('./support/certificates');
const hub = require('./support/hub');
const { tellStory, transports } = require('./support/story');

let ca;
before(async () => {
  ca = await hub.registerCertificateAuthority('matrix');
});

// Each row registers the module and returns the arguments with which the app logs in as it.
const credentials = [
  {
    name: 'a module key',
    kind: 'sas-module-key',
    register: async (identity) => {
      const { authentication } = await hub.createModule(identity);
      return { connectionString: hub.moduleConnectionString(identity, authentication.symmetricKey.primaryKey) };
    },
  },
  {
    name: 'a self-signed certificate',
    kind: 'x509-self-signed',
    register: async (identity) => {
      const leaf = certificates.selfSigned(hub.commonName(identity));
      const primaryThumbprint = certificates.thumbprint(leaf);
      await hub.createModule(identity, { type: 'selfSigned', x509Thumbprint: { primaryThumbprint } });
      return { connectionString: hub.moduleConnectionString(identity), ...leaf };
    },
  },
  {
    name: 'a CA-signed certificate',
    kind: 'x509-ca',
    register: async (identity) => {
      await hub.createModule(identity, { type: 'certificateAuthority' });
      const leaf = certificates.signedBy(ca, hub.commonName(identity));
      return { connectionString: hub.moduleConnectionString(identity), ...leaf };
    },
  },
  {
    name: 'a CA-signed certificate of version 1',
    kind: 'x509-ca',
    register: async (identity) => {
      await hub.createModule(identity, { type: 'certificateAuthority' });
      const leaf = certificates.versionOneSignedBy(ca, hub.commonName(identity));
      return { connectionString: hub.moduleConnectionString(identity), ...leaf };
    },
  },
];

for (const transport of transports) {
  for (const [row, credential] of credentials.entries()) {
    test(`a module with ${credential.name} tells its story over ${transport.name}`, async (t) => {
      const identity = { deviceId: `matrix-${transport.protocol}-${row}`, moduleId: 'module01' };
      const { connectionString, certificate, key } = await credential.register(identity);

      const files = certificate ? [certificate, key] : [];
      const app = new App(t, process.execPath,
        [path.join(__dirname, 'module-twin.js'), connectionString, transport.name, ...files]);

      await tellStory({ app, identity, protocol: transport.protocol, credential: credential.kind });
    });
  }
}
