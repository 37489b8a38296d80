package hub;

import static hub.Emulator.events;
import static hub.Emulator.newDevice;
import static org.junit.jupiter.api.Assertions.assertEquals;

import com.azure.messaging.eventhubs.CheckpointStore;
import com.azure.messaging.eventhubs.EventProcessorClient;
import com.azure.messaging.eventhubs.LoadBalancingStrategy;
import com.azure.messaging.eventhubs.models.Checkpoint;
import com.azure.messaging.eventhubs.models.EventContext;
import com.azure.messaging.eventhubs.models.EventPosition;
import com.azure.messaging.eventhubs.models.PartitionOwnership;
import com.microsoft.azure.sdk.iot.device.DeviceClient;
import com.microsoft.azure.sdk.iot.device.IotHubClientProtocol;
import com.microsoft.azure.sdk.iot.device.Message;
import com.microsoft.azure.sdk.iot.service.registry.Device;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.UUID;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.function.Consumer;
import java.util.stream.Collectors;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.parallel.Execution;
import org.junit.jupiter.api.parallel.ExecutionMode;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;

/** Event processors: readers of all partitions that share them by a checkpoint store, and go on from checkpoints. */
@Execution(ExecutionMode.CONCURRENT)
class EventProcessorTest {
    private final List<AutoCloseable> open = new ArrayList<>();
    private final Instant beginning = Instant.now();
    private final News news = new News();
    private final MemoryStore store = new MemoryStore();

    @AfterEach
    void close() throws Exception {
        for (AutoCloseable closeable : open) {
            closeable.close();
        }
    }

    @ParameterizedTest
    @EnumSource
    void two_processors_share_the_partitions_and_one_takes_them_all_over(EventHub.Carrier carrier) throws Exception {
        String group = EventHub.newConsumerGroup();
        Map<Integer, Sender> senders = new HashMap<>();
        while (senders.size() < 4) {
            Sender sender = new Sender();
            sender.send("m-0");
            senders.put(events(sender.device).get(0).get("partition").getAsInt(), sender);
        }
        List<String> first = new CopyOnWriteArrayList<>();
        List<String> second = new CopyOnWriteArrayList<>();
        List<String> all = new CopyOnWriteArrayList<>();
        EventProcessorClient one = start(carrier, group, context -> {
            first.add(named(context));
            all.add(named(context));
        });
        news.await(() -> all.containsAll(of(senders, "m-0")));
        assertEquals(List.of(4L), store.shares());

        start(carrier, group, context -> {
            second.add(named(context));
            all.add(named(context));
        });
        news.await(() -> store.shares().equals(List.of(2L, 2L)));
        for (Sender sender : senders.values()) {
            sender.send("m-1");
        }
        news.await(() -> all.containsAll(of(senders, "m-1")));

        one.stop();
        for (Sender sender : senders.values()) {
            sender.send("m-2");
        }
        news.await(() -> second.containsAll(of(senders, "m-2")));
        assertEquals(List.of(4L), store.shares());
    }

    @Test
    void a_processor_goes_on_after_its_checkpoint_and_not_before() throws Exception {
        String group = EventHub.newConsumerGroup();
        Sender sender = new Sender();
        sender.send("m-0", "m-1", "m-2");
        List<String> first = new CopyOnWriteArrayList<>();
        EventProcessorClient one = start(EventHub.Carrier.TLS, group, context -> {
            if (named(context).equals(sender.device + " m-1")) {
                context.updateCheckpoint();
            }
            first.add(named(context));
        });
        news.await(() -> first.contains(sender.device + " m-2"));
        assertEquals(List.of("m-0", "m-1", "m-2"), sender.bodies(first));
        one.stop();

        sender.send("m-3");
        List<String> second = new CopyOnWriteArrayList<>();
        start(EventHub.Carrier.TLS, group, context -> second.add(named(context)));
        news.await(() -> second.contains(sender.device + " m-3"));
        assertEquals(List.of("m-2", "m-3"), sender.bodies(second));
    }

    private EventProcessorClient start(EventHub.Carrier carrier, String group, Consumer<EventContext> process) {
        EventProcessorClient processor = carrier.processor(group)
                .checkpointStore(store)
                .loadBalancingUpdateInterval(Duration.ofMillis(300))
                .partitionOwnershipExpirationInterval(Duration.ofMinutes(1))
                .initialPartitionEventPosition(partition -> EventPosition.fromEnqueuedTime(beginning))
                .loadBalancingStrategy(LoadBalancingStrategy.GREEDY)
                .processEvent(context -> {
                    process.accept(context);
                    news.tell();
                })
                // A processor goes on after errors; what it does not get over shows as events that do not come.
                .processError(context -> {})
                .buildEventProcessorClient();
        processor.start();
        open.add(0, processor::stop);
        return processor;
    }

    private static List<String> of(Map<Integer, Sender> senders, String body) {
        return senders.values().stream().map(sender -> sender.device + " " + body).toList();
    }

    private static String named(EventContext context) {
        return Reading.deviceOf(context.getEventData()) + " " + context.getEventData().getBodyAsString();
    }

    /** A connected device. */
    private final class Sender {
        final String device;
        private final OpenDevice<DeviceClient> client;

        Sender() throws Exception {
            Device identity = newDevice();
            device = identity.getDeviceId();
            client = OpenDevice.device(identity, IotHubClientProtocol.MQTT);
            open.add(client);
        }

        void send(String... bodies) throws Exception {
            for (String body : bodies) {
                client.client.sendEvent(new Message(body));
            }
        }

        List<String> bodies(List<String> named) {
            return named.stream()
                    .filter(name -> name.startsWith(device))
                    .map(name -> name.substring(device.length() + 1))
                    .toList();
        }
    }

    /** Checkpoints and ownerships in memory; processors that share one share the partitions. */
    private final class MemoryStore implements CheckpointStore {
        private final Map<String, PartitionOwnership> ownerships = new ConcurrentHashMap<>();
        private final Map<String, Checkpoint> checkpoints = new ConcurrentHashMap<>();

        @Override
        public Flux<PartitionOwnership> listOwnership(String namespace, String eventHub, String group) {
            return Flux.fromIterable(List.copyOf(ownerships.values()));
        }

        @Override
        public Flux<PartitionOwnership> claimOwnership(List<PartitionOwnership> claims) {
            return Flux.fromIterable(claims).filter(this::claim);
        }

        @Override
        public Flux<Checkpoint> listCheckpoints(String namespace, String eventHub, String group) {
            return Flux.fromIterable(List.copyOf(checkpoints.values()));
        }

        @Override
        public Mono<Void> updateCheckpoint(Checkpoint checkpoint) {
            return Mono.fromRunnable(() -> checkpoints.put(checkpoint.getPartitionId(), checkpoint));
        }

        /** How many partitions each owner has. */
        List<Long> shares() {
            return ownerships.values().stream()
                    .map(PartitionOwnership::getOwnerId)
                    .filter(owner -> owner != null && !owner.isEmpty())
                    .collect(Collectors.groupingBy(owner -> owner, Collectors.counting()))
                    .values().stream().sorted().toList();
        }

        private synchronized boolean claim(PartitionOwnership claim) {
            PartitionOwnership current = ownerships.get(claim.getPartitionId());
            if (current != null && !Objects.equals(current.getETag(), claim.getETag())) {
                return false;
            }
            claim.setETag(UUID.randomUUID().toString()).setLastModifiedTime(System.currentTimeMillis());
            ownerships.put(claim.getPartitionId(), claim);
            news.tell();
            return true;
        }
    }
}
