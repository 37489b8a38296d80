'use strict';

// Where the hub is (scenarios/with-emulator says so in the environment), the names of the transports, and
// waiting for what an SDK only tells by an event.

const { spawn } = require('node:child_process');
const { randomInt, randomUUID } = require('node:crypto');
const { once } = require('node:events');
const { cp, mkdtemp, rm } = require('node:fs/promises');
const { tmpdir } = require('node:os');
const { join } = require('node:path');
const { createInterface } = require('node:readline');

const { Amqp, AmqpWs } = require('azure-iot-device-amqp');
const { Http } = require('azure-iot-device-http');
const { Mqtt, MqttWs } = require('azure-iot-device-mqtt');
const { Client: DeviceClient, ModuleClient } = require('azure-iot-device');
const { Client: ServiceClient, ConnectionString, Registry } = require('azure-iothub');

// Longest wait for something that must happen.
const PATIENCE_MS = 30_000;

const ownerConnectionString = process.env.IOTHUB_CONNECTION_STRING;
const { HostName: hostName } = ConnectionString.parse(ownerConnectionString);
const registry = Registry.fromConnectionString(ownerConnectionString);
const service = ServiceClient.fromConnectionString(ownerConnectionString);

const transports = [
  { name: 'Amqp', Protocol: Amqp, protocol: 'amqp' },
  { name: 'AmqpWs', Protocol: AmqpWs, protocol: 'amqp-ws' },
  { name: 'Mqtt', Protocol: Mqtt, protocol: 'mqtt' },
  { name: 'MqttWs', Protocol: MqttWs, protocol: 'mqtt-ws' },
];

const http = { name: 'Http', Protocol: Http, protocol: 'https' };

// A device no other test knows, with the connection string of its primary key.
async function createDevice() {
  const deviceId = `node-${randomUUID()}`;
  const { responseBody: device } = await registry.create({ deviceId });
  const key = device.authentication.symmetricKey.primaryKey;
  return { deviceId, key, connectionString: `HostName=${hostName};DeviceId=${deviceId};SharedAccessKey=${key}` };
}

// A module of a device no other test knows, with the connection string of its primary key.
async function createModule() {
  const { deviceId } = await createDevice();
  const moduleId = 'module01';
  const { responseBody: module } = await registry.addModule({ deviceId, moduleId });
  const key = module.authentication.symmetricKey.primaryKey;
  const connectionString = `HostName=${hostName};DeviceId=${deviceId};ModuleId=${moduleId};SharedAccessKey=${key}`;
  return { deviceId, moduleId, key, connectionString };
}

// A client of the device or module, connected until the test is over.
async function open(t, { connectionString, moduleId }, Protocol) {
  const client = (moduleId ? ModuleClient : DeviceClient).fromConnectionString(connectionString, Protocol);
  return opened(t, client);
}

// The client, connected until the test is over.
async function opened(t, client) {
  client.on('error', () => {});
  t.after(() => client.close().catch(() => {}));
  await client.open();
  return client;
}

// What a method of the device or module answers. Called as soon as it is connected, within the patience.
async function invoke({ deviceId, moduleId }, methodName, options) {
  const call = { methodName, connectTimeoutInSeconds: PATIENCE_MS / 1000, ...options };
  const where = moduleId ? [deviceId, moduleId] : [deviceId];
  const { result: { status, payload } } = await service.invokeDeviceMethod(...where, call);
  return { status, payload };
}

// The owner's connection string of a hub that only this test uses, started with `options` beside the shared one: on a
// loopback address of its own, with the root that this process trusts.
async function ownHub(t, ...options) {
  const stateDir = await mkdtemp(join(tmpdir(), 'hub-'));
  await cp(process.env.IOTHUB_EMULATOR_STATE_DIR, stateDir, { recursive: true });
  const address = `127.${randomInt(1, 255)}.${randomInt(256)}.${randomInt(1, 255)}`;
  const hub = spawn(process.env.IOTHUB_EMULATOR, ['serve', '--bind', address, '--state-dir', stateDir, ...options],
    { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = once(hub, 'exit');
  t.after(async () => {
    hub.kill('SIGTERM');
    await ended;
    await rm(stateDir, { recursive: true });
  });
  for await (const line of createInterface({ input: hub.stdout })) {
    if (line.trim().startsWith('HostName=')) {
      hub.stdout.resume();
      return line.trim();
    }
  }
  throw new Error(`the hub at ${address} ended before it was ready`);
}

// Reports a patch of a twin that a device read.
function report(twin, patch) {
  return new Promise((resolve, reject) => {
    twin.properties.reported.update(patch, (error) => (error ? reject(error) : resolve()));
  });
}

// What the built-in event hub holds of a device, newest first.
const events = ({ deviceId }) => admin('/admin/events', { device: deviceId });

// The connections a device has now.
const connections = async ({ deviceId }) =>
  (await admin('/admin/connections')).filter((connection) => connection.deviceId === deviceId);

// What the journal holds of the connects of a device, or of a module of it, newest first.
async function connects({ deviceId: device, moduleId: module }) {
  const entries = await admin('/admin/journal', { device, ...(module && { module }) });
  return entries.filter(({ operation }) => operation === 'Connect');
}

// What the admin API answers.
async function admin(path, query = {}, options = {}) {
  const url = `${process.env.IOTHUB_EMULATOR_ADMIN_URL}${path}?${new URLSearchParams(query)}`;
  const response = await fetch(url, options);
  const text = await response.text();
  if (!response.ok) {
    throw new Error(`${url}: ${response.status} ${text}`);
  }
  return text ? JSON.parse(text) : undefined;
}

// The next `name` event of `emitter`.
async function next(emitter, name) {
  const [value] = await once(emitter, name, { signal: AbortSignal.timeout(PATIENCE_MS) });
  return value;
}

// Asks `observed` until it answers something true, and returns that.
async function until(observed, what) {
  const deadline = Date.now() + PATIENCE_MS;
  while (Date.now() < deadline) {
    const value = await observed();
    if (value) {
      return value;
    }
    // What is observed may answer at once, and what it waits for needs a turn of the event loop.
    await new Promise(setImmediate);
  }
  throw new Error(`${what}: not within ${PATIENCE_MS} ms`);
}

module.exports = {
  admin, connections, connects, createDevice, createModule, events, hostName, http, invoke, next, open, opened,
  ownHub, ownerConnectionString, registry, report, transports, until,
};
