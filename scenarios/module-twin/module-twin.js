'use strict';

// App 2 of the tutorial: connects as a module, prints its twin, listens for desired properties and
// reports its own. It listens until it is interrupted.
//
//   node module-twin.js "<module connection string>" [Amqp | AmqpWs | Mqtt | MqttWs]
//   node module-twin.js "<connection string ending in ;x509=true>" <transport> <certificate.pem> <key.pem>
//
// Node trusts the emulator's root certificate when NODE_EXTRA_CA_CERTS names it.

const fs = require('node:fs');

const { Client, X509AuthenticationProvider } = require('azure-iot-device');
const { ConnectionString } = require('azure-iot-common');
const { Amqp, AmqpWs } = require('azure-iot-device-amqp');
const { Mqtt, MqttWs } = require('azure-iot-device-mqtt');

const transports = { Amqp, AmqpWs, Mqtt, MqttWs };

const [connectionString, transport = 'Amqp', certificateFile, keyFile] = process.argv.slice(2);

function createClient() {
  const Protocol = transports[transport];
  if (!connectionString || !Protocol) {
    throw new Error('usage: node module-twin.js "<module connection string>" ' +
      `[${Object.keys(transports).join(' | ')}] [<certificate.pem> <key.pem>]`);
  }
  if (!certificateFile) {
    return Client.fromConnectionString(connectionString, Protocol);
  }
  // The SDK drops the ModuleId of a connection string with x509=true, so a module with a certificate
  // names itself to the authentication provider.
  const { HostName: host, DeviceId: deviceId, ModuleId: moduleId } =
    ConnectionString.parse(connectionString, ['HostName', 'DeviceId', 'ModuleId']);
  const x509 = { cert: fs.readFileSync(certificateFile, 'utf8'), key: fs.readFileSync(keyFile, 'utf8') };
  return Client.fromAuthenticationProvider(
    new X509AuthenticationProvider({ host, deviceId, moduleId, x509 }),
    Protocol,
  );
}

async function main() {
  const client = createClient();
  client.on('error', (error) => console.error(`client error: ${error}`));

  await step('connecting to hub', client.open());
  console.log('client opened');
  process.once('SIGINT', () => client.close().then(() => process.exit(0)));

  const twin = await step('getting twin', client.getTwin());
  console.log('twin contents:');
  console.log(twin.properties);

  twin.on('error', (error) => console.error(`twin error: ${error}`));
  twin.on('properties.desired', (delta) => {
    console.log('new desired properties received:');
    console.log(JSON.stringify(delta));
  });

  const patch = {
    updateTime: new Date().toISOString(),
    firmwareVersion: '1.2.1',
    weather: { temperature: 72, humidity: 17 },
  };
  await step('reporting state', new Promise((resolve, reject) => {
    twin.properties.reported.update(patch, (error) => (error ? reject(error) : resolve()));
  }));
  console.log('twin state reported');
}

// Says in which step of the story an error came.
async function step(doing, promise) {
  try {
    return await promise;
  } catch (error) {
    throw new Error(`error ${doing}: ${error}`, { cause: error });
  }
}

main().catch((error) => {
  console.error(error.message);
  process.exit(1);
});
