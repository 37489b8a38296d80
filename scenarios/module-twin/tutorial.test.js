'use strict';

// The tutorial as it is written: its names, its two apps, one after the other.

const assert = require('node:assert/strict');
const path = require('node:path');
const { test } = require('node:test');

const { App } = require('../app');
const hub = require('./support/hub');
const { tellStory } = require('./support/story');

const identity = { deviceId: 'myFirstDevice', moduleId: 'myFirstModule' };

const createIdentities = (t) => new App(t, process.execPath, [path.join(__dirname, 'create-identities.js')]);

test('app 1 creates the identities, app 2 connects with what it printed, app 1 finds them again', async (t) => {
  const first = await createIdentities(t).ended();
  assert.equal(first.code, 0, first.output);
  assert.match(first.output, /^Created device myFirstDevice$/m);
  assert.match(first.output, /^Created module myFirstDevice\/myFirstModule$/m);
  const printed = connectionStrings(first.output);

  const { authentication } = await hub.module(identity);
  const key = authentication.symmetricKey.primaryKey;
  assert.equal(printed.module,
    `HostName=localhost;DeviceId=myFirstDevice;ModuleId=myFirstModule;SharedAccessKey=${key}`);

  const app = new App(t, process.execPath, [path.join(__dirname, 'module-twin.js'), printed.module]);
  await tellStory({ app, identity, protocol: 'amqp', credential: 'sas-module-key' });

  const second = await createIdentities(t).ended();
  assert.equal(second.code, 0, second.output);
  assert.match(second.output, /^DeviceAlreadyExistsError: device myFirstDevice exists already$/m);
  assert.match(second.output, /^DeviceAlreadyExistsError: module myFirstDevice\/myFirstModule exists already$/m);
  assert.deepEqual(connectionStrings(second.output), printed, 'the keys are still the same');
});

test('a second device is DeviceAlreadyExists on the wire, a second module ModuleAlreadyExistsOnDevice', async () => {
  const twice = { deviceId: 'created-twice', moduleId: 'module01' };
  await hub.createModule(twice);

  const device = await rejection(hub.registry.create({ deviceId: twice.deviceId }));
  assert.equal(device.name, 'DeviceAlreadyExistsError');
  assert.equal(errorCode(device), 'DeviceAlreadyExists');

  const module = await rejection(hub.registry.addModule(twice));
  assert.equal(module.name, 'DeviceAlreadyExistsError');
  assert.equal(errorCode(module), 'ModuleAlreadyExistsOnDevice');
});

test('a module of no device is refused and leaves nothing behind', async () => {
  const error = await rejection(hub.registry.addModule({ deviceId: 'no-such-device', moduleId: 'module01' }));
  assert.equal(error.name, 'DeviceNotFoundError');
  assert.equal(errorCode(await rejection(hub.registry.get('no-such-device'))), 'DeviceNotFound');
});

function connectionStrings(output) {
  const [, device] = /^Device connection string = (.*)$/m.exec(output);
  const [, module] = /^Module connection string = (.*)$/m.exec(output);
  return { device, module };
}

async function rejection(promise) {
  return promise.then(() => assert.fail('expected a refusal'), (error) => error);
}

function errorCode(error) {
  return error.response.headers['iothub-errorcode'];
}
