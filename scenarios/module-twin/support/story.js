'use strict';

// The story every cell of the matrix tells: an app connects as a module, prints its twin, reports its
// state, and hears of a desired property changed by the service while it listens.

const assert = require('node:assert/strict');

const hub = require('./hub');

// The names of a transport in the SDKs' words and in the hub's.
const transports = [
  { name: 'Amqp', protocol: 'amqp' },
  { name: 'AmqpWs', protocol: 'amqp-ws' },
  { name: 'Mqtt', protocol: 'mqtt' },
  { name: 'MqttWs', protocol: 'mqtt-ws' },
];

async function tellStory({ app, identity, protocol, credential }) {
  await app.printed('client opened');
  await app.printed('twin contents:');
  const [, ...versions] = await app.printed(/\$version['"]: (\d+)[^]*?\$version['"]: (\d+)/);
  assert.deepEqual(versions, ['1', '1'], 'a new twin has version 1 of both its sections');

  // The handler is given the current document at once; the change below is the second call.
  assert.deepEqual(await desiredReceived(app), { $version: 1 });
  await app.printed('twin state reported');

  const reported = (await hub.moduleTwin(identity)).properties.reported;
  assert.equal(reported.$version, 2);
  assert.equal(reported.firmwareVersion, '1.2.1');
  assert.equal(reported.weather.temperature, 72);
  assert.equal((await hub.module(identity)).connectionState, 'Connected');

  await hub.changeDesired(identity, { telemetryInterval: 5, weather: { unit: 'F' } });
  assert.deepEqual(await desiredReceived(app), { telemetryInterval: 5, weather: { unit: 'F' }, $version: 2 });

  const { code, output } = await app.interrupt();
  assert.equal(code, 0, output);

  const connects = await hub.journal(identity, 'Connect');
  assert.equal(connects.length, 1, 'the module connected once');
  assert.deepEqual(
    pick(connects[0], ['identity', 'credential', 'protocol', 'outcome']),
    { identity: hub.commonName(identity), credential, protocol, outcome: 'succeeded' },
  );
}

async function desiredReceived(app) {
  await app.printed('new desired properties received:');
  const [, json] = await app.printed(/^(\{.*\})\n/m);
  return JSON.parse(json);
}

function pick(object, names) {
  return Object.fromEntries(names.map((name) => [name, object[name]]));
}

module.exports = { tellStory, transports };
