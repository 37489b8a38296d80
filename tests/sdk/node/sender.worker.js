'use strict';

// A device that sends one message and stays, in a thread a test can end: when the hub closes its AMQP
// connection, the SDK waits 45 s for answers to its own detaches before it tells anybody.

const { parentPort, workerData: { sharedAccessSignature, transport } } = require('node:worker_threads');

const { Client, Message } = require('azure-iot-device');

const { transports } = require('./support');

const { Protocol } = transports.find(({ name }) => name === transport);
const client = Client.fromSharedAccessSignature(sharedAccessSignature, Protocol);
client.open()
  .then(() => client.sendEvent(new Message('before')))
  .then(() => parentPort.postMessage('sent'));
