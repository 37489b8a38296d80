'use strict';

// What azure-iothub makes of a hub that lacks a feature or keeps its callers to a rate, each a hub of its own.

const assert = require('node:assert/strict');
const { test } = require('node:test');

const { NoRetry } = require('azure-iot-common');
const { Client, Registry } = require('azure-iothub');

const { ownHub } = require('./support');

test('a hub of the basic tier has devices, but no twins, modules and methods', async (t) => {
  const connectionString = await ownHub(t, '--tier', 'basic');
  const registry = Registry.fromConnectionString(connectionString);
  const service = Client.fromConnectionString(connectionString);
  service.setRetryPolicy(new NoRetry());
  const deviceId = 'basic';
  assert.equal((await registry.create({ deviceId })).responseBody.deviceId, deviceId);
  assert.deepEqual((await registry.addDevices([{ deviceId: 'another' }])).responseBody.errors, []);

  for (const call of [
    () => registry.getTwin(deviceId),
    () => registry.updateTwin(deviceId, { tags: { a: 1 } }, '*'),
    () => registry.addModule({ deviceId, moduleId: 'module01' }),
    () => service.invokeDeviceMethod(deviceId, { methodName: 'any' }),
  ]) {
    // The SDK's name for every 403; the hub's is in the header.
    await assert.rejects(call(), (error) => error.name === 'TooManyDevicesError'
      && error.response.headers['iothub-errorcode'] === 'OperationNotAvailableInCurrentTier', call.toString());
  }
});

test('a hub that throttles says after which time to come again', async (t) => {
  const registry = Registry.fromConnectionString(await ownHub(t, '--throttling'));
  const deviceId = 'busy';
  await registry.create({ deviceId });
  const calls = await Promise.allSettled(Array.from({ length: 300 }, () => registry.get(deviceId)));
  const refusals = calls.filter(({ status }) => status === 'rejected').map(({ reason }) => reason);
  assert.ok(refusals.length > 0, 'none of 300 calls at once is refused');
  assert.ok(refusals.length < 300, 'all of 300 calls are refused');
  for (const { name, response } of refusals) {
    assert.equal(name, 'ThrottlingError');
    assert.equal(response.headers['iothub-errorcode'], 'ThrottlingException');
    assert.match(response.headers['retry-after'], /^[1-9]\d*$/);
  }
});
