'use strict';

// @azure/event-hubs against the built-in event hub over every carrier: properties, positions, consumer groups, owner
// levels, refusals.

const assert = require('node:assert/strict');
const { describe, test } = require('node:test');

const { earliestEventPosition, EventHubProducerClient, latestEventPosition } = require('@azure/event-hubs');
const { SharedAccessSignature } = require('azure-iot-common');
const { ConnectionString } = require('azure-iothub');
const { Message } = require('azure-iot-device');
const rhea = require('rhea');

const { carriers, connectionString, consumer, createConsumerGroup, eventHubName, Reading } = require('./event-hub');
const { admin, createDevice, events, hostName, open, ownerConnectionString, next, transports } = require('./support');

const mqtt = transports.find(({ protocol }) => protocol === 'mqtt');
const owner = ConnectionString.parse(ownerConnectionString);

describe('the event hub', { concurrency: true }, () => {
  for (const carrier of carriers) {
    describe(`over ${carrier.carrier}`, { concurrency: true }, () => {
      test('says what it is and what its partitions hold', async (t) => {
        const client = await consumer(t, carrier);
        const { name, createdOn, partitionIds } = await client.getEventHubProperties();
        assert.equal(name, eventHubName);
        assert.ok(createdOn <= new Date() && Date.now() - createdOn < 3_600_000, createdOn.toISOString());
        assert.deepEqual(partitionIds, ['0', '1', '2', '3']);
        assert.deepEqual(await client.getPartitionIds(), partitionIds);

        const { device } = await deviceThatSends(t, 'm-0');
        const [{ partition, sequenceNumber, offset, enqueuedTimeUtc }] = await events(device);
        const properties = await client.getPartitionProperties(String(partition));
        assert.equal(properties.eventHubName, eventHubName);
        assert.equal(properties.partitionId, String(partition));
        assert.equal(properties.isEmpty, false);
        assert.equal(properties.beginningSequenceNumber, 0);
        // Other tests send into the same partition.
        assert.ok(properties.lastEnqueuedSequenceNumber >= sequenceNumber);
        assert.match(properties.lastEnqueuedOffset, /^\d+$/);
        assert.ok(Number(properties.lastEnqueuedOffset) >= offset);
        assert.ok(properties.lastEnqueuedOnUtc >= new Date(enqueuedTimeUtc));
      });

      test('is read from every position', async (t) => {
        const { device, send } = await deviceThatSends(t, 'm-0', 'm-1');
        const enqueuedOn = await aMillisecondLater();
        await send('m-2', 'm-3');
        const [third, second] = (await events(device)).slice(1);
        assert.deepEqual([second.body, third.body], ['m-1', 'm-2']);

        const client = await consumer(t, carrier);
        for (const [startPosition, expected] of [
          [earliestEventPosition, ['m-0', 'm-1', 'm-2', 'm-3']],
          [{ offset: String(second.offset) }, ['m-2', 'm-3']],
          [{ offset: String(second.offset), isInclusive: true }, ['m-1', 'm-2', 'm-3']],
          [{ sequenceNumber: third.sequenceNumber }, ['m-3']],
          [{ sequenceNumber: third.sequenceNumber, isInclusive: true }, ['m-2', 'm-3']],
          [{ enqueuedOn }, ['m-2', 'm-3']],
        ]) {
          const reading = new Reading(t, client, second.partition, { startPosition });
          assert.deepEqual(await reading.through(device, 'm-3'), expected, JSON.stringify(startPosition));
          await reading.close();
        }
      });

      test('gives a reader of the latest position what comes, and nothing that came before', async (t) => {
        const { device, send } = await deviceThatSends(t, 'before');
        const [{ partition }] = await events(device);
        const reading = new Reading(t, await consumer(t, carrier), partition, { startPosition: latestEventPosition });
        // The client does not say when it has attached: what is sent until the first arrives may be missed.
        for (let number = 0; reading.bodies(device).length === 0; number += 1) {
          assert.deepEqual(reading.errors, []);
          await send(`m-${number}`);
        }
        await send('after');
        const [first, ...others] = await reading.through(device, 'after');
        assert.match(first, /^m-\d+$/);
        const from = Number(first.slice(2));
        assert.deepEqual(others.slice(0, -1), others.slice(0, -1).map((_, number) => `m-${from + 1 + number}`));
      });

      test('takes a reader from another of its owner level or a lower one, and refuses those below', async (t) => {
        const { device, send } = await deviceThatSends(t, 'm-0');
        const [{ partition }] = await events(device);
        const group = await createConsumerGroup();
        const read = async (ownerLevel) => new Reading(t, await consumer(t, carrier, { group }), partition,
          { ownerLevel, startPosition: earliestEventPosition });

        let holder = await read(undefined);
        await holder.through(device, 'm-0');
        for (const level of [1, 2, 2]) {
          const taker = await read(level);
          await taker.through(device, 'm-0');
          assert.equal((await holder.refusal()).code, 'ReceiverDisconnectedError', `taken by level ${level}`);
          await holder.close();
          holder = taker;
        }

        for (const level of [1, undefined]) {
          const refused = await read(level);
          assert.equal((await refused.refusal()).code, 'ReceiverDisconnectedError', `level ${level}`);
          assert.deepEqual(refused.events, []);
          await refused.close();
        }
        await send('m-1');
        assert.deepEqual(await holder.through(device, 'm-1'), ['m-0', 'm-1']);
        assert.deepEqual(holder.errors, []);
      });

      test('refuses groups and partitions that do not exist', async (t) => {
        const nobody = await consumer(t, carrier, { group: 'nobody' });
        const ofNobody = new Reading(t, nobody, 0, { startPosition: earliestEventPosition });
        assert.equal((await ofNobody.refusal()).code, 'MessagingEntityNotFoundError');
        const client = await consumer(t, carrier);
        const beyond = new Reading(t, client, 4, { startPosition: earliestEventPosition });
        assert.equal((await beyond.refusal()).code, 'MessagingEntityNotFoundError');
        await assert.rejects(client.getPartitionProperties('4'));
        assert.equal((await client.getPartitionProperties('3')).partitionId, '3');
      });

      test('refuses to be sent to', async (t) => {
        const producer = new EventHubProducerClient(carrier.connectionString,
          { ...carrier.options, retryOptions: { maxRetries: 0 } });
        t.after(() => producer.close());
        await assert.rejects(producer.sendBatch([{ body: 'x' }]), { code: 'UnauthorizedError' });
        await assert.rejects(producer.sendBatch([{ body: 'x' }], { partitionId: '0' }), { code: 'UnauthorizedError' });
      });
    });
  }

  test('has consumer groups that each read everything, at their own pace', async (t) => {
    const { device, send } = await deviceThatSends(t, 'm-0');
    const [{ partition }] = await events(device);
    const [one, other] = [await consumer(t), await consumer(t)];
    const first = new Reading(t, one, partition, { ownerLevel: 0, startPosition: earliestEventPosition });
    assert.deepEqual(await first.through(device, 'm-0'), ['m-0']);
    await send('m-1');
    assert.deepEqual(await first.through(device, 'm-1'), ['m-0', 'm-1']);
    const second = new Reading(t, other, partition, { ownerLevel: 0, startPosition: earliestEventPosition });
    assert.deepEqual(await second.through(device, 'm-1'), ['m-0', 'm-1']);
    await send('m-2');
    assert.deepEqual(await first.through(device, 'm-2'), ['m-0', 'm-1', 'm-2']);
    assert.deepEqual(await second.through(device, 'm-2'), ['m-0', 'm-1', 'm-2']);
    assert.deepEqual([...first.errors, ...second.errors], []);
  });

  test('takes names of groups in any case, and five readers of a partition without an owner level', async (t) => {
    const { device } = await deviceThatSends(t, 'm-0');
    const [{ partition }] = await events(device);
    const group = (await createConsumerGroup()).toUpperCase();
    const read = async () => new Reading(t, await consumer(t, carriers[0], { group }), partition,
      { startPosition: earliestEventPosition });
    const five = await Promise.all(Array.from({ length: 5 }, read));
    for (const reading of five) {
      await reading.through(device, 'm-0');
    }
    const sixth = await read();
    assert.equal((await sixth.refusal()).code, 'QuotaExceededError');
    await sixth.close();
    assert.deepEqual(five.flatMap(({ errors }) => errors), []);
    await five[0].close();
    assert.deepEqual(await (await read()).through(device, 'm-0'), ['m-0']);
  });

  test('tells what was last enqueued to those who ask, and to nobody else', async (t) => {
    const { device } = await deviceThatSends(t, 'm-0', 'm-1');
    const [last] = await events(device);
    const options = { startPosition: { sequenceNumber: last.sequenceNumber, isInclusive: true } };
    const told = new Reading(t, await consumer(t), last.partition, { ...options, trackLastEnqueuedEventProperties: true });
    await told.through(device, 'm-1');
    const { sequenceNumber, offset, enqueuedOn, retrievedOn } = told.lastEnqueued;
    assert.ok(sequenceNumber >= last.sequenceNumber);
    assert.ok(typeof offset === 'string' && Number(offset) >= last.offset, offset);
    assert.ok(enqueuedOn >= new Date(last.enqueuedTimeUtc));
    assert.ok(retrievedOn >= enqueuedOn && retrievedOn <= new Date());

    const untold = new Reading(t, await consumer(t), last.partition, options);
    await untold.through(device, 'm-1');
    assert.equal(untold.lastEnqueued?.sequenceNumber, undefined);
  });

  test('waits for a slow reader, whatever it prefetches', async (t) => {
    const bodies = Array.from({ length: 50 }, (_, number) => `m-${number}`);
    const { device } = await deviceThatSends(t, ...bodies);
    const { partition, sequenceNumber } = (await events(device)).at(-1);
    const startPosition = { sequenceNumber, isInclusive: true };
    const group = await createConsumerGroup();
    const client = () => consumer(t, carriers[0], { group });
    for (const options of [{ maxBatchSize: 1, prefetchCount: 1 }, { maxBatchSize: 10, prefetchCount: 30 }]) {
      let release;
      const released = new Promise((resolve) => { release = resolve; });
      const slow = new Reading(t, await client(), partition, { ...options, startPosition }, { before: () => released });
      // In the same group, and not held up by the other.
      const fast = new Reading(t, await client(), partition, { startPosition });
      assert.deepEqual(await fast.through(device, bodies.at(-1)), bodies);
      assert.deepEqual(slow.events, []);
      release();
      assert.deepEqual(await slow.through(device, bodies.at(-1)), bodies);
      await Promise.all([slow.close(), fast.close()]);
    }
  });

  test('takes tokens as IoT Hub signs them, until they expire', async (t) => {
    const { device } = await deviceThatSends(t, 'm-0');
    const [{ partition }] = await events(device);
    const read = async (seconds) => {
      const expiry = Math.floor(Date.now() / 1000) + seconds;
      const token = SharedAccessSignature.create(hostName, owner.SharedAccessKeyName, owner.SharedAccessKey, expiry);
      const text = `Endpoint=sb://${hostName}/;SharedAccessSignature=${token};EntityPath=${eventHubName}`;
      const client = await consumer(t, { connectionString: text, options: {} });
      return new Reading(t, client, partition, { startPosition: earliestEventPosition });
    };
    const passing = await read(8);
    assert.deepEqual(await passing.through(device, 'm-0'), ['m-0']);
    const lasting = await read(3600);
    assert.deepEqual(await lasting.through(device, 'm-0'), ['m-0']);
    assert.equal((await passing.refusal()).code, 'UnauthorizedError');
    assert.deepEqual(lasting.errors, []);
  });

  test('refuses a wrong key and a policy without the right', async (t) => {
    const { policies } = await admin('/connection-strings');
    const reader = ConnectionString.parse(policies.registryRead);
    const wrong = Buffer.from('a key nobody gave to this policy').toString('base64');
    for (const [policy, key] of [
      [owner.SharedAccessKeyName, wrong],
      [reader.SharedAccessKeyName, reader.SharedAccessKey],
    ]) {
      const text = `Endpoint=sb://${hostName}/;SharedAccessKeyName=${policy};SharedAccessKey=${key};` +
        `EntityPath=${eventHubName}`;
      const client = await consumer(t, { connectionString: text, options: {} });
      await assert.rejects(client.getEventHubProperties(), { code: 'UnauthorizedError' }, policy);
      const reading = new Reading(t, client, 0, { startPosition: earliestEventPosition });
      assert.equal((await reading.refusal()).code, 'UnauthorizedError', policy);
      await reading.close();
    }
  });

  test('is found from the connection string of the hub, by the redirect of its link', async (t) => {
    const { device } = await deviceThatSends(t, 'm-0');
    const [{ partition }] = await events(device);
    const found = await redirected(t);
    assert.equal(found, connectionString);
    const client = await consumer(t, { connectionString: found, options: {} });
    const reading = new Reading(t, client, partition, { startPosition: earliestEventPosition });
    assert.deepEqual(await reading.through(device, 'm-0'), ['m-0']);
  });
});

// A device with a connection, which has sent `bodies` one after the other.
async function deviceThatSends(t, ...bodies) {
  const device = await createDevice();
  const client = await open(t, device, mqtt.Protocol);
  const send = async (...more) => {
    for (const body of more) {
      await client.sendEvent(new Message(body));
    }
  };
  await send(...bodies);
  return { device, send };
}

// Lies after everything that has happened, and before everything that will.
async function aMillisecondLater() {
  const passed = async (time) => {
    while (Date.now() <= time) {
      await new Promise(setImmediate);
    }
    return time + 1;
  };
  const between = await passed(Date.now());
  await passed(between);
  return between;
}

// As the client's own sample does it: a receiver is attached to the hub, whose refusal names the event hub.
async function redirected(t) {
  const { SharedAccessKeyName: policy, SharedAccessKey: key } = owner;
  const expiry = Math.floor(Date.now() / 1000) + 60;
  const token = SharedAccessSignature.create(`${hostName}/messages/events`, policy, key, expiry);
  const connection = rhea.create_container().connect({
    host: hostName, hostname: hostName, port: 5671, transport: 'tls', servername: hostName, reconnect: false,
    username: `${policy}@sas.root.${hostName}`, password: token.toString(),
  });
  connection.on('connection_error', () => {});
  t.after(() => connection.close());
  const receiver = connection.open_receiver(`amqps://${hostName}/messages/events/$management`);
  const { receiver: { error } } = await next(receiver, 'receiver_error');
  assert.equal(error.condition, 'amqp:link:redirect');
  const { hostname, address } = error.info;
  const [, entityPath] = /:\d+\/(.*)\/\$management/.exec(address);
  return `Endpoint=sb://${hostname};SharedAccessKeyName=${policy};SharedAccessKey=${key};EntityPath=${entityPath}`;
}
