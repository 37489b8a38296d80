'use strict';

// The credentials a module can have, with the word the hub's journal has for each.

const certificates = require('./certificates');
const hub = require('./hub');

// Each row registers the module and returns what an app logs in as it with. `ca` is one the hub trusts.
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
    register: async (identity, ca) => {
      await hub.createModule(identity, { type: 'certificateAuthority' });
      const leaf = certificates.signedBy(ca, hub.commonName(identity));
      return { connectionString: hub.moduleConnectionString(identity), ...leaf };
    },
  },
  {
    name: 'a CA-signed certificate of version 1',
    kind: 'x509-ca',
    register: async (identity, ca) => {
      await hub.createModule(identity, { type: 'certificateAuthority' });
      const leaf = certificates.versionOneSignedBy(ca, hub.commonName(identity));
      return { connectionString: hub.moduleConnectionString(identity), ...leaf };
    },
  },
];

module.exports = { credentials };
