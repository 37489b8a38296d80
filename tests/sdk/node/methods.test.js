'use strict';

// azure-iothub's invokeDeviceMethod, answered by azure-iot-device as a device and as a module over the four
// transports.
//
// No transport of the SDK says when its subscription stands; a call that may wait for the device to connect
// (connectTimeoutInSeconds) reaches it in any case.

const assert = require('node:assert/strict');
const { describe, test } = require('node:test');

const { NoRetry } = require('azure-iot-common');
const { ModuleClient } = require('azure-iot-device');

const { connects, createDevice, createModule, invoke, open, registry, transports, until } = require('./support');

const kinds = [
  { kind: 'device', create: createDevice },
  { kind: 'module', create: createModule },
];

// What JSON can be; 100 KiB is most of the 128 KiB a call may carry. (Undefined arrives as null.)
const payloads = [
  null, '', 'foo', 'grüße & ünïcödé', 0, -1.5, true, false, {}, { k1: 'v1' }, { nested: { list: [null, {}] } }, [],
  'x'.repeat(100 * 1024),
];

// At the same time, as each waits 5 s for what does not come.
describe('methods', { concurrency: true }, () => {
  for (const { kind, create } of kinds) {
    for (const { name, Protocol } of transports) {
      describe(`a ${kind} over ${name}`, { concurrency: true }, () => {
        test('is sent every payload as it is and answers with any', async (t) => {
          const identity = await create();
          const client = await open(t, identity, Protocol);
          const seen = [];
          onMethod(client, 'echo', (request, response) => {
            seen.push(request.payload);
            response.send(200, request.payload, () => {});
          });
          for (const payload of payloads) {
            const result = await invoke(identity, 'echo', { payload });
            assert.deepEqual(result, { status: 200, payload });
          }
          assert.deepEqual(seen, payloads);
        });

        test('is sent null for no payload, and no payload of it is null', async (t) => {
          const identity = await create();
          const client = await open(t, identity, Protocol);
          const seen = [];
          onMethod(client, 'nothing', (request, response) => {
            seen.push(request.payload);
            response.send(204, () => {});
          });
          assert.deepEqual(await invoke(identity, 'nothing', {}), { status: 204, payload: null });
          assert.deepEqual(seen, [null]);
        });

        test('answers with a status of its own, which is the status of no HTTP response', async (t) => {
          const identity = await create();
          const client = await open(t, identity, Protocol);
          onMethod(client, 'status', (request, response) => {
            response.send(request.payload, { status: request.payload }, () => {});
          });
          for (const status of [200, 404, 500, -1, 2 ** 31 - 1]) {
            assert.deepEqual(await invoke(identity, 'status', { payload: status }), { status, payload: { status } });
          }
        });

        test('is called although it connects after the caller asked', async (t) => {
          const identity = await create();
          const called = invoke(identity, 'late', {});
          const client = await open(t, identity, Protocol);
          onMethod(client, 'late', (_, response) => response.send(200, 'here', () => {}));
          assert.deepEqual(await called, { status: 200, payload: 'here' });
        });

        test('answers 20 calls at once, last come, first served', async (t) => {
          const identity = await create();
          const client = await open(t, identity, Protocol);
          const waiting = [];
          onMethod(client, 'wait', (request, response) => {
            if (waiting.push({ request, response }) === 20) {
              for (const { request: { payload }, response } of waiting.reverse()) {
                response.send(200, payload, () => {});
              }
            }
          });
          const numbers = Array.from({ length: 20 }, (_, number) => number);
          const results = await Promise.all(numbers.map((number) => invoke(identity, 'wait', { payload: { number } })));
          assert.deepEqual(results.map(({ payload }) => payload.number), numbers);
        });

        test('that leaves with a call unanswered fails the call at once', async (t) => {
          const identity = await create();
          const client = await open(t, identity, Protocol);
          onMethod(client, 'leave', () => client.close().catch(() => {}));
          const refusal = await refused(invoke(identity, 'leave', {}));
          assert.deepEqual([refusal.status, refusal.header], [404, 'DeviceConnectionClosedRemotely']);
          assert.equal(refusal.errorCode, 404104);
          await assertOffline(identity);
        });

        test('that is taken over leaves its calls unanswered and the next ones to its successor', async (t) => {
          const identity = await create();
          const first = await open(t, identity, Protocol);
          first.setRetryPolicy(new NoRetry());
          const asked = new Promise((resolve) => onMethod(first, 'who', resolve));
          const lost = refused(invoke(identity, 'who', {}));
          await asked;

          const second = await open(t, identity, Protocol);
          onMethod(second, 'who', (_, response) => response.send(200, 'second', () => {}));

          assert.equal((await lost).errorCode, 404104);
          assert.deepEqual(await invoke(identity, 'who', {}), { status: 200, payload: 'second' });
        });

        test('that does not answer in time is given up, and what it says later is no answer', async (t) => {
          const identity = await create();
          const client = await open(t, identity, Protocol);
          const asked = new Promise((resolve) => onMethod(client, 'slow', (_, response) => resolve(response)));
          onMethod(client, 'quick', (_, response) => response.send(200, 'quick', () => {}));

          const refusal = await refused(invoke(identity, 'slow', { responseTimeoutInSeconds: 5 }));
          assert.equal(refusal.name, 'GatewayTimeoutError');
          assert.deepEqual([refusal.status, refusal.errorCode], [504, 504101]);
          assert.equal(refusal.message, 'Timed out waiting for the response from device.');

          await (await asked).send(200, 'slow');
          assert.deepEqual(await invoke(identity, 'quick', {}), { status: 200, payload: 'quick' });
          assert.equal((await connects(identity)).length, 1, 'it is still the first connection');
        });
      });
    }

    test(`a ${kind} that is not connected is not called`, async () => {
      const identity = await create();
      await assertOffline(identity);
    });

    test(`a ${kind} that is connected but takes no methods is not called`, async (t) => {
      const identity = await create();
      const client = await open(t, identity, transports[2].Protocol);
      await client.getTwin();
      await assertOffline(identity);
    });

    test(`a ${kind} that left and came back is called again`, async (t) => {
      for (const { Protocol } of transports) {
        const identity = await create();
        const client = await open(t, identity, Protocol);
        onMethod(client, 'here', (_, response) => response.send(200, null, () => {}));
        assert.equal((await invoke(identity, 'here', {})).status, 200);
        await client.close();
        await until(async () => !(await isConnected(identity)), 'the hub sees it leave');
        await assertOffline(identity);
        const again = await open(t, identity, Protocol);
        onMethod(again, 'here', (_, response) => response.send(200, null, () => {}));
        assert.equal((await invoke(identity, 'here', {})).status, 200);
      }
    });
  }
});

test('a connect timeout that ends names itself', async () => {
  const refusal = await refused(invoke(await createDevice(), 'any', { connectTimeoutInSeconds: 1 }));
  assert.equal(refusal.errorCode, 404103);
  assert.deepEqual(refusal.info, { timeout: '00:00:01' });
});

test('what does not exist is not called', async () => {
  const unknown = await refused(invoke({ deviceId: 'nobody' }, 'any', {}));
  assert.deepEqual([unknown.status, unknown.header, unknown.errorCode], [404, 'DeviceNotFound', 404001]);
  const { deviceId } = await createDevice();
  const module = await refused(invoke({ deviceId, moduleId: 'nothing' }, 'any', {}));
  assert.deepEqual([module.status, module.header, module.errorCode], [404, 'ModuleNotFound', 404010]);
});

test('a call past a limit is refused, one at the limit is not', async (t) => {
  const identity = await createDevice();
  const client = await open(t, identity, transports[2].Protocol);
  const longest = 'm'.repeat(100);
  onMethod(client, longest, ({ payload }, response) => response.send(200, payload.length, () => {}));
  assert.equal((await invoke(identity, longest, { payload: 'fits' })).payload, 4);
  await assert.rejects(invoke(identity, `${longest}m`, { payload: '' }), { name: 'ArgumentError' });
  for (const timeouts of [{ responseTimeoutInSeconds: 4 }, { responseTimeoutInSeconds: 301 },
    { connectTimeoutInSeconds: 301 }, { connectTimeoutInSeconds: -1 }]) {
    await assert.rejects(invoke(identity, longest, timeouts), { name: 'ArgumentError' }, JSON.stringify(timeouts));
  }
});

// Device and module clients have a name of their own for the same.
function onMethod(client, name, answer) {
  return client instanceof ModuleClient ? client.onMethod(name, answer) : client.onDeviceMethod(name, answer);
}

async function assertOffline(identity) {
  const refusal = await refused(invoke(identity, 'any', { connectTimeoutInSeconds: 0 }));
  // The SDK knows the code 404103 not and says only this; the hub said more.
  assert.deepEqual([refusal.name, refusal.sdkMessage], ['Error', 'Not found']);
  assert.deepEqual([refusal.status, refusal.header, refusal.errorCode], [404, 'DeviceNotOnline', 404103]);
  assert.equal(refusal.message, 'Timed out waiting for device to connect.');
  assert.deepEqual(refusal.info, { timeout: '00:00:00' });
}

// How a call was refused: the SDK's error, and the document that the hub puts into its Message.
async function refused(call) {
  const { result, error } = await call.then((result) => ({ result }), (error) => ({ error }));
  assert.ok(error, `the call was answered: ${JSON.stringify(result)}`);
  assert.ok(error.response, error.stack);
  const { Message, ExceptionMessage } = JSON.parse(error.responseBody);
  assert.equal(ExceptionMessage, '');
  return {
    name: error.name,
    sdkMessage: error.message,
    status: error.response.statusCode,
    header: error.response.headers['iothub-errorcode'],
    ...JSON.parse(Message),
  };
}

async function isConnected({ deviceId, moduleId }) {
  const { responseBody: identity } =
    await (moduleId ? registry.getModule(deviceId, moduleId) : registry.get(deviceId));
  return identity.connectionState === 'Connected';
}
