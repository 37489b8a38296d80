'use strict';

// azure-iothub's registry: identities, twins, and the ETags that guard them.

const assert = require('node:assert/strict');
const { randomUUID } = require('node:crypto');
const { test } = require('node:test');
const { promisify } = require('node:util');

const { Client } = require('azure-iot-device');
const { Mqtt } = require('azure-iot-device-mqtt');
const { Registry } = require('azure-iothub');

const { createDevice, hostName, opened, ownerConnectionString, registry } = require('./support');

test('a device is created, read, updated, listed and deleted', async () => {
  const deviceId = `node-${randomUUID()}`;
  const { responseBody: created } = await registry.create({ deviceId });
  assert.equal(created.status, 'enabled');
  assert.equal(Buffer.from(created.authentication.symmetricKey.primaryKey, 'base64').length, 32);
  assert.deepEqual((await registry.get(deviceId)).responseBody, created);

  const { responseBody: updated } = await registry.update({ deviceId, status: 'disabled', statusReason: 'tested' });
  assert.deepEqual([updated.status, updated.statusReason], ['disabled', 'tested']);
  assert.notEqual(updated.etag, created.etag);

  const { responseBody: all } = await registry.list();
  assert.ok(all.some((device) => device.deviceId === deviceId));

  await registry.delete(deviceId);
  await assert.rejects(registry.get(deviceId), { name: 'DeviceNotFoundError' });
  await assert.rejects(registry.delete(deviceId), { name: 'DeviceNotFoundError' });
});

test('creating a device or a module twice conflicts and changes nothing', async () => {
  const { deviceId, key } = await createDevice();
  await assert.rejects(registry.create({ deviceId }), { name: 'DeviceAlreadyExistsError' });
  assert.equal((await registry.get(deviceId)).responseBody.authentication.symmetricKey.primaryKey, key);
  const { responseBody: module } = await registry.addModule({ deviceId, moduleId: 'module01' });
  // The SDK's name for every 409.
  await assert.rejects(registry.addModule({ deviceId, moduleId: 'module01' }), { name: 'DeviceAlreadyExistsError' });
  assert.deepEqual((await registry.getModule(deviceId, 'module01')).responseBody, module);
});

test('keys are swapped, and made anew where the caller gives none, and those of before open nothing', async (t) => {
  const { deviceId } = await createDevice();
  const keys = async () => (await registry.get(deviceId)).responseBody.authentication.symmetricKey;
  const connect = (key) => opened(t, Client.fromConnectionString(
    `HostName=${hostName};DeviceId=${deviceId};SharedAccessKey=${key}`, Mqtt));
  const { primaryKey, secondaryKey } = await keys();

  const symmetricKey = { primaryKey: secondaryKey, secondaryKey: primaryKey };
  await registry.update({ deviceId, authentication: { type: 'sas', symmetricKey } });
  assert.deepEqual(await keys(), symmetricKey);
  await (await connect(primaryKey)).close();

  // Empty keys, which is what the SDK makes of none at all.
  await registry.update({ deviceId });
  const renewed = await keys();
  const [first, second] = [renewed.primaryKey, renewed.secondaryKey];
  assert.equal(new Set([primaryKey, secondaryKey, first, second]).size, 4);
  for (const old of [primaryKey, secondaryKey]) {
    await assert.rejects(connect(old), { name: 'UnauthorizedError' });
  }
  await (await connect(first)).close();
  await (await connect(second)).close();
});

test('a thumbprint or an authority takes the place of keys, and gives it back', async () => {
  const { deviceId, key } = await createDevice();
  const set = async (authentication) =>
    (await registry.update({ deviceId, authentication })).responseBody.authentication;
  const none = { primaryKey: null, secondaryKey: null };
  const x509Thumbprint = { primaryThumbprint: 'A'.repeat(40), secondaryThumbprint: 'B'.repeat(64) };
  const bySelf = await set({ type: 'selfSigned', x509Thumbprint });
  assert.deepEqual(bySelf, { type: 'selfSigned', symmetricKey: none, x509Thumbprint });
  const byAuthority = await set({ type: 'certificateAuthority' });
  assert.deepEqual([byAuthority.type, byAuthority.symmetricKey], ['certificateAuthority', none]);
  const { type, symmetricKey: { primaryKey } } = await set({ type: 'sas' });
  assert.equal(type, 'sas');
  assert.equal(Buffer.from(primaryKey, 'base64').length, 32);
  assert.notEqual(primaryKey, key);
});

test('the time of a status is the time it changed', async () => {
  const { deviceId } = await createDevice();
  const set = async (fields) => (await registry.update({ deviceId, ...fields })).responseBody;
  const disabling = Date.now();
  const disabled = await set({ status: 'disabled' });
  const at = Date.parse(disabled.statusUpdatedTime);
  assert.ok(disabling <= at && at <= Date.now(), disabled.statusUpdatedTime);
  const again = await set({ status: 'disabled', statusReason: 'another' });
  assert.equal(again.statusUpdatedTime, disabled.statusUpdatedTime);
  const enabled = await set({ status: 'enabled' });
  assert.ok(Date.parse(enabled.statusUpdatedTime) >= at, enabled.statusUpdatedTime);
});

test('ids with every legal character name what they say', async () => {
  const deviceId = `-:.+%_#*?!(),=@;$'${randomUUID()}`;
  await registry.create({ deviceId });
  assert.equal((await registry.get(deviceId)).responseBody.deviceId, deviceId);
  await registry.addModule({ deviceId, moduleId: deviceId });
  assert.equal((await registry.getModule(deviceId, deviceId)).responseBody.moduleId, deviceId);
  assert.equal((await registry.getModuleTwin(deviceId, deviceId)).responseBody.moduleId, deviceId);
  await registry.delete(deviceId);
});

test('an id that is none is refused', async () => {
  for (const deviceId of ['with space', 'with/slash', 'ä', 'x'.repeat(129)]) {
    await assert.rejects(registry.create({ deviceId }), { name: 'ArgumentError' }, deviceId);
  }
  await registry.create({ deviceId: 'x'.repeat(128) });
  await registry.delete('x'.repeat(128));
});

test('a module is guarded by its ETag', async () => {
  const { deviceId } = await createDevice();
  const { responseBody: module } = await registry.addModule({ deviceId, moduleId: 'module01', managedBy: 'me' });
  assert.equal(module.managedBy, 'me');

  const { responseBody: updated } = await registry.updateModule({ ...module, managedBy: 'you' });
  assert.equal(updated.managedBy, 'you');
  await assert.rejects(registry.updateModule(module), { name: 'InvalidEtagError' });
  await assert.rejects(removeModule(module), { name: 'InvalidEtagError' });
  assert.equal((await registry.getModule(deviceId, 'module01')).responseBody.managedBy, 'you');
  const { responseBody: forced } = await registry.updateModule({ ...module, managedBy: 'all' }, true);
  assert.equal(forced.managedBy, 'all');

  await removeModule(forced);
  assert.deepEqual((await registry.getModulesOnDevice(deviceId)).responseBody, []);
});

test('twins merge, drop nulls, and are guarded by their ETag', async () => {
  const { deviceId } = await createDevice();
  const { responseBody: twin } = await registry.getTwin(deviceId);
  assert.deepEqual([twin.properties.desired.$version, twin.properties.reported.$version, twin.version], [1, 1, 2]);

  await twin.update({ tags: { building: { floor: 1 } }, properties: { desired: { a: 1, b: { c: 2, d: 3 } } } });
  assert.equal(twin.properties.desired.$version, 2);
  assert.equal(twin.properties.desired.$metadata.b.c.$lastUpdatedVersion, 2);
  const stale = twin.etag;
  await twin.update({ properties: { desired: { b: { c: null } } } });
  assert.deepEqual(twin.properties.desired.b, { d: 3 });
  assert.deepEqual(twin.tags, { building: { floor: 1 } });

  await assert.rejects(
    registry.updateTwin(deviceId, { properties: { desired: { a: 2 } } }, stale),
    { name: 'InvalidEtagError' },
  );
  const { responseBody: forced } = await registry.updateTwin(deviceId, { tags: null }, '*');
  assert.deepEqual(forced.tags, {});
  assert.equal(forced.properties.desired.a, 1);
  assert.equal(forced.properties.desired.$version, 3);
});

test('a twin past its limits is refused and unchanged', async () => {
  const { deviceId } = await createDevice();
  const update = (desired) => registry.updateTwin(deviceId, { properties: { desired } }, '*');
  await update({ text: 'x'.repeat(4096) });
  await assert.rejects(update({ text: 'x'.repeat(4097) }), { name: 'ArgumentError' });
  await update(nested(11));
  await assert.rejects(update(nested(12)), { name: 'ArgumentError' });
  await assert.rejects(update({ 'with space': 1 }), { name: 'ArgumentError' });
  const { responseBody: twin } = await registry.getTwin(deviceId);
  assert.equal(twin.properties.desired.$version, 3);
});

test('a connection string with a wrong key, or of no policy, opens nothing', async () => {
  const wrongKey = ownerConnectionString.replace(/SharedAccessKey=.*/, 'SharedAccessKey=d3Jvbmcga2V5IG9mIG93bmVy');
  await assert.rejects(Registry.fromConnectionString(wrongKey).list(), { name: 'UnauthorizedError' });
  const noPolicy = ownerConnectionString.replace(/SharedAccessKeyName=[^;]*/, 'SharedAccessKeyName=nobody');
  await assert.rejects(Registry.fromConnectionString(noPolicy).list(), { name: 'UnauthorizedError' });
});

// With a module instead of ids the SDK takes only a callback.
const removeModule = promisify((module, done) => registry.removeModule(module, done));

// A document whose value lies under `depth` names; the hub allows ten objects below the section.
function nested(depth) {
  return depth === 1 ? { property: 1 } : { level: nested(depth - 1) };
}
