'use strict';

// Twins between azure-iothub and azure-iot-device: what the service may write, and in which order the device or
// module hears of it.

const assert = require('node:assert/strict');
const { describe, test } = require('node:test');

const { Client } = require('azure-iot-device');

const { createDevice, createModule, open, opened, registry, report, transports } = require('./support');

const kinds = [
  { kind: 'device', create: createDevice },
  { kind: 'module', create: createModule },
];

for (const { kind, create } of kinds) {
  for (const { name, Protocol } of transports) {
    describe(`a ${kind} over ${name}`, { concurrency: true }, () => {
      test('hears of patches in the order of their versions', async (t) => {
        const identity = await create();
        const client = await open(t, identity, Protocol);
        const twin = await client.getTwin();
        const heard = [];
        const last = new Promise((resolve) => twin.on('properties.desired', ({ $version, number }) => {
          heard.push({ $version, number });
          if ($version === 21) {
            resolve();
          }
        }));
        // Reported after it subscribed, so the hub has heard of both when this resolves.
        await report(twin, { ready: true });

        const numbers = Array.from({ length: 20 }, (_, number) => number);
        const written = await Promise.all(numbers.map(async (number) => {
          const { properties: { desired } } = await update(identity, { properties: { desired: { number } } });
          return { $version: desired.$version, number: desired.number };
        }));
        await last;

        const inOrder = written.sort((one, other) => one.$version - other.$version);
        assert.deepEqual(inOrder.map(({ $version }) => $version), numbers.map((number) => number + 2));
        // The first is what the twin was when it was read.
        assert.deepEqual(heard, [{ $version: 1, number: undefined }, ...inOrder]);
      });

      test('hears of a deletion, and reads after it what is left', async (t) => {
        const identity = await create();
        await update(identity, { properties: { desired: { kept: 1, gone: { deep: 1 }, half: { gone: 1, kept: 1 } } } });
        const client = await open(t, identity, Protocol);
        const twin = await client.getTwin();
        const third = new Promise((resolve) => twin.on('properties.desired',
          (delta) => delta.$version === 3 && resolve(structuredClone(delta))));
        await report(twin, { ready: true });

        await update(identity, { properties: { desired: { gone: null, half: { gone: null } } } });
        assert.deepEqual(await third, { gone: null, half: { gone: null }, $version: 3 });
        const { desired } = (await client.getTwin()).properties;
        assert.deepEqual([desired.kept, desired.half, 'gone' in desired], [1, { kept: 1 }, false]);
      });

      test('reports in versions that move the twin but not its ETag', async (t) => {
        const identity = await create();
        const before = await read(identity);
        const client = await open(t, identity, Protocol);
        const twin = await client.getTwin();
        await report(twin, { a: 1, b: { c: [1, 'two', { three: 3 }] } });
        await report(twin, { a: null, b: { d: true } });

        const after = await read(identity);
        assert.deepEqual(after.properties.reported.b, { c: [1, 'two', { three: 3 }], d: true });
        assert.ok(!('a' in after.properties.reported));
        assert.equal(after.properties.reported.$version, 3);
        assert.equal(after.properties.desired.$version, 1);
        assert.equal(after.version, before.version + 2);
        assert.equal(after.etag, before.etag);
        assert.deepEqual(Object.keys(after.properties.reported.$metadata.b).sort(), ['$lastUpdated', 'c', 'd']);
      });
    });
  }

  test(`null clears a section of the twin of a ${kind}, and nothing else`, async () => {
    const identity = await create();
    await update(identity, { tags: { room: 'lab' }, properties: { desired: { a: 1, b: { c: 2 } } } });
    const untagged = await update(identity, { tags: null });
    assert.deepEqual([untagged.tags ?? {}, untagged.properties.desired.b], [{}, { c: 2 }]);
    assert.equal(untagged.properties.desired.$version, 2);

    const cleared = await update(identity, { tags: { room: 'hall' }, properties: { desired: null } });
    assert.deepEqual(names(cleared.properties.desired), []);
    assert.deepEqual(names(cleared.properties.desired.$metadata), []);
    assert.equal(cleared.properties.desired.$version, 3);
    assert.deepEqual(cleared.tags, { room: 'hall' });
  });

  test(`the service writes neither what a ${kind} reports nor what the hub says of it`, async () => {
    const identity = await create();
    const before = await read(identity);
    const after = await update(identity, {
      deviceId: 'another', version: 99, status: 'disabled', tags: { room: 'lab' },
      properties: { desired: { $version: 99, $metadata: { a: 1 } }, reported: { a: 1 } },
    });
    assert.deepEqual([after.deviceId, after.status], [identity.deviceId, before.status]);
    assert.deepEqual(after.properties.reported, before.properties.reported);
    assert.deepEqual(names(after.properties.desired), []);
    assert.equal(after.properties.desired.$version, 2);
  });

  test(`of two writers of the twin of a ${kind} the second has to read again`, async () => {
    const { deviceId, moduleId } = await create();
    const get = async () => (await (moduleId ? registry.getModuleTwin(deviceId, moduleId) : registry.getTwin(deviceId)))
      .responseBody;
    const [first, second] = [await get(), await get()];
    await first.update({ tags: { by: 'first' } });
    await assert.rejects(second.update({ tags: { by: 'second' } }), { name: 'InvalidEtagError' });
    const again = await get();
    assert.deepEqual(again.tags, { by: 'first' });
    await again.update({ tags: { by: 'second' } });
    assert.deepEqual(again.tags, { by: 'second' });
  });

  test(`an array in the twin of a ${kind} is a value like others, replaced whole, and holds no null`, async () => {
    const identity = await create();
    const list = [1, 'two', { three: [3] }];
    const first = await update(identity, { tags: { list }, properties: { desired: { list } } });
    assert.deepEqual([first.tags.list, first.properties.desired.list], [list, list]);
    assert.deepEqual(Object.keys(first.properties.desired.$metadata.list).sort(),
      ['$lastUpdated', '$lastUpdatedVersion']);
    const second = await update(identity, { tags: { list: [] }, properties: { desired: { list: ['one'] } } });
    assert.deepEqual([second.tags.list, second.properties.desired.list], [[], ['one']]);

    for (const bad of [[null], [{ a: null }]]) {
      await assert.rejects(update(identity, { tags: { list: bad } }), { name: 'ArgumentError' });
      await assert.rejects(update(identity, { properties: { desired: { list: bad } } }), { name: 'ArgumentError' });
    }
    const kept = await read(identity);
    assert.deepEqual([kept.etag, kept.version], [second.etag, second.version]);
  });

  // Each member counts as its name and its value.
  for (const [section, limit] of [['tags', 8 * 1024], ['desired', 32 * 1024]]) {
    test(`the ${section} of a ${kind} hold ${limit} bytes and not one more`, async () => {
      const identity = await create();
      const write = (members) => update(identity, section === 'tags'
        ? { tags: members } : { properties: { desired: members } });
      const full = Object.fromEntries(Array.from({ length: limit / 4096 }, (_, n) => [`${n}`, 'x'.repeat(4095)]));
      await write(full);
      await assert.rejects(write({ 0: 'x'.repeat(4096) }), { name: 'ArgumentError' });
      await assert.rejects(write({ y: '' }), { name: 'ArgumentError' });
      await write({ 0: 'x'.repeat(4094), y: '' });
    });
  }
}

for (const { name, Protocol } of transports.filter(({ protocol }) => protocol.startsWith('mqtt'))) {
  test(`the model a device names over ${name} is in its twin`, async (t) => {
    const device = await createDevice();
    assert.equal((await read(device)).modelId, '');
    const client = Client.fromConnectionString(device.connectionString, Protocol);
    await client.setOptions({ modelId: 'dtmi:com:example:Thermostat;1' });
    await opened(t, client);
    assert.equal((await read(device)).modelId, 'dtmi:com:example:Thermostat;1');
  });
}

async function read({ deviceId, moduleId }) {
  return (await (moduleId ? registry.getModuleTwin(deviceId, moduleId) : registry.getTwin(deviceId))).responseBody;
}

// Patches the twin whatever its ETag is.
async function update({ deviceId, moduleId }, patch) {
  const { responseBody } = await (moduleId
    ? registry.updateModuleTwin(deviceId, moduleId, patch, '*') : registry.updateTwin(deviceId, patch, '*'));
  return responseBody;
}

const names = (section) => Object.keys(section).filter((name) => !name.startsWith('$'));
