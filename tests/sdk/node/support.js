'use strict';

// Where the hub is (scenarios/with-emulator says so in the environment), the names of the transports, and
// waiting for what an SDK only tells by an event.

const { randomUUID } = require('node:crypto');
const { once } = require('node:events');

const { Amqp, AmqpWs } = require('azure-iot-device-amqp');
const { Mqtt, MqttWs } = require('azure-iot-device-mqtt');
const { ConnectionString, Registry } = require('azure-iothub');

// Longest wait for something that must happen.
const PATIENCE_MS = 30_000;

const ownerConnectionString = process.env.IOTHUB_CONNECTION_STRING;
const { HostName: hostName } = ConnectionString.parse(ownerConnectionString);
const registry = Registry.fromConnectionString(ownerConnectionString);

const transports = [
  { name: 'Amqp', Protocol: Amqp, protocol: 'amqp' },
  { name: 'AmqpWs', Protocol: AmqpWs, protocol: 'amqp-ws' },
  { name: 'Mqtt', Protocol: Mqtt, protocol: 'mqtt' },
  { name: 'MqttWs', Protocol: MqttWs, protocol: 'mqtt-ws' },
];

// A device no other test knows, with the connection string of its primary key.
async function createDevice() {
  const deviceId = `node-${randomUUID()}`;
  const { responseBody: device } = await registry.create({ deviceId });
  const key = device.authentication.symmetricKey.primaryKey;
  return { deviceId, key, connectionString: `HostName=${hostName};DeviceId=${deviceId};SharedAccessKey=${key}` };
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

async function admin(path, query = {}) {
  const response = await fetch(`${process.env.IOTHUB_EMULATOR_ADMIN_URL}${path}?${new URLSearchParams(query)}`);
  if (!response.ok) {
    throw new Error(`${response.url}: ${response.status} ${await response.text()}`);
  }
  return response.json();
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
  }
  throw new Error(`${what}: not within ${PATIENCE_MS} ms`);
}

module.exports = {
  connections, connects, createDevice, events, hostName, next, ownerConnectionString, registry, transports, until,
};
