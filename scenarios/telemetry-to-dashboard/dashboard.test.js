'use strict';

// The story, told by the apps of each language: two back ends read what a device sends, each in its consumer group;
// one of them is killed and started again.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { describe, test } = require('node:test');

const { ConnectionString, Registry } = require('azure-iothub');

const { App } = require('../app');

const hub = process.env.IOTHUB_CONNECTION_STRING;
const eventHub = process.env.EVENT_HUB_CONNECTION_STRING;
const { HostName: hostName } = ConnectionString.parse(hub);
const [, eventHubName] = /EntityPath=([^;]*)/.exec(eventHub);

// Cargo puts the workspace's binaries side by side.
const binary = (name) => [path.join(path.dirname(process.env.IOTHUB_EMULATOR), name)];
const script = (command, name) => [command, path.join(__dirname, name)];
const python = path.join(__dirname, '../.venv/bin/python');

const languages = [
  { language: 'Node', device: script(process.execPath, 'device.js'), dashboard: script(process.execPath, 'dashboard.js') },
  { language: 'Python', device: script(python, 'device.py'), dashboard: script(python, 'dashboard.py') },
  { language: 'Rust', device: binary('send-telemetry'), dashboard: binary('dashboard') },
];

describe('telemetry to dashboard', { concurrency: true }, () => {
  for (const { language, device, dashboard } of languages) {
    test(`is told in ${language}`, async (t) => {
      const deviceId = `thermostat-${language}`;
      const connectionString = await createDevice(deviceId);
      const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'dashboard-'));
      t.after(() => fs.rmSync(folder, { recursive: true }));
      const app = ([command, ...args], ...more) => new App(t, command, [...args, ...more],
        { IOTHUB_CA_FILE: process.env.IOTHUB_EMULATOR_CA });
      const send = async (count, first) => {
        const { code, output } = await app(device, connectionString, String(count), String(first)).ended();
        assert.equal(code, 0, output);
      };
      const [live, archive] = await Promise.all(['live', 'archive'].map(async (purpose) => {
        const group = `${purpose}-${language}`;
        await createConsumerGroup(group);
        const start = () => app(dashboard, group, path.join(folder, `${purpose}.json`));
        return { start, running: start() };
      }));
      const reading = (number) => `${deviceId}: reading ${number}, ${20 + (number % 15)} °C`;
      const shown = (output) => output.split('\n').filter((line) => line.startsWith(`${deviceId}:`));
      const readings = (from, to) => Array.from({ length: to - from + 1 }, (_, index) => line(from + index));
      const line = (number) => `${reading(number)}${20 + (number % 15) > 30 ? ' (too hot)' : ''}`;

      await send(12, 1);
      for (const { running } of [live, archive]) {
        await running.printed('checkpoint at reading 10');
        await running.printed(reading(12));
      }
      // Killed, it has no chance to say how far it has come beyond its last checkpoint.
      const { output: before } = await live.running.kill();
      assert.deepEqual(shown(before), readings(1, 12));

      await send(3, 13);
      await archive.running.printed(reading(15));
      const again = live.start();
      await again.printed(reading(15));
      await send(1, 16);
      await again.printed(reading(16));
      await archive.running.printed(reading(16));

      const { code, output: after } = await again.interrupt();
      assert.equal(code, 0, after);
      assert.deepEqual(shown(after), readings(11, 16), 'it went on behind its checkpoint');
      const { output: all } = await archive.running.interrupt();
      assert.deepEqual(shown(all), readings(1, 16), 'the other group heard nothing of it');
    });
  }
});

async function createDevice(deviceId) {
  const { responseBody } = await Registry.fromConnectionString(hub).create({ deviceId });
  const { primaryKey } = responseBody.authentication.symmetricKey;
  return `HostName=${hostName};DeviceId=${deviceId};SharedAccessKey=${primaryKey}`;
}

async function createConsumerGroup(group) {
  const url = `${process.env.IOTHUB_EMULATOR_ADMIN_URL}/admin/event-hubs/${eventHubName}/consumer-groups/${group}`;
  const response = await fetch(url, { method: 'PUT' });
  assert.ok(response.ok, `${response.status} ${await response.text()}`);
}
