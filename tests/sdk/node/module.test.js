'use strict';

// azure-iot-device's ModuleClient over the four transports: the sequence of contract/amqp.md 6, as far as
// the hub itself answers it.

const assert = require('node:assert/strict');
const { test } = require('node:test');

const { Message } = require('azure-iot-device');

const { connects, createModule, events, open, transports } = require('./support');

for (const { name, Protocol, protocol } of transports) {
  test(`a module reads its twin, listens to its inputs and sends to an output over ${name}`, async (t) => {
    const module = await createModule();
    const client = await open(t, module, Protocol);
    const errors = [];
    client.on('error', (error) => errors.push(error));

    const twin = await client.getTwin();
    assert.equal(twin.properties.reported.$version, 1);
    // Only an edge runtime ever delivers here; the hub has to grant the subscription all the same.
    client.on('inputMessage', () => {});

    const message = new Message('to an output');
    message.properties.add('colour', 'green');
    await client.sendOutputEvent('output1', message);
    await client.sendEvent(new Message('plain'));

    const [plain, output] = await events(module);
    assert.deepEqual([plain.body, plain.moduleId, plain.properties], ['plain', 'module01', {}]);
    assert.deepEqual([output.body, output.systemProperties.outputName], ['to an output', 'output1']);
    assert.deepEqual(output.properties, { colour: 'green' });
    const [{ credential, outcome, ...connect }, ...others] = await connects(module);
    assert.deepEqual([credential, outcome, connect.protocol], ['sas-module-key', 'succeeded', protocol]);
    assert.equal(others.length, 0);

    await client.close();
    assert.deepEqual(errors, []);
  });
}
