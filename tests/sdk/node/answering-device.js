'use strict';

// A device or module that answers methods, for callers that are not written in Node: started with its connection
// string, it says "ready" on its standard output when the hub has it, and leaves when its standard input ends.
//
//   echo    answers 200 and what it was sent
//   status  answers the status it was sent, without a payload
//   ignore  does not answer
//   leave   does not answer and disconnects

const { Client, ModuleClient } = require('azure-iot-device');
const { Mqtt } = require('azure-iot-device-mqtt');

const connectionString = process.argv[2];
const isModule = connectionString.includes('ModuleId=');
const client = (isModule ? ModuleClient : Client).fromConnectionString(connectionString, Mqtt);
const onMethod = (name, answer) => (isModule ? client.onMethod(name, answer) : client.onDeviceMethod(name, answer));
const fail = (error) => {
  console.error(error);
  process.exit(1);
};
const sent = (error) => error && fail(error);

client.on('error', fail);
onMethod('echo', ({ payload }, response) => response.send(200, payload, sent));
onMethod('status', ({ payload }, response) => response.send(payload, sent));
onMethod('ignore', () => {});
onMethod('leave', () => client.close(() => process.exit(0)));
process.stdin.on('end', () => process.exit(0)).resume();

client.open()
  // Over MQTT packets are answered in order: with the twin read, the subscription of before it stands.
  .then(() => client.getTwin())
  .then(() => console.log('ready'))
  .catch(fail);
