'use strict';

// azure-iothub's registry, many devices at once. The SDK names rows by `deviceId` and sends the rest of what it
// was given along; of a bulk call that failed in a row it makes an ArgumentError, with the hub's result in it.

const assert = require('node:assert/strict');
const { randomUUID } = require('node:crypto');
const { test } = require('node:test');

const { createDevice, registry } = require('./support');

const succeeded = { isSuccessful: true, errors: [], warnings: [] };

test('a hundred devices are created, updated and deleted in a call each', async () => {
  const devices = newDevices(100);
  assert.deepEqual((await registry.addDevices(devices)).responseBody, succeeded);
  const { responseBody: created } = await registry.get(devices[99].deviceId);
  assert.equal(created.status, 'enabled');
  assert.equal(Buffer.from(created.authentication.symmetricKey.primaryKey, 'base64').length, 32);
  assert.equal((await registry.getTwin(devices[99].deviceId)).responseBody.properties.desired.$version, 1);

  const disabled = devices.map(({ deviceId }) => ({ deviceId, status: 'disabled' }));
  assert.deepEqual((await registry.updateDevices(disabled, true)).responseBody, succeeded);
  assert.equal((await registry.get(devices[0].deviceId)).responseBody.status, 'disabled');

  assert.deepEqual((await registry.removeDevices(devices, true)).responseBody, succeeded);
  await assert.rejects(registry.get(devices[0].deviceId), { name: 'DeviceNotFoundError' });
});

test('what the caller gives of a device is what is created', async () => {
  const key = Buffer.alloc(64, 7).toString('base64');
  const [keyed, certified] = newDevices(2);
  keyed.authentication = { symmetricKey: { primaryKey: key, secondaryKey: key } };
  certified.authentication = { x509Thumbprint: { primaryThumbprint: 'A'.repeat(40), secondaryThumbprint: null } };
  certified.status = 'disabled';
  await registry.addDevices([keyed, certified]);
  const { responseBody: withKey } = await registry.get(keyed.deviceId);
  assert.equal(withKey.authentication.symmetricKey.primaryKey, key);
  const { responseBody: withCertificate } = await registry.get(certified.deviceId);
  assert.equal(withCertificate.authentication.type, 'selfSigned');
  assert.equal(withCertificate.status, 'disabled');
});

test('a row that fails is named, and the others are done', async () => {
  const there = await createDevice();
  const [first, last] = newDevices(2);
  const errors = await failures(registry.addDevices([first, there, last]));
  assert.deepEqual(errors, [{ deviceId: there.deviceId, errorCode: 409001 }]);
  for (const { deviceId } of [first, last]) {
    assert.equal((await registry.get(deviceId)).responseBody.deviceId, deviceId);
  }
  const { responseBody: kept } = await registry.get(there.deviceId);
  assert.equal(kept.authentication.symmetricKey.primaryKey, there.key);
});

test('only the current ETag updates and deletes', async () => {
  const devices = newDevices(2);
  await registry.addDevices(devices);
  const [{ responseBody: first }, { responseBody: second }] =
    await Promise.all(devices.map(({ deviceId }) => registry.get(deviceId)));
  const { responseBody: newer } = await registry.update({ deviceId: second.deviceId, statusReason: 'newer' });

  const changed = [first, second].map((device) => ({ ...device, statusReason: 'bulk' }));
  assert.deepEqual(await failures(registry.updateDevices(changed, false)),
    [{ deviceId: second.deviceId, errorCode: 412001 }]);
  const { responseBody: updated } = await registry.get(first.deviceId);
  assert.equal(updated.statusReason, 'bulk');
  assert.deepEqual((await registry.get(second.deviceId)).responseBody, newer);

  assert.deepEqual(await failures(registry.removeDevices([updated, second], false)),
    [{ deviceId: second.deviceId, errorCode: 412001 }]);
  await assert.rejects(registry.get(first.deviceId), { name: 'DeviceNotFoundError' });
  assert.deepEqual((await registry.removeDevices([newer], false)).responseBody, succeeded);
});

test('what does not exist is not updated and not deleted', async () => {
  const [{ deviceId }] = newDevices(1);
  assert.deepEqual(await failures(registry.updateDevices([{ deviceId, status: 'disabled' }], true)),
    [{ deviceId, errorCode: 404001 }]);
  assert.deepEqual(await failures(registry.removeDevices([{ deviceId }], true)), [{ deviceId, errorCode: 404001 }]);
});

test('a device named twice is an error', async () => {
  const [device] = newDevices(1);
  const errors = await failures(registry.addDevices([device, device]));
  assert.ok(errors.some(({ deviceId, errorCode }) => deviceId === device.deviceId && errorCode === 400011),
    JSON.stringify(errors));
});

test('a key or id that is none fails its row only', async () => {
  const [good, wrongKey] = newDevices(2);
  wrongKey.authentication = { symmetricKey: { primaryKey: 'c2hvcnQ=', secondaryKey: 'c2hvcnQ=' } };
  const wrongId = { deviceId: 'with space' };
  assert.deepEqual(await failures(registry.addDevices([good, wrongKey, wrongId])), [
    { deviceId: wrongKey.deviceId, errorCode: 400004 },
    { deviceId: wrongId.deviceId, errorCode: 400004 },
  ]);
  assert.equal((await registry.get(good.deviceId)).responseBody.deviceId, good.deviceId);
});

// The rows of a bulk call that failed.
async function failures(call) {
  const { result, error } = await call.then((result) => ({ result }), (error) => ({ error }));
  assert.ok(error, `nothing failed: ${JSON.stringify(result?.responseBody)}`);
  assert.equal(error.name, 'ArgumentError', error.stack);
  const { isSuccessful, errors } = JSON.parse(error.responseBody);
  assert.equal(isSuccessful, false);
  return errors.map(({ deviceId, errorCode }) => ({ deviceId, errorCode }));
}

function newDevices(count) {
  return Array.from({ length: count }, () => ({ deviceId: `node-${randomUUID()}` }));
}
