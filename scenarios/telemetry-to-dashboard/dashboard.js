'use strict';

// The back end: shows the readings of all devices as they come, until it is interrupted. Every fifth of a device is a
// checkpoint: started again, it goes on behind the last one.
//
//   EVENT_HUB_CONNECTION_STRING="Endpoint=sb://...;EntityPath=..." \
//     node dashboard.js <consumer group> <file for checkpoints>

const { EventHubConsumerClient, earliestEventPosition } = require('@azure/event-hubs');

const { FileCheckpointStore } = require('./file-checkpoint-store');

const CHECKPOINT_EVERY = 5;

// All partitions at once: nobody is there to share them with.
const loadBalancingOptions = { strategy: 'greedy' };

const [consumerGroup, file] = process.argv.slice(2);

async function main() {
  const client = new EventHubConsumerClient(consumerGroup, process.env.EVENT_HUB_CONNECTION_STRING,
    new FileCheckpointStore(file), { loadBalancingOptions });
  const subscription = client.subscribe({
    processEvents: async (events, context) => {
      for (const event of events) {
        const { number, temperature } = event.body;
        const alert = event.properties.temperatureAlert === 'true' ? ' (too hot)' : '';
        console.log(`${event.systemProperties['iothub-connection-device-id']}: ` +
          `reading ${number}, ${temperature} °C${alert}`);
        if (number % CHECKPOINT_EVERY === 0) {
          await context.updateCheckpoint(event);
          console.log(`checkpoint at reading ${number}`);
        }
      }
    },
    processError: async (error) => console.error(`error reading telemetry: ${error.message}`),
  }, { startPosition: earliestEventPosition });
  process.once('SIGINT', async () => {
    await subscription.close();
    await client.close();
  });
}

main().catch((error) => {
  console.error(error.message);
  process.exit(1);
});
