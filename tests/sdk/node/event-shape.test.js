'use strict';

// What a message looks like to @azure/event-hubs, whoever sent it and however: body, properties, annotations and their
// JavaScript types.

const assert = require('node:assert/strict');
const { test } = require('node:test');

const { Message } = require('azure-iot-device');
const { SharedAccessSignature } = require('azure-iot-common');
const mqttClient = require('mqtt');

const { carriers, consumer, Reading } = require('./event-hub');
const { createDevice, createModule, events, hostName, http, next, open, registry, transports, until } =
  require('./support');

const mqtt = transports.find(({ protocol }) => protocol === 'mqtt');

for (const { name, Protocol } of [...transports, http]) {
  test(`a device's message over ${name} is read with all that it was sent with`, async (t) => {
    const device = await createDevice();
    const client = await open(t, device, Protocol);
    const message = new Message(JSON.stringify({ temperature: 21 }));
    message.messageId = 'm-1';
    message.correlationId = 'c-1';
    message.contentType = 'application/json';
    message.contentEncoding = 'utf-8';
    message.properties.add('level', 'critical & true');
    const sent = Date.now();
    await client.sendEvent(message);
    const [event] = await read(t, device);
    assert.deepEqual(event.body, { temperature: 21 });
    assert.deepEqual([event.messageId, event.correlationId, event.contentType],
      ['m-1', 'c-1', 'application/json']);
    assert.deepEqual(event.properties, { level: 'critical & true' });
    await assertStamped(event, device, sent);
    const { systemProperties: system } = event;
    assert.equal(system.contentEncoding, 'utf-8');
    assert.ok(!('iothub-connection-module-id' in system));
    assert.ok(!('iothub-interface-id' in system || 'dt-dataschema' in system || 'dt-subject' in system));
    assert.deepEqual(JSON.parse(system['iothub-connection-auth-method']),
      { scope: 'device', type: 'sas', issuer: 'iothub', acceptingIpFilterRule: null });
  });
}

test('a message of nothing but bytes is read as those bytes', async (t) => {
  const device = await createDevice();
  const client = await open(t, device, mqtt.Protocol);
  const sent = Date.now();
  const bytes = Buffer.from([0, 255, 0xc3, 0x28, 10]);
  await client.sendEvent(new Message(bytes));
  const [event] = await read(t, device, { skipParsingBodyAsJson: true });
  assert.deepEqual(event.body, bytes);
  assert.deepEqual([event.messageId, event.correlationId, event.contentType], [undefined, undefined, undefined]);
  assert.deepEqual(event.properties ?? {}, {});
  await assertStamped(event, device, sent);
});

test('a message of a module names the module', async (t) => {
  const module = await createModule();
  const client = await open(t, module, transports[0].Protocol);
  const sent = Date.now();
  await client.sendEvent(new Message('of a module'));
  const [event] = await read(t, module);
  assert.equal(String(event.body), 'of a module');
  assert.equal(event.systemProperties['iothub-connection-module-id'], module.moduleId);
  const { scope, type } = JSON.parse(event.systemProperties['iothub-connection-auth-method']);
  assert.deepEqual([scope, type], ['module', 'sas']);
  await assertStamped(event, module, sent);
});

test('a Will says that it is one', async (t) => {
  const device = await createDevice();
  const { deviceId, key } = device;
  const expiry = Math.floor(Date.now() / 1000) + 60;
  const client = mqttClient.connect(`mqtts://${hostName}:8883`, {
    protocolVersion: 4, clientId: deviceId, reconnectPeriod: 0,
    username: `${hostName}/${deviceId}/?api-version=2021-04-12`,
    password: SharedAccessSignature.create(`${hostName}/devices/${deviceId}`, null, key, expiry).toString(),
    will: { topic: `devices/${deviceId}/messages/events/colour=red`, payload: 'gone', qos: 1 },
  });
  await next(client, 'connect');
  const sent = Date.now();
  client.stream.destroy();
  await until(async () => (await events(device)).length === 1, 'the hub has sent the Will');
  const [event] = await read(t, device);
  assert.equal(String(event.body), 'gone');
  assert.deepEqual(event.properties, { colour: 'red', 'iothub-MessageType': 'Will' });
  await assertStamped(event, device, sent);
});

// Http alone sends batches.
test('the messages of a batch are events of their own', async (t) => {
  const device = await createDevice();
  const client = await open(t, device, http.Protocol);
  const batch = ['first', 'second', 'third'].map((body) => {
    const message = new Message(body);
    message.properties.add('is', body);
    return message;
  });
  const sent = Date.now();
  await client.sendEventBatch(batch);
  const received = await read(t, device);
  assert.deepEqual(received.map(({ body, properties }) => [String(body), properties]),
    [['first', { is: 'first' }], ['second', { is: 'second' }], ['third', { is: 'third' }]]);
  for (const event of received) {
    await assertStamped(event, device, sent);
  }
  assert.ok(received[0].sequenceNumber < received[1].sequenceNumber);
  assert.ok(received[1].sequenceNumber < received[2].sequenceNumber);
  assert.ok(Number(received[0].offset) < Number(received[1].offset));
});

// What the hub holds of a device by now, as the Event Hubs client reads it.
async function read(t, device, options) {
  const held = await events(device);
  const [last, first] = [held[0], held.at(-1)];
  const startPosition = { sequenceNumber: first.sequenceNumber, isInclusive: true };
  const reading = new Reading(t, await consumer(t, carriers[0]), last.partition, { startPosition, ...options });
  await reading.until(() => reading.events.at(-1)?.sequenceNumber >= last.sequenceNumber);
  return reading.events
    .filter(({ systemProperties }) => systemProperties['iothub-connection-device-id'] === device.deviceId);
}

// What the hub says of every message.
async function assertStamped(event, { deviceId, moduleId }, sent) {
  const { systemProperties: system } = event;
  assert.equal(typeof event.sequenceNumber, 'number');
  assert.match(event.offset, /^\d+$/);
  assert.equal(event.partitionKey, deviceId);
  assert.ok(event.enqueuedTimeUtc >= sent && event.enqueuedTimeUtc <= Date.now(), String(event.enqueuedTimeUtc));
  assert.ok(system['iothub-enqueuedtime'] >= sent && system['iothub-enqueuedtime'] <= Date.now());
  assert.equal(system['iothub-connection-device-id'], deviceId);
  assert.equal(system['iothub-message-source'], 'Telemetry');
  const { responseBody: { generationId } } =
    await (moduleId ? registry.getModule(deviceId, moduleId) : registry.get(deviceId));
  assert.equal(system['iothub-connection-auth-generation-id'], generationId);
}
