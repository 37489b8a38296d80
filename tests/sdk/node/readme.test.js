'use strict';

// The lines that the README gives for reading telemetry do what it says.

const { spawn } = require('node:child_process');
const { once } = require('node:events');
const { readFileSync } = require('node:fs');
const { join } = require('node:path');
const { createInterface } = require('node:readline');
const { test } = require('node:test');

const { Message } = require('azure-iot-device');

const { createDevice, http, open } = require('./support');

test('the lines of the README print what a device sends', async (t) => {
  const readme = readFileSync(join(__dirname, '../../../README.md'), 'utf8');
  const [, lines] = /@azure\/event-hubs`:\n\n```js\n(.*?)```/s.exec(readme);
  const device = await createDevice();
  const client = await open(t, device, http.Protocol);
  await client.sendEvent(new Message('"hello"'));

  const program = spawn(process.execPath, ['-e', lines], { cwd: __dirname, stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = once(program, 'exit');
  t.after(async () => {
    program.kill('SIGKILL');
    await ended;
  });
  const output = createInterface({ input: program.stdout, signal: AbortSignal.timeout(30_000) });
  for await (const line of output) {
    if (line === `${device.deviceId} hello`) {
      return;
    }
  }
  throw new Error('the program ended, or was too slow');
});
