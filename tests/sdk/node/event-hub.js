'use strict';

// The built-in event hub as the Event Hubs client sees it: the ways to it, consumer groups that only one test uses,
// and reading until something has come.

const { randomUUID } = require('node:crypto');
const { EventEmitter } = require('node:events');

const { EventHubConsumerClient } = require('@azure/event-hubs');
const WebSocket = require('ws');

const { admin, next } = require('./support');

const plainConnectionString = process.env.EVENT_HUB_CONNECTION_STRING;
// Without the flag of an emulator the client speaks TLS.
const connectionString = plainConnectionString.replace(';UseDevelopmentEmulator=true', '');
const [, eventHubName] = /EntityPath=([^;]*)/.exec(connectionString);

const carriers = [
  { carrier: 'TLS', connectionString, options: {} },
  { carrier: 'WebSocket', connectionString, options: { webSocketOptions: { webSocket: WebSocket } } },
  { carrier: 'plain TCP', connectionString: plainConnectionString, options: {} },
];

// A consumer group no other test knows.
async function createConsumerGroup() {
  const name = `node-${randomUUID()}`;
  await admin(`/admin/event-hubs/${eventHubName}/consumer-groups/${name}`, {}, { method: 'PUT' });
  return name;
}

// A client of a consumer group of its own, closed when the test is over.
async function consumer(t, { connectionString: text, options } = carriers[0], { group, store, ...more } = {}) {
  const settings = { retryOptions: { maxRetries: 0 }, ...options, ...more };
  const client = new EventHubConsumerClient(group ?? await createConsumerGroup(), text,
    ...(store ? [store, settings] : [settings]));
  t.after(() => client.close());
  return client;
}

// What a subscription has brought so far: events, and what the client was refused with.
class Reading {
  events = [];
  errors = [];
  lastEnqueued;
  #news = new EventEmitter().setMaxListeners(0);
  #subscription;

  // Reads one partition, or whichever the client's checkpoint store gives it, until the test is over.
  constructor(t, client, partitionId, options, { before = async () => {} } = {}) {
    const handlers = {
      processEvents: async (events, context) => {
        await before(events, context);
        this.events.push(...events);
        this.lastEnqueued = context.lastEnqueuedEventProperties;
        this.#news.emit('news');
      },
      processError: async (error) => {
        this.errors.push(error);
        this.#news.emit('news');
      },
    };
    const where = partitionId === undefined ? [] : [String(partitionId)];
    this.#subscription = client.subscribe(...where, handlers, { maxBatchSize: 100, maxWaitTimeInSeconds: 1, ...options });
    t.after(() => this.close());
  }

  // The texts a device has sent, in the order they came.
  bodies({ deviceId }) {
    return this.events
      .filter(({ systemProperties }) => systemProperties['iothub-connection-device-id'] === deviceId)
      .map(({ body }) => (Buffer.isBuffer(body) ? body.toString() : body));
  }

  // What the device has sent, when all that it is said to have sent last has come.
  async through(device, last) {
    await this.until(() => this.bodies(device).includes(last));
    return this.bodies(device);
  }

  // Waits until `reached` is true. An error of the client ends the wait.
  async until(reached) {
    while (!reached()) {
      if (this.errors.length > 0) {
        throw this.errors[0];
      }
      await next(this.#news, 'news');
    }
  }

  // The first error of the client.
  async refusal() {
    while (this.errors.length === 0) {
      await next(this.#news, 'news');
    }
    return this.errors[0];
  }

  close() {
    return this.#subscription.close();
  }
}

// Checkpoints and ownerships in memory; processors that share one share the partitions.
class MemoryStore {
  #ownerships = new Map();
  #checkpoints = new Map();

  async listOwnership() {
    return [...this.#ownerships.values()];
  }

  async claimOwnership(claims) {
    const granted = claims.filter(({ partitionId, etag }) => this.#ownerships.get(partitionId)?.etag === etag)
      .map((claim) => ({ ...claim, etag: randomUUID(), lastModifiedTimeInMs: Date.now() }));
    granted.forEach((ownership) => this.#ownerships.set(ownership.partitionId, ownership));
    return granted;
  }

  async updateCheckpoint(checkpoint) {
    this.#checkpoints.set(checkpoint.partitionId, checkpoint);
  }

  async listCheckpoints() {
    return [...this.#checkpoints.values()];
  }
}

module.exports = {
  carriers, connectionString, consumer, createConsumerGroup, eventHubName, MemoryStore, Reading,
};
