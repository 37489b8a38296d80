'use strict';

// azure-iothub's registry: how many devices there are. On a hub of its own, as other tests make devices too.

const assert = require('node:assert/strict');
const { test } = require('node:test');

const { Registry } = require('azure-iothub');

const { ownHub } = require('./support');

test('the statistics count every device at once', async (t) => {
  const registry = Registry.fromConnectionString(await ownHub(t));
  const statistics = async () => (await registry.getRegistryStatistics()).responseBody;
  assert.deepEqual(await statistics(), { totalDeviceCount: 0, enabledDeviceCount: 0, disabledDeviceCount: 0 });

  await registry.addDevices([{ deviceId: 'a' }, { deviceId: 'b' }, { deviceId: 'c', status: 'disabled' }]);
  assert.deepEqual(await statistics(), { totalDeviceCount: 3, enabledDeviceCount: 2, disabledDeviceCount: 1 });
  await registry.update({ deviceId: 'a', status: 'disabled' });
  await registry.addModule({ deviceId: 'b', moduleId: 'not-counted' });
  assert.deepEqual(await statistics(), { totalDeviceCount: 3, enabledDeviceCount: 1, disabledDeviceCount: 2 });
  await registry.delete('c');
  await assert.rejects(registry.delete('c'), { name: 'DeviceNotFoundError' });
  assert.deepEqual(await statistics(), { totalDeviceCount: 2, enabledDeviceCount: 1, disabledDeviceCount: 1 });
});
