'use strict';

// azure-iot-device with a device identity over the four transports.

const assert = require('node:assert/strict');
const { test } = require('node:test');

const { NoRetry, SharedAccessSignature } = require('azure-iot-common');
const { Client, Message, SharedAccessKeyAuthenticationProvider } = require('azure-iot-device');

const { connections, connects, createDevice, events, hostName, next, open, opened, registry, report, transports,
  until } = require('./support');

for (const { name, Protocol, protocol } of transports) {
  test(`telemetry sent over ${name} lies in the event hub with its properties`, async (t) => {
    const device = await createDevice();
    const client = await open(t, device, Protocol);

    const message = new Message(JSON.stringify({ temperature: 21 }));
    message.messageId = 'm-1';
    message.correlationId = 'c-1';
    message.contentType = 'application/json';
    message.contentEncoding = 'utf-8';
    message.properties.add('level', 'critical & true');
    message.properties.add('größe', '2 m');
    await client.sendEvent(message);
    await client.sendEvent(new Message('second'));

    const [second, first] = await events(device);
    assert.equal(second.body, 'second');
    assert.ok(second.sequenceNumber > first.sequenceNumber);
    assert.deepEqual(JSON.parse(first.body), { temperature: 21 });
    assert.deepEqual(first.properties, { level: 'critical & true', größe: '2 m' });
    assert.equal(first.systemProperties.messageId, 'm-1');
    assert.equal(first.systemProperties.correlationId, 'c-1');
    assert.equal(first.systemProperties.contentType, 'application/json');
    assert.equal(first.systemProperties.contentEncoding, 'utf-8');
    assert.equal(first.deviceId, device.deviceId);

    const [connect, ...others] = await connects(device);
    assert.equal(others.length, 0);
    assert.equal(connect.outcome, 'succeeded');
    assert.deepEqual([connect.credential, connect.protocol], ['sas-device-key', protocol]);
  });

  test(`a device reads its twin, reports and hears of changes over ${name}`, async (t) => {
    const device = await createDevice();
    const client = await open(t, device, Protocol);
    const twin = await client.getTwin();
    assert.equal(twin.properties.desired.$version, 1);

    const deltas = [];
    // A copy: the first delta is the SDK's own document, which it keeps changing.
    twin.on('properties.desired', (delta) => deltas.push(structuredClone(delta)));
    // Reported after it subscribed, so the hub has heard of both when this resolves.
    await report(twin, { battery: { level: 80 }, gone: null });
    const { responseBody: seen } = await registry.getTwin(device.deviceId);
    assert.deepEqual(seen.properties.reported.battery, { level: 80 });
    assert.equal(seen.properties.reported.$version, 2);
    assert.ok(!('gone' in seen.properties.reported));

    const heard = next(twin, 'properties.desired.interval');
    await registry.updateTwin(device.deviceId, { properties: { desired: { interval: 5 } } }, seen.etag);
    assert.equal(await heard, 5);
    assert.deepEqual(deltas, [{ $version: 1 }, { interval: 5, $version: 2 }]);

    await assert.rejects(report(twin, { 'illegal.name': 1 }), 'a name with a dot is refused');
    await report(twin, { battery: null });
    const { responseBody: after } = await registry.getTwin(device.deviceId);
    assert.ok(!('battery' in after.properties.reported));
    assert.equal(after.properties.reported.$version, 3);
  });

  test(`a second client takes the device over from the first over ${name}`, async (t) => {
    const device = await createDevice();
    const first = await open(t, device, Protocol);
    first.setRetryPolicy(new NoRetry());
    await first.sendEvent(new Message('first'));

    const ended = next(first, 'disconnect');
    const second = await open(t, device, Protocol);
    await second.sendEvent(new Message('second'));
    await ended;

    await second.sendEvent(new Message('third'));
    assert.deepEqual((await events(device)).map(({ body }) => body), ['third', 'second', 'first']);
    assert.equal((await connections(device)).length, 1);
    assert.equal((await registry.get(device.deviceId)).responseBody.connectionState, 'Connected');
  });

  test(`the registry says when a device came and left over ${name}`, async (t) => {
    const device = await createDevice();
    const identity = async () => (await registry.get(device.deviceId)).responseBody;
    const unset = await identity();
    assert.equal(unset.connectionStateUpdatedTime, '0001-01-01T00:00:00');
    assert.equal(unset.lastActivityTime, '0001-01-01T00:00:00');

    const opening = Date.now();
    const client = await open(t, device, Protocol);
    await client.sendEvent(new Message('first'));
    const here = await identity();
    assert.equal(here.connectionState, 'Connected');
    assertWithin(opening, here.connectionStateUpdatedTime, Date.now());
    assertWithin(opening, here.lastActivityTime, Date.now());
    assert.equal(here.etag, unset.etag);
    assert.equal(here.statusUpdatedTime, unset.statusUpdatedTime);

    const closing = Date.now();
    await client.close();
    await until(async () => (await identity()).connectionState === 'Disconnected', 'the hub sees it leave');
    assertWithin(closing, (await identity()).connectionStateUpdatedTime, Date.now());
  });

  test(`disabling a device ends its connection over ${name}`, async (t) => {
    const device = await createDevice();
    const client = await open(t, device, Protocol);
    client.setRetryPolicy(new NoRetry());
    await client.sendEvent(new Message('before'));

    const ended = next(client, 'disconnect');
    await registry.update({ deviceId: device.deviceId, status: 'disabled' });
    await ended;

    assert.equal((await connections(device)).length, 0);
    const again = Client.fromConnectionString(device.connectionString, Protocol);
    again.setRetryPolicy(new NoRetry());
    await assert.rejects(again.open().then(() => again.sendEvent(new Message('after'))));
  });
}

for (const { name, Protocol } of transports.filter(({ protocol }) => protocol.startsWith('amqp'))) {
  test(`a token renewed over ${name} keeps the connection beyond the first token`, async (t) => {
    const device = await createDevice();
    // Valid for 3 s, renewed after 2 s.
    const provider = SharedAccessKeyAuthenticationProvider.fromConnectionString(device.connectionString, 3, 1);
    const client = await opened(t, Client.fromAuthenticationProvider(provider, Protocol));
    await client.sendEvent(new Message('before'));

    // The second renewal comes when the first token has expired.
    await next(provider, 'newTokenAvailable');
    await next(provider, 'newTokenAvailable');
    await client.sendEvent(new Message('after'));

    assert.equal((await connects(device)).length, 1, 'it is still the first connection');
    assert.equal((await events(device)).length, 2);
  });

  test(`a token not renewed over ${name} ends the connection when it expires`, async (t) => {
    const device = await createDevice();
    const sharedAccessSignature = tokenFor(device, 2);
    const client = await opened(t, Client.fromSharedAccessSignature(sharedAccessSignature, Protocol));
    client.setRetryPolicy(new NoRetry());
    await client.sendEvent(new Message('before'));

    // At once: the hub lets the SDK detach and close by itself. Cut off, it would wait 45 s for answers.
    await next(client, 'disconnect');

    await until(async () => (await connections(device)).length === 0, 'the connection is gone');
    const late = Client.fromSharedAccessSignature(sharedAccessSignature, Protocol);
    await assert.rejects(late.open(), { name: 'UnauthorizedError' });
    assert.equal((await registry.get(device.deviceId)).responseBody.connectionState, 'Disconnected');
  });
}

for (const { name, Protocol } of transports.filter(({ protocol }) => protocol.startsWith('mqtt'))) {
  test(`subscriptions survive the reconnect that renews a token over ${name}`, async (t) => {
    const device = await createDevice();
    const provider = SharedAccessKeyAuthenticationProvider.fromConnectionString(device.connectionString);
    const client = await opened(t, Client.fromAuthenticationProvider(provider, Protocol));
    const twin = await client.getTwin();
    twin.on('properties.desired', () => {});
    await report(twin, { subscribed: true });

    // New values make the SDK renew its token at once: it drops the connection and comes back with
    // CleanSession=0, without subscribing again.
    provider.setTokenRenewalValues(7200, 900);
    await until(async () => (await connects(device)).length === 2, 'the SDK has reconnected');

    const heard = next(twin, 'properties.desired.after');
    const { responseBody: { etag } } = await registry.getTwin(device.deviceId);
    await registry.updateTwin(device.deviceId, { properties: { desired: { after: 'renewal' } } }, etag);
    assert.equal(await heard, 'renewal');
  });
}

// Whether the hub's time lies between two times of this process, in milliseconds.
function assertWithin(from, time, to) {
  const at = Date.parse(time);
  assert.ok(from <= at && at <= to, `${from} <= ${time} <= ${to}`);
}

function tokenFor({ deviceId, key }, seconds) {
  const expiry = Math.floor(Date.now() / 1000) + seconds;
  return SharedAccessSignature.create(`${hostName}/devices/${deviceId}`, null, key, expiry).toString();
}
