'use strict';

// azure-iothub's registry: edge devices, their scopes, and the devices under them.

const assert = require('node:assert/strict');
const { randomUUID } = require('node:crypto');
const { test } = require('node:test');

const { createDevice, registry } = require('./support');

test('an edge device has a scope and its two modules', async () => {
  const edge = await createEdge();
  assert.match(edge.deviceScope, new RegExp(`^ms-azure-iot-edge://${edge.deviceId}-\\d+$`));
  assert.equal(edge.capabilities.iotEdge, true);
  const { responseBody: modules } = await registry.getModulesOnDevice(edge.deviceId);
  assert.deepEqual(modules.map(({ moduleId }) => moduleId).sort(), ['$edgeAgent', '$edgeHub']);
  const { responseBody: twin } = await registry.getModuleTwin(edge.deviceId, '$edgeAgent');
  assert.equal(twin.properties.desired.$version, 1);
  assert.equal((await registry.getTwin(edge.deviceId)).responseBody.deviceScope, edge.deviceScope);
});

test('a device that is none has neither', async () => {
  const { deviceId } = await createDevice();
  const { responseBody: device } = await registry.get(deviceId);
  assert.ok(!device.deviceScope);
  assert.deepEqual((await registry.getModulesOnDevice(deviceId)).responseBody, []);
});

test('a device becomes an edge device, and its scope stays as it is', async () => {
  const { deviceId } = await createDevice();
  const { responseBody: edge } = await registry.update({ deviceId, capabilities: { iotEdge: true } });
  assert.ok(edge.deviceScope.startsWith(`ms-azure-iot-edge://${deviceId}-`), edge.deviceScope);
  assert.equal((await registry.getModulesOnDevice(deviceId)).responseBody.length, 2);
  const { responseBody: again } = await registry.update({ ...edge, statusReason: 'again' });
  assert.equal(again.deviceScope, edge.deviceScope);
});

test('a leaf is given to its parent by scope or by parent scope', async () => {
  const edge = await createEdge();
  const byScope = await create({ deviceScope: edge.deviceScope });
  const byParent = await create({ parentScopes: [edge.deviceScope] });
  for (const leaf of [byScope, byParent]) {
    assert.equal(leaf.deviceScope, edge.deviceScope);
    assert.deepEqual(leaf.parentScopes, [edge.deviceScope]);
    assert.deepEqual((await registry.get(leaf.deviceId)).responseBody, leaf);
  }
});

test('a leaf changes its parent, and leaves it', async () => {
  const [first, second] = [await createEdge(), await createEdge()];
  const leaf = await create({ deviceScope: first.deviceScope });
  const moved = { deviceId: leaf.deviceId, deviceScope: second.deviceScope, parentScopes: [second.deviceScope] };
  assert.equal((await registry.update(moved)).responseBody.deviceScope, second.deviceScope);
  const { responseBody: free } = await registry.update({ deviceId: leaf.deviceId, deviceScope: '' });
  assert.ok(!free.deviceScope, JSON.stringify(free));
});

test('an edge device has a parent and a scope of its own', async () => {
  const parent = await createEdge();
  const nested = await create({ capabilities: { iotEdge: true }, parentScopes: [parent.deviceScope] });
  assert.deepEqual(nested.parentScopes, [parent.deviceScope]);
  assert.ok(nested.deviceScope.startsWith(`ms-azure-iot-edge://${nested.deviceId}-`), nested.deviceScope);
});

test('a scope of no edge device is refused', async () => {
  const { deviceId } = await createDevice();
  for (const deviceScope of [randomUUID(), `ms-azure-iot-edge://${deviceId}-1`]) {
    await assert.rejects(create({ deviceScope }), { name: 'ArgumentError' }, deviceScope);
  }
});

async function create(fields) {
  return (await registry.create({ deviceId: `node-${randomUUID()}`, ...fields })).responseBody;
}

const createEdge = () => create({ capabilities: { iotEdge: true } });
