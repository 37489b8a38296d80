'use strict';

// Event processors of @azure/event-hubs: readers of all partitions that share them by a checkpoint store, and go on
// from their checkpoints.

const assert = require('node:assert/strict');
const { test } = require('node:test');

const { Message } = require('azure-iot-device');

const { carriers, consumer, createConsumerGroup, MemoryStore, Reading } = require('./event-hub');
const { createDevice, events, http, open, until } = require('./support');

const loadBalancingOptions = {
  strategy: 'greedy', updateIntervalInMs: 100, partitionOwnershipExpirationIntervalInMs: 60_000,
};

for (const carrier of carriers) {
  test(`two processors over ${carrier.carrier} share the partitions, and one takes them all over`, async (t) => {
    const startPosition = { enqueuedOn: Date.now() };
    const devices = await devicesOfAllPartitions(t);
    const group = await createConsumerGroup();
    const store = new MemoryStore();
    const process = async () => {
      const client = await consumer(t, carrier, { group, store, loadBalancingOptions });
      return new Reading(t, client, undefined, { startPosition });
    };
    const owners = async () => {
      const owned = (await store.listOwnership()).map(({ ownerId }) => ownerId).filter(Boolean);
      return [...new Set(owned)].map((owner) => owned.filter((id) => id === owner).length).sort();
    };

    const first = await process();
    await first.until(() => devices.every(({ device }) => first.bodies(device).includes('m-0')));
    assert.deepEqual(await owners(), [4]);
    const second = await process();
    await until(async () => (await owners()).join() === '2,2', 'each owns two partitions');
    await Promise.all(devices.map(({ send }) => send('m-1')));
    const eitherHas = (device, body) => [first, second].some((reading) => reading.bodies(device).includes(body));
    await until(() => devices.every(({ device }) => eitherHas(device, 'm-1')), 'either processes what was sent');

    await first.close();
    await Promise.all(devices.map(({ send }) => send('m-2')));
    await second.until(() => devices.every(({ device }) => second.bodies(device).includes('m-2')));
    assert.deepEqual(await owners(), [4]);
  });
}

test('a processor goes on after its checkpoint, and not before', async (t) => {
  const startPosition = { enqueuedOn: Date.now() };
  const { device, send } = await deviceThatSends(t);
  const group = await createConsumerGroup();
  const store = new MemoryStore();
  await send('m-0', 'm-1', 'm-2');
  const process = async (before) => {
    const client = await consumer(t, carriers[0], { group, store, loadBalancingOptions });
    return new Reading(t, client, undefined, { startPosition }, { before });
  };

  const first = await process(async (batch, context) => {
    const done = batch.find(({ systemProperties, body }) =>
      systemProperties['iothub-connection-device-id'] === device.deviceId && String(body) === 'm-1');
    await (done && context.updateCheckpoint(done));
  });
  assert.deepEqual(await first.through(device, 'm-2'), ['m-0', 'm-1', 'm-2']);
  await first.close();

  await send('m-3');
  const second = await process();
  assert.deepEqual(await second.through(device, 'm-3'), ['m-2', 'm-3']);
});

// A device of each partition, which has sent a first message.
async function devicesOfAllPartitions(t) {
  const found = new Map();
  while (found.size < 4) {
    const sender = await deviceThatSends(t);
    await sender.send('m-0');
    const [{ partition }] = await events(sender.device);
    found.set(partition, sender);
  }
  return [...found.values()];
}

async function deviceThatSends(t) {
  const device = await createDevice();
  const client = await open(t, device, http.Protocol);
  const send = async (...bodies) => {
    for (const body of bodies) {
      await client.sendEvent(new Message(body));
    }
  };
  return { device, send };
}
