'use strict';

// Cloud-to-device messages from azure-iothub to azure-iot-device, how each transport settles them, and the feedback
// that comes of it. The hub has one queue of feedback: no other test of this suite reads it.

const assert = require('node:assert/strict');
const { randomUUID } = require('node:crypto');
const { EventEmitter } = require('node:events');
const { after, before, describe, test } = require('node:test');

const { Message, NoRetry } = require('azure-iot-common');
const { AmqpWs, Client } = require('azure-iothub');

const { createDevice, http, next, open, opened, ownerConnectionString, registry, transports, until } =
  require('./support');

const [amqp, amqpWs, mqtt] = transports;
const service = Client.fromConnectionString(ownerConnectionString);
const feedback = new EventEmitter().setMaxListeners(0);

before(async () => {
  await service.open();
  const { result: receiver } = await service.getFeedbackReceiver();
  receiver.on('message', (message) => {
    for (const record of JSON.parse(message.data)) {
      feedback.emit(record.originalMessageId, record);
    }
    receiver.complete(message);
  });
  receiver.on('errorReceived', (error) => feedback.emit('error', error));
});

after(() => service.close());

describe('cloud-to-device messages', { concurrency: true }, () => {
  for (const { name, Protocol } of [...transports, http]) {
    describe(`over ${name}`, { concurrency: true }, () => {
      test('arrive with their properties, and are done with when they are completed', async (t) => {
        const device = await createDevice();
        const client = await open(t, device, Protocol);
        const messages = receive(client);
        const sent = message('grüße', { ack: 'full', correlationId: 'c-1' });
        sent.properties.add('level', 'critical');
        sent.properties.add('space', 'a b&c=d');
        const done = next(feedback, sent.messageId);
        await service.send(device.deviceId, sent);

        const got = await messages.next();
        assert.equal(got.getData().toString(), 'grüße');
        assert.deepEqual([got.messageId, got.correlationId], [sent.messageId, 'c-1']);
        assert.deepEqual([property(got, 'level'), property(got, 'space')], ['critical', 'a b&c=d']);
        await client.complete(got);

        const record = await done;
        assert.deepEqual([record.deviceId, record.statusCode, record.description],
          [device.deviceId, 'Success', 'Success']);
        const { responseBody: { generationId } } = await registry.get(device.deviceId);
        assert.equal(record.deviceGenerationId, generationId);
        assert.ok(!Number.isNaN(Date.parse(record.enqueuedTimeUtc)), record.enqueuedTimeUtc);
        assert.equal(await pending(device), 0);
      });

      test('wait for a device that is offline, and come in their order', async (t) => {
        const device = await createDevice();
        const bodies = Array.from({ length: 5 }, (_, number) => `m-${number}`);
        for (const body of bodies) {
          await service.send(device.deviceId, message(body));
        }
        assert.equal(await pending(device), 5);
        const client = await open(t, device, Protocol);
        const messages = receive(client);
        const arrived = [];
        while (arrived.length < bodies.length) {
          const got = await messages.next();
          arrived.push(got.getData().toString());
          await client.complete(got);
        }
        // Over HTTPS the SDK polls each second though an answer is still on its way: the next may overtake it.
        assert.deepEqual(Protocol === http.Protocol ? arrived.sort() : arrived, bodies);
        await until(async () => await pending(device) === 0, 'the queue is empty');
      });
    });
  }

  // MQTT has no words for these two.
  for (const { name, Protocol } of [amqp, amqpWs, http]) {
    describe(`over ${name}`, { concurrency: true }, () => {
      test('come again when they are abandoned', async (t) => {
        const device = await createDevice();
        const client = await open(t, device, Protocol);
        const messages = receive(client);
        const sent = message('again', { ack: 'full' });
        const done = next(feedback, sent.messageId);
        await service.send(device.deviceId, sent);
        const first = await messages.next();
        await client.abandon(first);
        const second = await messages.next();
        assert.equal(second.messageId, sent.messageId);
        assert.equal(await pending(device), 1);
        await client.complete(second);
        assert.equal((await done).statusCode, 'Success');
      });

      test('are gone when they are rejected', async (t) => {
        const device = await createDevice();
        const client = await open(t, device, Protocol);
        const messages = receive(client);
        const sent = message('unwanted', { ack: 'full' });
        const done = next(feedback, sent.messageId);
        await service.send(device.deviceId, sent);
        await client.reject(await messages.next());
        assert.equal((await done).statusCode, 'Rejected');
        assert.equal(await pending(device), 0);
      });
    });
  }

  // Over HTTPS a device cannot leave: a poll under way when it stops still takes a message.
  for (const { name, Protocol } of transports) {
    test(`reach a device again that left and came back over ${name}`, async (t) => {
      const device = await createDevice();
      const client = await open(t, device, Protocol);
      const messages = receive(client);
      await service.send(device.deviceId, message('before'));
      await client.complete(await messages.next());
      await client.close();
      await service.send(device.deviceId, message('while away'));
      const again = await open(t, device, Protocol);
      const messagesAgain = receive(again);
      const got = await messagesAgain.next();
      assert.equal(got.getData().toString(), 'while away');
      await again.complete(got);
      await service.send(device.deviceId, message('after'));
      assert.equal((await messagesAgain.next()).getData().toString(), 'after');
    });

    test(`go to the client that took the device over from another over ${name}`, async (t) => {
      const device = await createDevice();
      const first = await open(t, device, Protocol);
      first.setRetryPolicy(new NoRetry());
      const firstMessages = receive(first);
      await service.send(device.deviceId, message('for the first'));
      await first.complete(await firstMessages.next());

      const ended = next(first, 'disconnect');
      const second = await open(t, device, Protocol);
      const messages = receive(second);
      await ended;
      await service.send(device.deviceId, message('for the second'));
      const got = await messages.next();
      assert.equal(got.getData().toString(), 'for the second');
      await second.complete(got);
    });
  }

  test('a message no one fetched in time expires', async () => {
    const { deviceId } = await createDevice();
    const sent = message('too late', { ack: 'negative', expiryTimeUtc: Date.now() + 1500 });
    const done = next(feedback, sent.messageId);
    await service.send(deviceId, sent);
    assert.equal((await done).statusCode, 'Expired');
  });

  test('a message for a device that does not exist is refused', async () => {
    await assert.rejects(service.send(`node-${randomUUID()}`, message('lost')), { name: 'DeviceNotFoundError' });
  });

  test('a queue holds 50 messages and not one more', async () => {
    const { deviceId } = await createDevice();
    for (let number = 0; number < 50; number += 1) {
      await service.send(deviceId, message(`m-${number}`));
    }
    await assert.rejects(service.send(deviceId, message('one more')), { name: 'DeviceMaximumQueueDepthExceededError' });
  });

  test('the receiver of file notifications is there and stays empty', async (t) => {
    const { deviceId } = await createDevice();
    const alone = await opened(t, Client.fromConnectionString(ownerConnectionString));
    const { result: receiver } = await alone.getFileNotificationReceiver();
    const told = [];
    for (const event of ['message', 'errorReceived']) {
      receiver.on(event, (what) => told.push(what));
    }
    // Over the same connection and after it: what would have come by now has.
    await alone.send(deviceId, message('after'));
    assert.deepEqual(told, []);
  });

  test('the service sends over WebSocket as well', async (t) => {
    const device = await createDevice();
    const client = await open(t, device, mqtt.Protocol);
    const messages = receive(client);
    const overWebSocket = await opened(t, Client.fromConnectionString(ownerConnectionString, AmqpWs));
    await overWebSocket.send(device.deviceId, message('over WebSocket'));
    assert.equal((await messages.next()).getData().toString(), 'over WebSocket');
  });
});

// A message with an id of its own.
function message(body, fields) {
  return Object.assign(new Message(body), { messageId: randomUUID(), ...fields });
}

// Subscribes to messages; `next` waits for the one after the last it returned.
function receive(client) {
  const waiting = [];
  const arrivals = new EventEmitter();
  client.on('message', (received) => {
    waiting.push(received);
    arrivals.emit('message');
  });
  return {
    async next() {
      while (waiting.length === 0) {
        await next(arrivals, 'message');
      }
      return waiting.shift();
    },
  };
}

// Over HTTP the SDK leaves a property the name of its header.
function property({ properties: { propertyList } }, name) {
  return propertyList.find(({ key }) => key === name || key === `iothub-app-${name}`)?.value;
}

// How many messages wait for the device or are with it unsettled.
async function pending({ deviceId }) {
  return (await registry.get(deviceId)).responseBody.cloudToDeviceMessageCount;
}
