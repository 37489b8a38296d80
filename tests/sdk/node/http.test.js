'use strict';

// azure-iot-device over HTTPS: telemetry and its credentials. A device has no connection there, no twin and no
// methods; its messages are in c2d.test.js.

const assert = require('node:assert/strict');
const { test } = require('node:test');

const { Client, Message, SharedAccessKeyAuthenticationProvider } = require('azure-iot-device');

const { connections, createDevice, events, http: { Protocol }, next, open, opened, registry } = require('./support');

test('telemetry sent over Http lies in the event hub with its properties', async (t) => {
  const device = await createDevice();
  const client = await open(t, device, Protocol);
  const message = new Message(JSON.stringify({ temperature: 21 }));
  message.messageId = 'm-1';
  message.correlationId = 'c-1';
  message.properties.add('level', 'critical & true');
  await client.sendEvent(message);

  const [event, ...others] = await events(device);
  assert.equal(others.length, 0);
  assert.deepEqual(JSON.parse(event.body), { temperature: 21 });
  assert.deepEqual(event.properties, { level: 'critical & true' });
  assert.equal(event.systemProperties.messageId, 'm-1');
  assert.equal(event.systemProperties.correlationId, 'c-1');
});

test('a batch sent over Http lies in the event hub as its messages', async (t) => {
  const device = await createDevice();
  const client = await open(t, device, Protocol);
  const batch = ['first', 'second', 'third'].map((body) => {
    const message = new Message(body);
    message.properties.add('is', body);
    return message;
  });
  await client.sendEventBatch(batch);
  assert.deepEqual((await events(device)).map(({ body, properties }) => [body, properties.is]).reverse(),
    [['first', 'first'], ['second', 'second'], ['third', 'third']]);
});

test('a device that speaks Http alone is not connected, and leaves no trace in the registry', async (t) => {
  const device = await createDevice();
  const { responseBody: unheard } = await registry.get(device.deviceId);
  const client = await open(t, device, Protocol);
  await client.sendEvent(new Message('here'));
  assert.deepEqual(await connections(device), []);
  const { responseBody: heard } = await registry.get(device.deviceId);
  assert.equal(heard.connectionState, 'Disconnected');
  assert.deepEqual(heard, unheard);
});

test('a token renewed over Http serves beyond the first', async (t) => {
  const device = await createDevice();
  // Valid for 3 s, renewed after 2 s.
  const provider = SharedAccessKeyAuthenticationProvider.fromConnectionString(device.connectionString, 3, 1);
  const client = await opened(t, Client.fromAuthenticationProvider(provider, Protocol));
  await client.sendEvent(new Message('before'));
  await next(provider, 'newTokenAvailable');
  await next(provider, 'newTokenAvailable');
  await client.sendEvent(new Message('after'));
  assert.deepEqual((await events(device)).map(({ body }) => body), ['after', 'before']);
});

test('a device is refused over Http while it is disabled', async (t) => {
  const device = await createDevice();
  const client = await open(t, device, Protocol);
  await client.sendEvent(new Message('before'));
  const { responseBody: identity } = await registry.get(device.deviceId);
  await registry.update({ ...identity, status: 'disabled', etag: '*' });
  await assert.rejects(client.sendEvent(new Message('while')), { name: 'UnauthorizedError' });
  await registry.update({ ...identity, status: 'enabled', etag: '*' });
  await client.sendEvent(new Message('after'));
  assert.deepEqual((await events(device)).map(({ body }) => body), ['after', 'before']);
});
