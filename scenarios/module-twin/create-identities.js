'use strict';

// App 1 of the tutorial: creates the device identity myFirstDevice and its module identity
// myFirstModule, and prints the connection string of each. An identity that exists already is fetched
// instead, so the app can be run again.
//
//   IOTHUB_CONNECTION_STRING="HostName=localhost;SharedAccessKeyName=iothubowner;SharedAccessKey=..." \
//     node create-identities.js [deviceId] [moduleId]

const { ConnectionString, Registry } = require('azure-iothub');

const [deviceId = 'myFirstDevice', moduleId = 'myFirstModule'] = process.argv.slice(2);

async function main() {
  const connectionString = process.env.IOTHUB_CONNECTION_STRING;
  if (!connectionString) {
    throw new Error('set IOTHUB_CONNECTION_STRING to the connection string of the hub');
  }
  const { HostName: hostName } = ConnectionString.parse(connectionString);
  const registry = Registry.fromConnectionString(connectionString);

  const device = await createOrGet(
    `device ${deviceId}`,
    () => registry.create({ deviceId }),
    () => registry.get(deviceId),
  );
  console.log(`Device connection string = HostName=${hostName};DeviceId=${deviceId};` +
    `SharedAccessKey=${device.authentication.symmetricKey.primaryKey}`);

  const module = await createOrGet(
    `module ${deviceId}/${moduleId}`,
    () => registry.addModule({ deviceId, moduleId }),
    () => registry.getModule(deviceId, moduleId),
  );
  console.log(`Module connection string = HostName=${hostName};DeviceId=${deviceId};ModuleId=${moduleId};` +
    `SharedAccessKey=${module.authentication.symmetricKey.primaryKey}`);
}

// The SDK raises DeviceAlreadyExistsError for every 409 of the registry, a module's included. It does not
// export the class, so its name has to do.
async function createOrGet(what, create, get) {
  try {
    const { responseBody } = await create();
    console.log(`Created ${what}`);
    return responseBody;
  } catch (error) {
    if (error.name !== 'DeviceAlreadyExistsError') {
      throw error;
    }
    console.log(`${error.name}: ${what} exists already`);
    const { responseBody } = await get();
    return responseBody;
  }
}

main().catch((error) => {
  console.error(`Error creating identities: ${error}`);
  process.exitCode = 1;
});
