'use strict';

// The device: sends the readings of a thermostat, and leaves.
//
//   node device.js "<device connection string>" [count] [number of the first]

const { Client, Message } = require('azure-iot-device');
const { Mqtt } = require('azure-iot-device-mqtt');

const [connectionString, count = '10', first = '1'] = process.argv.slice(2);

async function main() {
  const client = Client.fromConnectionString(connectionString, Mqtt);
  await client.open();
  for (let number = Number(first); number < Number(first) + Number(count); number += 1) {
    const temperature = 20 + (number % 15);
    const message = new Message(JSON.stringify({ number, temperature }));
    message.contentType = 'application/json';
    message.contentEncoding = 'utf-8';
    message.properties.add('temperatureAlert', String(temperature > 30));
    await client.sendEvent(message);
    console.log(`sent reading ${number}`);
  }
  await client.close();
}

main().catch((error) => {
  console.error(`error sending telemetry: ${error.message}`);
  process.exit(1);
});
